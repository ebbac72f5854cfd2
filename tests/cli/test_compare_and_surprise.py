"""`nextword compare` and `nextword surprise`: lines, colours, JSON and pages."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import nextword
from nextword.cli.colours import SCALE, level, on_background, shown
from tests.checkpoints.tiny_folder import write_folder
from tests.cli.conftest import Command

TEXT = "The river ran past the mill, and on to the sea.\nIt was cold."


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextword.cli.verbs.surprise.takes_colours", lambda stream: True)
    monkeypatch.setattr("nextword.cli.verbs.compare.takes_colours", lambda stream: True)


def test_surprise_says_what_score_says(command: Command, tiny: Path, text: Path) -> None:
    found = json.loads(command("surprise", tiny, text, "--json").out)
    score = nextword.load(tiny).score(TEXT)
    assert "".join(token["text"] for token in found["tokens"]) == TEXT
    assert [-token["nats"] for token in found["tokens"][1:]] == pytest.approx(
        [token.log_prob for token in score.tokens], rel=1e-5
    )
    assert found["tokens"][0]["nats"] is None
    assert found["total_nats"] == pytest.approx(-score.log_prob)
    lines = command("surprise", tiny, text).out.splitlines()
    assert len(lines) == 1 + len(TEXT)
    assert lines[-1].split() == [
        f"{found['tokens'][-1]['nats']:.3f}",
        f"{found['tokens'][-1]['entropy']:.3f}",
        str(found["tokens"][-1]["rank"]),
        "'.'",
    ]


def test_surprise_colours_the_text_on_a_terminal(command: Command, tiny: Path, text: Path, terminal: None) -> None:
    done = command("surprise", tiny, text)
    nats = json.loads(command("surprise", tiny, text, "--json").out)["tokens"][-1]["nats"]
    assert on_background(".", SCALE[level(nats)]) in done.out
    plain = "".join(part.partition("m")[2] for part in ("\033[m" + done.out).split("\033["))
    assert plain.endswith(TEXT + "\n")


def test_surprise_reads_standard_input_and_writes_a_page(command: Command, tiny: Path, tmp_path: Path) -> None:
    done = command("surprise", tiny, "-", "--html", tmp_path / "p.html", given=TEXT)
    assert done.code == 0
    assert (tmp_path / "p.html").read_text().count("title=") == len(TEXT)


@pytest.mark.parametrize(("given", "message"), [("", "the text is empty"), ("a", "the text has a single token")])
def test_surprise_refuses_texts_with_nothing_to_score(command: Command, tiny: Path, given: str, message: str) -> None:
    done = command("surprise", tiny, "-", given=given)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_text_cannot_move_the_cursor() -> None:
    assert shown("a\033[2Jb\r\tc\n") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}\tc\n"
    assert on_background("a\nb", 203).count("\033[0m\n") == 1


@pytest.fixture
def other(tiny: Path, tmp_path: Path) -> Path:
    """A model over the same vocabulary with other weights."""
    import numpy as np

    from tests.checkpoints.tiny_folder import tiny_weights

    weights = tiny_weights()
    weights["model.embed_tokens.weight"] = np.random.default_rng(7).standard_normal((257, 8)).astype(np.float32)
    folder = write_folder(tmp_path / "other", config={"vocab_size": 257}, weights=weights)
    (folder / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    return folder


def test_compare_prints_figures_a_verdict_and_tokens(command: Command, tiny: Path, other: Path, text: Path) -> None:
    done = command("compare", tiny, other, text)
    found = json.loads(command("compare", tiny, other, text, "--json").out)
    lines = done.out.splitlines()
    assert lines[0] == f"A      {found['bits_per_byte'][0]:7.4f} bits/byte  {tiny}"
    assert lines[2].startswith(f"B - A  {found['difference']:+7.4f} bits/byte")
    assert lines[3] == found["verdict"]
    assert found["has_same_vocabulary"]
    assert f"KL divergence of B from A: {found['divergence']:.4f} nats/token" in lines
    first = found["differences"][0]
    assert f"{first['nats_a']:7.3f}  {first['nats_b']:7.3f}" in done.out
    sums = [nextword.load(path).perplexity(TEXT, context=32, stride=16).bits_per_byte for path in (tiny, other)]
    short = json.loads(command("compare", tiny, other, text, "--json", "--context", "32").out)
    assert short["bits_per_byte"] == pytest.approx(sums, rel=1e-5)


def test_compare_colours_the_tokens(command: Command, tiny: Path, other: Path, text: Path, terminal: None) -> None:
    done = command("compare", tiny, other, text)
    assert "\033[48;5;151;38;5;16m" in done.out
    assert "\033[48;5;217;38;5;16m" in done.out


def test_compare_writes_a_page(command: Command, tiny: Path, other: Path, text: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = command("compare", tiny, other, text, "--html", tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text()
    assert done.code == 0
    assert page.count('<td class="text"') == 20
    assert page.count("<svg ") == 1


def test_compare_refuses_what_is_not_there(command: Command, tiny: Path, text: Path) -> None:
    assert command("compare", tiny, "nosuch", text).code == 2
    assert "nosuch.txt: no such file or folder" in command("compare", tiny, tiny, "nosuch.txt").err
    assert (
        io.StringIO(command("compare", tiny, tiny, text, "--context", "50001").err)
        .readline()
        .startswith("nextword: context = 50001")
    )
