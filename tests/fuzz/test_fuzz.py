"""Each kind of input, damaged in the same ways at each run: a result or one line of error, soon, in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.children import Child
from tests.fuzz.kinds import KINDS
from tests.fuzz.try_kind import try_kind

pytest.importorskip("nextword._native")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    """One process for all kinds."""
    child = Child()
    yield child
    child.close()


@pytest.mark.parametrize("name", KINDS)
def test_a_mutated_input_ends_with_a_result_or_one_line(name: str, child: Child) -> None:
    try_kind(name, child, examples=KINDS[name].examples)
