"""Beam search on a fake backend: the best of all texts, alone and in company, and every cache given back."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.log_softmax import log_softmax
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.sequence import Request
from tests.fakes import HashBackend
from tests.inference.native import native, random_text
from tests.inference.test_engine_on_fake import LETTERS, ONLY_LETTERS, params_of_any_kind, run_batched, run_streamed
from tests.text.test_tokenizer import TOKENIZER

SIX = 6
"""Size of a vocabulary whose texts can all be tried."""
LONGEST = 5

searches = st.builds(
    SamplingParams,
    num_beams=st.integers(1, 5),
    n=st.just(1),
    length_penalty=st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    early_stopping=st.sampled_from(["false", "true", "never"]),
    max_tokens=st.sampled_from([0, 1, 3, 8, None]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    no_repeat_ngram_size=st.sampled_from([0, 2]),
    logit_bias=st.sampled_from([{}, {1: 8.0}, ONLY_LETTERS]),
    stop=st.sampled_from([(), ("a", "bc")]),
    logprobs=st.sampled_from([None, 0, 2]),
    echo=st.booleans(),
    seed=st.just(0),
)


def hash_backend(vocab_size: int = TOKENIZER.vocab_size) -> HashBackend:
    return HashBackend(vocab_size=vocab_size, max_seq_len=24)


def run(
    backend: HashBackend, prompt: Sequence[int], params: SamplingParams, ends: Sequence[int] | None = None
) -> Request:
    engine = Engine(backend, TOKENIZER)
    request = engine.submit(prompt, params, end_token_ids=ends)
    engine.run([request])
    assert not backend.caches
    return request


def all_texts(end: int) -> Iterator[tuple[int, ...]]:
    """Texts that end with the token `end`, or have the greatest length."""
    for length in range(1, LONGEST + 1):
        for text in itertools.product(range(SIX), repeat=length):
            if end not in text[:-1] and (text[-1] == end or length == LONGEST):
                yield text


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 1.0, 2.5])
@pytest.mark.parametrize("early_stopping", ["false", "never"])
def test_as_many_beams_as_there_are_texts_find_the_best_of_all(penalty: float, early_stopping: str) -> None:
    backend, prompt, end = hash_backend(SIX), [3, 1], 5
    log_probs = {
        text: log_softmax(backend.logits_after([*prompt, *text]))
        for length in range(LONGEST)
        for text in itertools.product(range(SIX), repeat=length)
    }
    scores = {
        text: sum(log_probs[text[:place]][text[place]] for place in range(len(text))) / len(text) ** penalty
        for text in all_texts(end)
    }
    best = sorted(scores, key=lambda text: -scores[text])[:5]
    params = SamplingParams(
        num_beams=SIX**LONGEST,
        n=5,
        length_penalty=penalty,
        early_stopping=early_stopping,  # type: ignore[arg-type]
        max_tokens=LONGEST,
    )
    found = run(backend, prompt, params, ends=[end]).sequences
    assert [tuple(sequence.token_ids) for sequence in found] == best
    assert [sequence.score for sequence in found] == pytest.approx([scores[text] for text in best], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=8), searches)
def test_one_beam_that_stops_at_its_first_end_is_greedy_decoding(prompt: list[int], params: SamplingParams) -> None:
    one = dataclasses.replace(
        params, num_beams=1, early_stopping="true", repetition_penalty=1.0
    )  # of log-probabilities
    greedy = dataclasses.replace(one, num_beams=0, temperature=0.0)
    found, expected = (collect(run(hash_backend(), prompt, how), TOKENIZER) for how in (one, greedy))
    assert [(c.text, c.tokens, c.finish_detail) for c in found.completions] == [
        (c.text, c.tokens, c.finish_detail) for c in expected.completions
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=8), searches | params_of_any_kind),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**32),
)
def test_batched_alone_and_streamed_are_equal(cases: list[tuple[list[int], SamplingParams]], order_seed: int) -> None:
    cases = [
        (prompt, dataclasses.replace(params, n=min(params.n, params.num_beams)) if params.num_beams else params)
        for prompt, params in cases
    ]
    backend = hash_backend()
    alone = [collect(run(backend, *case), TOKENIZER) for case in cases]
    assert run_batched(backend, cases, random.Random(order_seed)) == alone
    assert run_streamed(backend, cases, random.Random(order_seed)) == alone
    assert not backend.caches


def test_batched_and_alone_are_equal_bitwise_in_the_core() -> None:
    backend = native(max_cache_bytes=2**24)
    cases = [
        (random_text(length, seed=length), SamplingParams(num_beams=width, n=width, max_tokens=40, logprobs=2, seed=0))
        for length, width in [(1, 2), (33, 4), (70, 8), (7, 3)]
    ]
    alone = [run_on(backend, *case) for case in cases]
    engine = Engine(backend, TOKENIZER)
    requests = [engine.submit(*case) for case in cases]
    engine.run(requests)
    assert [collect(request, TOKENIZER) for request in requests] == alone
    assert backend.cache_bytes == 0


def run_on(backend: object, prompt: list[int], params: SamplingParams) -> Generation:
    engine = Engine(backend, TOKENIZER)  # type: ignore[arg-type]
    request = engine.submit(prompt, params)
    engine.run([request])
    return collect(request, TOKENIZER)


class Counting(HashBackend):
    """Keeps the greatest number of caches that were ever open."""

    most = 0

    def _keep(self, text: list[int]) -> int:
        cache_id = super()._keep(text)
        self.most = max(self.most, len(self.caches))
        return cache_id


def test_there_are_never_more_caches_than_beams() -> None:
    backend = Counting(vocab_size=TOKENIZER.vocab_size, max_seq_len=64)
    run(backend, LETTERS[:3], SamplingParams(num_beams=4, max_tokens=50, early_stopping="never", length_penalty=2.0))
    assert backend.most == 4


@pytest.mark.parametrize("num_steps", [0, 1, 3])
def test_a_cancelled_search_gives_back_its_caches_and_keeps_its_best_beams(num_steps: int) -> None:
    backend = hash_backend()
    engine = Engine(backend, TOKENIZER)
    request = engine.submit(LETTERS[:3], SamplingParams(num_beams=4, n=2, max_tokens=12, logit_bias=ONLY_LETTERS))
    for _ in range(num_steps):
        engine.step()
    engine.cancel(request)
    assert not backend.caches
    completions = collect(request, TOKENIZER).completions
    assert [len(completion.tokens) for completion in completions] == ([num_steps] * 2 if num_steps else [])
    assert all(completion.finish_detail == "cancelled" for completion in completions)
    assert ["".join(piece.text for piece in request.pieces if piece.index == number) for number in range(2)] == (
        [completion.text for completion in completions] if num_steps else ["", ""]
    )


def test_log_probabilities_are_the_models_and_add_up_to_the_search() -> None:
    params = SamplingParams(num_beams=3, n=3, max_tokens=8, logprobs=1)
    for completion in collect(run(hash_backend(), LETTERS[:3], params), TOKENIZER).completions:
        total = sum(token.log_prob or 0.0 for token in completion.tokens)
        assert completion.log_prob == pytest.approx(total, abs=1e-5)
        assert completion.score == pytest.approx(total / len(completion.tokens), abs=1e-5)


def test_a_stop_string_ends_a_hypothesis() -> None:
    others = dict.fromkeys(set(range(TOKENIZER.vocab_size)) - set(LETTERS), -math.inf)
    params = SamplingParams(num_beams=4, n=4, length_penalty=0, max_tokens=20, stop=("b",), logit_bias=others)
    completions = collect(run(hash_backend(), LETTERS[:3], params), TOKENIZER).completions
    assert {completion.finish_detail for completion in completions} == {"stop_string"}
    assert not any("b" in completion.text for completion in completions)
    assert all(completion.tokens[-1].token_id == LETTERS[1] for completion in completions)


def test_texts_of_a_form_are_all_of_that_form_and_no_more_than_there_are() -> None:
    params = SamplingParams(num_beams=4, n=4, max_tokens=20, choice=("abc", "ad", "bc"))
    found = run(hash_backend(), LETTERS[:3], params, ends=[])
    texts = [sequence.stream.text for sequence in found.sequences]
    assert sorted(texts) == ["abc", "ad", "bc"]
    scores = [sequence.score or -math.inf for sequence in found.sequences]
    assert scores == sorted(scores, reverse=True)


class Broken(HashBackend):
    """Gives a logit that is no number after some tokens."""

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        logits = super().logits_after(token_ids)
        logits[0] = np.nan if len(token_ids) > 5 else 0.0
        return logits


def test_broken_logits_and_forbidden_texts_are_errors_that_give_back_the_caches() -> None:
    backend = Broken(vocab_size=SIX, max_seq_len=24)
    with pytest.raises(RequestError, match="broken"):
        run(backend, [1, 2], SamplingParams(num_beams=3))
    assert not backend.caches
    forbidden = dict.fromkeys(range(SIX), -math.inf)
    with pytest.raises(RequestError, match="forbidden"):
        run(hash_backend(SIX), [1, 2], SamplingParams(num_beams=3, logit_bias=forbidden))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.5}, "temperature = 0.5 with num_beams = 2"),
        ({"temperature": 0.0}, "temperature = 0.0 with num_beams = 2"),
        ({"top_p": 0.9}, "top_p = 0.9 with"),
        ({"mirostat_tau": 5.0}, "mirostat_tau = 5.0 with"),
        ({"xtc_probability": 0.5}, "xtc_probability"),
        ({"n": 3}, "n = 3 with num_beams = 2"),
        ({"early_stopping": "always"}, "early_stopping = 'always'"),
        ({"length_penalty": 11}, "length_penalty = 11"),
    ],
)
def test_what_a_search_does_not_do_is_refused_by_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        SamplingParams(**{"num_beams": 2, **fields})  # type: ignore[arg-type]
