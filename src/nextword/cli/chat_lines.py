"""`ChatLines`: the messages that a user types or a pipe sends to `nextword chat`.

In: standard input. Out: messages, without the marks of those that have several lines. On a terminal the arrow keys edit
the line and recall earlier ones (readline, where Python has it), Ctrl-C clears the line, and two lines that are pasted
together are one message. Knows no commands and no models.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from nextword.cli.console import note
from nextword.errors import RequestError

QUOTES = '"""'
"""Begins and ends a message of several lines."""
_HISTORY_LENGTH = 1000


class ChatLines:
    """Iterate over the messages; the iteration ends with the input, or where Ctrl-C is pressed twice.

    Raises RequestError for input that is not UTF-8.
    """

    def __init__(self) -> None:
        self.is_terminal = sys.stdin.isatty()

    def __iter__(self) -> Iterator[str]:
        with _line_editing() if self.is_terminal else contextlib.nullcontext():
            was_interrupted = False
            while True:
                try:
                    message = self._read_message()
                except KeyboardInterrupt:
                    if not self.is_terminal:
                        raise
                    print(file=sys.stderr)
                    if was_interrupted:
                        return
                    note("Ctrl-C again ends, and so does Ctrl-D")
                    was_interrupted = True
                    continue
                if message is None:
                    return
                was_interrupted = False
                yield message

    def _read_message(self) -> str | None:
        """Return a line, or the lines between marks; None after the last."""
        first = self._read_line("> ")
        if first is None or not first.lstrip().startswith(QUOTES):
            return first
        lines = [first.lstrip().removeprefix(QUOTES)]
        while not lines[-1].rstrip().endswith(QUOTES):
            line = self._read_line(". ")
            if line is None:
                break
            lines.append(line)
        lines[-1] = lines[-1].rstrip().removesuffix(QUOTES)
        return "\n".join(lines).strip("\n")

    def _read_line(self, prompt: str) -> str | None:
        """Return a line without its end. The prompt goes to a terminal only, never into a pipe."""
        try:
            if not self.is_terminal:
                return input()
            if sys.stdout.isatty():
                return input(prompt)  # so that line editing knows the width of the prompt
            print(prompt, end="", file=sys.stderr, flush=True)
            return input()
        except EOFError:
            return None
        except UnicodeDecodeError as error:
            raise RequestError(f"standard input: not UTF-8 text at byte {error.start}") from None


@contextlib.contextmanager
def _line_editing() -> Iterator[None]:
    """Let `input` edit lines and recall those of earlier chats, which are kept in the cache folder."""
    try:
        import readline
    except ImportError:  # Windows, or a Python built without it: no line editing
        yield
        return
    from nextword.checkpoints.catalogue import cache_folder

    path = cache_folder() / "chat_history"
    readline.parse_and_bind("set enable-bracketed-paste on")
    readline.clear_history()
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY_LENGTH)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a history that cannot be saved is not an error
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            readline.write_history_file(path)
