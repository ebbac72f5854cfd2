"""Probabilities of continuations, held to texts that are computed from nothing, on a fake that shows mixed-up texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from nextword.decoding.log_softmax import log_softmax
from nextword.errors import RequestError
from nextword.inference.backend import Chunk, Logits
from nextword.inference.continuations import Continuations, score_continuations
from nextword.inference.engine import Engine
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TOKENIZER


class CountingBackend(HashBackend):
    """Counts the sequences that are open at once."""

    most_open = 0

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        self.most_open = max(self.most_open, len(self.caches))
        return super().step(chunks)


LABELS = [[3], [4, 5], [4, 6, 7, 8]]


def engine(backend: HashBackend) -> Engine:
    return Engine(backend, TOKENIZER)


def from_nothing(backend: HashBackend, prompt: list[int], continuation: list[int]) -> list[float]:
    """Log-probabilities of a continuation, a whole text for each of its tokens."""
    text = [*prompt, *continuation]
    return [log_softmax(backend.logits_after(text[:end]))[text[end]] for end in range(len(prompt), len(text))]


@pytest.mark.parametrize("num_questions", [1, 2, 40])
def test_answers_are_those_of_texts_computed_from_nothing(num_questions: int) -> None:
    backend = HashBackend(vocab_size=20)
    prompts = [[1, 2, 9, *range(index % 5), index % 7] for index in range(num_questions)]

    answers = list(score_continuations(engine(backend), [Continuations(prompt, LABELS) for prompt in prompts]))

    assert len(answers) == num_questions
    for prompt, of_prompt in zip(prompts, answers, strict=True):
        for label, answer in zip(LABELS, of_prompt, strict=True):
            np.testing.assert_allclose(answer.log_probs, from_nothing(backend, prompt, label), rtol=1e-6)
    assert not backend.caches, "every sequence was closed"


def test_a_continuation_is_greedy_if_each_of_its_tokens_is_the_most_probable() -> None:
    backend = HashBackend(vocab_size=20)
    prompt = [1, 2, 3]
    greedy = list(prompt)
    for _ in range(3):
        greedy.append(int(backend.logits_after(greedy).argmax()))
    other = [*greedy[3:5], (greedy[5] + 1) % 20]

    (answers,) = score_continuations(engine(backend), [Continuations(prompt, [greedy[3:], other, other[:2]])])

    assert [answer.is_greedy for answer in answers] == [True, False, True]


def test_what_prompts_have_in_common_is_computed_once_and_a_prompt_once_for_its_continuations() -> None:
    backend = HashBackend(vocab_size=20)
    beginning = list(range(10))
    items = [
        Continuations([*beginning, 11, 12], LABELS),
        Continuations([*beginning, 13], LABELS),
        Continuations([5], [[6]]),
    ]

    list(score_continuations(engine(backend), items[:2]))

    tails = sum(len(label) - 1 for label in LABELS)
    assert backend.tokens_computed == len(beginning) + 2 + 1 + 2 * tails


def test_a_prompt_that_is_the_beginning_of_another_still_has_logits() -> None:
    backend = HashBackend(vocab_size=20)

    short, long = score_continuations(engine(backend), [Continuations([1, 2], [[3]]), Continuations([1, 2, 4], [[3]])])

    assert short[0].log_prob == pytest.approx(from_nothing(backend, [1, 2], [3])[0])
    assert long[0].log_prob == pytest.approx(from_nothing(backend, [1, 2, 4], [3])[0])


def test_a_batch_takes_no_more_of_the_cache_than_there_is() -> None:
    backend = CountingBackend(vocab_size=20, max_positions=400)

    list(score_continuations(engine(backend), [Continuations([1, index], [[3], [4, 5]]) for index in range(12)]))

    assert 0 < backend.most_open * 32 <= 400


@pytest.mark.parametrize("item", [Continuations([], [[1]]), Continuations([1], []), Continuations([1], [[2], []])])
def test_nothing_has_no_probability(item: Continuations) -> None:
    with pytest.raises(RequestError, match="at least one token"):
        list(score_continuations(engine(HashBackend(vocab_size=20)), [item]))


def test_a_text_beyond_the_context_is_refused() -> None:
    with pytest.raises(RequestError, match="65 tokens, the context 64"):
        list(
            score_continuations(engine(HashBackend(vocab_size=20, max_seq_len=64)), [Continuations([1] * 64, [[1, 2]])])
        )
