"""The properties of `test_combinations`, by the C++ core over tiny models: drafts change no bit of any request.

What a text is alone is asked of an engine without speculation, of the same weights: their kinds, threads and attention
windows vary, and so do parameters, forms, guides, beams, stop strings and the sources of drafts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.inference.backend import Weights
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation
from nextword.inference.native_backend import NativeBackend
from tests.inference.native import CONFIG, WINDOW, native, random_weights
from tests.inference.test_combinations import Case, cases, outcome
from tests.inference.test_draft_sources import TOKENIZER
from tests.inference.test_speculation import Drafting, Guessing

FULL = dataclasses.replace(CONFIG, vocab_size=TOKENIZER.vocab_size, max_seq_len=70)
NEAR = dataclasses.replace(WINDOW, vocab_size=TOKENIZER.vocab_size, max_seq_len=70, sliding_window=13)


@functools.cache
def model(kind: Weights, num_threads: int, *, is_near: bool = False, seed: int = 5) -> NativeBackend:
    """A model whose distributions are peaked, so that drafts are right as well as wrong."""
    config = NEAR if is_near else FULL
    tensors = random_weights(config, seed=seed)
    last = tensors["output_head.weight"]
    sharper = dataclasses.replace(last, stored=np.multiply(last.data, np.float32(2.5)))
    return native(config, {**tensors, sharper.name: sharper}, weights=kind, num_threads=num_threads)


def run(engine: Engine, some: Sequence[Case], predictions: Sequence[Sequence[int]] = ()) -> list[Generation | str]:
    """What each gives, or the error that it ends with; they run together, each with its prediction."""
    requests = [case.submit(engine, merged=True) for case in some]
    for request, prediction in zip(requests, predictions, strict=False):
        request.prediction = tuple(prediction)
    while not all(request.is_finished for request in requests):
        engine.step()
    return [outcome(request) for request in requests]


def truth_of(result: Generation | str) -> list[int]:
    """The tokens of the first text."""
    return [] if isinstance(result, str) else [token.token_id for token in result.completions[0].tokens]


some_cases = st.lists(cases(), min_size=1, max_size=3)
kinds: st.SearchStrategy[Any] = st.sampled_from(["f32", "f32", "bf16", "q8", "q4"])
sources = st.sampled_from(["the truth", "parts of it", "garbage", "the model", "another model"])


@settings(max_examples=50, deadline=None)
@given(some_cases, kinds, st.integers(1, 2), st.booleans(), sources, st.integers(0, 2**32))
def test_no_draft_changes_a_bit(
    some: list[Case], kind: Weights, num_threads: int, is_near: bool, source: str, seed: int
) -> None:
    backend, amateur = model(kind, num_threads, is_near=is_near), model("f32", 1, seed=6)
    alone = [run(Engine(backend, TOKENIZER, speculation=False, amateur=amateur), [case])[0] for case in some]
    models = {"the model": model(kind, 1, is_near=is_near, seed=5), "another model": model("f32", 1, seed=7)}
    drafting = Drafting(backend, tokenizer=TOKENIZER, amateur=amateur, draft_model=models.get(source))
    if source == "garbage":
        drafting._given = ([Guessing((), seed + index)] for index in range(99))
    predictions = [truth_of(result) for result in alone] if source in ("the truth", "parts of it") else []
    if source == "parts of it":
        predictions = [[*truth[:3], *truth[4:9], 1, 2, *truth[9:]] for truth in predictions]
    assert run(drafting, some, predictions) == alone
    assert not any(one.cache_bytes for one in (backend, amateur, *models.values()))
