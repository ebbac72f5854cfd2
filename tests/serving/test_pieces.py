"""Scores and logits beside streams: computed in pieces with the bits of the whole, waiting for memory between steps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from nextword.decoding.params import SamplingParams
from nextword.inference.backend import PAGE_POSITIONS
from nextword.inference.cache_budget import whole_pages
from nextword.inference.continuations import Continuations, score_continuations
from nextword.inference.engine import Engine
from nextword.inference.logits_after import logits_after
from nextword.inference.prefill_pace import PrefillPace
from nextword.inference.text_scores import joined, score_in_pieces, score_text
from nextword.serving import distribution, scoring
from nextword.serving.engine_thread import _Job
from tests.fakes import HashBackend
from tests.inference.native import CONFIG, native
from tests.text.test_tokenizer import TOKENIZER

RANDOM = np.random.default_rng(2)
TEXT: list[int] = RANDOM.integers(CONFIG.vocab_size, size=390).tolist()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """One that computes a page at once."""
    monkeypatch.setattr(PrefillPace, "limit", lambda self, **_: PAGE_POSITIONS)
    return Engine(native(), TOKENIZER)


def test_scores_of_continuations(engine: Engine) -> None:
    item = Continuations(TEXT[:150], [TEXT[150:390], [3], TEXT[7:47], *([number] * 9 for number in range(6))])
    (expected,) = score_continuations(Engine(native(), TOKENIZER), [item])
    pieces = list(scoring.score_in_pieces(engine, item))
    found = [piece for piece in pieces if piece is not None]
    assert [one.is_greedy for one in found] == [one.is_greedy for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.log_probs, other.log_probs)
    assert len(pieces) > 240 // PAGE_POSITIONS + 150 // PAGE_POSITIONS


def test_rows_of_logits(engine: Engine) -> None:
    lengths = {1, 30, 31, 200, 390}
    expected = logits_after(Engine(native(), TOKENIZER), TEXT, lengths)
    pieces = list(distribution._compute_rows(engine, TEXT, lengths, None))
    found = {length: row for piece in pieces if piece is not None for length, row in piece.items()}
    assert found.keys() == lengths
    for length, row in found.items():
        np.testing.assert_array_equal(row, expected[length])
    assert len(pieces) > 390 // PAGE_POSITIONS


def test_scores_of_a_text(engine: Engine) -> None:
    expected = score_text(Engine(native(), TOKENIZER), TEXT)
    pieces = [piece for piece in score_in_pieces(engine, TEXT) if piece is not None]
    assert len(pieces) == -(-389 // PAGE_POSITIONS)
    for name in ("nats", "entropies", "ranks", "largest"):
        np.testing.assert_array_equal(getattr(joined(pieces), name), getattr(expected, name))


def test_work_that_needs_memory_waits_between_the_steps_of_others() -> None:
    """Requests that come meanwhile do not take the memory that becomes free."""
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_positions=8 * PAGE_POSITIONS)
    backend.is_batch_invariant = False  # requests reserve all they may need
    engine = Engine(backend, TOKENIZER)
    params = SamplingParams(max_tokens=40, seed=1, logit_bias={7: 1e6})
    running = [engine.submit([2, 3], params) for _ in range(4)]
    engine.step()
    later = [engine.submit([2, 3], params) for _ in range(4)]
    waiting = iter(engine.room(whole_pages(6 * PAGE_POSITIONS)))
    num_steps = _steps(engine, waiting)
    assert num_steps >= 30
    assert all(request.is_finished for request in running)
    assert not any(request.has_started for request in later)
    with engine.reserve(6 * PAGE_POSITIONS):
        pass
    engine.run(later)


def _steps(engine: Engine, waiting: Iterator[None]) -> int:
    count = 0
    for _ in waiting:
        engine.step()
        count += 1
    return count


def test_work_that_nobody_waits_for_any_more_lets_others_begin() -> None:
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_positions=8 * PAGE_POSITIONS)
    backend.is_batch_invariant = False
    engine = Engine(backend, TOKENIZER)
    params = SamplingParams(max_tokens=40, seed=1, logit_bias={7: 1e6})
    running = engine.submit([2, 3], params)
    engine.step()
    loop = asyncio.new_event_loop()
    future: asyncio.Future[list[None]] = loop.create_future()
    job = _Job(lambda: engine.room(whole_pages(8 * PAGE_POSITIONS)), future, loop)
    assert job.advance()
    later = engine.submit([2, 3], params)
    engine.step()
    assert not later.has_started
    future.cancel()
    assert not job.advance()
    engine.step()
    assert later.has_started
    engine.run([running, later])
    loop.close()
