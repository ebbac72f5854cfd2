"""Requests that give up their keys and values to others have the texts, bit for bit, that they have alone."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.params import SamplingParams
from nextword.inference.backend import PAGE_POSITIONS, Chunk, Logits, Weights
from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine
from nextword.inference.generation import collect
from nextword.inference.sequence import Request
from nextword.models.config import ModelConfig
from tests.fakes import HashBackend
from tests.inference.native import CONFIG, WINDOW, native
from tests.inference.test_engine_on_fake import ONLY_LETTERS, Case, params_of_any_kind, prompts, run_alone
from tests.inference.test_native_cache import page_bytes
from tests.text.test_tokenizer import TOKENIZER

CONTEXT = 6 * PAGE_POSITIONS
OPEN_ENDED = SamplingParams(max_tokens=None, seed=1, logit_bias=ONLY_LETTERS, logprobs=2)


class FullBackend(HashBackend):
    """Holds no more positions than it says."""

    def __init__(self, num_pages: int) -> None:
        super().__init__(vocab_size=TOKENIZER.vocab_size, max_seq_len=CONTEXT, max_positions=num_pages * PAGE_POSITIONS)
        self.most_drafted = 5

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        rows = super().step(chunks)
        assert sum(whole_pages(len(text)) for text in self.caches.values()) <= self.max_positions
        return rows


def roomy() -> HashBackend:
    return HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=CONTEXT)


def num_preempted(requests: Sequence[Request]) -> int:
    return sum(request.num_preemptions for request in requests)


def test_open_ended_texts_run_together_where_one_whole_context_fits() -> None:
    backend = FullBackend(num_pages=6)
    engine = Engine(backend, TOKENIZER, speculation=False)
    requests = [engine.submit([number], OPEN_ENDED) for number in (1, 2, 3)]
    for _ in range(3):
        engine.step()
    assert len(backend.caches) == 2, "a text and the longest draft take three pages"
    engine.run(requests)
    assert num_preempted(requests) > 0
    assert requests[0].num_preemptions == 0, "the one that is due first gives way to nobody"
    for number, request in enumerate(requests, 1):
        assert collect(request, TOKENIZER) == run_alone(roomy(), ([number], OPEN_ENDED))
    assert not backend.caches
    assert engine.cache_share == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(prompts, params_of_any_kind), min_size=2, max_size=6),
    st.integers(18, 24),
    st.integers(0, 2**32),
)
def test_full_caches_change_no_text(cases: list[Case], num_pages: int, order_seed: int) -> None:
    order = random.Random(order_seed)
    backend = FullBackend(num_pages)
    engine = Engine(backend, TOKENIZER)
    requests = []
    for case in cases:
        requests.append(engine.submit(*case))
        for _ in range(order.randint(0, 3)):
            engine.step()
    pieces = ["" for _ in requests]
    for index in order.sample(range(len(requests)), len(requests)):
        pieces[index] = "".join(piece.text for piece in engine.stream(requests[index]) if piece.index == 0)
    for case, request, text in zip(cases, requests, pieces, strict=True):
        assert collect(request, TOKENIZER) == run_alone(roomy(), case)
        assert text == request.sequences[0].stream.text
    assert not backend.caches
    assert engine.cache_share == 0


@pytest.mark.parametrize("num_steps", [1, 60, 100, 150, 200])
def test_a_request_can_be_cancelled_while_it_waits_again(num_steps: int) -> None:
    backend = FullBackend(num_pages=6)
    engine = Engine(backend, TOKENIZER)
    requests = [engine.submit([number], OPEN_ENDED) for number in (1, 2, 3)]
    for _ in range(num_steps):
        engine.step()
    for request in requests[1:]:
        engine.cancel(request)
    engine.run(requests[:1])
    assert collect(requests[0], TOKENIZER) == run_alone(roomy(), ([1], OPEN_ENDED))
    expected = collect(requests[1], TOKENIZER).completions
    assert all(run_alone(roomy(), ([2], OPEN_ENDED)).text.startswith(one.text) for one in expected)
    assert not backend.caches
    assert engine.cache_share == 0


def test_several_completions_reserve_what_they_may_need() -> None:
    engine = Engine(FullBackend(num_pages=24), TOKENIZER)
    requests = [engine.submit([number], dataclasses.replace(OPEN_ENDED, n=2)) for number in (1, 2, 3)]
    engine.run(requests)
    assert num_preempted(requests) == 0


@pytest.mark.parametrize(("config", "weights"), [(CONFIG, "q8"), (WINDOW, "f32")], ids=["full-q8", "window-f32"])
def test_keys_and_values_that_are_computed_again_have_the_same_bits(config: ModelConfig, weights: Weights) -> None:
    config = dataclasses.replace(config, vocab_size=TOKENIZER.vocab_size)
    params = dataclasses.replace(OPEN_ENDED, echo=True)
    draw = random.Random(7)
    all_prompts = [[draw.randrange(2, 250) for _ in range(length)] for length in (1, 40, 130, 5)]
    full = native(config, weights=weights, max_cache_bytes=14 * page_bytes(config))
    engine = Engine(full, TOKENIZER)
    requests = [engine.submit(prompt, params) for prompt in all_prompts]
    engine.run(requests)
    assert num_preempted(requests) > 0
    for prompt, request in zip(all_prompts, requests, strict=True):
        alone = run_alone(native(config, weights=weights), (prompt, params))
        assert collect(request, TOKENIZER) == alone
        assert len(alone.completions[0].tokens) == config.max_seq_len - len(prompt)
