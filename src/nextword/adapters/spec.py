"""`AdapterSpec` and `PromptSpec`: validated settings of an adapter, without its values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from nextword.errors import ConfigError

MethodName = Literal["lora", "dora", "ia3"]
"""Kinds of adapters: low-rank updates, those with a magnitude for each output, or a factor on each activation."""
PROMPT_KINDS = ("PROMPT_TUNING", "P_TUNING")
"""Kinds of peft that are prompts, vectors before every text; P-tuning's (arXiv:2103.10385) are saved as computed."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers of a transformer layer, by their names in nextword."""
_USUAL_TARGETS: dict[MethodName, tuple[str, ...]] = {
    "lora": ("q_proj", "v_proj"),
    "dora": ("q_proj", "v_proj"),
    "ia3": ("k_proj", "v_proj", "down_proj"),
}
"""Targets of the papers (arXiv:2106.09685, arXiv:2205.05638)."""


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """Settings of an adapter. Raises ConfigError naming the field, its value and what is allowed."""

    method: MethodName = "lora"
    """Kind of adapter to train."""
    rank: int = 8
    """Rank of the low-rank update B A (LoRA, DoRA)."""
    alpha: float = 16.0
    """Scale of the update, which is multiplied by alpha / rank (LoRA, DoRA)."""
    is_rank_stabilized: bool = False
    """Divide alpha by the square root of the rank instead (rsLoRA, arXiv:2312.03732)."""
    targets: tuple[str, ...] = ()
    """Linear layers to adapt, such as q_proj v_proj; if none is named, the usual ones of the method."""

    def __post_init__(self) -> None:
        if self.method not in get_args(MethodName):
            raise ConfigError(f"method {self.method!r}: must be one of {', '.join(get_args(MethodName))}")
        if self.rank < 1:
            raise ConfigError(f"rank must be at least 1, is {self.rank}")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"alpha must be a positive number, is {self.alpha}")
        for target in self.targets:
            if target not in PROJECTIONS:
                raise ConfigError(f"target {target!r}: must be one of {', '.join(PROJECTIONS)}")

    @property
    def scaling(self) -> float:
        """Factor on the low-rank update."""
        return self.alpha / (math.sqrt(self.rank) if self.is_rank_stabilized else self.rank)

    @property
    def adapted(self) -> tuple[str, ...]:
        """Names of the linear layers to adapt."""
        return self.targets or _USUAL_TARGETS[self.method]


@dataclass(frozen=True, kw_only=True)
class PromptSpec:
    """Settings of a trained prompt. Raises ConfigError if it has no tokens."""

    num_virtual_tokens: int = 20
    """Number of trained vectors before every sequence."""

    def __post_init__(self) -> None:
        if self.num_virtual_tokens < 1:
            raise ConfigError(f"virtual_tokens must be at least 1, is {self.num_virtual_tokens}")
