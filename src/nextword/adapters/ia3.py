"""IA3: a trained factor for each key, value and inner activation of the MLP (arXiv:2205.05638)."""

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
    """A factor for each input of the MLP's last map, for each output elsewhere."""
    return {_FACTORS: (1, site.num_inputs) if site.is_feed_forward else (site.num_outputs, 1)}


def initial(
    spec: AdapterSpec, site: Site, matrix: Callable[[], Array], random: np.random.Generator
) -> dict[str, Array]:
    """All factors 1."""
    return {name: np.ones(shape, dtype=np.float32) for name, shape in shapes(spec, site).items()}


def adapted(
    spec: AdapterSpec, site: Site, linear: nn.Linear, inputs: Tensor, outputs: Tensor, tensors: Mapping[str, Tensor]
) -> Tensor:
    """The map of the multiplied inputs, or its outputs multiplied."""
    factors = tensors[_FACTORS].flatten()
    if not site.is_feed_forward:
        return outputs * factors
    changed = inputs * factors @ linear.weight.T
    return changed if linear.bias is None else changed + linear.bias


def merged(
    spec: AdapterSpec, site: Site, weight: Array, bias: Array | None, tensors: Mapping[str, Array]
) -> tuple[Array, Array | None]:
    """Columns, or rows and biases, multiplied."""
    factors = tensors[_FACTORS]
    return weight * factors, bias if bias is None or site.is_feed_forward else bias * factors.ravel()
