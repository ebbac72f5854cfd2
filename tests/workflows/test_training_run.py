"""`pretrain` and `finetune` from Python: lazy runs that train, stop, go on bit by bit, and show themselves."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import nextword as nw
from nextword.training.finetune_recipe import FinetuneRecipe
from nextword.training.options import option_types
from nextword.training.pretrain_recipe import PretrainRecipe
from nextword.workflows.finetune import plan_finetune
from nextword.workflows.training_options import FinetuneOptions, PretrainOptions

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_layers": 1,
    "num_heads": 2,
    "context": 16,
    "batch_size": 4,
    "vocab_size": 300,
    "precision": "float32",
    "threads": 1,
    "steps": 6,
    "validate_every": 3,
}


@pytest.fixture(scope="module")
def whole(corpus: Path) -> nw.TrainingRun:
    """A run that was never stopped."""
    return nw.pretrain(corpus, output=corpus.parent / "whole", **SMALL).train()


def assert_same_bits(run: nw.TrainingRun, other: nw.TrainingRun) -> None:
    weights, others = (one.model_folder / "model.safetensors" for one in (run, other))
    assert weights.read_bytes() == others.read_bytes()
    assert run.curve("loss") == other.curve("loss")
    assert run.curve("validation_loss") == other.curve("validation_loss")


@pytest.mark.parametrize(("keywords", "recipe"), [(PretrainOptions, PretrainRecipe), (FinetuneOptions, FinetuneRecipe)])
def test_the_keywords_have_the_names_and_types_of_the_recipes_fields(keywords: Any, recipe: Any) -> None:
    assert get_type_hints(keywords) == option_types(recipe)
    assert not keywords.__required_keys__


@pytest.mark.parametrize(("function", "recipe"), [(nw.pretrain, PretrainRecipe), (nw.finetune, FinetuneRecipe)])
def test_help_lists_every_setting(function: Callable[..., object], recipe: Any) -> None:
    words = set(re.findall(r"\w+", function.__doc__ or ""))
    assert option_types(recipe).keys() <= words


def test_nothing_is_trained_before_it_is_asked_for(corpus: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    run = nw.pretrain(corpus, output=tmp_path / "run", on_note=notes.append, **SMALL)
    assert (run.step, run.num_steps, run.is_finished) == (0, 6, False)
    assert not run.model_folder.exists()
    assert len(notes) == 2
    assert str(run.plan).startswith("parameters      ")


def test_steps_give_live_metrics_and_the_trained_model(corpus: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    run = nw.pretrain(corpus, output=tmp_path / "run", on_step=lambda step: heard.append(step.step), **SMALL)
    reports = list(run.steps())
    assert [report.step for report in reports] == heard == [1, 2, 3, 4, 5, 6]
    assert run.curve("loss").values == [report.loss for report in reports]
    assert run.curve("validation_loss").steps == [0, 3, 6]
    assert run.is_finished
    assert run.load().next("the").entropy > 0
    assert run.load("best").next("the").entropy > 0
    assert (run.folder / "report.html").exists()


def test_a_loop_left_early_goes_on_bit_by_bit_the_same(corpus: Path, tmp_path: Path, whole: nw.TrainingRun) -> None:
    notes: list[str] = []
    stopped = nw.pretrain(corpus, output=tmp_path / "run", on_note=notes.append, **SMALL)
    for step in stopped.steps():
        if step.step == 3:
            break
    assert notes[-1].startswith("stopped after step 3")
    again = nw.pretrain(corpus, output=tmp_path / "run", **SMALL)
    assert again.step == 3
    assert_same_bits(again.train(), whole)


def test_the_same_object_goes_on_too(corpus: Path, tmp_path: Path, whole: nw.TrainingRun) -> None:
    run = nw.pretrain(corpus, output=tmp_path / "run", **SMALL)
    next(run.steps())
    for _ in range(2):
        for _ in run.steps():
            break
    assert run.step == 3
    run.load()
    assert_same_bits(run, whole)


def go_through(run: nw.TrainingRun, body: Callable[[Any], None]) -> None:
    for step in run.steps():
        body(step)


@pytest.mark.parametrize("during", ["step", "body"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_raises_keyboard_interrupt(
    during: str, number: signal.Signals, corpus: Path, tmp_path: Path, whole: nw.TrainingRun
) -> None:
    def stop(step: Any, *, where: str) -> None:
        if during == where and step.step == 2:
            signal.raise_signal(number)

    run = nw.pretrain(corpus, output=tmp_path / "run", on_step=lambda step: stop(step, where="step"), **SMALL)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        go_through(run, lambda step: stop(step, where="body"))
    assert signal.getsignal(number) == before
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["step-00000002"]
    assert_same_bits(nw.pretrain(corpus, output=tmp_path / "run", **SMALL).train(), whole)


def test_an_error_in_the_loop_saves_and_is_passed_on(corpus: Path, tmp_path: Path) -> None:
    run = nw.pretrain(corpus, output=tmp_path / "run", **SMALL)
    with pytest.raises(ZeroDivisionError):
        go_through(run, lambda step: print(1 / (step.step - 2)))
    assert (run.folder / "checkpoints" / "step-00000002").exists()


def test_a_run_shows_itself(whole: nw.TrainingRun) -> None:
    assert str(whole).startswith("Pretraining on ")
    assert ": step 6 of 6, in " in str(whole)
    shown = whole._repr_html_()
    assert shown.count("<polyline") == 3
    assert "perplexity" in shown


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    records = [{"prompt": "say it", "completion": "aaaa"}] * 8
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_loaded_model_is_finetuned_and_its_context_is_the_default(
    whole: nw.TrainingRun, chats: Path, tmp_path: Path
) -> None:
    samples: list[int] = []
    run = nw.finetune(
        whole.load(),
        [chats],
        output=tmp_path / "tuned",
        method="lora",
        rank=2,
        on="text",
        field="completion",
        steps=2,
        lr=0.01,
        validation=0.0,
        on_sample=lambda step, text: samples.append(step),
    ).train()
    assert samples == [0, 2]
    assert run._setup.settings["data"]["context"] == 16  # type: ignore[index]
    assert sorted(path.name for path in run.model_folder.iterdir())[0] == "adapter_config.json"
    assert run.load().directory.adapter == run.model_folder
    with pytest.raises(nw.ConfigError, match="an adapter is merged"):
        nw.finetune(run.load(), chats, output=tmp_path / "never", method="lora")
    with pytest.raises(nw.ConfigError, match="nothing was held out"):
        run.load("best")


def test_a_plan_reads_no_data(whole: nw.TrainingRun) -> None:
    plan = plan_finetune(whole.model_folder, method="lora", rank=2, steps=7)
    assert plan.num_trained < plan.num_weights
    assert "steps           7 of 4 x 16 tokens" in str(plan)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stpes": 3}, "unknown setting 'stpes': did you mean 'steps'?"),
        ({"optimizer": "sgd"}, "optimizer = 'sgd': must be one of adamw, muon"),
        ({"lr": "high"}, "lr = 'high': must be a number"),
        ({"lr": -1}, "lr must be above 0"),
        ({"steps": 2.5}, "steps = 2.5: must be a whole number"),
        ({"files": []}, "no files: name files or folders with text"),
        ({"files": None}, "files = None: must be "),
        ({"output": 3}, "output = 3: must be a string or a path"),
    ],
)
def test_wrong_values_are_errors_that_say_what_is_allowed(
    wrong: dict[str, Any], said: str, corpus: Path, tmp_path: Path
) -> None:
    asked = {"files": corpus, "output": tmp_path / "run", **wrong}
    with pytest.raises(nw.NextwordError) as caught:
        nw.pretrain(**asked)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": None}, "model must be a name, a path or a LanguageModel"),
        ({"method": "qlora"}, "method = 'qlora': must be one of full, lora, dora, ia3, prompt"),
        ({"targets": ["head"]}, "target 'head': must be one of q_proj"),
        ({"on": "chat"}, "on = 'chat': must be one of chats, text"),
    ],
)
def test_wrong_values_of_finetuning(
    wrong: dict[str, Any], said: str, whole: nw.TrainingRun, chats: Path, tmp_path: Path
) -> None:
    asked = {"model": whole.model_folder, "data": chats, "output": tmp_path / "run", "method": "lora", **wrong}
    with pytest.raises(nw.NextwordError) as caught:
        nw.finetune(**asked)
    assert str(caught.value).startswith(said)
