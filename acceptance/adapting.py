"""What all suites share as plugins of pytest: exclusions with their reasons, and a summary line."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

EXCLUSIONS = Path(__file__).parent / "exclusions"


class Exclusions:
    """Tests that are left out. Each paragraph of the file is a reason, and indented patterns of test names."""

    def __init__(self, path: Path) -> None:
        self._reasons: dict[re.Pattern[str], str] = {}
        self._unused: set[str] = set()
        reason = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(" "):
                self._reasons[re.compile(line.strip())] = reason
                self._unused.add(line.strip())
            elif line:
                reason = line
        self._counts: Counter[str] = Counter()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Skip the tests that are excluded; the others lose the marks with which the suite skips them itself."""
        for item in items:
            reason = self._reason(item.nodeid)
            item.own_markers = [mark for mark in item.own_markers if mark.name not in ("skip", "skipif", "flaky")]
            if reason is not None:
                self._counts[reason] += 1
                item.add_marker(pytest.mark.skip(reason=reason))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print how many tests were left out for each reason, and exclusions of tests that are not there."""
        for reason, count in self._counts.items():
            terminalreporter.write_line(f"excluded: {count}: {reason}")
        for pattern in sorted(self._unused):
            terminalreporter.write_line(f"exclusion without a test: {pattern}")

    def _reason(self, name: str) -> str | None:
        for pattern, reason in self._reasons.items():
            if pattern.search(name):
                self._unused.discard(pattern.pattern)
                return reason
        return None


def pytest_configure(config: pytest.Config) -> None:
    """Read the exclusions of the suite that runs."""
    path = EXCLUSIONS / f"{os.environ['ACCEPTANCE_SUITE']}.txt"
    config.pluginmanager.register(Exclusions(path), "exclusions")
