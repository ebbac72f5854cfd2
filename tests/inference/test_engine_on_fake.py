"""The engine on a fake backend: company, order and streaming change nothing, and every cache is given back."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.log_softmax import log_softmax
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS, Backend, Chunk, Logits
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.prefill import PREFILL_CHUNK
from nextword.inference.torch_backend import TorchBackend
from nextword.models.build import build_transformer
from tests.fakes import HashBackend
from tests.models.test_transformer import CONFIG, random_weights
from tests.text.test_tokenizer import TOKENIZER
from tests.text.vocabularies import as_tokenizer, piece_backend

Case = tuple[list[int], SamplingParams]

LETTERS = [TOKENIZER.encode(letter)[0] for letter in "abcdefgh"]
ONLY_LETTERS = dict.fromkeys(LETTERS, 1000.0)
PIECES = piece_backend()

params_of_any_kind = st.builds(
    SamplingParams,
    max_tokens=st.sampled_from([0, 1, 3, 8, None]),
    temperature=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 5]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    presence_penalty=st.sampled_from([0.0, 1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    logit_bias=st.sampled_from([{}, {1: 8.0}, ONLY_LETTERS]),
    stop=st.sampled_from([(), ("a", "bc")]),
    n=st.integers(1, 3),
    seed=st.integers(0, 2**64 - 1),
    logprobs=st.sampled_from([None, 0, 2]),
    echo=st.booleans(),
)
prompts = st.lists(st.integers(0, TOKENIZER.vocab_size - 1), min_size=1, max_size=12)
cases_of_any_kind = st.lists(st.tuples(prompts, params_of_any_kind), min_size=1, max_size=5)


def hash_backend(max_seq_len: int = 24) -> HashBackend:
    return HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=max_seq_len)


def run_alone(backend: Backend, case: Case) -> Generation:
    engine = Engine(backend, TOKENIZER)
    request = engine.submit(*case)
    engine.run([request])
    return collect(request, TOKENIZER)


def run_batched(backend: Backend, cases: list[Case], order: random.Random) -> list[Generation]:
    """Submitted in a random order, with a random number of steps in between."""
    engine = Engine(backend, TOKENIZER, max_sequences=order.randint(1, 8))
    requests = {}
    for index in order.sample(range(len(cases)), len(cases)):
        requests[index] = engine.submit(*cases[index])
        for _ in range(order.randint(0, 3)):
            if not all(request.is_finished for request in requests.values()):
                engine.step()
    engine.run(list(requests.values()))
    return [collect(requests[index], TOKENIZER) for index in range(len(cases))]


def run_streamed(backend: Backend, cases: list[Case], order: random.Random) -> list[Generation]:
    """Read in a random order, each piece against what is collected in the end."""
    engine = Engine(backend, TOKENIZER, max_sequences=order.randint(1, 8))
    requests = [engine.submit(*case) for case in cases]
    texts = [[""] * request.params.n for request in requests]
    streams = dict(enumerate(engine.stream(request) for request in requests))
    while streams:
        number = order.choice(list(streams))
        piece = next(streams[number], None)
        if piece is None:
            del streams[number]
        else:
            texts[number][piece.index] += piece.text
    for request, of_request in zip(requests, texts, strict=True):
        assert of_request == [sequence.stream.text for sequence in request.sequences]
    return [collect(request, TOKENIZER) for request in requests]


@settings(max_examples=40, deadline=None)
@given(cases_of_any_kind, st.integers(0, 2**32))
def test_batched_alone_and_streamed_are_equal(cases: list[Case], order_seed: int) -> None:
    backend = hash_backend()
    alone = [run_alone(backend, case) for case in cases]
    assert run_batched(backend, cases, random.Random(order_seed)) == alone
    assert run_streamed(backend, cases, random.Random(order_seed)) == alone
    assert not backend.caches


def test_batched_and_alone_are_equal_bitwise_in_torch() -> None:
    backend = TorchBackend(build_transformer(CONFIG, random_weights(CONFIG)))
    draw = random.Random(3)
    cases = [
        (
            [draw.randrange(CONFIG.vocab_size) for _ in range(length)],
            SamplingParams(max_tokens=6, n=n, seed=length, logprobs=2, echo=length == 9),
        )
        for length, n in [(1, 1), (9, 2), (PREFILL_CHUNK + 20, 3), (40, 1)]
    ]
    alone = [run_alone(backend, case) for case in cases]
    assert run_batched(backend, cases, random.Random(1)) == alone
    assert run_streamed(backend, cases, random.Random(2)) == alone


def test_samples_share_the_prompt_and_then_part() -> None:
    backend = hash_backend()
    params = SamplingParams(n=4, max_tokens=5, seed=1, logit_bias=ONLY_LETTERS)
    generation = run_alone(backend, (list(range(2, 12)), params))
    assert backend.tokens_computed == 10 + 4 * (5 - 1)  # the last token of a text needs no logits
    assert backend.num_opened == 4
    assert len({completion.text for completion in generation.completions}) > 1
    assert not backend.caches


@pytest.mark.parametrize(
    ("changes", "detail", "reason", "num_tokens"),
    [
        ({"logit_bias": {1: 1e6}}, "end_of_sequence", "stop", 1),
        ({"logit_bias": {1: 1e6}, "min_tokens": 3}, "end_of_sequence", "stop", 4),
        ({"logit_bias": {7: 1e6}, "stop_token_ids": (7,)}, "stop_token", "stop", 1),
        ({"logit_bias": ONLY_LETTERS, "max_tokens": 3}, "max_tokens", "length", 3),
        ({"logit_bias": ONLY_LETTERS, "max_tokens": 0}, "max_tokens", "length", 0),
        ({"logit_bias": ONLY_LETTERS, "max_tokens": None}, "context", "length", 20),
    ],
)
def test_why_a_text_ends(changes: dict[str, object], detail: str, reason: str, num_tokens: int) -> None:
    backend = hash_backend(max_seq_len=24)
    params = dataclasses.replace(SamplingParams(seed=4), **changes)  # type: ignore[arg-type]
    (completion,) = run_alone(backend, ([2, 3, 4, 5], params)).completions
    assert (completion.finish_detail, completion.finish_reason) == (detail, reason)
    assert len(completion.tokens) == num_tokens
    if detail in ("end_of_sequence", "stop_token"):
        assert completion.text == TOKENIZER.decode([token.token_id for token in completion.tokens[:-1]])
    assert not backend.caches


@pytest.mark.parametrize("start", [0, 4, 9])
def test_a_stop_string_across_tokens_ends_the_text_and_is_not_given_out(start: int) -> None:
    backend = hash_backend()
    params = SamplingParams(max_tokens=15, seed=start, logit_bias=ONLY_LETTERS)
    free = run_alone(backend, ([2, 3], params)).text
    stop = free[start : start + 3]
    engine = Engine(backend, TOKENIZER)
    request = engine.submit([2, 3], dataclasses.replace(params, stop=(stop,)))
    pieces = list(engine.stream(request))
    assert "".join(piece.text for piece in pieces) == free[: free.find(stop)]
    assert pieces[-1].finish_detail == "stop_string"
    assert len(request.sequences[0].tokens) == free.find(stop) + 3
    assert not backend.caches


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("stop", [("<|im_end|>",), ("zz", "<|im_start|>"), ("<|im_end|>\n", "<|im_start|>")])
def test_a_stop_string_that_names_a_control_token_ends_the_text(n: int, stop: tuple[str, ...]) -> None:
    control = TOKENIZER.encode(stop[-1], parse_special=True)[0]
    params = SamplingParams(max_tokens=9, n=n, seed=3, logit_bias={**ONLY_LETTERS, control: 1004.0})
    engine = Engine(hash_backend(), TOKENIZER)
    request = engine.submit([2, 3], dataclasses.replace(params, stop=stop))
    pieces = list(engine.stream(request))
    completions = collect(request, TOKENIZER).completions
    for completion in completions:
        *before, last = [token.token_id for token in completion.tokens]
        assert (completion.finish_detail, completion.finish_reason) == ("stop_string", "stop")
        assert last == control
        assert control not in before
        assert completion.text == TOKENIZER.decode(before)
    assert "".join(piece.text for piece in pieces if piece.index == 0) == completions[0].text


def test_text_stream_and_echo_continue_the_prompt() -> None:
    tokenizer = as_tokenizer(PIECES)
    prompt, the = tokenizer.encode("the"), tokenizer.encode("the")[0]
    params = SamplingParams(max_tokens=2, seed=1, logit_bias={the: 1e6})
    engine = Engine(HashBackend(vocab_size=tokenizer.vocab_size), tokenizer)

    def text_of(*, echo: bool, continues_text: bool = True) -> str:
        request = engine.submit(prompt, dataclasses.replace(params, echo=echo), continues_text=continues_text)
        pieces = "".join(piece.text for piece in engine.stream(request))
        text = collect(request, tokenizer).text
        assert text == ("the" if echo else "") + pieces
        return text

    assert text_of(echo=False) == " the the"
    assert text_of(echo=True) == "the the the" == PIECES.decode([*prompt, the, the])
    assert text_of(echo=False, continues_text=False) == "the the"  # as an answer in a chat
    assert text_of(echo=True, continues_text=False) == "the the the"


@pytest.mark.parametrize("num_steps", [0, 1, 2, 4])
def test_cancelling_frees_the_caches_and_leaves_others_alone(num_steps: int) -> None:
    backend = hash_backend(max_seq_len=PREFILL_CHUNK + 100)
    params = SamplingParams(n=2, max_tokens=8, seed=1, logit_bias=ONLY_LETTERS)
    engine = Engine(backend, TOKENIZER)
    cancelled = engine.submit([5] * (PREFILL_CHUNK + 10), params)  # two steps of prompt
    other = engine.submit([6], params)
    for _ in range(num_steps):
        engine.step()
    engine.cancel(cancelled)
    engine.cancel(cancelled)
    assert cancelled.is_finished
    assert all(sequence.finish_detail == "cancelled" for sequence in cancelled.sequences)
    engine.run([other])
    assert collect(other, TOKENIZER) == run_alone(backend, ([6], params))
    assert not backend.caches


def test_a_reader_who_stops_reading_cancels() -> None:
    backend = hash_backend()
    engine = Engine(backend, TOKENIZER)
    request = engine.submit([2], SamplingParams(n=2, seed=1, max_tokens=None, logit_bias=ONLY_LETTERS))
    stream = engine.stream(request)
    next(stream)
    assert len(backend.caches) == 2
    del stream
    assert request.is_finished
    assert not backend.caches


class FailingBackend(HashBackend):
    """Raises an error in the middle of one step: sequences have grown by then, and their logits are lost."""

    def __init__(self, error: BaseException, *, at_step: int) -> None:
        super().__init__(vocab_size=TOKENIZER.vocab_size)
        self.error = error
        self.steps_left = at_step

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        self.steps_left -= 1
        if self.steps_left == 0 and isinstance(self.error, RequestError):
            raise self.error
        rows = super().step(chunks)
        if self.steps_left == 0:
            raise self.error
        return rows


@pytest.mark.parametrize(("max_sequences", "at_step"), [(2, 1), (2, 4), (4, 1), (4, 2), (4, 4)])
def test_an_interrupted_step_ends_what_ran_in_it_and_the_engine_goes_on(max_sequences: int, at_step: int) -> None:
    backend = FailingBackend(KeyboardInterrupt(), at_step=at_step)
    engine = Engine(backend, TOKENIZER, max_sequences=max_sequences)
    case: Case = ([2, 3], SamplingParams(n=2, max_tokens=9, seed=1, logit_bias=ONLY_LETTERS))
    first, second = engine.submit(*case), engine.submit(*case)
    with pytest.raises(KeyboardInterrupt):
        engine.run([first])
    assert first.is_finished
    if max_sequences == 2:  # the second had not begun
        engine.run([second])
        assert collect(second, TOKENIZER) == run_alone(hash_backend(), case)
    else:
        with pytest.raises(RequestError, match="interrupted: ask again"):
            engine.run([second])
    assert not backend.caches
    assert run_alone(backend, case) == run_alone(hash_backend(), case)


def test_a_step_without_memory_ends_whoever_waits_for_it_and_leaves_the_others() -> None:
    backend = FailingBackend(RequestError("no memory"), at_step=3)
    engine = Engine(backend, TOKENIZER)
    case: Case = ([2, 3], SamplingParams(n=2, max_tokens=9, seed=1, logit_bias=ONLY_LETTERS))
    first, second = engine.submit(*case), engine.submit(*case)
    with pytest.raises(RequestError, match="no memory"):
        engine.run([first])
    assert first.is_finished
    engine.run([second])
    assert collect(second, TOKENIZER) == run_alone(hash_backend(), case)
    assert not backend.caches


@pytest.mark.parametrize("prompt", [[], [2] * 24, [-1], [2, TOKENIZER.vocab_size]], ids=["empty", "long", "-1", "new"])
def test_impossible_prompts_are_refused(prompt: list[int]) -> None:
    backend = hash_backend(max_seq_len=24)
    with pytest.raises(RequestError, match=r"prompt"):
        Engine(backend, TOKENIZER).submit(prompt, SamplingParams())
    assert not backend.caches


@pytest.mark.parametrize("length", [1, 30, PREFILL_CHUNK, PREFILL_CHUNK + 1, 2 * PREFILL_CHUNK + 7])
def test_log_probs_of_the_prompt(length: int) -> None:
    backend = hash_backend(max_seq_len=2000)
    prompt = [(index * index) % 250 + 2 for index in range(length)]
    params = SamplingParams(echo=True, logprobs=0, max_tokens=1, seed=1)
    generation = run_alone(backend, (prompt, params))
    assert generation.text.startswith(TOKENIZER.decode(prompt))
    assert [token.token_id for token in generation.prompt_tokens] == prompt[1:]
    expected = [log_softmax(backend.logits_after(prompt[:end]))[prompt[end]] for end in range(1, length)]
    np.testing.assert_allclose([token.log_prob or 0.0 for token in generation.prompt_tokens], expected, rtol=1e-6)
    assert not backend.caches


def test_a_long_prompt_is_computed_once_in_pieces() -> None:
    backend = hash_backend(max_seq_len=2000)
    prompt = [index % 250 + 2 for index in range(2 * PREFILL_CHUNK + 1)]
    generation = run_alone(backend, (prompt, SamplingParams(temperature=0, max_tokens=1)))
    assert backend.tokens_computed == len(prompt)
    assert generation.completions[0].tokens[0].token_id == int(backend.logits_after(prompt).argmax())
    assert Engine(backend, TOKENIZER).next_distribution(prompt).argmax() == int(backend.logits_after(prompt).argmax())
    assert not backend.caches


def test_no_more_runs_at_once_than_the_cache_can_hold_to_its_end() -> None:
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=64, max_positions=4 * PAGE_POSITIONS)
    engine = Engine(backend, TOKENIZER)
    params = SamplingParams(max_tokens=6, seed=0, logit_bias=ONLY_LETTERS)
    requests = [engine.submit([index + 1], params) for index in range(5)]  # each needs a page for prompt and text
    most_open = 0
    while not all(request.is_finished for request in requests):
        engine.step()
        most_open = max(most_open, len(backend.caches))
    assert most_open == 4


def test_a_request_that_can_never_fit_the_cache_is_refused() -> None:
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=256, max_positions=2 * PAGE_POSITIONS)
    engine = Engine(backend, TOKENIZER)
    with pytest.raises(RequestError, match=r"room for 224 tokens.*holds 64.*max_tokens"):
        engine.submit([1] * 40, SamplingParams(max_tokens=160))


def test_dry_sees_no_repetition_across_tokens_with_a_breaker() -> None:
    a, b = LETTERS[:2]
    prompt = [a, b, LETTERS[2], a, b]
    params = SamplingParams(max_tokens=1, temperature=0, logit_bias=dict.fromkeys([LETTERS[2]], 1e5))
    for breakers, chosen in [(("z",), False), (("b",), True), ((), False), (("a", ":"), True)]:
        dry = dataclasses.replace(params, dry_multiplier=1e6, dry_sequence_breakers=breakers)
        (completion,) = run_alone(hash_backend(), (prompt, dry)).completions
        assert (completion.tokens[0].token_id == LETTERS[2]) == chosen
