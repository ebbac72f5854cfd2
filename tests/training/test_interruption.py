"""A signal is noted; what a second one does depends on who sends it."""

from __future__ import annotations

import signal

import pytest

from nextword.training.interruption import Interruption


def test_a_second_signal_acts_as_without_us() -> None:
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.is_requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_under_torchrun_it_is_the_first_one_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a run")
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert interruption.is_requested
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
