"""Requests that schemathesis draws from `/openapi.json`: each field of each route at its bounds and beyond, and many.

What fits is answered as it is described there, or refused by the name of a field; what does not fit is refused. No
answer is a fault of the server, and each has the shape of its route.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.client import Client

ROOT = Path(__file__).parents[2]
CONFIG = """
hooks = "tests.serving.schemathesis_checks"
[checks.positive_data_acceptance]
# Valid fields may still contradict each other, as top_logprobs without logprobs.
expected-statuses = ["200", "400", "404"]
"""


@pytest.mark.slow
def test_what_it_draws_ends_in_the_answers_that_are_described(client: Client, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(tmp_path / "schemathesis.toml")]
    command += ["run", f"{client.url}/openapi.json", "--phases", "coverage,fuzzing", "--max-examples", "4"]
    command += ["--seed", "1", "--no-shrink", "--continue-on-failure", "--warnings", "off", "--no-color"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout, done.stdout
