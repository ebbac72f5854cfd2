"""`Method`: interface of a kind of adapter for linear layers, and the table of all kinds.

Tensors have the names of the peft library's files. This module does not need PyTorch.
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
    """Interface of the modules lora, dora and ia3."""

    BY_OUTPUT: frozenset[str]
    """Names of tensors with a row for each output; a part of a fused site uses its own rows."""

    def shapes(self, spec: AdapterSpec, site: Site) -> dict[str, Shape]:
        """Return the shapes of the site's tensors, by name."""

    def initial(
        self, spec: AdapterSpec, site: Site, matrix: Callable[[], Array], random: np.random.Generator
    ) -> dict[str, Array]:
        """Return initial values, which change no output; `matrix` returns the site's weight, (outputs, inputs)."""

    def adapted(
        self, spec: AdapterSpec, site: Site, linear: nn.Linear, inputs: Tensor, outputs: Tensor,
        tensors: Mapping[str, Tensor],
    ) -> Tensor:  # fmt: skip
        """Compute the adapted outputs of a linear layer: (..., inputs), (..., outputs) -> (..., outputs)."""


METHODS: dict[MethodName, Method] = {"lora": lora, "dora": dora, "ia3": ia3}


def num_adapter_weights(config: ModelConfig, spec: AdapterSpec) -> int:
    """Count the trainable parameters of an adapter for a model. Raises ConfigError for a target that it lacks."""
    method = METHODS[spec.method]
    return sum(
        math.prod(shape) for site in chosen_sites(config, spec.adapted) for shape in method.shapes(spec, site).values()
    )
