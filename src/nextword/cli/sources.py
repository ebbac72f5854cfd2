"""What a command works on: the model it names, and text from an argument, a file, or standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from nextword.errors import RequestError

ModelArgument = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="MODEL", help="A catalogue name, a Hugging Face folder, or a .gguf file."),
]
"""The model that a command works with."""


def read_text(source: str) -> str:
    """The content of the file of that name, or of standard input for "-". Raises RequestError if it is not text."""
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{source}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"{source}: not UTF-8 text at byte {error.start}") from None


def text_or_stdin(text: str) -> str:
    """The text itself, or standard input for "-"."""
    return read_text("-") if text == "-" else text
