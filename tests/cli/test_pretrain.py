"""`nextword pretrain` from a text to a folder that nextword and transformers open; recipe files; what is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nextword
from nextword.training.metrics import read_metrics
from tests.cli.conftest import Command

SMALL = ("--hidden-size", "16", "--num-layers", "1", "--num-heads", "2", "--context", "16", "--batch-size", "4")
TEXT = "the cat sat on the mat and the dog sat on the cat\n" * 40


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "cats.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pretrain(command: Command, *arguments: str | Path) -> str:
    done = command("pretrain", *arguments, *SMALL, "--precision", "float32", "--vocab-size", "300")
    assert done.code == 0, done.err
    return done.err


def test_a_text_becomes_a_model_that_writes_and_whose_loss_fell(command: Command, corpus: Path) -> None:
    done = command(
        "pretrain", corpus, *SMALL, "--vocab-size", "300", "--steps", "30", "--lr", "0.02", "--prompt", "the"
    )
    assert done.code == 0
    assert len(done.out.strip()) > 20
    metrics = read_metrics(Path("cats") / "metrics.jsonl")
    losses = [entry["loss"] for entry in metrics if "loss" in entry]
    assert losses[0] == pytest.approx(math.log(300), abs=0.5)
    assert losses[-1] < 3.0  # type: ignore[operator]
    validation = [entry["validation_loss"] for entry in metrics if "validation_loss" in entry]
    held_out = TEXT[-round(0.05 * len(TEXT)) :]
    assert validation[-1] == pytest.approx(nextword.load("cats/model").perplexity(held_out).nats_per_token, abs=0.3)
    assert nextword.load("cats/best").generate("the", max_tokens=5).text


@pytest.fixture
def prepared(command: Command, corpus: Path) -> Path:
    """The corpus as `nextword prepare` writes it, and its tokenizer in the folder `tokenizer`."""
    assert command("tokenizer", "train", corpus, "--vocab-size", "300", "-o", "tokenizer").code == 0
    assert command("prepare", corpus, "--tokenizer", "tokenizer", "-o", "cats-tokens").code == 0
    return Path("cats-tokens")


def losses_of(folder: Path | str) -> list[object]:
    return [entry["loss"] for entry in read_metrics(Path(folder) / "metrics.jsonl") if "loss" in entry]


def test_prepared_tokens_train_as_their_text_does_and_stay_as_they_are(
    command: Command, corpus: Path, prepared: Path
) -> None:
    files = {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()}
    pretrain(command, prepared, "--steps", "3")
    pretrain(command, corpus, "--tokenizer", "tokenizer", "--steps", "3")
    assert losses_of("cats-tokens-run") == losses_of("cats")
    assert {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()} == files


def test_prepared_tokens_have_their_own_tokenizer_and_stand_alone(
    command: Command, corpus: Path, prepared: Path
) -> None:
    assert "of its own tokenizer" in command("pretrain", prepared, "--tokenizer", "tokenizer").err
    assert "which must be the only path" in command("pretrain", corpus, prepared).err


def test_damaged_tokens_are_named_before_anything_is_trained(command: Command, prepared: Path) -> None:
    shard = prepared / "shard-00000.tokens"
    shard.write_bytes(bytes(len(shard.read_bytes())))
    done = command("pretrain", prepared, *SMALL, "--steps", "1")
    assert done.code == 2
    assert "another checksum" in done.err


@pytest.mark.peer
def test_transformers_opens_the_model_and_gets_the_same_logits(command: Command, corpus: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pretrain(command, corpus, "--steps", "3")
    theirs = transformers.AutoModelForCausalLM.from_pretrained("cats/model")
    ours = nextword.load("cats/model", backend="torch")
    token_ids = ours.tokenizer.encode("the cat sat")
    assert transformers.AutoTokenizer.from_pretrained("cats/model").encode("the cat sat") == token_ids
    with torch.no_grad():
        log_probs = torch.log_softmax(theirs(torch.tensor([token_ids])).logits[0, -1].float(), dim=-1)
    distribution = ours.next("the cat sat")
    assert [distribution.log_prob(token_id) for token_id in range(len(log_probs))] == pytest.approx(
        log_probs.tolist(), abs=1e-4
    )


def test_flags_go_before_a_recipe_file_and_its_sections_are_for_people(command: Command, corpus: Path) -> None:
    Path("small.yaml").write_text("files: [cats.txt]\noutput: from-recipe\nsteps: 5\noptimization:\n  lr: 0.5\n")
    pretrain(command, "small.yaml", "--steps", "2", "--save-every", "1")
    (state,) = Path("from-recipe/checkpoints").glob("*/state.json")
    recipe = json.loads(state.read_text())["recipe"]
    assert (recipe["steps"], recipe["optimization"]["lr"]) == (2, 0.5)


def test_an_unknown_key_of_a_recipe_is_refused(command: Command, corpus: Path) -> None:
    Path("odd.yaml").write_text("files: [cats.txt]\nlearning_speed: 3\n")
    done = command("pretrain", "odd.yaml")
    assert done.code == 2
    assert "--learning-speed" in done.err


@pytest.mark.parametrize("content", ["- a", "a: [", "\xff"])
def test_a_file_that_is_no_recipe_is_named(content: str, command: Command) -> None:
    Path("bad.yaml").write_bytes(content.encode("latin-1"))
    done = command("pretrain", "bad.yaml")
    assert done.code == 2
    assert done.err.startswith("nextword: bad.yaml: ")


def test_the_same_command_goes_on_where_the_run_ended(command: Command, corpus: Path) -> None:
    pretrain(command, corpus, "--steps", "3")
    assert "[resuming after step 3]" in pretrain(command, corpus, "--steps", "3")


def test_samples_on_the_way_are_kept(command: Command, corpus: Path) -> None:
    pretrain(command, corpus, "--steps", "4", "--sample-every", "2")
    samples = [entry["step"] for entry in read_metrics(Path("cats/metrics.jsonl")) if "sample" in entry]
    assert samples == [0, 2, 4]


def test_the_run_leaves_curves_and_a_report_with_sample_texts(command: Command, corpus: Path) -> None:
    told = pretrain(command, corpus, "--steps", "4", "--sample-every", "2", "--prompt", "<the")
    assert "[the report is cats/report.html, the loss alone cats/loss.png]" in told
    assert "[step 2 sample:]\n    " in told
    assert Path("cats/loss.png").read_bytes().startswith(b"\x89PNG")
    page = Path("cats/report.html").read_text()
    assert page.count("<svg") == 4
    assert "<pre>&lt;the</pre>" in page
    assert "<td>validate_every</td><td>100</td>" in page
    held_out = next(entry for entry in read_metrics(Path("cats/metrics.jsonl")) if "validation_loss" in entry)
    assert f"<td>held-out at first, step 0</td><td>{held_out['validation_loss']:.4f}, perplexity " in page


def test_curves_go_to_tensorboard_where_it_is_installed(command: Command, corpus: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for steps in ("2", "2"):  # the second time nothing is left to do
        pretrain(command, corpus, "--steps", steps)
    events = reader.EventAccumulator("cats/tensorboard")
    events.Reload()
    losses = {entry["step"]: entry["loss"] for entry in read_metrics(Path("cats/metrics.jsonl")) if "loss" in entry}
    assert {event.step: event.value for event in events.Scalars("loss/training")} == pytest.approx(losses)
    assert [event.step for event in events.Scalars("loss/validation")] == [0, 2]


def test_without_matplotlib_a_note_says_what_to_install(
    command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    told = pretrain(command, corpus, "--steps", "2")
    assert "[no report: matplotlib is not installed: pip install 'nextword[train]']" in told


def test_a_dry_run_says_what_would_be_done_and_does_nothing(command: Command, corpus: Path) -> None:
    done = command("pretrain", corpus, *SMALL, "--dry-run", "--precision", "float32", "--vocab-size", "300")
    assert "parameters      8,944" in done.out  # 300 x 16, 4 x 16 x 16, 3 x 16 x 64, 3 norms
    assert "steps           400 of 4 x 16 tokens, 25,600 in all" in done.out
    assert not Path("cats").exists()


def test_a_dry_run_counts_the_tokenizer_that_would_be_used(command: Command, corpus: Path, prepared: Path) -> None:
    sizes = (*SMALL, "--intermediate-size", "32", "--dry-run", "--precision", "float32")
    of_tokens, of_tokenizer, of_size = (
        command("pretrain", *said, *sizes).out.splitlines()[0]
        for said in ((prepared,), (corpus, "--tokenizer", "tokenizer"), (corpus, "--vocab-size", "1000"))
    )
    vocab_size = len(json.loads((prepared / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"])
    assert of_tokens == of_tokenizer != of_size
    of_size_rows = int(of_size.split()[1].replace(",", "")) - int(of_tokens.split()[1].replace(",", ""))
    assert of_size_rows == 16 * (1000 - vocab_size)


def test_without_a_file_or_with_a_wrong_size_there_is_one_line(command: Command, corpus: Path) -> None:
    assert command("pretrain").code == 2
    done = command("pretrain", corpus, "--hidden-size", "10", "--num-heads", "4")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "hidden_size = 10 must be an even multiple of num_heads = 4" in done.err


@pytest.mark.parametrize(
    "arguments", [("pretrain", "cats.txt"), ("pretrain", "r.yaml"), ("finetune", "m", "--data", "x", "-o", "y")]
)
def test_a_missing_library_is_named_with_what_to_install(
    arguments: tuple[str, ...], command: Command, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.yaml").write_text("steps: 1\n")
    for module in ("nextword.training.pretrain", "nextword.training.finetune", "yaml"):
        monkeypatch.setitem(sys.modules, module, None)
    done = command(*arguments)
    assert done.code == 2
    assert done.err.endswith("is not installed: pip install 'nextword[train]'\n")


def test_help_needs_no_pytorch() -> None:
    script = "import sys, nextword.cli.verbs.pretrain, nextword.cli.verbs.finetune; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_plan_refuses_tokens_that_are_incomplete(command: Command, corpus: Path, tmp_path: Path) -> None:
    tokenizer, tokens = tmp_path / "tokenizer", tmp_path / "tokens"
    assert command("tokenizer", "train", corpus, "--vocab-size", "300", "-o", tokenizer).code == 0
    assert command("prepare", corpus, "--tokenizer", tokenizer, "-o", tokens).code == 0
    header = json.loads((tokens / "tokens.json").read_text())
    (tokens / "tokens.json").write_text(json.dumps({**header, "is_complete": False}))
    done = command("pretrain", tokens, "--dry-run")
    assert done.code == 2
    assert "tokens" in done.err
