"""What a step frees, the next one gets again without the system; what a run freed goes back in the end."""

from __future__ import annotations

import ctypes
import resource

import pytest
import torch

from nextword.training import kept_memory as module
from nextword.training.kept_memory import kept_memory

NUM_BYTES = 64 << 20


def pages_fetched() -> int:
    """While a large tensor is made, filled and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(NUM_BYTES, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_large_tensor_is_fetched_once_while_memory_is_kept() -> None:
    num_pages = NUM_BYTES // resource.getpagesize()
    with kept_memory():
        pages_fetched()
        assert pages_fetched() < num_pages / 10
    assert pages_fetched() > num_pages / 2
    assert pages_fetched() > num_pages / 2


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: object())
    with kept_memory():
        pass
