"""The tokens of a step are drawn in one call to C++, and each is the one that its request draws alone."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from nextword.decoding import draw_together as module
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.engine import Engine
from nextword.native import native as core
from tests.inference.test_combinations_native import model
from tests.inference.test_draft_sources import TOKENIZER

PLAIN: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {},
    {"temperature": 0.7, "top_k": 5, "top_p": 0.9},
    {"top_p": 0.5, "n": 3},
    {"top_k": 10**9, "repetition_penalty": 1.3, "frequency_penalty": 0.5, "min_tokens": 3},
    {"temperature": 1e-9, "logit_bias": {3: 5.0}},
]
OTHERS: list[dict[str, Any]] = [
    {"min_p": 0.1},
    {"logprobs": 2},
    {"mirostat_tau": 2.0},
    {"num_beams": 3},
    {"regex": "a+"},
    {"order": "llama.cpp"},
]


def tokens_of(engine: Engine, settings: list[dict[str, Any]]) -> list[list[list[int]]]:
    prompt = TOKENIZER.encode("a b")
    requests = [
        engine.submit(prompt, SamplingParams(seed=number, max_tokens=12, **one)) for number, one in enumerate(settings)
    ]
    engine.run(requests)
    return [[sequence.token_ids for sequence in request.sequences] for request in requests]


@pytest.mark.parametrize("num_threads", [1, 2])
def test_each_request_gets_the_tokens_that_it_gets_alone(num_threads: int) -> None:
    settings = [one for pair in zip(PLAIN, OTHERS, strict=True) for one in pair]
    backend = model("q8", num_threads)
    with mock.patch.object(module, "native", None):  # each by itself
        alone = tokens_of(Engine(backend, TOKENIZER, speculation=False), settings)
    for speculation in (False, True):
        assert tokens_of(Engine(backend, TOKENIZER, speculation=speculation), settings) == alone


def test_all_plain_requests_of_a_step_are_in_one_call_and_one_alone_needs_none() -> None:
    engine = Engine(model("q8", 2), TOKENIZER, speculation=False)
    with mock.patch.object(module, "native", wraps=core) as spy:
        tokens_of(engine, [{"min_p": 0.1}, {"top_p": 0.9}])
        tokens_of(engine, [{"top_p": 0.9}] * 4)
    sizes = [len(call.args[1]) for call in spy.choose.call_args_list]
    assert max(sizes) == 4
    with mock.patch.object(module, "native", wraps=core) as spy:
        tokens_of(engine, [{"top_p": 0.9}])
    assert not spy.choose.called


def test_a_request_that_runs_out_of_tokens_fails_alone() -> None:
    engine = Engine(model("q8", 2), TOKENIZER, speculation=False)
    forbidden = {"stop_token_ids": tuple(range(4, engine.backend.vocab_size)), "min_tokens": 12}
    settings: list[dict[str, Any]] = [{}, {"no_repeat_ngram_size": 1, **forbidden}, {}]  # four tokens, none twice
    requests = [engine.submit([60, 61], SamplingParams(seed=1, max_tokens=12, **one)) for one in settings]
    while not all(request.is_finished for request in requests):
        engine.step()
    before, broken, after = requests
    assert isinstance(broken.error, RequestError)
    assert len(broken.sequences[0].tokens) == 4
    assert before.error is None
    assert before.sequences[0].token_ids == after.sequences[0].token_ids
    assert len(after.sequences[0].tokens) == 12
