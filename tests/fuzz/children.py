"""`Child`: a process that tries inputs one after another, with bounded memory, and is ended at a deadline."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MEMORY = 6 * 2**30
"""Bytes of address space of a child; libraries and their threads reserve a part of it."""
DEADLINE = 20.0
"""Seconds for one input: far more than any needs, also on a busy machine."""
LONGEST_LINE = 1010
"""Characters of a message or a warning."""

Target = Callable[[Path, Any], object]
"""Tries an input: a folder of its own, and the input."""


class Child:
    """A process that is started when it is needed, and again after an input has ended it."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Connection | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="nextword-fuzz-")  # outlives the process, which may be killed

    def fault(self, target: Target, value: object) -> str | None:
        """Try an input; return what is wrong with how it ended, None if nothing is.

        Wrong are other exceptions than NextwordError, messages and warnings that are not one bounded line, the end of
        the process, and the deadline.
        """
        if self._connection is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send((target, value))
            if not self._connection.poll(DEADLINE):
                self._end()
                return f"takes more than {DEADLINE:.0f} seconds"
            found: str | None = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            self._end()
            return f"ended the process with exit code {code}"
        return found

    def close(self) -> None:
        """End the process, and remove its files."""
        self._end()
        self._folder.cleanup()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._process.kill()
            self._process.join()
        self._connection = self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._folder.name), daemon=True)
        self._process.start()
        other.close()
        self._connection.send(None)  # answered when everything is imported
        assert self._connection.poll(120), "the child does not start"
        self._connection.recv()


def _serve(connection: Connection, folder: str) -> None:
    from tests.fuzz import targets  # noqa: F401

    tempfile.tempdir = folder
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    while True:
        try:
            received = connection.recv()
        except EOFError:
            return
        connection.send(received if received is None else _tried(*received))


def _tried(target: Target, value: object) -> str | None:
    from nextword.errors import NextwordError

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    os.chdir(folder)
    started = time.perf_counter()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            target(folder, value)
        lines = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    except NextwordError as error:
        lines = [str(error)]
    except BaseException:
        return f"raises after {time.perf_counter() - started:.1f} s\n{traceback.format_exc()[-3000:]}"
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
    return next((f"says {line!r}" for line in lines if not is_good_line(line.replace(str(folder), ""))), None)


def is_good_line(line: str) -> bool:
    """Return True for a message that a terminal shows as one line, and not as many."""
    return bool(line.strip()) and line.isprintable() and len(line) <= LONGEST_LINE
