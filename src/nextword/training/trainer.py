"""`Trainer`: the one training loop. Batches in; trained weights, checkpoints and reports of each step out.

Pretraining, continued pretraining and fine-tuning differ in the batches and in which parameters ask for gradients. The
loop generates no text and scores none itself: validation, samples and export are hooks given from above.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nextword.data.batch import IGNORED, Batch, BatchSource
from nextword.errors import TrainingError, os_reason
from nextword.models.transformer import Transformer
from nextword.training.callbacks import Callbacks, StepReport
from nextword.training.checkpoint import TrainingState, find_checkpoint, load_tensors, load_values, save_checkpoint
from nextword.training.choose_parallel import choose_parallel
from nextword.training.choose_precision import choose_precision
from nextword.training.heap import retained_heap
from nextword.training.interruption import Interruption
from nextword.training.layer_memory import recompute_layers
from nextword.training.machine import DTYPES, likely_dtype
from nextword.training.metrics import Metrics
from nextword.training.objective import Objective
from nextword.training.optimizers import Optimizers
from nextword.training.processes import ALONE, Processes
from nextword.training.recipe import Precision, Recipe, lr_share
from nextword.training.resuming import require_same_recipe, require_values
from nextword.training.spike_guard import SpikeGuard
from nextword.training.throughput import Throughput
from nextword.training.trained_weights import TrainedWeights, freeze
from nextword.training.validation import Validation

_MAX_NAMED = 8
"""Maximum number of documents named for a skipped batch."""


class Trainer:
    """Training run: the model, and all state that the next step depends on."""

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
        """Resume the run in `folder`, or begin one there; the folder receives checkpoints, metrics and models.

        With several processes `source` yields each its rows of the batches; callbacks run on rank zero alone. Raises
        ConfigError for a recipe that does not fit the model or the stopped run, CheckpointError for a damaged one.
        """
        if recipe.compute.threads is not None:
            torch.set_num_threads(recipe.compute.threads)
        self.model, self.recipe, self.step = model, recipe, 0
        self._source, self._folder, self._processes = source, folder, processes
        self._callbacks = callbacks if processes.is_rank_zero else callbacks.awaited()
        self._parallel = choose_parallel(recipe.compute.parallel, processes)
        found = processes.on_rank_zero(lambda: find_checkpoint(folder / "checkpoints"))
        values = None if found is None else load_values(found)
        if found is not None and values is not None:
            require_values(values, found)
        freeze(model.to(processes.device), recipe.compute.freeze)
        if recipe.compute.gradient_checkpointing:
            recompute_layers(model)
        self._dtype = self._choose_dtype(recipe.compute.precision if values is None else values["precision"])
        trained_dtype = self._parallel.shard(model, self._dtype)
        self._weights = TrainedWeights(model, dtype=trained_dtype, ema=recipe.compute.ema)
        self._optimizers = Optimizers(self._weights.tensors, recipe.optimization)
        self._guard, self._validation = SpikeGuard(recipe.checkpointing.max_skipped), self._make_validation()
        if found is not None and values is not None:
            self._resume(found, values)
        objective = Objective(model, z_loss=recipe.compute.z_loss, device=processes.device)
        self._objective = self._parallel.wrap(objective, self._weights)
        after = -1 if found is None else self.step
        self._metrics = Metrics(folder / "metrics.jsonl", after=after) if processes.is_rank_zero else None
        self._throughput = self._make_throughput()

    @property
    def num_skipped(self) -> int:
        """Number of steps whose update was skipped."""
        return self._guard.num_skipped

    @property
    def is_finished(self) -> bool:
        """True if no step is left to be done."""
        return self.step >= self.recipe.steps or self._validation.ends_run

    def run(self) -> None:
        """Train to the last step; see `steps`."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[StepReport]:
        """Train, yielding each step as it is done; after the last one `Callbacks.export` has written `model`.

        The best model so far is exported as `best` at each validation. Leaving the loop early saves a checkpoint; so do
        SIGTERM and Ctrl-C, which then raise KeyboardInterrupt. With several processes, all leave the loop at the same
        step. Raises TrainingError if step after step has to be skipped.
        """
        with Interruption() as interruption, retained_heap():
            if self.step == 0:
                self._validation.begin()
            self._validate_and_save()  # if the run was stopped between a step and the validation that was due
            while not self.is_finished:
                report = self._train_step()
                self._callbacks.on_step(report)
                self._weights.clear_gradients()  # first, so that the step can reuse their memory
                if self._processes.any(interruption.is_requested):
                    self._stop()
                    raise KeyboardInterrupt
                self._validate_and_save()
                try:
                    interruption.is_paused = self._processes.world_size == 1
                    yield report
                    interruption.is_paused = False
                except (GeneratorExit, KeyboardInterrupt):
                    self._stop()
                    raise
        self._finish()

    def save(self) -> bool:
        """Write a checkpoint; return False, and report it, if writing fails: training then continues."""
        try:
            save_checkpoint(self._folder / "checkpoints", self.step, self._state(), self._processes)
        except OSError as error:
            self._callbacks.note(f"no checkpoint at step {self.step}: {os_reason(error)}; training continues")
            return False
        return True

    def exported(self) -> dict[str, Tensor]:
        """Collect the weights of the model as it would be used, float32 by name: EMA weights where they are kept.

        All processes call it; with several, only the first is sure to get them.
        """
        values = {name: tensor.detach().float() for name, tensor in self.model.state_dict().items()}
        return self._parallel.full_tensors({**values, **self._weights.tensors, **self._weights.averages})

    def _choose_dtype(self, precision: Precision) -> torch.dtype:
        """Return the dtype of a precision; for auto the one in which batches of this run are faster."""
        if precision != "auto":
            return DTYPES[precision]
        if self._parallel.is_sharded:  # a batch needs the whole model, for which there may be no memory
            dtype = self._processes.on_rank_zero(lambda: likely_dtype(precision))
            name = str(dtype).removeprefix("torch.")
            self._callbacks.note(f"precision auto is {name}, in which large products are faster; fsdp times no batches")
            return dtype
        return choose_precision(self.model, self._source, self.recipe.compute, self._processes, self._callbacks.note)

    def _train_step(self) -> StepReport:
        start = time.perf_counter()
        self.model.train()
        batches = [self._source.next_batch() for _ in range(self.recipe.compute.accumulation)]
        num_targets = self._count_targets(batches)
        # One mean over all batches of all processes: dividing each by its own count would give short ones more weight.
        own_nats = sum(self._backward(batch, num_targets, is_last=batch is batches[-1]) for batch in batches)
        loss = self._processes.all_reduce(own_nats)[0] / num_targets
        lr = self.recipe.optimization.lr * lr_share(self.step, self.recipe.steps, self.recipe.scheduling)
        grad_norm = self._clip_gradients()
        fault = self._guard.fault(loss, grad_norm)
        if fault is None:
            self._optimizers.step(lr)
            self._weights.after_update()
            self._guard.take(loss)
        self.step += 1
        if fault is not None:
            self._skip(fault, batches, lr)
        seconds = time.perf_counter() - start
        rate = self._throughput.measure(batches, num_targets=num_targets, seconds=seconds)
        report = StepReport(
            step=self.step,
            loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            num_targets=num_targets,
            seconds=seconds,
            tokens_per_second=rate.tokens_per_second,
            mfu=rate.mfu,
            seconds_left=self._throughput.seconds_left(self.recipe.steps - self.step),
            skipped=fault,
        )
        self._record(dataclasses.asdict(report))
        return report

    def _count_targets(self, batches: Sequence[Batch]) -> int:
        """Count the targets of all processes. Raises TrainingError if there are none."""
        own_targets = sum(int(np.count_nonzero(batch.targets != IGNORED)) for batch in batches)
        num_targets = round(self._processes.all_reduce(own_targets)[0])
        if num_targets == 0:
            raise TrainingError(f"step {self.step + 1}: no token of the batch carries loss; check the data")
        return num_targets

    def _backward(self, batch: Batch, num_targets: int, *, is_last: bool) -> float:
        """Add the gradients of a batch; return the sum of its nats."""
        with self._parallel.accumulating(is_last=is_last):
            nats, objective = self._objective(batch)
            # DDP and FSDP average gradients over the processes; the scale makes that their sum.
            (objective * self._processes.world_size / num_targets).backward()  # type: ignore[no-untyped-call]
        return float(nats)

    def _clip_gradients(self) -> float:
        """Clip gradients to `max_grad_norm`; return their norm before."""
        largest = self.recipe.optimization.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(self._weights.tensors.values(), largest or math.inf)
        return float(self._parallel.full_tensor(norm))

    def _skip(self, fault: str, batches: Sequence[Batch], lr: float) -> None:
        """Report a skipped step with its documents. Raises TrainingError after too many."""
        own_documents = [place for batch in batches for place in batch.places]
        documents = list(dict.fromkeys(self._processes.all_gather(own_documents)))
        more = f" and {len(documents) - _MAX_NAMED} more" if len(documents) > _MAX_NAMED else ""
        where = f"step {self.step}: {fault}; {', '.join(documents[:_MAX_NAMED])}{more}; learning rate {lr:.3g}"
        found = find_checkpoint(self._folder / "checkpoints")
        stays = "There is no checkpoint yet" if found is None else f"The last good checkpoint stays, {found}"
        advice = f"{stays}: check these documents, or try a smaller learning rate in another folder"
        self._guard.skip(where, advice=advice)
        self._callbacks.note(f"{where}: skipped")

    def _validate_and_save(self) -> None:
        """Validate, sample and save where due; called once after each step."""
        every, is_last = self.recipe.checkpointing.save_every, self.step == self.recipe.steps
        if not self._validation.after(self.step, is_last=is_last) or is_last:
            return
        if every > 0 and self.step % every == 0 and not self._guard.num_in_row:
            self.save()  # not while steps are skipped: the weights may be the fault

    def _stop(self) -> None:
        if self.save():
            self._callbacks.note(f"stopped after step {self.step}: run the same command again to resume")

    def _finish(self) -> None:
        if self._validation.ends_run:
            self._callbacks.note(
                f"step {self.step}: no new best in {self._validation.num_since_best} validations, so the run ends; "
                f"the best is {self._folder / 'best'}"
            )
        self.save()
        self._callbacks.export(self.exported(), self._folder / "model")

    def _record(self, entry: Mapping[str, object]) -> None:
        if self._metrics is not None:
            self._metrics.write(entry)
        self._callbacks.record(entry)

    def _state(self) -> TrainingState:
        tensors = self._weights.state()
        tensors |= {f"optimizer:{path}": tensor for path, tensor in self._optimizers.state().items()}
        tensors["random"] = torch.get_rng_state()
        values = {
            "step": self.step,
            "precision": "bfloat16" if self._dtype == torch.bfloat16 else "float32",
            "data": self._source.state(),
            "recipe": dataclasses.asdict(self.recipe),
            **self._guard.state(),
            **self._validation.state(),
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
        }
        return TrainingState(tensors, values)

    def _resume(self, found: Path, values: Mapping[str, Any]) -> None:
        require_same_recipe(values["recipe"], dataclasses.asdict(self.recipe))
        began_with = values["versions"]["torch"]
        if began_with != torch.__version__:
            self._callbacks.note(f"the run began with torch {began_with}: results may differ by rounding from here on")
        parts: dict[str, dict[str, Tensor]] = {"weight": {}, "average": {}, "optimizer": {}, "random": {}}
        for path, tensor in load_tensors(found, self._memory_for, self._processes).items():
            part, _, name = path.partition(":")
            parts[part][name] = tensor
        self._weights.resume(parts["weight"], parts["average"])
        self._optimizers.resume(parts["optimizer"])
        torch.set_rng_state(parts["random"][""])
        self._source.resume(values["data"])
        self._guard.resume(values)
        self._validation.resume(values)
        self.step = values["step"]
        self._callbacks.note(f"resuming after step {self.step}")

    def _memory_for(self, path: str, size: torch.Size, dtype: torch.dtype) -> Tensor | None:
        return self._parallel.memory_for(self._weights, path.partition(":")[2], size, dtype)

    def _make_validation(self) -> Validation:
        return Validation(
            self.model,
            self._weights,
            self.recipe.checkpointing,
            self._callbacks,
            parallel=self._parallel,
            processes=self._processes,
            record=self._record,
            export_best=lambda: self._callbacks.export(self.exported(), self._folder / "best"),
        )

    def _make_throughput(self) -> Throughput:
        return Throughput(
            self.model.config,
            self._dtype,
            trained_share=self._weights.num_elements / sum(parameter.numel() for parameter in self.model.parameters()),
            num_processes=self._processes.world_size,
        )
