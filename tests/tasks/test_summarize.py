"""Summaries on a fake backend: where they end, how long texts are taken in parts, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nextword.errors import RequestError, TokenizerError
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.tasks.summarize import Length, Style, Summary, summarize, summarize_batch, summary_params
from nextword.text import Tokenizer
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TEMPLATE, TOKENIZER, small_tokenizer

END = TOKENIZER.eos_token_ids[0]
BASE = small_tokenizer(chat_template=None)


class Scribe(HashBackend):
    """Writes a given text after every prompt, then the end of the sequence; keeps the prompts it was given."""

    def __init__(self, text: str, *, max_seq_len: int = 1000) -> None:
        super().__init__(vocab_size=TOKENIZER.vocab_size, max_seq_len=max_seq_len)
        self.prompts: list[str] = []
        self._script = [*TOKENIZER.encode(text), END]
        self._num_written: dict[tuple[int, ...], int] = {}

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        num_written = self._num_written.get(tuple(token_ids[:-1]), -1) + 1
        if not num_written:
            self.prompts.append(TOKENIZER.decode(token_ids, skip_special_tokens=False))
        self._num_written[tuple(token_ids)] = num_written
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
    sentences = [f"It ran {number}.5 miles." for number in range(12)]
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
        ("It ran. It ran on. It ran", "It ran. It ran on. It ran"),
        ("It ran.\n\nIt ran.", "It ran."),
    ],
    ids=["in the middle", "at the end", "a longer one", "in a new paragraph"],
)
def test_a_summary_ends_before_a_sentence_that_it_would_repeat(written: str, kept: str) -> None:
    summary, streamed, _ = summary_by(Scribe(written), length="medium")
    assert summary.text == streamed == kept
    assert summary.is_complete
    (in_batch,) = summarize_batch(
        Engine(Scribe(written), TOKENIZER), ["the river ran"], [summary_params("medium")], length="medium"
    )
    assert in_batch.text == kept


def test_a_bullet_point_is_not_repeated_either() -> None:
    summary, streamed, _ = summary_by(Scribe(" one\n- two\n- one\n- three"), style="bullets", length="medium")
    assert summary.text == streamed == "- one\n- two"


def test_without_an_end_the_summary_is_said_to_be_cut() -> None:
    summary, _, _ = summary_by(Scribe("a" * 400))
    assert not summary.is_complete
    assert summary.num_summary_tokens == 160


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
    assert backend.prompts == ["the river ran" + ending]


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

    together = list(summarize_batch(engine, texts, [summary_params("short")] * len(texts), length="short"))

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
            [summary_params("short")] * len(texts),
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
    summaries = summarize_batch(Engine(backend, TOKENIZER), ["the river", "the road"], [summary_params()] * 2)
    next(summaries)
    summaries.close()  # type: ignore[attr-defined]
    assert not backend.caches


def test_an_empty_text_among_others_is_named() -> None:
    with pytest.raises(RequestError, match="text 2 of 2 is empty"):
        list(summarize_batch(Engine(Scribe("x"), TOKENIZER), ["the river", " "], [summary_params()] * 2))
