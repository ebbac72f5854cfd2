"""`precision: auto` times batches of the run, takes the faster precision, and changes nothing of the run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nextword.adapters.attach import attach
from nextword.adapters.spec import AdapterSpec
from nextword.models.transformer import Transformer
from nextword.training import choose_precision
from nextword.training.callbacks import Callbacks
from nextword.training.objective import Objective
from nextword.training.processes import Processes
from nextword.training.recipe import ComputeRecipe, OptimizerRecipe, Recipe
from nextword.training.trainer import Trainer
from tests.training.tiny import TextBatches, tiny_transformer

AUTO = Recipe(
    steps=3,
    optimization=OptimizerRecipe(lr=0.01),
    compute=ComputeRecipe(z_loss=0.01, ema=0.5, freeze=("layers.0.mlp.*",), gradient_checkpointing=True),
)


@pytest.fixture(autouse=True)
def equal_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let products take as long in each precision, so that batches are timed on every processor."""
    monkeypatch.setattr(choose_precision, "layer_seconds", lambda dtype: 1.0)


class Machine:
    """A clock that only batches advance, by so many seconds in each precision, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: Iterator[float]) -> None:
        self.now, self.dtypes = 0.0, list[torch.dtype]()
        forward = Objective.forward

        def timed(objective: Objective, batch: Any) -> Any:
            dtype = objective.model.embedding.weight.dtype
            self.dtypes.append(dtype)
            self.now += next(seconds[str(dtype).removeprefix("torch.")], 1000.0)
            return forward(objective, batch)

        monkeypatch.setattr(Objective, "forward", timed)
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def train(folder: Path, recipe: Recipe, model: Transformer | None = None) -> tuple[Trainer, list[str]]:
    notes: list[str] = []
    model = tiny_transformer() if model is None else model
    trainer = Trainer(model, TextBatches(), recipe, folder=folder, callbacks=Callbacks(note=notes.append))
    trainer.run()
    return trainer, notes


def in_precision(precision: Any) -> Recipe:
    return dataclasses.replace(AUTO, compute=dataclasses.replace(AUTO.compute, precision=precision))


def with_adapter() -> Transformer:
    model = tiny_transformer()
    attach(model, AdapterSpec(method="lora", rank=2))
    return model


@pytest.mark.parametrize("make_model", [tiny_transformer, with_adapter])
@pytest.mark.parametrize("faster", ["float32", "bfloat16"])
def test_weights_are_those_of_the_faster_precision_bit_by_bit(
    faster: str, make_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explicit, _ = train(tmp_path / "explicit", in_precision(faster), make_model())
    seconds = {name: iter([0.1] * 8 if name == faster else [0.2] * 8) for name in ("float32", "bfloat16")}
    Machine(monkeypatch, **seconds)
    chosen, notes = train(tmp_path / "auto", AUTO, make_model())
    slower = "float32" if faster == "bfloat16" else "bfloat16"
    expected = f"precision auto is {faster}: a batch takes 0.1 s forward and backward, 0.2 s in {slower}"
    assert [note for note in notes if note.startswith("precision")] == [expected]
    for name, tensor in explicit.exported().items():
        assert torch.equal(tensor, chosen.exported()[name]), name


def test_batches_of_the_run_are_timed_and_the_best_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, float32=iter([0.9, 0.3, 0.3, 0.3]), bfloat16=iter([0.1, 0.4, 0.5, 0.2]))
    _, notes = train(tmp_path, AUTO)
    assert notes[0] == "precision auto is bfloat16: a batch takes 0.1 s forward and backward, 0.3 s in float32"
    assert machine.dtypes == [torch.float32, torch.bfloat16] * 4 + [torch.bfloat16] * 3


def test_long_batches_with_a_clear_winner_are_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, float32=iter([9.0, 9.0]), bfloat16=iter([10.0, 8.0, 30.0]))
    train(tmp_path / "close", AUTO)
    assert len(machine.dtypes) == 6 + 3  # close in two rounds, clear in the third
    machine = Machine(monkeypatch, float32=iter([9.0]), bfloat16=iter([6.0]))
    train(tmp_path / "clear", AUTO)
    assert len(machine.dtypes) == 2 + 3


def test_a_clear_lead_on_a_quarter_of_the_rows_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(float32: list[float], bfloat16: list[float]) -> tuple[str, int]:
        machine, notes = Machine(monkeypatch, float32=iter(float32), bfloat16=iter(bfloat16)), list[str]()
        source, compute = TextBatches(rows=9), ComputeRecipe()
        choose_precision.choose_precision(tiny_transformer(), source, compute, Processes(), notes.append)
        return notes[0], len(machine.dtypes)

    clear = (
        "precision auto is bfloat16: a part of a batch, 2 of 9 rows, takes 0.3 s forward and backward, 0.6 s in float32"
    )
    assert chosen([0.9, 0.6], [0.3, 0.5]) == (clear, 4)
    close = "precision auto is float32: a batch takes 1.5 s forward and backward, 1.8 s in bfloat16"
    assert chosen([0.4, 0.4, 1.5, 1.5, 1.5, 1.5], [0.5, 0.3, 1.8, 1.8, 1.8, 1.8]) == (close, 12)
    short = "precision auto is bfloat16: a batch takes 0.4 s forward and backward, 0.8 s in float32"
    assert chosen([0.2, 0.2, 0.8, 0.8, 0.8, 0.8], [0.1, 0.1, 0.4, 0.4, 0.4, 0.4]) == (short, 12)


def test_far_slower_products_decide_without_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(ratio: float) -> str:
        Machine(monkeypatch, float32=iter([0.2] * 4), bfloat16=iter([0.1] * 4))
        monkeypatch.setattr(choose_precision, "layer_seconds", {torch.float32: 1.0, torch.bfloat16: ratio}.__getitem__)
        notes: list[str] = []
        arguments = tiny_transformer(), TextBatches(), ComputeRecipe(), Processes()
        choose_precision.choose_precision(*arguments, notes.append)
        return notes[0]

    assert chosen(30.0) == "precision auto is float32: products in bfloat16 take 30 times as long here"
    assert chosen(3.0) == "precision auto is bfloat16: a batch takes 0.1 s forward and backward, 0.2 s in float32"


def test_a_resumed_run_keeps_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, float32=iter([0.1] * 4), bfloat16=iter([0.2] * 4))
    _, notes = train(tmp_path, AUTO)
    assert notes[0].startswith("precision auto is float32")
    machine = Machine(monkeypatch, float32=iter([0.2] * 4), bfloat16=iter([0.1] * 4))
    again, notes = train(tmp_path, AUTO)
    assert notes == ["resuming after step 3"]
    assert machine.dtypes == []
    assert again._dtype == torch.float32


def test_processes_choose_by_their_times_together(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, float32=iter([0.2] * 4), bfloat16=iter([0.1] * 4))
    monkeypatch.setattr(Processes, "all_reduce", lambda _, *own: [own[0] + 0.2, own[1] + 0.5])  # of the other process
    notes: list[str] = []
    compute, processes = ComputeRecipe(), Processes(world_size=2)
    chosen = choose_precision.choose_precision(tiny_transformer(), TextBatches(), compute, processes, notes.append)
    assert chosen == torch.float32
    assert notes == ["precision auto is float32: a batch takes 0.2 s forward and backward, 0.3 s in bfloat16"]


def test_nothing_of_the_run_has_changed_after_the_timing() -> None:
    model, source = tiny_transformer(), TextBatches()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    choose_precision.choose_precision(model, source, ComputeRecipe(), Processes(), lambda _: None)
    assert source.number == 0
    assert torch.equal(torch.get_rng_state(), random)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, before[name]), name
        assert not parameter._post_accumulate_grad_hooks, name
