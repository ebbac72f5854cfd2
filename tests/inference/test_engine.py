"""The engine on a tiny random transformer: a text depends on model, prompt, parameters and seed alone."""

from __future__ import annotations

import dataclasses
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.stop_strings import StopStrings
from nextword.inference.text_stream import TextStream
from nextword.inference.torch_backend import TorchBackend
from nextword.language_model import Stream
from nextword.models.build import build_transformer
from tests.models.test_transformer import CONFIG, random_weights
from tests.text.test_tokenizer import TOKENIZER

BYTES = dataclasses.replace(CONFIG, vocab_size=TOKENIZER.vocab_size)


def tiny_engine(max_sequences: int = 4) -> Engine:
    return Engine(TorchBackend(build_transformer(BYTES, random_weights(BYTES))), TOKENIZER, max_sequences=max_sequences)


ENGINE = tiny_engine()
PROMPT = TOKENIZER.encode("the river")


def alone(prompt: list[int], params: SamplingParams) -> Generation:
    request = ENGINE.submit(prompt, params)
    ENGINE.run([request])
    return collect(request, TOKENIZER)


REQUESTS = st.tuples(
    st.lists(st.integers(2, BYTES.vocab_size - 1), min_size=1, max_size=12),
    st.builds(
        SamplingParams,
        max_tokens=st.integers(0, 8),
        temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        top_k=st.sampled_from([0, 1, 5]),
        top_p=st.sampled_from([0.5, 0.9, 1.0]),
        repetition_penalty=st.sampled_from([1.0, 1.3]),
        n=st.integers(1, 3),
        seed=st.integers(0, 99),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=5), st.integers(0, 2**32))
def test_batched_equals_alone(wanted: list[tuple[list[int], SamplingParams]], order_seed: int) -> None:
    random = Random(order_seed)
    requests = []
    for prompt, params in wanted:
        requests.append(ENGINE.submit(prompt, params))
        for _ in range(random.randint(0, 3)):
            ENGINE.step()
    ENGINE.run(requests)
    together = [collect(request, TOKENIZER) for request in requests]
    assert together == [alone(prompt, params) for prompt, params in wanted]


@settings(max_examples=30, deadline=None)
@given(REQUESTS)
def test_streamed_equals_alone(wanted: tuple[list[int], SamplingParams]) -> None:
    prompt, params = wanted
    request = ENGINE.submit(prompt, params)
    texts = [""] * params.n
    for piece in ENGINE.stream(request):
        texts[piece.index] += piece.text
    assert texts == [completion.text for completion in alone(prompt, params).completions]


def test_a_long_prompt_runs_in_chunks() -> None:
    generation = alone(PROMPT * 100, SamplingParams(max_tokens=3, seed=1))
    assert len(generation.completions[0].tokens) == 3


def test_every_limit_says_which_it_was() -> None:
    first = alone(PROMPT, SamplingParams(temperature=0, max_tokens=3)).completions[0]
    assert (first.finish_reason, first.finish_detail) == ("length", "max_tokens")
    token_id = first.tokens[0].token_id
    stopped = alone(PROMPT, SamplingParams(temperature=0, stop_token_ids=(token_id,))).completions[0]
    assert (stopped.finish_detail, stopped.text) == ("stop_token", "")
    full = alone([5] * 598, SamplingParams(max_tokens=None, seed=1, logit_bias={1: -np.inf})).completions[0]
    assert (full.finish_detail, len(full.tokens)) == ("context", 2)
    ended = alone(PROMPT, SamplingParams(logit_bias={1: 1e6})).completions[0]
    assert (ended.finish_reason, ended.finish_detail) == ("stop", "end_of_sequence")


def test_a_stop_string_is_found_and_not_emitted() -> None:
    text = alone(PROMPT, SamplingParams(temperature=0, max_tokens=20)).text
    stop = text[2:4]
    stopped = alone(PROMPT, SamplingParams(temperature=0, max_tokens=20, stop=(stop,))).completions[0]
    assert stopped.text == text[: text.find(stop)]
    assert stopped.finish_detail == "stop_string"


def test_prompt_log_probs_are_those_of_the_model() -> None:
    generation = alone(PROMPT, SamplingParams(max_tokens=0, echo=True, logprobs=0))
    with torch.inference_mode():
        model = build_transformer(BYTES, random_weights(BYTES))
        log_probs = torch.log_softmax(model(torch.tensor([PROMPT])).double(), -1)[0]
    expected = [float(log_probs[place, token_id]) for place, token_id in enumerate(PROMPT[1:])]
    assert [token.log_prob for token in generation.prompt_tokens] == pytest.approx(expected, abs=1e-4)


def test_an_abandoned_stream_gives_its_cache_back() -> None:
    engine = tiny_engine()
    stream = engine.stream(engine.submit(PROMPT, SamplingParams(n=3, max_tokens=50, seed=0)))
    next(stream)
    stream.close()
    assert isinstance(engine.backend, TorchBackend)
    assert engine.backend._caches == {}


@pytest.mark.parametrize("n", [1, 3])
def test_a_request_that_forbids_every_token_fails_alone(n: int) -> None:
    engine = tiny_engine()
    impossible = SamplingParams(logit_bias=dict.fromkeys(range(BYTES.vocab_size), -np.inf), n=n)
    params = SamplingParams(max_tokens=5, seed=3)
    other = engine.submit(PROMPT, params)
    engine.step()
    bad = engine.submit(PROMPT, impossible)
    with pytest.raises(RequestError):
        engine.run([bad])
    engine.run([other])
    assert collect(other, TOKENIZER) == alone(PROMPT, params)
    assert isinstance(engine.backend, TorchBackend)
    assert engine.backend._caches == {}
    with pytest.raises(RequestError):
        list(engine.stream(engine.submit(PROMPT, impossible)))


def test_a_stream_that_nobody_reads_is_cancelled() -> None:
    engine = tiny_engine()
    request = engine.submit(PROMPT, SamplingParams(max_tokens=5, seed=0))
    stream = Stream(engine, request)
    del stream
    assert request.is_finished


@pytest.mark.parametrize(("prompt", "message"), [([], "empty"), ([5] * 600, "600 tokens"), ([9999], "token id 9999")])
def test_impossible_prompts_are_refused(prompt: list[int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ENGINE.submit(prompt, SamplingParams())


@given(st.text("ab", max_size=20), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_text_before_a_stop_string_comes_whole(text: str, stop: list[str]) -> None:
    stream = TextStream(TOKENIZER.stream_decoder(), StopStrings(stop, TOKENIZER))
    for character in text:
        for token_id in TOKENIZER.encode(character):
            stream.push(token_id)
    stream.flush()
    first_end = min((text.find(one) + len(one) for one in stop if one in text), default=None)
    expected = (
        text if first_end is None else text[: min(text[:first_end].find(s) for s in stop if s in text[:first_end])]
    )
    assert stream.text == expected
