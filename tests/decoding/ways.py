"""The two ways in which tokens are chosen: in C++, and by numpy where that was not built."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import pytest

from nextword.decoding import sampler, selection, softmax_weights
from nextword.native import native

WAYS = ("native", "numpy")


@contextlib.contextmanager
def computed_by(way: str) -> Iterator[None]:
    """Within it everything is computed in that way. Skips the test if the C++ core was not built."""
    if way == "native" and native is None:
        pytest.skip("the C++ core was not built")
    with contextlib.ExitStack() as patches:
        for module in (softmax_weights, sampler, selection) if way == "numpy" else ():
            patches.enter_context(mock.patch.object(module, "native", None))
        yield
