"""`AdapterSpec`: what an adapter is, validated; what its numbers are, it does not know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from nextword.errors import ConfigError

MethodName = Literal["lora", "dora", "ia3"]
"""Low-rank updates, those with a magnitude for each output, or a factor for each activation."""
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear maps of a layer, by our names in every family."""
_USUAL_TARGETS: dict[MethodName, tuple[str, ...]] = {
    "lora": ("q_proj", "v_proj"),
    "dora": ("q_proj", "v_proj"),
    "ia3": ("k_proj", "v_proj", "down_proj"),
}
"""Those of the papers (arXiv:2106.09685, arXiv:2205.05638)."""


@dataclass(frozen=True, kw_only=True)
class AdapterSpec:
    """The settings of one adapter. Raises ConfigError naming the field, its value and what is allowed."""

    method: MethodName = "lora"
    """Which change is trained."""
    rank: int = 8
    """Rows and columns of the two thin matrices whose product is added (LoRA, DoRA)."""
    alpha: float = 16.0
    """The product counts alpha / rank times (LoRA, DoRA)."""
    is_rank_stabilized: bool = False
    """Divide alpha by the square root of the rank instead (rsLoRA, arXiv:2312.03732)."""
    targets: tuple[str, ...] = ()
    """Linear maps that are adapted, such as q_proj v_proj; none named: the usual ones of the method."""

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
        """The factor on the product of the two matrices."""
        return self.alpha / (math.sqrt(self.rank) if self.is_rank_stabilized else self.rank)

    @property
    def adapted(self) -> tuple[str, ...]:
        """The linear maps that are adapted."""
        return self.targets or _USUAL_TARGETS[self.method]


@dataclass(frozen=True, kw_only=True)
class PromptSpec:
    """The settings of a trained prompt. Raises ConfigError for one without tokens."""

    num_virtual_tokens: int = 20
    """Vectors that stand before every text."""

    def __post_init__(self) -> None:
        if self.num_virtual_tokens < 1:
            raise ConfigError(f"virtual_tokens must be at least 1, is {self.num_virtual_tokens}")
