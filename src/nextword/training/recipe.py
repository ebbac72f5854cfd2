"""`Recipe`: all settings of a training run but its data and its model, validated once.

Flags and the keys of a recipe file are the names of the fields. Sections group settings; each name is in one of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from nextword.checks import checked_fields
from nextword.errors import ConfigError

OptimizerName = Literal["adamw", "muon"]
ScheduleName = Literal["cosine", "warmup-stable-decay", "constant"]
Precision = Literal["auto", "float32", "bfloat16"]
ParallelName = Literal["ddp", "fsdp"]

_MOST_THREADS = 4096
"""More than any machine has cores; OpenMP ends the process where it cannot start the threads asked for."""


def _require(section: object, name: str, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} must be {allowed}, is {getattr(section, name)}")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class OptimizerRecipe:
    """Optimizer settings."""

    optimizer: OptimizerName = "adamw"
    """muon: orthogonalised momentum for the matrices of the layers, AdamW for the rest."""
    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.1
    """Weight decay of matrices; vectors (norms, biases) do not decay."""
    beta1: float = 0.9
    """Decay of AdamW's average of gradients."""
    beta2: float = 0.95
    """Decay of AdamW's average of squared gradients."""
    eps: float = 1e-8
    """Added to AdamW's divisor."""
    momentum: float = 0.95
    """Decay of Muon's average of gradients."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0: never."""

    def __post_init__(self) -> None:
        _require(self, "lr", self.lr > 0, "above 0")
        _require(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        _require(self, "eps", self.eps > 0, "above 0")
        _require(self, "max_grad_norm", self.max_grad_norm >= 0, "0 or more")
        for name in ("beta1", "beta2", "momentum"):
            _require(self, name, 0 <= getattr(self, name) < 1, "from 0 up to, not including, 1")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class ScheduleRecipe:
    """Learning-rate schedule."""

    schedule: ScheduleName = "cosine"
    """cosine: decays from the end of the warmup; warmup-stable-decay: decays in the last part only."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises from 0."""
    decay: float = 0.2
    """Share of the steps in which warmup-stable-decay decays, linearly."""
    final_lr: float = 0.1
    """Final learning rate as a share of the peak."""

    def __post_init__(self) -> None:
        for name in ("warmup", "decay", "final_lr"):
            _require(self, name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        _require(self, "warmup", self.warmup + self.decay <= 1, "at most 1 together with decay")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class ComputeRecipe:
    """Numerical precision, memory and parallelism."""

    precision: Precision = "auto"
    """Dtype of matrix products; weights are also kept in float32. auto: the one in which timed batches are faster."""
    accumulation: int = 1
    """Batches whose gradients are summed for one step."""
    z_loss: float = 0.0
    """Weight of the squared log of the softmax denominator in the loss; 1e-4 keeps logits small."""
    gradient_checkpointing: bool = False
    """Compute layers twice, to keep fewer activations in memory."""
    ema: float = 0.0
    """Decay of an exponential moving average of the weights, which is validated and exported; 0: none."""
    freeze: tuple[str, ...] = ()
    """Weights that are not trained, as patterns: embedding.weight, "layers.0.*"."""
    threads: int | None = None
    """Cores to use; None: all."""
    parallel: ParallelName = "ddp"
    """For several processes. ddp: each holds the whole model; fsdp: each a shard of every weight."""

    def __post_init__(self) -> None:
        _require(self, "accumulation", self.accumulation >= 1, "at least 1")
        _require(self, "z_loss", self.z_loss >= 0, "0 or more")
        _require(self, "ema", 0 <= self.ema < 1, "from 0 up to, not including, 1")
        allowed = f"from 1 to {_MOST_THREADS}"
        _require(self, "threads", self.threads is None or 1 <= self.threads <= _MOST_THREADS, allowed)


@checked_fields
@dataclass(frozen=True, kw_only=True)
class CheckpointRecipe:
    """Intervals for checkpoints, validation and samples, in steps."""

    save_every: int = 100
    """Steps between checkpoints, from which a stopped run resumes; 0: at the end only."""
    validate_every: int = 100
    """Steps between validations; 0: never."""
    sample_every: int = 0
    """Steps between sample texts; 0: at the end only."""
    patience: int = 0
    """Validations without a new best after which the run ends early; 0: never."""
    max_skipped: int = 5
    """Consecutive skipped steps (loss NaN, infinite or a spike) at which the run stops with an error."""

    def __post_init__(self) -> None:
        for name in ("save_every", "validate_every", "sample_every", "patience"):
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        _require(self, "max_skipped", self.max_skipped >= 1, "at least 1")


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a run. Raises ConfigError naming the setting, its value and what is allowed."""

    steps: int
    """Optimizer steps."""
    seed: int = 0
    """Seed of initial weights and of the order of the data."""
    optimization: OptimizerRecipe = OptimizerRecipe()
    scheduling: ScheduleRecipe = ScheduleRecipe()
    compute: ComputeRecipe = ComputeRecipe()
    checkpointing: CheckpointRecipe = CheckpointRecipe()

    def __post_init__(self) -> None:
        _require(self, "steps", self.steps >= 1, "at least 1")
        _require(self, "seed", 0 <= self.seed < 2**63, "from 0 to 2^63 - 1")


def lr_share(step: int, steps: int, recipe: ScheduleRecipe) -> float:
    """Compute the learning rate of a step (from 0) as a share of the peak."""
    warmup = recipe.warmup * steps
    if step < warmup:
        return (step + 1) / (math.floor(warmup) + 1)
    if recipe.schedule == "constant":
        return 1.0
    falling_from = warmup if recipe.schedule == "cosine" else (1 - recipe.decay) * steps
    done = min(1.0, max(0.0, (step - falling_from) / max(1.0, steps - falling_from)))
    height = (1 + math.cos(math.pi * done)) / 2 if recipe.schedule == "cosine" else 1 - done
    return recipe.final_lr + (1 - recipe.final_lr) * height


def recipe_from_json(content: Mapping[str, Any]) -> Recipe:
    """Rebuild a recipe from the plain values of `dataclasses.asdict`. Raises ConfigError for an unknown key."""
    hints = get_type_hints(Recipe)
    sections = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key in sections:
            value = _section(hints[key], value)
        values[key] = value
    return _section(Recipe, values)  # type: ignore[no-any-return]


def _section(section: Any, content: Mapping[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(section)}
    for key in content:
        if key not in known:
            raise ConfigError(f"unknown setting {key!r}: there are {', '.join(sorted(known))}")
    return section(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})
