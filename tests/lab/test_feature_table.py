"""The table of features in docs/lab.md: each row names a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "lab.md"


def test_each_feature_is_held_by_a_test() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.count("|") == 11]
    assert len(rows) > 15
    for row in rows[2:]:
        named = re.search(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert named, row
        assert f"def {named[2]}(" in (HERE / named[1]).read_text(encoding="utf-8"), row
