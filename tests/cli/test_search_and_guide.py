"""Beams and guides from the command line: the texts of Python, scores on standard error, refusals in one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import nextword as nw
from tests.cli.conftest import Command


def test_the_best_texts_are_printed_with_their_scores(command: Command, tiny: Path) -> None:
    done = command("generate", tiny, "hi", "--num-beams", "4", "-n", "2", "--max-tokens", "5", "--stop", "e")
    found = nw.load(tiny).generate("hi", num_beams=4, n=2, max_tokens=5, stop="e").completions
    assert done.out == "\n---\n".join(one.text for one in found) + "\n"
    assert f"scores {found[0].score:.4f}, {found[1].score:.4f}" in done.err


def test_one_text_of_a_search_comes_at_its_end_and_json_has_scores(command: Command, tiny: Path) -> None:
    flags = ("--num-beams", "3", "--length-penalty", "-0.5", "--early-stopping", "never", "--max-tokens", "4")
    done = command("generate", tiny, "hi", *flags, "--json")
    (completion,) = json.loads(done.out)["completions"]
    assert completion["score"] == pytest.approx(completion["log_prob"] * len(completion["tokens"]) ** 0.5)
    assert command("generate", tiny, "hi", *flags).out == completion["text"] + "\n"


def test_a_chat_searches_although_the_checkpoint_sets_a_temperature(command: Command, tiny: Path) -> None:
    done = command("chat", tiny, "--num-beams", "2", "--max-tokens", "4", given="hi\n")
    assert (done.code, done.err.count("temperature")) == (0, 0)


def test_a_negative_prompt_and_an_amateur_give_the_texts_of_python(command: Command, tiny: Path) -> None:
    guided = ("--guidance-scale", "2", "--negative-prompt", "no", "--seed", "1", "--max-tokens", "8")
    lm = nw.load(tiny, amateur=tiny)
    expected = lm.generate("hi", guidance_scale=2, negative_prompt="no", seed=1, max_tokens=8).text
    assert command("generate", tiny, "hi", *guided).out == expected + "\n"
    contrasted = ("--contrastive-alpha", "0.1", "--amateur", tiny, "--seed", "1", "--max-tokens", "8")
    expected = lm.generate("hi", contrastive_alpha=0.1, seed=1, max_tokens=8).text
    assert command("generate", tiny, "hi", *contrasted).out == expected + "\n"


GUIDES: list[dict[str, Any]] = [
    {"guidance_scale": 2.0},
    {"guidance_scale": 2.0, "negative_system": "be dull"},
    {"guidance_scale": 2.0, "negative_system": "be dull", "system": "be kind", "regex": "[a-z ]{4,6}"},
    {"contrastive_alpha": 0.1, "amateur": True},
    {"contrastive_alpha": 0.1, "amateur": True, "num_beams": 2},
]


def said(conversation: nw.Conversation, text: str) -> str:
    """The line of an answer."""
    return "".join(conversation.ask(text)) + "\n"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: " ".join(guide))
def test_a_guided_chat_gives_the_answers_of_python(command: Command, tiny: Path, guide: dict[str, Any]) -> None:
    how = {"seed": 1, "max_tokens": 8, **guide}
    if "num_beams" in how:
        del how["seed"]
    flags: list[str] = []
    for name, value in how.items():
        flags += ["--" + name.replace("_", "-"), str(tiny if name == "amateur" else value)]
    done = command("chat", tiny, *flags, given="hi\nyou\n")
    lm = nw.load(tiny, amateur=tiny if how.pop("amateur", False) else None)
    conversation = lm.conversation(**how)
    assert (done.code, done.out) == (0, "".join(said(conversation, text) for text in ("hi", "you")))
    unguided = command("chat", tiny, "--seed", "1", "--max-tokens", "8", given="hi\nyou\n")
    assert unguided.out != done.out


def test_a_chat_can_be_guided_from_some_message_on(command: Command, tiny: Path) -> None:
    lines = "hi\n/set guidance_scale 2\nyou\n"
    conversation = nw.load(tiny).conversation(seed=1, max_tokens=8)
    first = said(conversation, "hi")
    conversation.params = dataclasses.replace(conversation.params, guidance_scale=2.0)
    done = command("chat", tiny, "--seed", "1", "--max-tokens", "8", given=lines)
    assert done.out == first + said(conversation, "you")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--negative-system", "be dull"), "negative_system has no effect with guidance_scale = 1"),
        (("--contrastive-alpha", "0.1"), "without an amateur"),
        (("--amateur", "{tiny}"), "--amateur has no effect"),
        (("--guidance-scale", "2", "--contrastive-alpha", "0.1", "--amateur", "{tiny}"), "one guide"),
        (("--contrastive-alpha", "0.1", "--amateur", "{tiny}", "--regex", "a"), "contrastive_alpha = 0.1 with regex"),
    ],
)
def test_what_cannot_guide_a_chat_is_one_line(
    command: Command, tiny: Path, flags: tuple[str, ...], message: str
) -> None:
    done = command("chat", tiny, *(flag.format(tiny=tiny) for flag in flags), given="hi\n")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--num-beams", "2", "--top-p", "0.9"), "top_p = 0.9 with num_beams = 2"),
        (("--num-beams", "2", "-n", "3"), "n = 3 with num_beams = 2"),
        (("--early-stopping", "maybe"), "--early-stopping"),
        (("--negative-prompt", "x"), "negative_prompt has no effect"),
        (("--contrastive-alpha", "0.1"), "without an amateur"),
        (("--amateur", "{tiny}"), "--amateur has no effect"),
        (("--guidance-scale", "2", "--contrastive-alpha", "0.1", "--amateur", "{tiny}"), "one guide"),
    ],
)
def test_what_cannot_be_is_one_line(command: Command, tiny: Path, flags: tuple[str, ...], message: str) -> None:
    done = command("generate", tiny, "hi", *(flag.format(tiny=tiny) for flag in flags))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
