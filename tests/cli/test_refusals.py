"""Bad command lines: exit code 2, nothing on standard output, one line on standard error that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextword.cli import GROUPS, VERBS
from tests.cli.conftest import Command

MODEL_VERBS = ("generate", "chat", "summarize", "next", "score", "tokenize")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("generte", "unknown command 'generte': did you mean 'generate'? nextword --help lists all"),
        ("list", "unknown command 'list': did you mean 'models'?"),
        ("run", "unknown command 'run': did you mean 'chat'?"),
        ("deploy", "unknown command 'deploy': nextword --help lists all"),
        ("--json models", "unknown command '--json'"),
        ("generate", "MODEL (nextword generate --help lists all options)"),
        ("generate {tiny}", "the prompt is empty"),
        ("generate {tiny} hi --temprature 1", "--temprature, 1; did you mean --temperature?"),
        ("generate {tiny} hi there", "there (nextword generate --help lists all options)"),
        ("generate {tiny} hi --top-p much", "--top-p: could not convert string to float: 'much'"),
        ("generate {tiny} hi --top-p", "Missing value for argument '--top-p'"),
        ("generate {tiny} hi --logit-bias 5", "Missing value for argument '--logit-bias'"),
        ("generate {tiny} hi --order ours", "'--order'. Expected one of ('nextword', 'transformers', 'vllm'"),
        ("generate {tiny} hi --top-p 2", "top_p = 2.0: must be a number above 0 and at most 1"),
        ("generate nosuch hi --top-p 2", "top_p = 2.0"),
        ("generate {tiny} hi --min-tokens 9 --max-tokens 5", "min_tokens = 9 is more than max_tokens = 5"),
        ("chat {tiny} --n 2", "n = 2: a conversation continues from one answer"),
        ("score {tiny} a", "at least two are needed"),
        ("perplexity {tiny} text --skip-unreadable", "--skip-unreadable is now --skip-bad"),
        ("summarize {tiny} nosuch.txt", "nosuch.txt: cannot be read: No such file"),
        ("summarize {tiny} {tiny}", "cannot be read: Is a directory"),
        ("summarize {tiny} README.md --length huge", "Expected one of ('short', 'medium', 'long')"),
        ("models nosuch", "nosuch: no such file or folder"),
        ("pull nosuch", "nosuch: no such name: `nextword models` lists them; hf:owner/name"),
        ("pull hf:nosuch", "'hf:nosuch' names no model of the Hub: write hf:owner/name, hf:owner/name:Q4_K_M"),
        ("pull", "NAME"),
        ("completion csh", "Expected one of ('bash', 'zsh', 'fish')"),
    ],
)
def test_a_bad_line_is_refused_in_one_line(command: Command, tiny: Path, line: str, message: str) -> None:
    done = command(*line.format(tiny=tiny).split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("nextword: ")
    assert done.err.count("\n") == 1
    assert message in done.err


@pytest.mark.parametrize(
    "line",
    [
        "perplexity nosuch {text}",
        "compare nosuch nosuch {text}",
        "surprise nosuch {text}",
        "classify nosuch {text} --labels a,b",
        "rouge nosuch {text}",
        "decoding-report nosuch {text}",
        "evaluate nosuch --tasks {text}",
    ],
)
@pytest.mark.parametrize(
    ("page", "message"),
    [("nosuch/page.html", "nosuch is no folder"), (".", "this is a folder, name a file in it")],
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(
    command: Command, tmp_path: Path, line: str, page: str, message: str
) -> None:
    pytest.importorskip("lm_eval")
    (tmp_path / "text").write_text("a text\n")
    done = command(*line.format(text=tmp_path / "text").split(), "--html", tmp_path / page)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


@pytest.mark.parametrize("verb", ["generate", "next"])
def test_an_empty_prompt_is_refused(command: Command, tiny: Path, verb: str) -> None:
    done = command(verb, tiny, "")
    assert (done.code, done.err) == (2, "nextword: the prompt is empty: give at least one token to continue\n")


@pytest.mark.parametrize("verb", MODEL_VERBS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nosuch", "no model at 'nosuch': give a file or folder that exists"),
        ("~nosuchuser/model", "no model at '~nosuchuser/model'"),
        ("n" * 5000, "File name too long"),
        ("hf:owner/nosuch", "model 'hf:owner/nosuch' is not on this machine: run `nextword pull hf:owner/nosuch`"),
        ("hf:../etc", "names no model of the Hub"),
        ("damaged.gguf", "damaged.gguf: "),
        ("pickle.bin", "a pickle, which can run any code"),
    ],
)
def test_a_model_that_cannot_be_opened_is_refused_in_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, model: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(40))
    (tmp_path / "pickle.bin").write_bytes(b"\x80\x02.")
    (tmp_path / "text").write_text("some text")
    done = command(verb, model, *{"chat": [], "summarize": ["text"]}.get(verb, ["some text"]))
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert message in done.err


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_help_of_each_verb_goes_to_stdout_without_colours(command: Command, verb: str) -> None:
    done = command(verb, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: nextword {verb} ")
    assert "\033" not in done.out


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",), ("help",)])
def test_help_lists_every_verb_under_a_heading(command: Command, arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert done.code == 0
    listed = [line.split(maxsplit=1) for line in done.out.splitlines()]
    assert all([verb.name, verb.summary] in listed for verb in VERBS)
    assert all(f"\n\n{heading}:\n" in done.out for heading in GROUPS)


def test_help_of_a_verb_can_be_asked_for_in_either_order(command: Command) -> None:
    assert command("help", "score").out == command("score", "--help").out
