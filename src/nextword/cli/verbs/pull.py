"""`nextword pull`: fetch a model of the catalogue or of the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from nextword.cli.console import ProgressLine


@dataclasses.dataclass(frozen=True)
class Options:
    """Fetch a model and print its path. Files that are there already are not fetched again."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """A name that `nextword models` lists, hf:owner/name, or hf:owner/name/file.gguf."""


def run(options: Options) -> None:
    """Fetch with progress on standard error; print the model's path."""
    from nextword.workflows.pull import pull

    with ProgressLine() as line:
        path = pull(options.name, has_bars=line.is_visible, on_progress=line.update)
    print(path)
