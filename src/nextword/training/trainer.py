"""`Trainer`: the one training loop. Batches in; trained weights, checkpoints and reports of each step out.

Pretraining, continued pretraining and fine-tuning differ in the batches and in which parameters ask for gradients. It
generates no text and scores none itself: what is to be done with the model on the way is given from above.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nextword.data.batch import IGNORED, Batch, BatchSource
from nextword.errors import CheckpointError, ConfigError, TrainingError
from nextword.models.transformer import Transformer
from nextword.training.checkpoint import TrainingState, find_checkpoint, load_tensors, load_values, save_checkpoint
from nextword.training.interruption import Interruption
from nextword.training.kept_memory import give_back_gaps, kept_memory
from nextword.training.machine import PeakRate, choose_dtype, operations_per_token
from nextword.training.metrics import Metrics
from nextword.training.objective import Objective
from nextword.training.optimizers import Optimizers
from nextword.training.parallel import choose_parallel
from nextword.training.processes import ALONE, Processes
from nextword.training.recipe import Recipe, lr_share
from nextword.training.trained_weights import TrainedWeights

_RECENT = 50
"""Losses that a new one is compared with, to see a jump."""
_FEW = 10
"""Below so many, there is nothing to compare with."""
_MAY_CHANGE = ("checkpointing", "parallel")
"""Settings that a run can go on with other values of."""
_NAMED = 8
"""Documents of a bad batch that are named."""
_LAYERS_BETWEEN = 6
"""Gaps of so many layers are small beside what they keep, and giving them back after each would take time."""
_LARGEST_EXPONENT = 700.0
"""Of e, that is still a number."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What one step did."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean surprisal of the targets, in nats, before the step."""
    lr: float
    grad_norm: float
    """Before it was shortened."""
    num_targets: int
    seconds: float
    """That the step took."""
    tokens_per_second: float
    mfu: float
    """Useful operations a second, as a share of those of a large matrix product in the same numbers."""
    seconds_left: float
    """At the speed of the steps so far; without validations and samples."""
    skipped: str | None = None
    """Why the weights were left as they were."""


def _nothing(*_: object) -> None:
    """A callback that nobody gave."""


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What is done with the model on the way. The model is the one being trained, in evaluation."""

    on_step: Callable[[StepReport], None] = _nothing
    validate: Callable[[Transformer], float] | None = None
    """Nats per token of the held-out text."""
    sample: Callable[[Transformer], str] | None = None
    export: Callable[[dict[str, Tensor], Path], None] = _nothing
    """Write the weights, by name and in float32, as a model directory."""
    note: Callable[[str], None] = _nothing
    """Tell the user a line."""
    record: Callable[[Mapping[str, object]], None] = _nothing
    """What is written to metrics.jsonl."""


