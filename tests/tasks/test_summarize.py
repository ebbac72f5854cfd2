"""Summaries on a fake backend: where they end, how long texts are taken in parts, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import nextword
from nextword.checkpoints.catalogue import CATALOGUE, is_pulled
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError, TokenizerError
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.tasks.summarize import Length, Style, Summary, summarize, summarize_batch
from nextword.text.tokenizer import Tokenizer
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TEMPLATE, TOKENIZER, small_tokenizer

END = TOKENIZER.eos_token_ids[0]
GREEDY = SamplingParams(temperature=0.0)
BASE = small_tokenizer(chat_template=None)


class Scribe(HashBackend):
    """Writes a given text after every prompt, then the end of the sequence; keeps the prompts it was given.

    What a prompt ends with of that text counts as written.
    """

    def __init__(self, text: str, *, max_seq_len: int = 1000) -> None:
        super().__init__(vocab_size=TOKENIZER.vocab_size, max_seq_len=max_seq_len)
        self.prompts: list[str] = []
        self._script = [*TOKENIZER.encode(text), END]

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        ids = list(token_ids)
        num_written = max(n for n in range(len(self._script)) if ids[len(ids) - n :] == self._script[:n])
        prompt = TOKENIZER.decode(ids, skip_special_tokens=False)
        if not num_written and prompt not in self.prompts:
            self.prompts.append(prompt)
        logits = np.zeros(self.vocab_size, np.float32)
        logits[self._script[num_written]] = 1000.0
        return logits


def summary_by(
    backend: HashBackend,
    text: str = "the river ran",
    *,
    length: Length = "short",
    style: Style = "paragraph",
    tokenizer: Tokenizer = TOKENIZER,
) -> tuple[Summary, str, list[tuple[int, int]]]:
    """The summary, the text that was streamed, and the parts that were told of."""
    pieces: list[str] = []
    parts: list[tuple[int, int]] = []
    summary = summarize(
        Engine(backend, tokenizer),
        text,
        length=length,
        style=style,
        on_part=lambda part, num_parts: parts.append((part, num_parts)),
        on_text=pieces.append,
    )
    assert not backend.caches
    return summary, "".join(pieces), parts


def test_a_summary_that_ends_by_itself_is_taken_as_it_is() -> None:
    summary, streamed, parts = summary_by(Scribe("The river ran."))
    assert summary.text == streamed == "The river ran."
    assert summary.is_complete
    assert (summary.num_parts, parts) == (1, [])
    assert summary.num_text_tokens == len(TOKENIZER.encode("the river ran"))
    assert summary.num_summary_tokens == len(TOKENIZER.encode("The river ran.")) + 1


@pytest.mark.parametrize(("length", "count"), [("short", 2), ("medium", 5), ("long", 10)])
def test_a_summary_ends_with_its_last_sentence(length: Length, count: int) -> None:
    sentences = [
        f"There went {noun}."
        for noun in ["ants", "bees", "cats", "dogs", "eels", "fish", "goats", "hens", "jays", "kites", "larks", "mice"]
    ]
    summary, streamed, _ = summary_by(Scribe(" ".join(sentences)), length=length)
    assert summary.text == streamed == " ".join(sentences[:count])
    assert summary.is_complete


def test_bullets_end_with_the_last_line_and_begin_with_a_dash() -> None:
    backend = Scribe(" One. Two. Three.\n- four\n- five\n- six")
    summary, streamed, _ = summary_by(backend, style="bullets")
    assert summary.text == streamed == "- One. Two. Three.\n- four"
    assert backend.prompts[0].endswith("assistant\n-")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("It ran. It fell. It ran. It rose.", "It ran. It fell."),
        ("It ran. It fell. It fell.", "It ran. It fell."),
        ("It ran. It ran on to the sea. It ran", "It ran. It ran on to the sea."),
        ("It ran.\n\nIt ran.", "It ran."),
    ],
    ids=["in the middle", "at the end", "the beginning of a longer one", "in a new paragraph"],
)
def test_a_summary_ends_before_a_sentence_that_it_would_repeat(written: str, kept: str) -> None:
    summary, streamed, _ = summary_by(Scribe(written), length="medium")
    assert summary.text == streamed == kept
    assert summary.is_complete
    engine = Engine(Scribe(written), TOKENIZER)
    assert [one.text for one in summarize_batch(engine, ["the river ran"], length="medium")] == [kept]


def test_a_drawn_summary_ends_before_a_sentence_that_it_would_repeat_word_for_word() -> None:
    engine = Engine(Scribe("It ran. It ran on. It ran. It rose."), TOKENIZER)
    (summary,) = summarize_batch(engine, ["the river ran"], [GREEDY], length="medium")
    assert summary.text == "It ran. It ran on."


@pytest.mark.parametrize(("length", "kept"), [("short", "It ran. It ran."), ("medium", "It ran. It ran. It rose.")])
def test_a_summary_that_is_searched_for_is_whole_and_cut_after_its_sentences(length: Length, kept: str) -> None:
    backend = Scribe("It ran. It ran. It rose.")
    search = SamplingParams(num_beams=3)
    one, two = summarize_batch(Engine(backend, TOKENIZER), ["the river ran", "a boat"], [search] * 2, length=length)
    assert (one.text, two.text, one.is_complete) == (kept, kept, True)
    assert one.num_summary_tokens == len(TOKENIZER.encode(kept))
    assert not backend.caches


def test_a_search_that_ends_at_its_limit_is_said_to_be_cut() -> None:
    (summary,) = summarize_batch(Engine(Scribe("on and on " * 60), TOKENIZER), ["x"], [SamplingParams(num_beams=2)])
    assert not summary.is_complete


def test_a_bullet_point_is_not_repeated_either() -> None:
    summary, streamed, _ = summary_by(Scribe(" one\n- two\n- one\n- three"), style="bullets", length="medium")
    assert summary.text == streamed == "- one\n- two"


def test_without_an_end_the_summary_is_said_to_be_cut() -> None:
    summary, _, _ = summary_by(Scribe("a" * 400))
    assert not summary.is_complete
    assert summary.num_summary_tokens == 96


def test_the_instruction_is_the_system_prompt_and_the_text_the_question() -> None:
    backend = Scribe("It ran.")
    summary_by(backend, "  the river ran\n", length="medium", style="bullets")
    system, user = backend.prompts[0].split("<|im_end|>\n")[:2]
    assert "up to five bullet points" in system
    assert user == "<|im_start|>user\nthe river ran"


def test_a_template_without_a_system_role_gets_the_instruction_before_the_text() -> None:
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    backend = Scribe("It ran.")
    summary, _, _ = summary_by(backend, tokenizer=small_tokenizer(chat_template=refusing))
    assert summary.text == "It ran."
    assert backend.prompts[0].startswith("<|im_start|>user\n")
    assert backend.prompts[0].split("<|im_end|>")[0].endswith("\n\nthe river ran")


def test_a_template_that_refuses_everything_is_an_error() -> None:
    refusing = small_tokenizer(chat_template="{{ raise_exception('no') }}")
    with pytest.raises(TokenizerError):
        summary_by(Scribe("It ran."), tokenizer=refusing)


@pytest.mark.parametrize(("style", "ending"), [("paragraph", "\n\nTL;DR:"), ("bullets", "\n\nTL;DR:\n-")])
def test_a_base_model_continues_after_tldr(style: Style, ending: str) -> None:
    backend = Scribe(" It ran. It fell. It rose.")
    summary_by(backend, style=style, tokenizer=BASE)
    assert backend.prompts[0] == "the river ran" + ending


def test_a_long_text_is_summarised_in_parts_and_then_the_summaries() -> None:
    backend = Scribe("It ran.", max_seq_len=800)
    paragraphs = [f"{letter * 300}" for letter in "abcdef"]
    summary, streamed, parts = summary_by(backend, "\n\n".join(paragraphs))
    assert summary.text == streamed == "It ran."
    num_parts = summary.num_parts
    assert num_parts > 1
    assert parts == [(part, num_parts) for part in range(1, num_parts + 1)]
    assert len(backend.prompts) == num_parts + 1
    assert all(any(paragraph in prompt for prompt in backend.prompts) for paragraph in paragraphs)
    assert "\n\n".join(["It ran."] * num_parts) in backend.prompts[-1]
    assert summary.num_text_tokens == len(TOKENIZER.encode("\n\n".join(paragraphs)))


def test_parts_are_taken_in_rounds_until_they_fit() -> None:
    backend = Scribe("It ran on and on and on to the sea.", max_seq_len=480)
    summary, _, parts = summary_by(backend, "\n\n".join("abcdef" * 10 for _ in range(40)))
    firsts = [num_parts for part, num_parts in parts if part == 1]
    assert len(firsts) > 1
    assert firsts == sorted(firsts, reverse=True)
    assert summary.num_parts == firsts[0]


def test_summaries_no_shorter_than_the_parts_are_an_error() -> None:
    with pytest.raises(RequestError, match="no shorter than the parts"):
        summary_by(Scribe("a" * 400, max_seq_len=480), "\n\n".join("abcdef" * 10 for _ in range(10)))


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="no text to summarise"):
        summary_by(Scribe("It ran."), text)


def test_a_context_without_room_for_a_sentence_is_refused() -> None:
    with pytest.raises(RequestError, match="context of 200 tokens is too small"):
        summary_by(Scribe("It ran.", max_seq_len=200))


def test_summaries_written_together_are_those_written_alone() -> None:
    texts = ["the river ran", "the road", "they saw the river", "ran"]
    engine = Engine(HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=1000), TOKENIZER, max_sequences=3)

    together = list(summarize_batch(engine, texts, length="short"))

    assert together == [summarize(engine, text, length="short") for text in texts]


def test_texts_beyond_the_context_are_summarised_in_parts_beside_others() -> None:
    def engine() -> Engine:
        return Engine(Scribe("It ran. It fell.", max_seq_len=800), TOKENIZER)

    texts = ["the river ran", "\n\n".join(letter * 300 for letter in "abcdef"), "\n\n".join("gh" * 200 for _ in "ab")]
    parts: list[tuple[int, int]] = []
    together = list(
        summarize_batch(
            engine(),
            texts,
            length="short",
            on_part=lambda part, num_parts: parts.append((part, num_parts)),
        )
    )

    assert together == [summarize(engine(), text, length="short") for text in texts]
    assert together[0].num_parts == 1
    num_parts = together[1].num_parts + together[2].num_parts
    assert parts == [(part, num_parts) for part in range(1, num_parts + 1)]


def test_a_reader_who_stops_leaves_no_summary_running() -> None:
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=1000)
    summaries = summarize_batch(Engine(backend, TOKENIZER), ["the river", "the road"])
    next(summaries)
    summaries.close()  # type: ignore[attr-defined]
    assert not backend.caches


def test_an_empty_text_among_others_is_named() -> None:
    with pytest.raises(RequestError, match="text 2 of 2 is empty"):
        list(summarize_batch(Engine(Scribe("x"), TOKENIZER), ["the river", " "]))


def test_a_summary_of_nothing_is_an_error() -> None:
    with pytest.raises(RequestError, match="summary came back empty: the model wrote nothing"):
        summary_by(Scribe(""))
    (drawn,) = summarize_batch(Engine(Scribe(""), TOKENIZER), ["the river ran"], [GREEDY])
    assert drawn.text == ""


def test_parts_that_came_back_empty_are_named() -> None:
    class Reader(Scribe):
        """Writes nothing about c and e."""

        def logits_after(self, token_ids: Sequence[int]) -> Logits:
            prompt = TOKENIZER.decode(token_ids, skip_special_tokens=False)
            logits = super().logits_after(token_ids)
            if "ccc" in prompt or "eee" in prompt:
                logits[:] = 0
                logits[END] = 1000.0
            return logits

    paragraphs = [f"{letter * 300}" for letter in "abcdef"]
    with pytest.raises(RequestError, match=r"the summary of parts 3, 5 of 6 came back empty"):
        summary_by(Reader("It ran.", max_seq_len=800), "\n\n".join(paragraphs))


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(("length", "style"), [("medium", "paragraph"), ("long", "paragraph"), ("medium", "bullets")])
def test_a_real_summary_repeats_no_sentence_and_invents_no_name(length: Length, style: Style) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("nextword pull smollm2-135m")
    text = (Path(__file__).parents[2] / "examples" / "article.txt").read_text(encoding="utf-8")
    summary = nextword.load("smollm2-135m").summarize(text, length=length, style=style)
    sentences = [sentence.strip("- ") for sentence in re.split(r"(?<=[.!?])\s+|\n", summary.text)]
    assert len(set(sentences)) == len(sentences) > 1
    written = set(re.findall(r"\w+", text))
    numbers = re.findall(r"\d+", summary.text)
    names = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", summary.text)
    assert {*numbers, *names} <= written
