"""`Terminal`: the command on a pseudo-terminal, with keys pressed as a person would."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

_SCRIPT = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)
from nextword.cli import main
main()
"""
"""The command as the program that the terminal sends Ctrl-C to, heeded even where tests run in a shell's background."""
_ESCAPES = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
UP, LEFT, CTRL_C, CTRL_D = "\x1b[A", "\x1b[D", "\x03", "\x04"


class Terminal:
    """A running command line; keys in, text without escape sequences out."""

    def __init__(self, *arguments: str | Path, cache: Path) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "INPUTRC": os.devnull, "NEXTWORD_CACHE": str(cache)}
        words = [sys.executable, "-c", _SCRIPT, *map(str, arguments)]
        self._program = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
        )
        os.close(theirs)
        self._unread = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._program.kill()
        self._program.wait()
        os.close(self._ours)

    def press(self, keys: str) -> None:
        """Send keys."""
        os.write(self._ours, keys.encode())

    def until(self, text: str, seconds: float = 60.0) -> str:
        """Return what the terminal shows up to and with `text`. Raises AssertionError where it does not come."""
        end = time.monotonic() + seconds
        while text not in self._unread:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {text!r} in {self._unread!r}"
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # how Linux says that the other side is closed
                piece = b""
            assert piece, f"the program ended; no {text!r} in {self._unread!r}"
            self._unread = _ESCAPES.sub("", self._unread + piece.decode(errors="replace")).replace("\r", "")
        shown, found, self._unread = self._unread.partition(text)
        return shown + found

    def interrupt_until(self, text: str) -> str:
        """Press Ctrl-C until the terminal shows `text`; return what it shows up to and with it.

        A signal that comes between readline's prompt and its wait for keys is not seen before the next one.
        """
        for _ in range(6):
            self.press(CTRL_C)
            with contextlib.suppress(AssertionError):
                return self.until(text, seconds=10)
        return self.until(text)

    def interrupt_to_the_end(self) -> int:
        """Press Ctrl-C until the program ends, as in `interrupt_until`; return its exit code."""
        for _ in range(6):
            self.press(CTRL_C)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._program.wait(timeout=10)
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait for the end of the program."""
        return self._program.wait(timeout=60)
