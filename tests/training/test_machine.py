"""The machine's peak: what was measured, and never less than what was reached."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch

from nextword.models.experts import Experts
from nextword.training import machine
from nextword.training.machine import PeakRate, flops_per_token, layer_seconds, peak_rate
from tests.training.tiny import TINY


def test_the_peak_is_the_best_of_all_trials_and_of_what_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([1.0, 30.0, 20.0])
    monkeypatch.setattr(machine, "peak_rate", lambda dtype: 10.0)  # in a slow moment
    monkeypatch.setattr(machine, "_rate", lambda dtype: next(rates))
    peak = PeakRate(torch.float32, seconds_between_trials=-1.0)
    assert [peak.at_least(rate) for rate in (12.0, 5.0, 5.0)] == [12.0, 30.0, 30.0]


def test_between_trials_no_time_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "peak_rate", lambda dtype: 10.0)
    monkeypatch.setattr(machine, "_rate", lambda dtype: pytest.fail("measured again"))
    assert PeakRate(torch.float32).at_least(5.0) == 10.0


@pytest.mark.parametrize(("rate", "size"), [(1e9, 128), (1e11, 1536)])
def test_a_large_product_is_measured_only_where_it_takes_no_seconds(
    rate: float, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    seconds = [0.0]

    def mm(left: torch.Tensor, _: torch.Tensor) -> None:
        sizes.append(len(left))
        seconds[0] += 2 * len(left) ** 3 / rate

    monkeypatch.setattr(torch, "mm", mm)
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    monkeypatch.setattr(machine, "_size", machine._size.__wrapped__)
    assert peak_rate.__wrapped__(torch.bfloat16) == pytest.approx(rate)
    assert sizes[-1] == size
    assert max(sizes) == size


def test_timing_a_layer_leaves_the_number_of_threads() -> None:
    number = torch.get_num_threads()
    assert layer_seconds(torch.float32) > 0
    assert torch.get_num_threads() == number


def test_operations_are_six_for_each_weight_that_a_token_meets() -> None:
    layer = 16 * 16 * 2 + 8 * 16 * 2 + 3 * 16 * 24
    seen = 2 * 2 * 16 * 5.0  # scores and sums, of two layers
    assert flops_per_token(TINY, num_seen=5.0) == 6 * (2 * layer + 13 * 16 + seen)
    assert flops_per_token(TINY, num_seen=5.0, target_share=0.5) == 6 * (2 * layer + 13 * 8 + seen)
    assert flops_per_token(TINY, num_seen=5.0, trained_share=0.0) == 4 * (2 * layer + 13 * 16) + 6 * seen


def test_of_the_experts_only_those_of_a_token_are_counted() -> None:
    experts = Experts(count=8, per_token=2, intermediate_size=12, layers=(0, 1), is_normalized=True)
    layer = 16 * 16 * 2 + 8 * 16 * 2 + 8 * 16 + 2 * 3 * 16 * 12
    expected = 6 * (2 * layer + 13 * 16 + 2 * 2 * 16 * 5.0)
    assert flops_per_token(dataclasses.replace(TINY, experts=experts), num_seen=5.0) == expected
