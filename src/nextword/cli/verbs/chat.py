"""`nextword chat`: a conversation in the terminal, or with the lines of a pipe."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nextword.cli.console import note
from nextword.cli.sampling_flags import SamplingFlags, check_sampling_flags, no_sampling_flags
from nextword.cli.sources import DEFAULT_COMPUTE, ComputeArguments, ModelArgument, load_model
from nextword.errors import NextwordError, RequestError

if TYPE_CHECKING:
    from nextword.tasks.chat import Conversation


@dataclasses.dataclass(frozen=True)
class Options:
    """Talk with a model. /reset forgets the conversation, /save FILE writes it, /exit or Ctrl-D ends.

    Where a model's own files give a sampling parameter, that value takes the default's place.
    """

    model: ModelArgument
    system: str | None = None
    """How the model should behave."""
    params: SamplingFlags = dataclasses.field(default_factory=no_sampling_flags)
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Read turns until the end of the input. Ctrl-C stops an answer, not the program."""
    from nextword.tasks.chat import Conversation

    check_sampling_flags(options.params)
    model = load_model(options.model, options.compute)
    conversation = Conversation(model.engine, model.params(**options.params), system=options.system)
    while (line := _read_line()) is not None:
        command, _, argument = line.strip().partition(" ")
        if command == "/exit":
            return
        if command == "/reset":
            conversation.reset()
        elif command == "/save":
            _save(conversation.messages, argument.strip())
        elif line.strip():
            _answer(conversation, line)


def _answer(conversation: Conversation, line: str) -> None:
    answer = conversation.ask(line)
    try:
        for piece in answer:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        answer.close()
    except NextwordError as error:
        if not sys.stdin.isatty():  # nobody is there to ask something else
            raise
        note(str(error))
    print(flush=True)
    if conversation.num_forgotten:
        note(f"the context is full: the oldest {conversation.num_forgotten} turns were left out")


def _read_line() -> str | None:
    """A line without its end, None after the last. The prompt is for people, and kept out of what is piped on."""
    try:
        if not sys.stdin.isatty():
            return input()
        if sys.stdout.isatty():
            return input("> ")  # so that line editing knows where the line begins
        print("> ", end="", file=sys.stderr, flush=True)
        return input()
    except EOFError:
        return None
    except UnicodeDecodeError as error:
        raise RequestError(f"standard input: not UTF-8 text at byte {error.start}") from None


def _save(messages: list[dict[str, str]], path: str) -> None:
    from nextword.atomic_file import write_atomically

    if not path:
        note("/save FILE: say which file")
        return
    try:
        with write_atomically(Path(path).expanduser()) as out:
            out.write((json.dumps(messages, ensure_ascii=False, indent=2) + "\n").encode())
        note(f"saved to {path}")
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        note(f"{path}: cannot be written: {reason}; /save FILE names another")
