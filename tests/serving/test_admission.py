"""The queue's bounds, and its estimate of how long a request would wait, by a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nextword.serving.admission import Admission, Place
from nextword.serving.errors import ApiError
from nextword.serving.limits import Limits


class FakePrefill:
    """An engine that takes a millisecond for a token of a prompt."""

    seconds_per_prompt_token = 0.001
    num_prompt_tokens_left = 0


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("nextword.serving.admission.time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def serve(admission: Admission, clock: Clock, places: list[Place], every: float) -> None:
    """Let places leave the queue, one each so many seconds."""
    for place in places:
        clock.now += every
        place.leave(is_served=True)


def test_the_estimate_is_that_of_the_rate_at_which_requests_were_served(clock: Clock) -> None:
    admission = Admission(Limits(), FakePrefill())
    serve(admission, clock, [admission.enter(1, 64) for _ in range(40)], 0.5)
    assert admission.seconds == 0.0
    for _ in range(10):
        admission.enter(1, 64)
    assert admission.seconds == pytest.approx(5.0, rel=0.05)


def test_times_without_a_queue_do_not_count(clock: Clock) -> None:
    admission = Admission(Limits(), FakePrefill())
    for _ in range(40):
        clock.now += 60.0
        serve(admission, clock, [admission.enter(1, 64), admission.enter(1, 64)], 0.5)
    admission.enter(10, 640)
    assert admission.seconds == pytest.approx(5.0, rel=0.05)


def test_long_prompts_are_priced_by_their_tokens(clock: Clock) -> None:
    prefill = FakePrefill()
    admission = Admission(Limits(), prefill)
    serve(admission, clock, [admission.enter(1, 100) for _ in range(40)], 0.1)
    admission.enter(1, 8000)
    assert admission.seconds == pytest.approx(8.0, rel=0.05)
    prefill.num_prompt_tokens_left = 4000
    assert admission.seconds == pytest.approx(12.0, rel=0.05)


def test_a_queue_that_would_take_too_long_is_full(clock: Clock) -> None:
    admission = Admission(Limits(max_wait=10.0), FakePrefill())
    serve(admission, clock, [admission.enter(1, 64) for _ in range(40)], 1.0)
    for _ in range(10):
        admission.check(1, 64)
        admission.enter(1, 64)
    admission.enter(1, 64)
    with pytest.raises(ApiError, match="try again in 11 s") as caught:
        admission.check(1, 64)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "11")


def test_what_could_not_begin_before_its_deadline_is_refused(clock: Clock) -> None:
    admission = Admission(Limits(deadline=5.0), FakePrefill())
    admission.enter(1, 6000)
    with pytest.raises(ApiError, match="try again in 6 s"):
        admission.check(1, 10)


@pytest.mark.parametrize("size", [(3, 10), (1, 101)])
def test_an_empty_queue_takes_all_and_a_full_one_nothing(clock: Clock, size: tuple[int, int]) -> None:
    admission = Admission(Limits(max_queue=3, max_queue_tokens=100), FakePrefill())
    admission.check(*size)
    place = admission.enter(*size)
    with pytest.raises(ApiError, match="too many requests are waiting"):
        admission.check(1, 1)
    place.leave(is_served=False)
    place.leave(is_served=True)
    assert (admission.num_sequences, admission.num_tokens) == (0, 0)
