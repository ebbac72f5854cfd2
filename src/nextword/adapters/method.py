"""`Method`: what one way of adapting linear maps has to say, and the table of all ways.

A method's tensors carry the names that the peft library saves them by. Nothing here needs PyTorch to be installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from nextword.adapters import dora, ia3, lora
from nextword.adapters.sites import Site, chosen_sites
from nextword.adapters.spec import AdapterSpec, MethodName
from nextword.models.config import ModelConfig
from nextword.models.weights import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = npt.NDArray[np.float32]


class Method(Protocol):
    """A module of this room: lora, dora, ia3."""

    BY_OUTPUT: frozenset[str]
    """Tensors with a row for each output, of which a part of a fused site has its own."""

    def shapes(self, spec: AdapterSpec, site: Site) -> dict[str, Shape]:
        """Name -> shape of the site's tensors."""

    def initial(
        self, spec: AdapterSpec, site: Site, matrix: Callable[[], Array], random: np.random.Generator
    ) -> dict[str, Array]:
        """First values, with which the model computes what it did; `matrix` makes the site's (outputs, inputs)."""

    def adapted(
        self, spec: AdapterSpec, site: Site, linear: nn.Linear, inputs: Tensor, outputs: Tensor,
        tensors: Mapping[str, Tensor],
    ) -> Tensor:  # fmt: skip
        """The outputs of a changed linear map: (..., inputs) and (..., outputs) -> (..., outputs)."""

    def merged(
        self, spec: AdapterSpec, site: Site, weight: Array, bias: Array | None, tensors: Mapping[str, Array]
    ) -> tuple[Array, Array | None]:
        """Weight and bias of a linear map that computes the same without the adapter."""


METHODS: dict[MethodName, Method] = {"lora": lora, "dora": dora, "ia3": ia3}


def num_adapter_weights(config: ModelConfig, spec: AdapterSpec) -> int:
    """How many numbers such an adapter of a model has. Raises ConfigError for a target that the model has not."""
    method = METHODS[spec.method]
    return sum(
        math.prod(shape) for site in chosen_sites(config, spec.adapted) for shape in method.shapes(spec, site).values()
    )


def of_part(method: Method, site: Site, index: int, name: str, values: Array) -> Array:
    """What a part of a site has of one of its tensors."""
    return values[site.parts[index].rows] if name in method.BY_OUTPUT else values
