"""`nextword.native`: the extension or None, and what it says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nextword import native as native_module
from nextword.native import native_status

needs_core = pytest.mark.skipif(native_module.native is None, reason="the C++ core was not built")


@needs_core
def test_the_status_names_the_instruction_set_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTWORD_ISA", "portable")
    assert native_status() == "C++ core: portable"


@needs_core
def test_the_status_says_which_instruction_sets_there_are_instead_of_an_unknown_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXTWORD_ISA", "sse9")
    assert native_status().startswith("C++ core: NEXTWORD_ISA = sse9: this processor runs portable")


def test_the_status_says_that_the_core_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_module, "native", None)
    assert native_status().startswith("C++ core: not built, so PyTorch computes, slower; install a C++17 compiler")


def test_without_the_extension_native_is_none_and_core_is_not_there() -> None:
    script = """
import sys
sys.modules["nextword._native"] = None
from nextword.native import native
print(native)
from nextword.native import core
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "None"
    assert "ImportError: cannot import name 'core'" in done.stderr
