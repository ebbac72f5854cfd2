"""`nextword decoding-report` on a tiny model: a line for each decoding, its page, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled
from tests.cli.conftest import Command

pytest.importorskip("nltk")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("The river ran\n\nOnce upon a time\n")
    return path


def test_greedy_texts_are_alike_and_drawn_ones_differ(command: Command, tiny: Path, prompts: Path) -> None:
    asked = ("decoding-report", tiny, prompts, "--json", "--max-tokens", "8", "--samples", "3")
    done = json.loads(command(*asked, "--setting", "greedy", "--setting", "temperature=2").out)
    assert done["prompts"] == ["The river ran", "Once upon a time"]
    greedy, drawn = done["settings"]
    assert greedy["self_bleu"] == pytest.approx(1.0)
    assert drawn["self_bleu"] < 1.0
    assert [len(set(texts)) for texts in greedy["texts"]] == [1, 1]
    assert (greedy["num_texts"], greedy["mean_length"]) == (6, 8.0)
    assert command(*asked, "--setting", "temperature=2").out.endswith(
        json.dumps([drawn], ensure_ascii=False)[1:] + "}\n"
    )


def test_fourteen_settings_are_compared_where_none_is_named(
    command: Command, tiny: Path, prompts: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    done = command("decoding-report", tiny, prompts, "--max-tokens", "4", "--html", tmp_path / "page.html")
    assert done.code == 0
    assert len(done.out.splitlines()) == 15
    assert (tmp_path / "page.html").read_text().count("<svg") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--setting", "n=2"), "samples and max_tokens say n"),
        (("--setting", "greedy", "--setting", "greedy"), "twice"),
        (("--samples", "1"), "at least two"),
        (("--max-tokens", "0"), "at least one token"),
        (("--limit", "0"), "at least one prompt"),
        (("--references", "/no/such/file"), "/no/such/file"),
        (("--html", "/no/such/folder/page.html"), "is no folder"),
    ],
)
def test_what_makes_no_sense_is_refused(
    command: Command, tiny: Path, prompts: Path, arguments: tuple[str, ...], message: str
) -> None:
    refused = command("decoding-report", tiny, prompts, *arguments)
    assert (refused.code, message in refused.err) == (2, True)


def test_a_file_without_prompts_is_refused(command: Command, tiny: Path, prompts: Path) -> None:
    prompts.write_text("\n \n")
    refused = command("decoding-report", tiny, prompts)
    assert (refused.code, "there is no prompt" in refused.err) == (2, True)


@pytest.mark.model
def test_greedy_repeats_and_a_high_temperature_wanders(command: Command, prompts: Path) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    asked = ("--setting", "greedy", "--setting", "temperature=1.0", "--setting", "temperature=1.5")
    done = command("decoding-report", "smollm2-135m", prompts, "--json", *asked)
    greedy, plain, hot = json.loads(done.out)["settings"]
    assert greedy["repetition"]["4"] > 2 * plain["repetition"]["4"]
    assert greedy["perplexity"] < plain["perplexity"] < hot["perplexity"] / 10
    assert greedy["entropy"] < hot["entropy"]


def test_control_tokens_of_prompts_are_read_where_it_is_asked_for(command: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "marked.txt").write_text("The river<|pad|>\n")
    asked = ("decoding-report", tiny, tmp_path / "marked.txt", "--json", "--setting", "greedy", "--samples", "2")
    as_text, as_token = (command(*asked, "--max-tokens", "6", *special) for special in ((), ("--special",)))
    assert as_text.code == as_token.code == 0
    assert as_text.out != as_token.out
