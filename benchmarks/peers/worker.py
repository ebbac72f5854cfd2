"""A process that holds one side: `python -m benchmarks.peers.worker MODULE PATH THREADS [SETTING]`.

Writes a line of JSON with the seconds that loading took, then one for each line that it reads: a method of `Side` and
its arguments. What libraries print themselves goes to standard error.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import time
from typing import TextIO


def main(module: str, path: str, threads: int, *settings: str) -> None:
    """Load, then measure until the input ends."""
    with _take_stdout() as answers:
        try:
            load = importlib.import_module(f"benchmarks.peers.{module}").load
            start = time.perf_counter()
            side = load(path, threads, *settings)
            _write(answers, {"seconds": time.perf_counter() - start})
            for line in sys.stdin:
                method, arguments = json.loads(line)
                timed = getattr(side, method)(*arguments)
                _write(answers, {**dataclasses.asdict(timed), "peak_bytes": _peak_bytes()})
        except Exception as error:  # whatever a library raises is the answer
            message = str(error).strip().splitlines() or [""]
            _write(answers, {"error": f"{type(error).__name__}: {message[0]}"})


def _take_stdout() -> TextIO:
    """Take over the standard output, so that libraries cannot write to it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _write(answers: TextIO, answer: dict[str, object]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _peak_bytes() -> int:
    """Return the peak resident memory of this process; getrusage's figure would begin with its parent's."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
