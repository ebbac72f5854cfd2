"""`Validation`: the validation losses and sample texts of a run, at the intervals of its recipe, and its best model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from nextword.errors import CheckpointError
from nextword.models.transformer import Transformer
from nextword.training.callbacks import Callbacks
from nextword.training.early_stopping import EarlyStopping
from nextword.training.parallel import Parallel
from nextword.training.processes import Processes
from nextword.training.recipe import CheckpointRecipe
from nextword.training.trained_weights import TrainedWeights

_LARGEST_EXPONENT = 700.0
"""Largest x for which exp(x) is a finite float64."""


class Validation:
    """Schedule of the validation and sampling hooks; all processes make the same calls."""

    def __init__(
        self,
        model: Transformer,
        weights: TrainedWeights,
        recipe: CheckpointRecipe,
        callbacks: Callbacks,
        *,
        parallel: Parallel,
        processes: Processes,
        record: Callable[[Mapping[str, object]], None],
        export_best: Callable[[], None],
    ) -> None:
        """Start with no validation. `record` receives entries of metrics; `export_best` may raise CheckpointError."""
        self._model, self._weights, self._recipe, self._callbacks = model, weights, recipe, callbacks
        self._parallel, self._processes, self._record, self._export_best = parallel, processes, record, export_best
        self._stopping = EarlyStopping(recipe.patience)
        self._done_after = 0
        """Step of the last validation, so that a resumed run does not repeat it."""

    def begin(self) -> None:
        """Validate and sample before the first step, for comparison."""
        if self._callbacks.validate is not None and self._recipe.validate_every:
            self._validation_loss(0, self._callbacks.validate)
        if self._callbacks.sample is not None:
            self._sample(0, self._callbacks.sample)

    def after(self, step: int, *, is_last: bool) -> bool:
        """Validate and sample if due after a step; return False if that was done for this step before."""
        if self._done_after == step:
            return False
        validate, sample, recipe = self._callbacks.validate, self._callbacks.sample, self._recipe
        validates = recipe.validate_every > 0 and _is_due(step, recipe.validate_every, is_last=is_last)
        if validate is not None and validates and self._stopping.is_best(self._validation_loss(step, validate)):
            self._keep_best(step)
        if sample is not None and _is_due(step, recipe.sample_every, is_last=is_last):
            self._sample(step, sample)
        self._done_after = step
        return True

    @property
    def ends_run(self) -> bool:
        """True if no new best in `patience` validations ends the run."""
        return self._stopping.should_stop

    @property
    def num_since_best(self) -> int:
        """Number of validations since the best one."""
        return self._stopping.num_since_best

    def state(self) -> dict[str, object]:
        """Return the state to save in a checkpoint, as plain JSON."""
        return {**self._stopping.state(), "looked": self._done_after}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned."""
        self._stopping.resume(state)
        self._done_after = state["looked"]

    def _validation_loss(self, step: int, validate: Callable[[Transformer], float]) -> float:
        loss: float = self._in_eval_mode(validate)
        self._record({"step": step, "validation_loss": loss})
        perplexity = math.exp(loss) if loss < _LARGEST_EXPONENT else math.inf
        self._callbacks.note(f"step {step}: validation loss {loss:.4f} nats per token, perplexity {perplexity:,.2f}")
        return loss

    def _sample(self, step: int, sample: Callable[[Transformer], str]) -> None:
        self._record({"step": step, "sample": self._in_eval_mode(sample)})

    def _keep_best(self, step: int) -> None:
        """Export the best model; a failure to write does not end the run."""
        try:
            self._export_best()
        except CheckpointError as error:
            self._callbacks.note(f"step {step}: the best model is not written: {error}; training continues")

    def _in_eval_mode(self, use: Callable[[Transformer], Any]) -> Any:
        """Call `use` on the model in eval mode, with EMA weights if kept."""
        with self._parallel.eval_model(self._model, self._weights) as model, torch.no_grad():
            return self._processes.on_rank_zero(lambda: use(model.eval()))


def _is_due(step: int, every: int, *, is_last: bool) -> bool:
    return is_last or (every > 0 and step % every == 0)
