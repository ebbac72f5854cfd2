"""`nextword finetune`: text and chats change the model that is written; what does not fit is said."""

from __future__ import annotations

import json
import shutil
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


def test_bad_records_are_skipped_and_counted_where_asked(command: Command, tiny: Path) -> None:
    write_chats(*["aaaa"] * 8)
    with Path("chats.jsonl").open("a") as out:
        out.write('{"prompt": "say it"}\n')
    refused = command("finetune", tiny, "--data", "chats.jsonl", "-o", "tuned", *SETTINGS)
    assert refused.code == 2
    assert "chats.jsonl:9: fields prompt match no known form" in refused.err
    told = finetune(command, tiny, "--data", "chats.jsonl", "--skip-bad")
    assert "[1 unreadable record left out; the first: chats.jsonl:9: fields prompt match no known form" in told
    assert "[8 chats, " in told


def without_template(tiny: Path) -> Path:
    """A base model, whose vocabulary has an end token and none of ChatML's."""
    base = Path("base")
    shutil.copytree(tiny, base)
    (base / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|pad|>"}))
    return base


CHATML = "<|im_start|>user\nsay it<|pad|>\n<|im_start|>assistant\n"


def test_a_base_model_is_taught_chats_by_a_named_template(command: Command, tiny: Path) -> None:
    base, data = without_template(tiny), write_chats(*["aaaa"] * 40)
    refused = command("finetune", base, "--data", data, "-o", "tuned", *SETTINGS)
    assert "the model has no chat template: choose one by --chat-template chatml, or give a file" in refused.err
    told = finetune(command, base, "--data", data, "--chat-template", "chatml")
    assert told.startswith("[the vocabulary has no <|im_start|> and <|im_end|>: a turn begins with the text")
    tuned = nextword.load("tuned/model")
    messages = [{"role": "user", "content": "say it"}]
    assert tuned.tokenizer.render_chat(messages) == CHATML
    generation = tuned.chat(messages, max_tokens=9, temperature=0)
    assert (generation.text, generation.completions[0].finish_reason) == ("aaaa", "stop")


def test_an_adapter_keeps_the_template_that_it_was_trained_with(command: Command, tiny: Path) -> None:
    base, data = without_template(tiny), write_chats(*["aaaa"] * 4)
    finetune(command, base, "--data", data, "--method", "lora", "--chat-template", "chatml")
    assert "chat_template.jinja" in [path.name for path in Path("tuned/model").iterdir()]
    messages = [{"role": "user", "content": "say it"}]
    assert nextword.load("tuned/model").tokenizer.render_chat(messages) == CHATML
    assert nextword.load(base, adapter="tuned/model").tokenizer.render_chat(messages) == CHATML
    assert nextword.load(base).tokenizer.chat_template is None


def test_a_template_is_taken_from_a_file(command: Command, tiny: Path) -> None:
    Path("mine.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>")
    finetune(command, tiny, "--data", write_chats(*["aaaa"] * 8), "--chat-template", "mine.jinja")
    messages = [{"role": "user", "content": "hi"}]
    assert nextword.load("tuned/model").tokenizer.render_chat(messages) == "<user>hi<assistant>"
    done = command("finetune", tiny, "--data", "chats.jsonl", "-o", "other", "--chat-template", "none.jinja", *SETTINGS)
    assert done.code == 2
    assert "none.jinja" in done.err
