"""What a step frees, the next one gets again without the system; what a run freed goes back in the end."""

from __future__ import annotations

import ctypes
import resource

import pytest
import torch

from nextword.training.kept_memory import kept_memory

NUM_BYTES = 64 << 20


def pages_fetched() -> int:
    """While a large tensor is made, filled and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(NUM_BYTES, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_the_pages_of_a_freed_tensor_are_used_again_while_memory_is_kept() -> None:
    num_pages = NUM_BYTES // resource.getpagesize()
    with kept_memory():
        # The first ones can still go to fresh places of the heap.
        assert min(pages_fetched() for _ in range(10)) < num_pages / 10
    assert min(pages_fetched() for _ in range(10)) > num_pages / 2


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with kept_memory():
        pass
