"""The order of prompts: short ones overtake long ones, and no long one waits for ever."""

from __future__ import annotations

from nextword.decoding.params import SamplingParams
from nextword.inference.engine import Engine
from nextword.inference.prefill import PREFILL_CHUNK
from nextword.inference.sequence import Request
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TOKENIZER

LENGTH = 8 * PREFILL_CHUNK
ONE = SamplingParams(max_tokens=1)


def new_engine(max_sequences: int = 16) -> Engine:
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=2 * LENGTH)
    return Engine(backend, TOKENIZER, max_sequences=max_sequences)


def steps_until_finished(engine: Engine, request: Request) -> int:
    steps = 0
    while not request.is_finished:
        engine.step()
        steps += 1
    return steps


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    engine = new_engine()
    long = engine.submit([1] * LENGTH, ONE)
    engine.step()
    short = engine.submit([2] * 8, ONE)
    assert steps_until_finished(engine, short) == 1
    assert not long.is_finished


def test_a_prompt_that_is_nearly_computed_comes_first() -> None:
    engine = new_engine()
    long = engine.submit([1] * LENGTH, ONE)
    for _ in range(7):
        engine.step()
    later = engine.submit([2] * (2 * PREFILL_CHUNK), ONE)
    assert steps_until_finished(engine, long) == 1
    assert steps_until_finished(engine, later) == 2


def test_a_stream_of_short_prompts_delays_a_long_one_by_its_own_length_at_most() -> None:
    engine = new_engine()
    long = engine.submit([1] * LENGTH, ONE)
    steps = 0
    while not long.is_finished:
        engine.submit([2] * PREFILL_CHUNK, ONE)
        engine.step()
        steps += 1
    assert steps <= 2 * LENGTH // PREFILL_CHUNK


def test_prompts_of_one_length_come_in_their_order() -> None:
    engine = new_engine(max_sequences=1)
    first, second, third = (engine.submit([number] * 4, ONE) for number in (1, 2, 3))
    engine.step()
    assert (first.is_finished, second.is_finished, third.is_finished) == (True, False, False)
    engine.cancel(second)
    engine.step()
    assert third.is_finished


def test_prompts_of_one_request_let_another_in_between() -> None:
    """A hundred prompts that came together count as one long one."""
    engine = new_engine(max_sequences=2)
    many = [engine.prepare([2 + number % 50] * 8, ONE) for number in range(100)]
    for number, request in enumerate(many):
        request.num_tokens_ahead = 8 * number
        engine.add(request)
    engine.step()
    single = engine.submit([1] * 8, ONE)
    steps_until_finished(engine, single)
    assert sum(request.is_finished for request in many) <= 6
