"""Memory that a step frees serves the next one without system calls, and returns to the system after the run."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nextword.training.heap import retained_heap

MEASURE = """
import json, os
import torch
from nextword.training.heap import retained_heap

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def use_and_free():
    torch.ones(64 << 20, dtype=torch.uint8)
    return resident_bytes()

begin = resident_bytes()
before = use_and_free()
with retained_heap():
    kept = use_and_free()
print(json.dumps([before - begin, kept - begin, resident_bytes() - begin]))
"""
"""Resident bytes above the start after a tensor of 64 MB was freed: before, within and after the context."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read resident memory from")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_freed_memory_is_kept_and_given_back_in_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    before, kept, afterwards = json.loads(done.stdout)
    assert kept > before + (48 << 20)
    assert afterwards < before + (16 << 20)


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    with retained_heap():
        pass
