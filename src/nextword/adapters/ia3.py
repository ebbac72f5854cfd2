"""IA3: a trained factor on each key, value and inner activation of the MLP (arXiv:2205.05638)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nextword.adapters.sites import Site
from nextword.adapters.spec import AdapterSpec
from nextword.models.weights import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = npt.NDArray[np.float32]

_FACTORS = "ia3_l"
BY_OUTPUT = frozenset({_FACTORS})


def shapes(spec: AdapterSpec, site: Site) -> dict[str, Shape]:
    """Return the shape of the factors: of the inputs for the MLP's last layer, else of the outputs."""
    return {_FACTORS: (1, site.num_inputs) if site.is_feed_forward else (site.num_outputs, 1)}


def initial(
    spec: AdapterSpec, site: Site, matrix: Callable[[], Array], random: np.random.Generator
) -> dict[str, Array]:
    """Return factors of 1."""
    return {name: np.ones(shape, dtype=np.float32) for name, shape in shapes(spec, site).items()}


def adapted(
    spec: AdapterSpec, site: Site, linear: nn.Linear, inputs: Tensor, outputs: Tensor, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Multiply the inputs of the MLP's last layer, the outputs of any other, by the factors."""
    factors = tensors[_FACTORS].flatten()
    if not site.is_feed_forward:
        return outputs * factors
    changed = inputs * factors @ linear.weight.T
    return changed if linear.bias is None else changed + linear.bias
