"""Each kind of input, damaged in the same ways at each run: a result or one line of error, soon, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.children import Child
from tests.fuzz.kinds import KINDS

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
    kind = KINDS[name]

    @settings(
        max_examples=kind.examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.inputs)
    def try_one(value: Any) -> None:
        fault = child.fault(kind.target, value)
        assert fault is None, f"{value!r} {fault}"

    try_one()
