"""`nextword chat`: a conversation in the terminal."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from nextword.cli.generate import changed_params
from nextword.cli.report import note
from nextword.cli.sources import ModelArgument
from nextword.decoding.params import SamplingParams
from nextword.errors import NextwordError
from nextword.tasks.chat import Conversation


@dataclasses.dataclass(frozen=True)
class Options:
    """Talk with a model. /reset forgets the conversation, /save FILE writes it, /exit or Ctrl-D ends."""

    model: ModelArgument
    system: str | None = None
    """How the model should behave."""
    params: Annotated[SamplingParams, tyro.conf.arg(name="")] = dataclasses.field(default_factory=SamplingParams)


def run(options: Options) -> None:
    """Read turns until the end of the input. Ctrl-C stops an answer, not the program."""
    from nextword.language_model import load

    model = load(options.model)
    conversation = Conversation(model.engine, model.params(**changed_params(options.params)), system=options.system)
    while (line := _read_line()) is not None:
        command, _, argument = line.strip().partition(" ")
        if command == "/exit":
            return
        if command == "/reset":
            conversation.reset()
        elif command == "/save":
            _save(conversation.messages, argument)
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
        note(str(error))
    print()
    if conversation.num_forgotten:
        note(f"the context is full: the oldest {conversation.num_forgotten} turns were left out")


def _read_line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def _save(messages: list[dict[str, str]], path: str) -> None:
    try:
        Path(path).write_text(json.dumps(messages, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        note(f"saved to {path}")
    except OSError as error:
        note(f"{path or '/save'}: cannot be written: {error.strerror}; /save FILE names another")