class Trainer:
    """A model in training, with all that the next step depends on."""

    def __init__(
        self,
        model: Transformer,
        source: BatchSource,
        recipe: Recipe,
        *,
        folder: Path,
        callbacks: Callbacks,
        processes: Processes = ALONE,
    ) -> None:
        """`folder` gets checkpoints, metrics and models; a run that was stopped there goes on where it was.

        With several processes `source` gives each its rows of the batches; the first one alone calls back.

        Raises ConfigError for a recipe that does not fit the model, or is not that of the stopped run; CheckpointError
        for a damaged checkpoint.
        """
        if recipe.compute.threads is not None:
            torch.set_num_threads(recipe.compute.threads)
        self.model, self.recipe, self.step = model, recipe, 0
        self._source, self._folder, self._processes = source, folder, processes
        self._callbacks = callbacks if processes.is_rank_zero else _only_awaited(callbacks)
        self._parallel = choose_parallel(recipe.compute.parallel, processes)
        found = processes.on_rank_zero(lambda: find_checkpoint(folder / "checkpoints"))
        values = None if found is None else load_values(found)
        precision = recipe.compute.precision if values is None else values["precision"]
        self._dtype = processes.on_rank_zero(lambda: choose_dtype(precision))
        trained_dtype = self._parallel.place(model.to(processes.device), self._dtype)
        self._weights = TrainedWeights(model, dtype=trained_dtype, freeze=recipe.compute.freeze, ema=recipe.compute.ema)
        self._optimizers = Optimizers(self._weights.tensors, recipe.optimization)
        self._num_skipped, self._skipped_in_row, self._looked = 0, 0, 0
        self._recent: list[float] = []
        self._best, self._since_best = math.inf, 0
        for layer in model.layers[_LAYERS_BETWEEN::_LAYERS_BETWEEN]:
            layer.register_forward_hook(_give_back_gaps)
        if recipe.compute.gradient_checkpointing:
            _checkpoint_layers(model)
        if found is not None and values is not None:
            self._resume(found, values)
            self._callbacks.note(f"going on after step {self.step}")
        objective = Objective(model, z_loss=recipe.compute.z_loss, device=processes.device)
        self._objective = self._parallel.connect(objective, self._weights)
        after = -1 if found is None else self.step
        self._metrics = Metrics(folder / "metrics.jsonl", after=after) if processes.is_rank_zero else None
        self._seconds, self._steps_timed = 0.0, 0
        self._peak_rate = PeakRate(self._dtype)

    @property
    def num_skipped(self) -> int:
        """Steps that left the weights as they were."""
        return self._num_skipped

    def run(self) -> None:
        """Train to the last step; see `steps`."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[StepReport]:
        """Train, yielding each step as it is done; after the last one `Callbacks.export` has written `model`.

        The best model so far is exported as `best` at each validation. A loop that is left early saves a checkpoint;
        so do SIGTERM and Ctrl-C, which then raise KeyboardInterrupt. With several processes, all leave the loop at the
        same step. Raises TrainingError if step after step has to be skipped.
        """
        with Interruption() as interruption, kept_memory():
            self._look_before()
            self._look()  # if the run was stopped between a step and the look that was due
            while not self.is_finished:
                report = self._train_step()
                self._callbacks.on_step(report)
                self._weights.clear_gradients()  # before anything else, so that it can have their memory
                if self._processes.any(interruption.is_asked_for):
                    self._stop()
                    raise KeyboardInterrupt
                self._look()
                try:
                    interruption.is_paused = self._processes.count == 1
                    yield report
                    interruption.is_paused = False
                except (GeneratorExit, KeyboardInterrupt):
                    self._stop()
                    raise
        self._finish()

    @property
    def is_finished(self) -> bool:
        """True if no step is left to be done."""
        return self.step >= self.recipe.steps or self._has_lost_patience

    def _stop(self) -> None:
        if self.save():
            self._callbacks.note(f"stopped after step {self.step}: the same command goes on from there")

    def _finish(self) -> None:
        if self._has_lost_patience:
            self._callbacks.note(
                f"step {self.step}: no new best in {self._since_best} looks at the held-out text, so the run ends; "
                f"the best is {self._folder / 'best'}"
            )
        self.save()
        self._callbacks.export(self.exported(), self._folder / "model")

    def save(self) -> bool:
        """Write a checkpoint. False where the disk refuses: that is reported, and the run goes on with the last one."""
        try:
            save_checkpoint(self._folder / "checkpoints", self.step, self._state(), self._processes)
        except OSError as error:
            self._callbacks.note(f"no checkpoint at step {self.step}: {error.strerror or error}; the run goes on")
            return False
        return True

    def exported(self) -> dict[str, Tensor]:
        """The weights of the model as it would be used, float32 by name: averaged ones where averages are kept.

        All processes call it; with several, only the first is sure to get them.
        """
        values = {name: tensor.detach().float() for name, tensor in self.model.state_dict().items()}
        return self._parallel.whole({**values, **self._weights.tensors, **self._weights.averages})

    def _train_step(self) -> StepReport:
        start = time.perf_counter()
        self.model.train()
        batches = [self._source.next_batch() for _ in range(self.recipe.compute.accumulation)]
        own_targets = sum(int(np.count_nonzero(batch.targets != IGNORED)) for batch in batches)
        num_targets = round(self._processes.sums(own_targets)[0])
        if num_targets == 0:
            raise TrainingError(f"step {self.step + 1}: no token of the batch carries a loss; look at the data")
        # One mean over all batches of all processes: dividing each by its own count would give short ones more weight.
        own_nats = sum(self._differentiate(batch, num_targets, is_last=batch is batches[-1]) for batch in batches)
        loss = self._processes.sums(own_nats)[0] / num_targets
        lr = self.recipe.optimization.lr * lr_share(self.step, self.recipe.steps, self.recipe.scheduling)
        grad_norm = self._clip_gradients()
        skipped = self._why_to_skip(loss, grad_norm)
        if skipped is None:
            self._optimizers.step(lr)
            self._weights.after_update()
            self._recent = [*self._recent, loss][-_RECENT:]
        self.step += 1
        self._count_skipped(skipped, batches, lr)
        report = self._report(loss, lr, grad_norm, num_targets, batches, time.perf_counter() - start, skipped)
        self._record(dataclasses.asdict(report))
        return report

    def _differentiate(self, batch: Batch, num_targets: int, *, is_last: bool) -> float:
        """Add the gradients of a batch; the sum of its nats."""
        with self._parallel.collecting(is_last=is_last):
            nats, objective = self._objective(batch)
            # Gradients become the mean over the processes; what is wanted is their sum.
            (objective * self._processes.count / num_targets).backward()  # type: ignore[no-untyped-call]
        return float(nats)

    def _clip_gradients(self) -> float:
        """The length of all gradients together, before it was brought down to the largest allowed."""
        largest = self.recipe.optimization.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(self._weights.tensors.values(), largest or math.inf)
        return float(self._parallel.complete(norm))

    def _why_to_skip(self, loss: float, grad_norm: float) -> str | None:
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(grad_norm):
            return f"the gradient's length is {grad_norm}"
        if len(self._recent) >= _FEW:
            limit = max(self._recent) + sum(self._recent) / len(self._recent)
            if loss > limit:
                return f"the loss jumps to {loss:.4g}, above the last largest and mean together, {limit:.4g}"
        return None

    def _count_skipped(self, skipped: str | None, batches: list[Batch], lr: float) -> None:
        if skipped is None:
            self._skipped_in_row = 0
            return
        self._num_skipped += 1
        self._skipped_in_row += 1
        own_documents = [place for batch in batches for place in batch.places]
        documents = list(dict.fromkeys(self._processes.gathered(own_documents)))
        more = f" and {len(documents) - _NAMED} more" if len(documents) > _NAMED else ""
        where = f"step {self.step}: {skipped}; {', '.join(documents[:_NAMED])}{more}; learning rate {lr:.3g}"
        if self._skipped_in_row >= self.recipe.checkpointing.max_skipped:
            raise TrainingError(
                f"{self._skipped_in_row} steps in a row were skipped, the last: {where}. {self._what_stays()}: "
                "look at these documents, or try a smaller learning rate in another folder"
            )
        self._callbacks.note(f"{where}: skipped")

    def _what_stays(self) -> str:
        found = find_checkpoint(self._folder / "checkpoints")
        return "There is no checkpoint yet" if found is None else f"The last good checkpoint stays, {found}"

    def _report(
        self,
        loss: float,
        lr: float,
        grad_norm: float,
        num_targets: int,
        batches: list[Batch],
        seconds: float,
        skipped: str | None,
    ) -> StepReport:
        self._seconds += seconds
        self._steps_timed += 1
        num_tokens = self._processes.count * sum(batch.token_ids.size for batch in batches)
        trained = self._weights.num_elements / sum(parameter.numel() for parameter in self.model.parameters())
        operations = num_tokens * operations_per_token(
            self.model.config,
            num_seen=1 + float(np.mean([batch.positions.mean() for batch in batches])),
            trained_share=trained,
            target_share=num_targets / num_tokens,
        )
        rate = operations / seconds / self._processes.count
        return StepReport(
            step=self.step,
            loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            num_targets=num_targets,
            seconds=seconds,
            tokens_per_second=num_tokens / seconds,
            mfu=rate / self._peak_rate.at_least(rate),
            seconds_left=(self.recipe.steps - self.step) * self._seconds / self._steps_timed,
            skipped=skipped,
        )

    def _look(self) -> None:
        """Validate, sample and save where it is time for it, once after each step."""
        if self._looked == self.step:
            return
        checkpointing, callbacks, is_last = self.recipe.checkpointing, self._callbacks, self.step == self.recipe.steps
        validate = callbacks.validate if checkpointing.validate_every else None
        if validate is not None and _is_time(self.step, checkpointing.validate_every, is_last=is_last):
            self._validate(validate)
        if callbacks.sample is not None and _is_time(self.step, checkpointing.sample_every, is_last=is_last):
            self._sample(callbacks.sample)
        self._looked = self.step
        if not is_last and _is_time(self.step, checkpointing.save_every, is_last=False) and not self._skipped_in_row:
            self.save()  # not while steps are skipped: it may be the weights that went wrong

    def _look_before(self) -> None:
        """What a run begins with, to compare with."""
        if self.step > 0:
            return
        if self._callbacks.validate is not None and self.recipe.checkpointing.validate_every:
            self._measure(self._callbacks.validate)
        if self._callbacks.sample is not None:
            self._sample(self._callbacks.sample)

    def _sample(self, sample: Callable[[Transformer], str]) -> None:
        self._record({"step": self.step, "sample": self._used(sample)})

    def _measure(self, validate: Callable[[Transformer], float]) -> float:
        nats: float = self._used(validate)
        self._record({"step": self.step, "validation_loss": nats})
        perplexity = math.exp(nats) if nats < _LARGEST_EXPONENT else math.inf
        self._callbacks.note(f"step {self.step}: held-out text {nats:.4f} nats per token, perplexity {perplexity:,.2f}")
        return nats

    def _record(self, entry: Mapping[str, object]) -> None:
        if self._metrics is not None:
            self._metrics.write(entry)
        self._callbacks.record(entry)

    def _validate(self, validate: Callable[[Transformer], float]) -> None:
        nats = self._measure(validate)
        if nats < self._best:
            self._best, self._since_best = nats, 0
            self._export_best()
        else:
            self._since_best += 1

    def _export_best(self) -> None:
        """A disk that refuses does not end the run."""
        try:
            self._callbacks.export(self.exported(), self._folder / "best")
        except CheckpointError as error:
            self._callbacks.note(f"step {self.step}: the best model is not written: {error}; the run goes on")

    def _used(self, use: Callable[[Transformer], Any]) -> Any:
        """What a callback makes of the model, which is in evaluation and holds averages meanwhile."""
        with self._parallel.eval_model(self.model, self._weights) as model, torch.no_grad():
            return self._processes.on_rank_zero(lambda: use(model.eval()))

    @property
    def _has_lost_patience(self) -> bool:
        patience = self.recipe.checkpointing.patience
        return 0 < patience <= self._since_best

    def _state(self) -> TrainingState:
        tensors = {f"weight:{name}": tensor for name, tensor in self._weights.tensors.items()}
        tensors |= {f"average:{name}": tensor for name, tensor in self._weights.averages.items()}
        tensors |= {f"optimizer:{path}": tensor for path, tensor in self._optimizers.state().items()}
        tensors["random"] = torch.get_rng_state()
        values = {
            "step": self.step,
            "precision": "bfloat16" if self._dtype == torch.bfloat16 else "float32",
            "data": self._source.state(),
            "recipe": dataclasses.asdict(self.recipe),
            "num_skipped": self._num_skipped,
            "skipped_in_row": self._skipped_in_row,
            "recent": self._recent,
            "best": None if math.isinf(self._best) else self._best,
            "since_best": self._since_best,
            "looked": self._looked,
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
        }
        return TrainingState(tensors, values)

    def _resume(self, found: Path, values: dict[str, Any]) -> None:
        _require_same_recipe(values["recipe"], dataclasses.asdict(self.recipe))
        began_with = values["versions"]["torch"]
        if began_with != torch.__version__:
            self._callbacks.note(f"the run began with torch {began_with}: from here on sums may round otherwise")
        parts: dict[str, dict[str, Tensor]] = {"weight": {}, "average": {}, "optimizer": {}, "random": {}}
        for path, tensor in load_tensors(found, self._memory_for, self._processes).items():
            part, _, name = path.partition(":")
            parts[part][name] = tensor
        self._weights.resume(parts["weight"], parts["average"])
        self._optimizers.resume(parts["optimizer"])
        torch.set_rng_state(parts["random"][""])
        self._source.resume(values["data"])
        self.step, self._recent = values["step"], values["recent"]
        self._num_skipped, self._skipped_in_row = values["num_skipped"], values["skipped_in_row"]
        self._best = math.inf if values["best"] is None else values["best"]
        self._since_best, self._looked = values["since_best"], values["looked"]

    def _memory_for(self, path: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        return self._parallel.memory_for(self._weights, path.partition(":")[2], size, dtype)


def _only_awaited(callbacks: Callbacks) -> Callbacks:
    """What a process has to know of the callbacks that another one calls: when it has to wait."""
    return Callbacks(validate=callbacks.validate, sample=callbacks.sample)


def _is_time(step: int, every: int, *, is_last: bool) -> bool:
    return is_last or (every > 0 and step % every == 0)


def _give_back_gaps(layer: torch.nn.Module, inputs: object, hidden: Tensor) -> None:
    """On the way forward, and on the way back."""
    if hidden.requires_grad:  # not for each token of a sample
        give_back_gaps()
        hidden.register_hook(lambda _: give_back_gaps())  # type: ignore[no-untyped-call]


def _checkpoint_layers(model: Transformer) -> None:
    """Let each layer forget what happens inside it, and compute it again when gradients are taken."""
    for layer in model.layers:
        layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)


def _require_same_recipe(old: dict[str, Any], new: dict[str, Any]) -> None:
    """What is looked at on the way, and by whom it is computed, may change; what the weights depend on may not."""
    for name, value in new.items():
        if name in _MAY_CHANGE:
            continue
        was = old.get(name)
        if isinstance(value, dict) and isinstance(was, dict):
            _require_same_recipe(was, value)
        elif (list(value) if isinstance(value, tuple) else value) != was:
            raise ConfigError(f"{name} is {value}, but the run that goes on had {was}: say that, or another folder")
