"""The fuzzers themselves: a child tells each way in which an input can end badly, and goes on with the next."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextword.errors import NextwordError
from tests.fuzz import children
from tests.fuzz.children import MEMORY, Child, is_good_line

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


def end(folder: Path, how: str) -> None:
    """End as asked."""
    if how == "foreign":
        raise KeyError(how)
    if how == "refuse":
        raise NextwordError("config.json: no such field")
    if how == "warn":
        warnings.warn("two\nlines", stacklevel=1)
    if how == "eat":
        bytearray(MEMORY)
    if how == "hang":
        time.sleep(60)
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("foreign", "KeyError: 'foreign'"),
        ("warn", "says 'two\\nlines'"),
        ("eat", "MemoryError"),
        ("hang", "takes more than 1 seconds"),
        ("crash", "ended the process with exit code -11"),
    ],
)
def test_each_bad_end_is_told(how: str, said: str, child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "DEADLINE", 1.0 if how == "hang" else 20.0)
    fault = child.fault(end, how)
    assert fault is not None
    assert said in fault
    assert child.fault(end, "refuse") is None
    assert child.fault(end, "well") is None


@pytest.mark.parametrize("line", ["", " ", "a\nb", "a\x1b[31m", "a\ud800", "a" * 2000])
def test_what_is_no_bounded_line_is_bad(line: str) -> None:
    assert not is_good_line(line)
