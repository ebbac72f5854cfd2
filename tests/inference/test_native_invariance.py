"""A text's logits and its generated text have the same bits in every company, chunking, fork, thread count and
instruction set."""

from __future__ import annotations

import dataclasses
import itertools
import random as python_random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("nextword._native")

from nextword.decoding.params import SamplingParams
from nextword.inference.backend import Chunk, Logits, Weights
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.native_backend import NativeBackend
from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from tests.inference.native import CONFIG, WINDOW, logits_of, native, random_text
from tests.text.test_tokenizer import TOKENIZER

EXPERTS = dataclasses.replace(
    WINDOW, experts=Experts(count=7, per_token=3, intermediate_size=36, layers=(0, 2), is_normalized=False)
)
MODELS: dict[str, ModelConfig] = {"grouped": CONFIG, "window, experts": EXPERTS}
WEIGHTS: tuple[Weights, ...] = ("f32", "f16", "bf16", "q8", "q4")
TEXTS = [random_text(length, seed=seed) for seed, length in enumerate([1, 2, 31, 33, 64, 70, 129, 150, 200, 330])]
SETTINGS = [("", 2), ("", 3), ("", 5), ("amx", 3), ("avx512", 2), ("avxvnni", 2), ("avx2", 3), ("portable", 2)]
"""Instruction set and threads, beside the reference: the best one with one thread."""
SCHEDULES = 30
"""For each model, kind of weights and setting; 300 for each setting in all."""


@dataclass(eq=False)
class Writing:
    """A text that a schedule advances."""

    expected: Logits
    token_ids: list[int]
    cache_id: int
    done: int = 0


def run_schedule(backend: NativeBackend, expected: list[Logits], random: python_random.Random) -> Iterator[bool]:
    """Some texts, advanced and forked at random until all are written; for each chunk, whether its logits are right."""

    def begin(index: int) -> Writing:
        return Writing(expected[index], TEXTS[index], backend.open_cache())

    running = [begin(random.randrange(len(TEXTS))) for _ in range(random.randint(1, 5))]
    while running:
        if random.random() < 0.2 and len(running) < 8:
            source = random.choice(running)
            running.append(dataclasses.replace(source, cache_id=backend.fork_cache(source.cache_id)))
        chosen = random.sample(running, random.randint(1, len(running)))
        chunks = []
        for writing in chosen:
            left = len(writing.token_ids) - writing.done
            count = min(left, random.choice([1, 1, 2, 7, 33, left]))
            piece = writing.token_ids[writing.done : writing.done + count]
            chunks.append(Chunk(writing.cache_id, piece, random.randint(0, count)))
            writing.done += count
        for writing, chunk, logits in zip(chosen, chunks, backend.step(chunks), strict=True):
            yield np.array_equal(logits, writing.expected[writing.done - chunk.num_logits : writing.done])
        for writing in [one for one in running if one.done == len(one.token_ids)]:
            backend.close_cache(writing.cache_id)
            running.remove(writing)


@pytest.mark.slow
@pytest.mark.parametrize(("isa", "num_threads"), SETTINGS)
def test_no_schedule_thread_count_or_instruction_set_changes_a_bit(isa: str, num_threads: int) -> None:
    for (name, config), weights in itertools.product(MODELS.items(), WEIGHTS):
        reference = native(config, weights=weights, num_threads=1)
        expected = [logits_of(reference, text) for text in TEXTS]
        backend = native(config, weights=weights, num_threads=num_threads, isa=isa)
        for seed in range(SCHEDULES // 6 if isa == "portable" else SCHEDULES):
            assert all(run_schedule(backend, expected, python_random.Random(seed))), (name, weights, seed)
        assert backend.cache_bytes == 0


BYTES = dataclasses.replace(EXPERTS, vocab_size=TOKENIZER.vocab_size)
ENGINES = {weights: Engine(native(BYTES, weights=weights), TOKENIZER, max_sequences=4) for weights in WEIGHTS}

REQUESTS = st.tuples(
    st.lists(st.integers(2, BYTES.vocab_size - 1), min_size=1, max_size=80),
    st.builds(
        SamplingParams,
        max_tokens=st.integers(0, 12),
        temperature=st.sampled_from([0.0, 0.7, 1.5]),
        top_p=st.sampled_from([0.8, 1.0]),
        n=st.integers(1, 3),
        seed=st.integers(0, 99),
    ),
)


def alone(weights: Weights, prompt: list[int], params: SamplingParams) -> Generation:
    """On an engine with an empty cache and one thread."""
    engine = Engine(native(BYTES, weights=weights, num_threads=1), TOKENIZER)
    request = engine.submit(prompt, params)
    engine.run([request])
    return collect(request, TOKENIZER)


@pytest.mark.slow
@pytest.mark.parametrize("weights", WEIGHTS)
@settings(max_examples=25, deadline=None)
@given(wanted=st.lists(REQUESTS, min_size=1, max_size=5), order_seed=st.integers(0, 2**32))
def test_generated_in_a_batch_equals_alone(
    weights: Weights, wanted: list[tuple[list[int], SamplingParams]], order_seed: int
) -> None:
    """The engine keeps prefixes from one example to the next, so equal beginnings are reused, too.

    Nothing is drawn from hypothesis here: where it has no more to give, it would leave requests behind in the engine.
    """
    random = python_random.Random(order_seed)
    engine, requests = ENGINES[weights], []
    for prompt, params in wanted:
        requests.append(engine.submit(prompt, params))
        for _ in range(random.randint(0, 3)):
            engine.step()
    engine.run(requests)
    together = [collect(request, TOKENIZER) for request in requests]
    assert together == [alone(weights, prompt, params) for prompt, params in wanted]
    assert isinstance(engine.backend, NativeBackend)
    assert engine.backend.cache_bytes == 0


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_second_prompt_with_the_same_beginning_generates_as_the_first_would(weights: Weights) -> None:
    engine = ENGINES[weights]
    beginning = random_text(150, seed=8)
    params = SamplingParams(max_tokens=10, seed=4)
    for end in ([3], [3, 4], [5]):
        request = engine.submit(beginning + end, params)
        engine.run([request])
        assert collect(request, TOKENIZER) == alone(weights, beginning + end, params)
