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
    """A name that `nextword models` lists, hf:owner/name, hf:owner/name:Q4_K_M, or hf:owner/name/file.gguf."""
    revision: str | None = None
    """Branch, tag or commit of a repository of the Hub; the model is then hf:owner/name@REVISION."""


def run(options: Options) -> None:
    """Fetch with progress on standard error; print the model's path."""
    from nextword.workflows.pull import pull

    with ProgressLine() as line:
        path = pull(options.name, revision=options.revision, has_bars=line.is_visible, on_progress=line.update)
    print(path)
