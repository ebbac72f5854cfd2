"""The training loop: means are right, bad steps are skipped, a stopped run goes on bit by bit the same."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nextword.data.batch import Batch
from nextword.errors import CheckpointError, ConfigError, TrainingError
from nextword.models.transformer import Transformer
from nextword.training import trainer as trainer_module
from nextword.training.callbacks import Callbacks, StepReport
from nextword.training.metrics import read_metrics
from nextword.training.recipe import CheckpointRecipe, ComputeRecipe, OptimizerRecipe, Recipe
from nextword.training.trainer import Trainer
from tests.training.tiny import TextBatches, tiny_transformer

FLOAT32 = ComputeRecipe(precision="float32")
RECIPE = Recipe(steps=6, optimization=OptimizerRecipe(lr=0.01), compute=FLOAT32)


def make_trainer(folder: Path, recipe: Recipe = RECIPE, source: Any = None, **callbacks: Any) -> Trainer:
    source = TextBatches() if source is None else source
    return Trainer(tiny_transformer(), source, recipe, folder=folder, callbacks=Callbacks(**callbacks))


def losses_of(folder: Path) -> list[object]:
    return [entry["loss"] for entry in read_metrics(folder / "metrics.jsonl")]


def test_the_loss_falls_and_every_step_is_reported(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    recipe = dataclasses.replace(RECIPE, steps=120)
    make_trainer(tmp_path, recipe, on_step=reports.append).run()
    assert reports[0].loss == pytest.approx(np.log(13), abs=1.0)
    assert reports[-1].loss < 0.2
    assert [report.step for report in reports] == list(range(1, 121))
    assert reports[-1].seconds_left == 0.0
    assert [entry["step"] for entry in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 121))


class Unequal:
    """A batch of 4 rows, or the same rows one at a time; they have different numbers of targets."""

    def __init__(self, *, at_once: bool) -> None:
        parts = [TextBatches(rows=1, num_ignored=ignored) for ignored in (0, 3, 5, 7)]
        batches = [part.next_batch() for part in parts]
        if at_once:
            fields = ("token_ids", "targets", "positions", "document_ids")
            arrays = {field: np.concatenate([getattr(batch, field) for batch in batches]) for field in fields}
            batches = [Batch(**arrays)]  # type: ignore[arg-type]
        self._batches = batches * 4

    def next_batch(self) -> Batch:
        return self._batches.pop(0)

    def state(self) -> dict[str, object]:
        return {}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_batch_of_four_rows_is_four_batches_of_one(precision: Any, tmp_path: Path) -> None:
    results = []
    for accumulation in (1, 4):
        compute = ComputeRecipe(accumulation=accumulation, precision=precision)
        recipe = dataclasses.replace(RECIPE, steps=1, compute=compute)
        reports: list[StepReport] = []
        folder = tmp_path / str(accumulation)
        trainer = make_trainer(folder, recipe, Unequal(at_once=accumulation == 1), on_step=reports.append)
        trainer.run()
        results.append((reports[0].loss, reports[0].grad_norm, reports[0].num_targets))
    assert results[1] == pytest.approx(results[0], rel=1e-5 if precision == "float32" else 1e-2)


def test_gradients_are_those_of_plain_pytorch(tmp_path: Path) -> None:
    batch = TextBatches().next_batch()
    plain = tiny_transformer()
    halves = [
        torch.nn.functional.cross_entropy(
            plain(torch.from_numpy(batch.token_ids[:, part])).flatten(0, 1),
            torch.from_numpy(batch.targets[:, part]).flatten(),
            reduction="sum",
        )
        for part in (slice(0, 6), slice(6, 12))
    ]
    ((halves[0] + halves[1]) / 22).backward()  # type: ignore[no-untyped-call]
    trainer = make_trainer(tmp_path, dataclasses.replace(RECIPE, optimization=OptimizerRecipe(max_grad_norm=0.0)))
    trainer._train_step()
    for (name, expected), parameter in zip(plain.named_parameters(), trainer.model.parameters(), strict=True):
        assert expected.grad is not None
        assert parameter.grad is not None
        assert float((parameter.grad - expected.grad).norm() / expected.grad.norm()) < 1e-5, name


def test_layers_computed_twice_give_the_same_gradients(tmp_path: Path) -> None:
    norms = []
    for again in (False, True):
        compute = dataclasses.replace(FLOAT32, gradient_checkpointing=again)
        trainer = make_trainer(tmp_path / str(again), dataclasses.replace(RECIPE, compute=compute))
        norms.append(trainer._train_step().grad_norm)
    assert norms[0] == norms[1]


class Poisoned(TextBatches):
    """From the step of this number on the weights become no numbers, for so many steps."""

    def __init__(self, model: Transformer, first: int, count: int) -> None:
        super().__init__()
        self._norm = model.get_parameter("final_norm.weight")
        self._steps = range(first, first + count)

    def next_batch(self) -> Batch:
        with torch.no_grad():
            self._norm.fill_(torch.nan if self.number in self._steps else 1.0)
        return super().next_batch()


def poisoned_trainer(folder: Path, *, count: int, **callbacks: Any) -> Trainer:
    model = tiny_transformer()
    checkpointing = CheckpointRecipe(max_skipped=3, save_every=2)
    source, recipe = Poisoned(model, 2, count), dataclasses.replace(RECIPE, checkpointing=checkpointing)
    return Trainer(model, source, recipe, folder=folder, callbacks=Callbacks(**callbacks))


def test_a_step_whose_loss_is_no_number_is_skipped_and_counted(tmp_path: Path) -> None:
    notes: list[str] = []
    trainer = poisoned_trainer(tmp_path, count=2, note=notes.append)
    trainer.run()
    assert trainer.num_skipped == 2
    assert notes[0].startswith("step 3: the loss is nan; text 3; learning rate 0.00")
    assert all(tensor.isfinite().all() for tensor in trainer.exported().values())
    assert [loss is None for loss in losses_of(tmp_path)] == [False, False, True, True, False, False]


def test_skipping_on_and_on_ends_the_run_with_what_happened(tmp_path: Path) -> None:
    trainer = poisoned_trainer(tmp_path, count=3)
    expected = r"3 steps in a row were skipped, the last: step 5: the loss is nan.*checkpoint stays, .*step-00000002: "
    with pytest.raises(TrainingError, match=expected):
        trainer.run()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]  # of step 4 there is none


def test_a_loss_that_jumps_is_skipped(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer._guard._recent = [0.1] * 10
    assert "the loss jumps to 2." in str(trainer._train_step().skipped)
    trainer._guard._recent = [0.1] * 9
    assert trainer._train_step().skipped is None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_stopped_by_a_signal_goes_on_bit_by_bit_the_same(precision: Any, optimizer: Any, tmp_path: Path) -> None:
    recipe = Recipe(
        steps=6,
        optimization=OptimizerRecipe(optimizer=optimizer),
        compute=ComputeRecipe(precision=precision, ema=0.5, accumulation=2),
    )
    whole = make_trainer(tmp_path / "whole", recipe)
    whole.run()

    def stop(report: StepReport) -> None:
        if report.step == 3:
            signal.raise_signal(signal.SIGTERM)

    notes: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path / "stopped", recipe, on_step=stop, note=notes.append).run()
    assert notes == ["stopped after step 3: run the same command again to resume"]
    again = make_trainer(tmp_path / "stopped", recipe)
    assert again.step == 3
    again.run()
    for name, tensor in whole.exported().items():
        assert torch.equal(tensor, again.exported()[name]), name
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "stopped")


def test_only_what_weights_do_not_depend_on_may_change_in_a_run_that_goes_on(tmp_path: Path) -> None:
    make_trainer(tmp_path).run()
    make_trainer(tmp_path, dataclasses.replace(RECIPE, checkpointing=CheckpointRecipe(save_every=3)))
    with pytest.raises(ConfigError, match=r"lr is 0\.02, but the run to resume has 0\.01"):
        make_trainer(tmp_path, dataclasses.replace(RECIPE, optimization=OptimizerRecipe(lr=0.02)))


def test_a_full_disk_is_reported_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    recipe = dataclasses.replace(RECIPE, checkpointing=CheckpointRecipe(save_every=2))
    trainer = make_trainer(tmp_path, recipe, note=notes.append)
    trainer._train_step()
    trainer.save()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer_module, "save_checkpoint", refuse)
    trainer.run()
    assert trainer.step == 6
    assert notes[0] == "no checkpoint at step 2: No space left on device; training continues"
    assert make_trainer(tmp_path, recipe).step == 1


def test_a_best_model_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    def refuse(tensors: object, path: Path) -> None:
        if path.name == "best":
            raise CheckpointError("best: cannot be written: No space left on device")

    notes: list[str] = []
    trainer = make_trainer(tmp_path, validate=lambda model: 1.0, export=refuse, note=notes.append)
    trainer.run()
    assert trainer.step == 6
    assert notes[-1].startswith("step 6: the best model is not written: best: cannot be written: No space left")


def test_the_best_weights_are_written_and_patience_ends_the_run(tmp_path: Path) -> None:
    nats = iter([9.0, 3.0, 2.0, 2.5, 2.5])
    written: list[str] = []
    notes: list[str] = []
    recipe = dataclasses.replace(RECIPE, steps=20, checkpointing=CheckpointRecipe(validate_every=1, patience=2))
    trainer = make_trainer(
        tmp_path,
        recipe,
        validate=lambda model: next(nats),
        export=lambda tensors, path: written.append(path.name),
        note=notes.append,
    )
    trainer.run()
    assert trainer.step == 4
    assert written == ["best", "best", "model"]
    assert notes[-1].startswith("step 4: no new best in 2 validations, so the run ends; the best is ")


def test_samples_are_taken_without_changing_the_run(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, checkpointing=CheckpointRecipe(sample_every=2))

    def sample(model: Transformer) -> str:
        assert not model.training
        return f"{len(list(model.parameters()))} parameters"

    sampled, plain = make_trainer(tmp_path / "a", recipe, sample=sample), make_trainer(tmp_path / "b", recipe)
    sampled.run()
    plain.run()
    samples = [entry["step"] for entry in read_metrics(tmp_path / "a" / "metrics.jsonl") if "sample" in entry]
    assert samples == [0, 2, 4, 6]
    assert all(torch.equal(tensor, plain.exported()[name]) for name, tensor in sampled.exported().items())


def test_a_batch_without_targets_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="step 1: no token of the batch carries loss"):
        make_trainer(tmp_path, RECIPE, TextBatches(num_ignored=12)).run()


def test_in_another_thread_signals_are_left_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    thread = threading.Thread(target=trainer.run)
    thread.start()
    thread.join()
    assert trainer.step == 6


def test_a_validation_that_a_signal_came_before_is_made_when_the_run_goes_on(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, checkpointing=CheckpointRecipe(validate_every=3))

    def stop(report: StepReport) -> None:
        if report.step == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, recipe, on_step=stop, validate=lambda model: 1.0).run()
    for _ in range(2):  # and once only
        make_trainer(tmp_path, recipe, validate=lambda model: 1.0).run()
    validations = [entry["step"] for entry in read_metrics(tmp_path / "metrics.jsonl") if "validation_loss" in entry]
    assert validations == [0, 3, 6]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, {"a": 1}) for name in ("step", "precision", "num_skipped", "recent", "best", "looked")),
        ("step", None),
        ("step", True),
        ("step", -1),
        ("recent", ["x"]),
        ("data", []),
        ("recipe", 3),
        ("versions", {}),
        ("tensor_files", 3),
        ("tensor_files", [{}]),
    ],
)
def test_a_state_with_a_value_of_another_type_is_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    make_trainer(tmp_path).run()
    (path,) = (tmp_path / "checkpoints").glob("*/state.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(CheckpointError, match=rf"state\.json: .*{name}.* is"):
        make_trainer(tmp_path)
