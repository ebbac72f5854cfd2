"""`nextword finetune`: text and chats change the model that is written; what does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nextword
from nextword.training.metrics import read_metrics
from tests.cli.conftest import Command

SETTINGS = ("--steps", "40", "--lr", "0.05", "--context", "64", "--batch-size", "2", "--validate-every", "20")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_chats(*answers: str) -> str:
    records = [{"prompt": "say it", "completion": answer} for answer in answers]
    Path("chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return "chats.jsonl"


def finetune(command: Command, *arguments: str | Path) -> str:
    done = command("finetune", *arguments, "-o", "tuned", "--precision", "float32", *SETTINGS)
    assert done.code == 0, done.err
    return done.err


def losses(kind: str) -> list[float]:
    return [float(str(entry[kind])) for entry in read_metrics(Path("tuned/metrics.jsonl")) if kind in entry]


def test_answers_of_chats_become_more_probable(command: Command, tiny: Path) -> None:
    told = finetune(command, tiny, "--data", write_chats(*["aaaa"] * 40))
    assert told.startswith("[40 chats, 160 of 720 tokens carry loss]")
    assert losses("loss")[-1] < losses("loss")[0] / 2
    assert losses("validation_loss")[-1] < 3.0
    messages = [{"role": "user", "content": "say it"}]
    assert nextword.load("tuned/model").chat(messages, max_tokens=3, temperature=0).text.startswith("a")
    assert nextword.load("tuned/model").directory.generation_defaults["temperature"] == 0.2


def test_chats_too_long_are_counted(command: Command, tiny: Path) -> None:
    told = finetune(command, tiny, "--data", write_chats("a" * 100, "b", "c", "d"))
    assert "[1 chat longer than 64 tokens left out; the longest has " in told


def test_a_pretrained_model_goes_on_with_other_text(command: Command) -> None:
    shape = ("--hidden-size", "16", "--num-layers", "1", "--num-heads", "2", "--context", "64", "--vocab-size", "300")
    for name, text in (("first", "the cat sat on the mat. "), ("second", "hgfedcba ")):
        Path(f"{name}.txt").write_text(text * 100)
    assert command("pretrain", "first.txt", *shape, "--steps", "2").code == 0
    finetune(command, "first/model", "--data", "second.txt", "--on", "text")
    assert losses("loss")[-1] < losses("loss")[0] / 2
    found = nextword.load("tuned/model").perplexity("hgfedcba " * 5).nats_per_token
    assert found < nextword.load("first/model").perplexity("hgfedcba " * 5).nats_per_token / 2


def test_prepared_tokens_have_to_be_the_models(command: Command) -> None:
    Path("text.txt").write_text("the cat sat on the mat. " * 100)
    shape = ("--hidden-size", "16", "--num-layers", "1", "--num-heads", "2", "--context", "64", "--vocab-size", "300")
    assert command("pretrain", "text.txt", *shape, "--steps", "1", "-o", "first").code == 0
    finetune(command, "first/model", "--data", "first/tokens", "--on", "text")
    assert command("tokenizer", "train", "text.txt", "--kind", "characters", "-o", "other").code == 0
    assert command("prepare", "text.txt", "--tokenizer", "other", "-o", "tokens").code == 0
    done = command("finetune", "first/model", "--data", "tokens", "--on", "text", "-o", "never", "--context", "64")
    assert "tokens of another tokenizer than the model's" in done.err


def test_damaged_tokens_are_named_before_anything_is_trained(command: Command) -> None:
    Path("text.txt").write_text("the cat sat on the mat. " * 100)
    shape = ("--hidden-size", "16", "--num-layers", "1", "--num-heads", "2", "--context", "64", "--vocab-size", "300")
    assert command("pretrain", "text.txt", *shape, "--steps", "1", "-o", "first").code == 0
    shard = Path("first/tokens/shard-00000.tokens")
    shard.write_bytes(bytes(len(shard.read_bytes())))
    done = command("finetune", "first/model", "--data", "first/tokens", "--on", "text", "-o", "not", "--context", "64")
    assert done.code == 2
    assert "another checksum" in done.err


def test_a_recipe_can_say_on_what_and_true(command: Command, tiny: Path) -> None:
    Path("text.txt").write_text("abc " * 400)
    Path("again.yaml").write_text("on: text\ndata: text.txt\noutput: tuned\ncontext: 64\nsteps: 1\ndry_run: true\n")
    assert "steps           1 of 4 x 64 tokens" in command("finetune", tiny, "again.yaml").out
    Path("again.yaml").write_text(Path("again.yaml").read_text().replace("true", "false"))
    assert "end-of-sequence token" in command("finetune", tiny, "again.yaml").err  # of this tokenizer: it was read


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--data", "chats.jsonl", "--context", "60000"), "context = 60000: the model attends to at most 50000 tokens"),
        (("--data", "chats.jsonl", "--context", "8"), "none of 2 chats fits into 8 tokens"),
        (("--data", "chats.jsonl", "--batch-size", "0"), "batch_size 0 must be at least 1"),
        (("--data", "none.jsonl"), "none.jsonl"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: tuple[str, ...], problem: str, command: Command, tiny: Path
) -> None:
    write_chats("a", "b")
    done = command("finetune", tiny, *arguments, "-o", "tuned")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert problem in done.err


def test_a_prompt_is_trained_that_both_backends_put_before_texts(command: Command, tiny: Path) -> None:
    finetune(command, tiny, "--data", write_chats(*["aaaa"] * 40), "--method", "prompt", "--virtual-tokens", "4")
    assert losses("loss")[-1] < losses("loss")[0]
    assert losses("validation_loss")[-1] < losses("validation_loss")[0]
    messages = [{"role": "user", "content": "say it"}]
    log_probs = []
    for backend in ("torch", "native"):
        model = nextword.load("tuned/model", backend=backend, weights="f32")
        answer = model.chat(messages, max_tokens=3, temperature=0, logprobs=0)
        log_probs.append([token.log_prob for token in answer.completions[0].tokens])
    assert log_probs[0] == pytest.approx(log_probs[1], abs=1e-4)
    done = command("merge", tiny, "tuned/model", "-o", "merged")
    assert (done.code, "it stays an adapter" in done.err) == (2, True)


def test_a_prompt_learns_from_chats_alone(command: Command, tiny: Path) -> None:
    Path("text.txt").write_text("abc " * 100)
    done = command(
        "finetune", tiny, "--data", "text.txt", "--on", "text", "--method", "prompt", "-o", "tuned", "--context", "64"
    )
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "use --on chats" in done.err


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("full", "3,056"), ("lora", "3,504, of which 448 are trained"), ("prompt", "3,216, of which 160 are trained")],
)
def test_a_dry_run_reads_no_data(command: Command, tiny: Path, method: str, parameters: str) -> None:
    done = command(
        "finetune", tiny, "--data", "none.jsonl", "--method", method, "-o", "tuned", "--dry-run", *SETTINGS,
        "--precision", "float32",
    )  # fmt: skip
    assert f"parameters      {parameters}\n" in done.out
    assert "steps           40 of 2 x 64 tokens, 5,120 in all" in done.out
    assert not Path("tuned").exists()


@pytest.mark.parametrize("method", ["lora", "dora", "ia3"])
def test_an_adapter_is_trained_while_the_model_stays(command: Command, tiny: Path, method: str) -> None:
    finetune(command, tiny, "--data", write_chats(*["aaaa"] * 40), "--method", method)
    assert losses("loss")[-1] < losses("loss")[0]
    adapter = nextword.load("tuned/model")
    messages = [{"role": "user", "content": "say it"}]
    answer = adapter.chat(messages, max_tokens=1, temperature=0, logprobs=0)
    base = nextword.load(tiny).chat(messages, max_tokens=1, temperature=0, logprobs=0)
    assert answer.completions[0].tokens[0].log_prob != base.completions[0].tokens[0].log_prob
    assert sorted(path.name for path in Path("tuned/model").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
