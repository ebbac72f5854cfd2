"""LoRA: a trained low-rank product B A is added to a frozen matrix W (arXiv:2106.09685).

With weights dequantised from a GGUF file this is QLoRA (arXiv:2305.14314).
"""

from __future__ import annotations

import math
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

BY_OUTPUT = frozenset({"lora_B.weight"})


def shapes(spec: AdapterSpec, site: Site) -> dict[str, Shape]:
    """Return the shapes of A, (rank, inputs), and B, (outputs, rank)."""
    return {"lora_A.weight": (spec.rank, site.num_inputs), "lora_B.weight": (site.num_outputs, spec.rank)}


def initial(
    spec: AdapterSpec, site: Site, matrix: Callable[[], Array], random: np.random.Generator
) -> dict[str, Array]:
    """Return A uniform within 1 / sqrt(inputs), as in peft, and B zero."""
    bound = 1 / math.sqrt(site.num_inputs)
    first = random.uniform(-bound, bound, (spec.rank, site.num_inputs)).astype(np.float32)
    return {"lora_A.weight": first, "lora_B.weight": np.zeros((site.num_outputs, spec.rank), dtype=np.float32)}


def adapted(
    spec: AdapterSpec, site: Site, linear: nn.Linear, inputs: Tensor, outputs: Tensor, tensors: Mapping[str, Tensor]
) -> Tensor:
    """Compute outputs + scaling * B A inputs."""
    narrow = inputs @ tensors["lora_A.weight"].T * spec.scaling  # (..., rank): scaled where there are fewest numbers
    added = outputs.flatten(0, -2).addmm(narrow.flatten(0, -2), tensors["lora_B.weight"].T)  # in one pass over outputs
    return added.view_as(outputs)
