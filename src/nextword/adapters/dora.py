"""DoRA: LoRA for the direction of each output's weights, and a trained magnitude (arXiv:2402.09353)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nextword.adapters import lora
from nextword.adapters.sites import Site
from nextword.adapters.spec import AdapterSpec
from nextword.models.weights import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = npt.NDArray[np.float32]

_LENGTH = "lora_magnitude_vector"
BY_OUTPUT = lora.BY_OUTPUT | {_LENGTH}


def shapes(spec: AdapterSpec, site: Site) -> dict[str, Shape]:
    """Return the shapes of LoRA's tensors, and of a magnitude for each output."""
    return {**lora.shapes(spec, site), _LENGTH: (site.num_outputs,)}


def initial(
    spec: AdapterSpec, site: Site, matrix: Callable[[], Array], random: np.random.Generator
) -> dict[str, Array]:
    """Return LoRA's initial values, and as magnitudes the norms of the rows of W."""
    return {**lora.initial(spec, site, matrix, random), _LENGTH: np.linalg.norm(matrix(), axis=1)}


def adapted(
    spec: AdapterSpec, site: Site, linear: nn.Linear, inputs: Tensor, outputs: Tensor, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Scale LoRA's outputs to the trained magnitudes; the norm in the denominator is detached (section 4.3)."""
    update = tensors["lora_B.weight"].detach() @ tensors["lora_A.weight"].detach()
    seen: Tensor = (linear.weight.detach() + spec.scaling * update).norm(dim=1)
    bias: Tensor | None = linear.bias
    unbiased = outputs if bias is None else outputs - bias
    changed = lora.adapted(spec, site, linear, inputs, unbiased, tensors) * (tensors[_LENGTH] / seen)
    return changed if bias is None else changed + bias
