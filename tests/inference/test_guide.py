"""Guides on a fake backend: the same texts in company, drafted and alone, and every cache given back."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.distribution import Distribution
from nextword.decoding.guidance import away_from, contrasted
from nextword.decoding.log_softmax import log_softmax
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.backend import Backend, Logits
from nextword.inference.drafts import DraftSource
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.prefill import PREFILL_CHUNK
from tests.fakes import HashBackend
from tests.inference.native import native, random_text
from tests.inference.test_engine_on_fake import LETTERS
from tests.inference.test_speculation import Drafting, Guessing
from tests.text.test_tokenizer import TOKENIZER

Case = tuple[list[int], SamplingParams, list[int] | None]


class Amateur(HashBackend):
    """Another model, whose logits differ."""

    def logits_after(self, token_ids: object) -> Logits:
        return super().logits_after([1, *token_ids])  # type: ignore[misc]


def hash_backend(kind: type[HashBackend] = HashBackend, *, most_drafted: int = 0, max_seq_len: int = 24) -> HashBackend:
    backend = kind(vocab_size=TOKENIZER.vocab_size, max_seq_len=max_seq_len)
    backend.most_drafted = most_drafted
    return backend


guides: st.SearchStrategy[dict[str, float]] = st.one_of(
    st.fixed_dictionaries({"guidance_scale": st.sampled_from([0.0, 0.5, 1.5, 3.0])}),
    st.fixed_dictionaries(
        {"contrastive_alpha": st.sampled_from([0.01, 0.1, 1.0]), "amateur_temperature": st.sampled_from([0.5, 1.0])}
    ),
    st.just({}),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    texts = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12)
    guide = draw(guides)
    beams = draw(st.sampled_from([0, 0, 3]))
    params = SamplingParams(
        max_tokens=draw(st.sampled_from([0, 1, 3, 8, None])),
        temperature=1.0 if beams else draw(st.sampled_from([0.0, 0.7, 1.0])),
        frequency_penalty=draw(st.sampled_from([0.0, 0.5])),
        stop=draw(st.sampled_from([(), ("a", "bc")])),
        num_beams=beams,
        n=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 99)),
        logprobs=draw(st.sampled_from([None, 1])),
        echo=draw(st.booleans()),
        **guide,  # type: ignore[arg-type]
    )
    return draw(texts), params, draw(texts | st.none()) if "guidance_scale" in guide else None


def run(engine: Engine, some: list[Case], order: random.Random | None = None) -> list[Generation]:
    requests = []
    for prompt, params, negative in some:
        requests.append(engine.submit(prompt, params, negative_prompt=negative))
        for _ in range(order.randint(0, 3) if order else 0):
            if not all(request.is_finished for request in requests):
                engine.step()
    engine.run(requests)
    return [collect(request, TOKENIZER) for request in requests]


@settings(max_examples=60, deadline=None)
@given(st.lists(cases(), min_size=1, max_size=4), st.integers(0, 2**32))
def test_guided_texts_are_the_same_in_company_and_with_any_draft(some: list[Case], seed: int) -> None:
    backend, amateur = hash_backend(), hash_backend(Amateur)
    alone = [run(Engine(backend, TOKENIZER, amateur=amateur), [case])[0] for case in some]
    assert run(Engine(backend, TOKENIZER, amateur=amateur), some, random.Random(seed)) == alone
    drafted, weaker = hash_backend(most_drafted=5), hash_backend(Amateur, most_drafted=4)
    engine = Drafting(drafted, amateur=weaker)
    sources: Iterator[list[DraftSource]] = ([Guessing((), seed + index)] for index in itertools.count())
    with mock.patch.object(engine, "_given", sources):
        assert run(engine, some) == alone
    assert not any(one.caches for one in (backend, amateur, drafted, weaker))


def test_each_token_is_the_first_of_the_guided_logits_after_both_prompts() -> None:
    backend, (prompt, negative) = hash_backend(), (LETTERS[:3], LETTERS[4:6])
    params = SamplingParams(guidance_scale=1.7, temperature=0.0, max_tokens=6, logprobs=0)
    (found,) = run(Engine(backend, TOKENIZER), [(prompt, params, negative)])
    text: list[int] = []
    for token in found.completions[0].tokens:
        one, other = (log_softmax(backend.logits_after([*before, *text])) for before in (prompt, negative))
        guided = other + 1.7 * (one - other)
        assert token.token_id == int(guided.argmax())
        assert token.log_prob == pytest.approx(log_softmax(guided.astype(np.float32)).max(), abs=1e-5)
        text.append(token.token_id)


def test_each_token_is_what_the_amateur_expects_least_among_the_plausible() -> None:
    backend, amateur, prompt = hash_backend(), hash_backend(Amateur), LETTERS[:3]
    params = SamplingParams(contrastive_alpha=0.2, amateur_temperature=0.5, temperature=0.0, max_tokens=6)
    (found,) = run(Engine(backend, TOKENIZER, amateur=amateur), [(prompt, params, None)])
    text: list[int] = []
    for token in found.completions[0].tokens:
        expert = log_softmax(backend.logits_after([*prompt, *text]))
        other = log_softmax(amateur.logits_after([*prompt, *text]), temperature=0.5)
        plausible = np.exp(expert) >= 0.2 * np.exp(expert).max()
        assert token.token_id == int(np.where(plausible, expert - other, -np.inf).argmax())
        text.append(token.token_id)


def test_scale_1_and_the_model_as_its_own_amateur_are_neutral() -> None:
    logits, other = hash_backend().logits_after([1]), hash_backend().logits_after([2])
    np.testing.assert_allclose(away_from(logits, other, scale=1.0), log_softmax(logits), atol=1e-5)
    np.testing.assert_allclose(away_from(logits, other, scale=0.0), log_softmax(other), atol=1e-5)
    kept = Distribution.from_logits(contrasted(logits, logits, alpha=0.05, temperature=1.0))
    assert kept.token_ids.tolist() == Distribution.from_logits(logits).min_p(0.05).token_ids.tolist()
    np.testing.assert_allclose(kept.probabilities()[kept.token_ids], 1 / len(kept))


@pytest.mark.parametrize("extra", [-3, 5])
def test_an_amateur_may_have_other_padding(extra: int) -> None:
    logits, other = (np.random.default_rng(seed).standard_normal(20).astype(np.float32) for seed in (1, 2))
    padded = np.concatenate([other, np.zeros(5, np.float32)]) if extra > 0 else other[:extra]
    scores = contrasted(logits, padded, alpha=1e-3, temperature=1.0)
    assert scores.shape == logits.shape
    expected = log_softmax(logits)[: len(padded)] - log_softmax(padded)[: len(logits)]
    np.testing.assert_allclose(scores[: len(expected)], expected, atol=1e-6)
    assert (scores[len(expected) :] == -np.inf).all()


def test_a_long_prompt_of_a_guide_lets_others_go_on() -> None:
    backend = hash_backend(max_seq_len=4 * PREFILL_CHUNK)
    engine = Engine(backend, TOKENIZER)
    other = engine.submit(LETTERS[:2], SamplingParams(max_tokens=50, stop_token_ids=(), logit_bias={0: 0.0}))
    engine.step()
    guided = engine.submit(
        LETTERS[:2], SamplingParams(max_tokens=2, guidance_scale=2.0), negative_prompt=random_text(3 * PREFILL_CHUNK)
    )
    before = backend.tokens_computed
    engine.step()
    assert backend.tokens_computed - before <= PREFILL_CHUNK + 1
    engine.run([other, guided])
    assert not backend.caches


def test_the_context_of_either_ends_a_text() -> None:
    for negative, length in ((LETTERS[:1] * 20, 4), (LETTERS[:1], 22)):
        params = SamplingParams(max_tokens=None, guidance_scale=1.5, min_tokens=100)
        params = dataclasses.replace(params, min_tokens=0, logit_bias=dict.fromkeys(TOKENIZER.eos_token_ids, -100.0))
        (found,) = run(Engine(hash_backend(), TOKENIZER), [(LETTERS[:2], params, negative)])
        assert (len(found.completions[0].tokens), found.completions[0].finish_detail) == (length, "context")


class Full(HashBackend):
    """Has no memory in a step."""

    fails = False

    def step(self, chunks: object) -> list[Logits]:
        if self.fails:
            self.fails = False
            raise RequestError("the KV cache is full")
        return super().step(chunks)  # type: ignore[arg-type]


@pytest.mark.parametrize("who", ["model", "amateur"])
def test_a_step_without_memory_changes_nothing(who: str) -> None:
    backend, amateur = (hash_backend(Full) for _ in range(2))
    params = SamplingParams(contrastive_alpha=0.1, max_tokens=10, n=2, seed=3)
    (expected,) = run(Engine(backend, TOKENIZER, amateur=amateur), [(LETTERS[:3], params, None)])
    engine = Engine(backend, TOKENIZER, amateur=amateur)
    request = engine.submit(LETTERS[:3], params)
    for _ in range(4):
        engine.step()
    (backend if who == "model" else amateur).fails = True  # type: ignore[attr-defined]
    with pytest.raises(RequestError, match="full"):
        engine.step()
    engine.run([request])
    assert collect(request, TOKENIZER) == expected
    assert not backend.caches
    assert not amateur.caches


def test_the_core_gives_the_same_bits_alone_in_company_and_drafted_and_gives_back_its_memory() -> None:
    backends: list[Backend] = [native(max_cache_bytes=2**24) for _ in range(2)]
    some: list[Case] = [
        (random_text(5), SamplingParams(guidance_scale=1.5, seed=1, max_tokens=40, logprobs=1, n=2), random_text(70)),
        (random_text(40), SamplingParams(guidance_scale=2.0, temperature=0.0, seed=0, max_tokens=40, logprobs=1), None),
        (random_text(9), SamplingParams(contrastive_alpha=0.1, seed=2, max_tokens=40, logprobs=1), None),
        (random_text(9), SamplingParams(contrastive_alpha=0.1, num_beams=3, n=3, max_tokens=20, seed=0), None),
    ]

    def engine(*, speculation: bool) -> Engine:
        return Engine(backends[0], TOKENIZER, speculation=speculation, amateur=backends[1])

    alone = [run(engine(speculation=False), [case])[0] for case in some]
    assert run(engine(speculation=False), some) == alone
    assert run(engine(speculation=True), some) == alone
    assert [backend.cache_bytes for backend in backends] == [0, 0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("params", "negative", "message"),
    [
        ({}, [3], "negative_prompt has no effect"),
        ({"guidance_scale": 2.0}, [], "negative prompt is empty"),
        ({"guidance_scale": 2.0}, [3] * 24, "the negative prompt has 24 tokens"),
        ({"guidance_scale": 2.0}, [10**6], "token id 1000000 in the negative prompt"),
        ({"contrastive_alpha": 0.1}, None, "without an amateur"),
    ],
)
def test_guides_that_cannot_be_are_refused(params: dict[str, float], negative: list[int] | None, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Engine(hash_backend(), TOKENIZER).submit(
            LETTERS[:2],
            SamplingParams(**params),  # type: ignore[arg-type]
            negative_prompt=negative,
        )


def test_a_text_has_one_guide() -> None:
    with pytest.raises(RequestError, match="one guide"):
        SamplingParams(guidance_scale=2.0, contrastive_alpha=0.1)


def test_memory_of_the_amateur_is_counted() -> None:
    amateur = HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=200, max_positions=64)
    engine = Engine(hash_backend(max_seq_len=200), TOKENIZER, amateur=amateur)
    with pytest.raises(RequestError, match="room for 96 tokens"):
        engine.submit(LETTERS[:2], SamplingParams(contrastive_alpha=0.1, max_tokens=80))
    requests = [engine.submit(LETTERS[:2], SamplingParams(contrastive_alpha=0.1, max_tokens=40)) for _ in range(3)]
    engine.run(requests)  # one after the other
    assert not amateur.caches
