"""The Makefile as its users meet it: what it lists, and that every target is listed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")


def printed(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_alone_lists_every_target_in_one_line_each() -> None:
    listed = re.findall(r"^  ([a-z-]+) +\S", printed(), flags=re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert listed == phony.split()
    assert printed() == printed("help")


def test_demo_ends_with_what_to_try_next() -> None:
    steps = printed("--dry-run", "demo")
    assert steps.index("pull") < steps.index("summarize") < steps.index("nextword chat")
