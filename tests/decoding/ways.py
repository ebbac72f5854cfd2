"""The two ways in which masses are computed and selected from: in C++, and by numpy where that was not built."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import pytest

from nextword.decoding import masses, selection

WAYS = ("native", "numpy")


@contextlib.contextmanager
def computed_by(way: str) -> Iterator[None]:
    """Within it everything is computed in that way. Skips the test if the C++ core was not built."""
    if way == "numpy":
        with mock.patch.object(masses, "native", None), mock.patch.object(selection, "native", None):
            yield
        return
    if masses.native is None:
        pytest.skip("the C++ core was not built")
    yield
