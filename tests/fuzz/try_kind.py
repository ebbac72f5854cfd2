"""`try_kind`: inputs of one kind, each in the child process, until one does what no input may do."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.fuzz.children import Child
from tests.fuzz.kinds import KINDS


def try_kind(name: str, child: Child, *, examples: int, seed: int | None = None) -> None:
    """Try inputs of one kind; `seed` None: the same ones at each run.

    Raises AssertionError with the first that fails; inputs are small as they are drawn, so none is made smaller.
    """
    kind = KINDS[name]

    @settings(
        max_examples=examples,
        derandomize=seed is None,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.inputs)
    def try_one(value: Any) -> None:
        fault = child.fault(kind.target, value)
        assert fault is None, f"{value!r} {fault}"

    (try_one if seed is None else seeded(seed)(try_one))()
