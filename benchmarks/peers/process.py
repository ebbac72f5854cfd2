"""`SideProcess`: a process that holds one side (see `worker`), as an object."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300
"""Seconds after which a side that does not answer is ended."""
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Variable with which Python compiles every module at each start, as no installed package does."""
QUIET = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}


def as_installed() -> dict[str, str]:
    """Return the environment, without what keeps modules from being compiled once for all starts."""
    return {name: value for name, value in os.environ.items() if name != NO_BYTECODE}


class PeerError(Exception):
    """A library failed; the message is its own, in one line."""


class SideProcess:
    """Started with `module` of this folder, the path of a model and perhaps a setting. Every call raises PeerError."""

    def __init__(self, module: str, path: Path, *settings: str, threads: int) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.worker", module, str(path), str(threads), *settings],
            cwd=ROOT,
            env={**as_installed(), **QUIET, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.load_seconds: float = self._answer()["seconds"]
        """Seconds of loading, without imports."""

    def begin(self, prompts: Sequence[Sequence[int]], num_steps: int) -> dict[str, Any]:
        """Call `Side.begin`; return seconds, token_id and the process's peak_bytes."""
        return self._ask("begin", prompts, num_steps)

    def advance(self, num_steps: int) -> dict[str, Any]:
        """Call `Side.advance`; return the same."""
        return self._ask("advance", num_steps)

    def score(self, token_ids: Sequence[int]) -> dict[str, Any]:
        """Call `Scoring.score`; return seconds, nats and the process's peak_bytes."""
        return self._ask("score", token_ids)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, method: str, *arguments: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died, as the answer will say
            self._process.stdin.write(json.dumps([method, arguments]) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        patience = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        patience.start()
        line = self._process.stdout.readline()
        patience.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._how_it_ended()}
        if "error" in answer:
            self.close()
            raise PeerError(answer["error"])
        return answer

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        return f"ended with code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
