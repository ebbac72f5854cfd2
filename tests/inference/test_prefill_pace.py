"""Steps beside texts take a bounded time, whatever a token of a prompt takes; all times are those of a fake clock."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nextword.decoding.params import SamplingParams
from nextword.inference.backend import PAGE_POSITIONS, Chunk, Logits
from nextword.inference.engine import Engine
from nextword.inference.prefill import PREFILL_CHUNK
from nextword.inference.prefill_pace import STEP_SECONDS, PrefillPace
from nextword.inference.sequence import Request
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TOKENIZER

TEXT = SamplingParams(max_tokens=4000, logit_bias={7: 1e6}, seed=1)
ONE = SamplingParams(max_tokens=1, logit_bias={7: 1e6}, seed=1)


class TimedBackend(HashBackend):
    """Takes so many seconds of its own clock for each token, and for each step."""

    def __init__(self, *, per_token: float, per_step: float = 0.01) -> None:
        super().__init__(vocab_size=TOKENIZER.vocab_size, max_seq_len=8192)
        self.per_token, self.per_step = per_token, per_step
        self.now = 0.0
        self.sizes: list[list[int]] = []
        """Tokens of the chunks of each step."""
        self.ends: list[int] = []
        """Lengths of the sequences after the chunks of prompts."""

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        rows = super().step(chunks)
        self.sizes.append([len(chunk.token_ids) for chunk in chunks])
        self.ends += [len(self.caches[chunk.cache_id]) for chunk in chunks if len(chunk.token_ids) > 1]
        self.now += self.per_step + self.per_token * sum(self.sizes[-1])
        return rows


def engine_on(backend: TimedBackend) -> Engine:
    engine = Engine(backend, TOKENIZER, speculation=False)
    engine._pace = PrefillPace(clock=lambda: backend.now)
    return engine


def gaps_beside(engine: Engine, backend: TimedBackend, text: Request, prompts: Sequence[Request]) -> list[float]:
    """Step until the prompts are computed; return the seconds between tokens of the text."""
    gaps = []
    while not all(prompt.is_finished for prompt in prompts):
        begin, num_tokens = backend.now, len(text.sequences[0].tokens)
        engine.step()
        assert len(text.sequences[0].tokens) == num_tokens + 1
        gaps.append(backend.now - begin)
    return gaps


@pytest.mark.parametrize("per_token", [0.0001, 0.0005, 0.002])
def test_no_text_pauses_while_long_prompts_are_computed(per_token: float) -> None:
    backend = TimedBackend(per_token=per_token)
    engine = engine_on(backend)
    text = engine.submit([2, 3], TEXT)
    engine.step()
    prompts = [engine.submit([4 + index] * 2048, ONE) for index in range(4)]
    gaps = gaps_beside(engine, backend, text, prompts)
    assert max(gaps[2:]) <= 1.1 * STEP_SECONDS
    whole = 4 * 2048 * per_token
    assert sum(gaps) <= 1.2 * whole + backend.per_step * len(gaps), "the steps are used"


def test_beside_texts_that_are_slow_prompts_get_half_of_the_time() -> None:
    backend = TimedBackend(per_token=0.02, per_step=0.4)
    engine = engine_on(backend)
    text = engine.submit([2, 3], TEXT)
    for _ in range(40):
        engine.step()
    gaps = gaps_beside(engine, backend, text, [engine.submit([5] * 1024, ONE)])
    assert max(gaps[3:]) <= 2.2 * 0.42 + PAGE_POSITIONS * 0.02


def test_without_texts_chunks_are_of_full_size() -> None:
    backend = TimedBackend(per_token=0.01)
    engine = engine_on(backend)
    engine.run([engine.submit([5] * 2048, ONE), engine.submit([6] * 100, ONE)])
    assert backend.sizes[0] == [100, PREFILL_CHUNK - 100]
    assert max(map(sum, backend.sizes)) == PREFILL_CHUNK


def test_short_prompts_share_a_step() -> None:
    backend = TimedBackend(per_token=0.0005)
    engine = engine_on(backend)
    prompts = [engine.submit([4 + index] * 32, ONE) for index in range(16)]
    engine.step()
    assert backend.sizes == [[32] * 16]
    assert all(prompt.is_finished for prompt in prompts)


def test_a_backend_whose_rounding_depends_on_chunks_gets_them_whole() -> None:
    backend = TimedBackend(per_token=0.01)
    backend.is_batch_invariant = False
    engine = engine_on(backend)
    text = engine.submit([2, 3], TEXT)
    engine.step()
    backend.ends.clear()
    prompts = [engine.submit([5] * (2 * PREFILL_CHUNK + 9), ONE), engine.submit([6] * 40, ONE)]
    gaps_beside(engine, backend, text, prompts)
    assert sorted(backend.ends) == [40, PREFILL_CHUNK, 2 * PREFILL_CHUNK, 2 * PREFILL_CHUNK + 9]


def test_one_step_that_was_held_up_changes_little() -> None:
    pace = PrefillPace()
    for _ in range(20):
        pace.measured(256, 0.128, is_beside_texts=False)
    before = pace.limit(is_beside_texts=True)
    pace.measured(256, 200.0, is_beside_texts=False)
    for _ in range(8):
        pace.measured(
            pace.limit(is_beside_texts=True), 0.0005 * pace.limit(is_beside_texts=True), is_beside_texts=False
        )
    assert pace.limit(is_beside_texts=True) >= before / 2
    assert before == 192


def test_short_prompts_wait_for_no_crowd_of_long_ones() -> None:
    """Eight long prompts that have waited for as long as they are; a short one still begins within two steps."""
    backend = TimedBackend(per_token=0.0005)
    engine = engine_on(backend)
    text = engine.submit([2, 3], TEXT)
    engine.step()
    long = [engine.submit([4 + index] * 4096, ONE) for index in range(8)]
    while engine._scheduler.num_computed < 2 * 4096:
        engine.step()
    assert sum(prompt.is_finished for prompt in long) <= 2
    for _ in range(5):
        short = engine.submit([40] * 64, ONE)
        assert len(gaps_beside(engine, backend, text, [short])) <= 2
    gaps_beside(engine, backend, text, long)


def test_texts_that_took_longer_than_prompts_leave_a_speed() -> None:
    pace = PrefillPace()
    for _ in range(5000):  # texts alone verify drafts, and take longer than beside prompts
        pace.measured(0, 0.2, is_beside_texts=True)
        pace.measured(64, 0.1, is_beside_texts=True)
    assert 0 < pace.seconds_per_token < 0.1
    assert PAGE_POSITIONS <= pace.limit(is_beside_texts=True) <= PREFILL_CHUNK
    for _ in range(5000):  # a clock that stands still
        pace.measured(64, 0.0, is_beside_texts=True)
    assert pace.limit(is_beside_texts=True) == PREFILL_CHUNK


def test_steps_without_anything_say_nothing_about_texts() -> None:
    pace = PrefillPace()
    pace.measured(0, 0.08, is_beside_texts=True)
    before = pace.limit(is_beside_texts=True)
    for _ in range(100):
        pace.measured(0, 0.0, is_beside_texts=False)
    assert pace.limit(is_beside_texts=True) == before
