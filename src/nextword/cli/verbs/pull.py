"""`nextword pull`: fetch a model of the catalogue or of the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from nextword.cli.console import ProgressLine
from nextword.errors import DownloadError


@dataclasses.dataclass(frozen=True)
class Options:
    """Fetch a model and print where it lies. What is there already is not fetched again."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """A name that `nextword models` lists, hf:owner/name, or hf:owner/name/file.gguf."""


def run(options: Options) -> None:
    """Fetch with progress on standard error, print where the model lies."""
    with ProgressLine() as line:
        path = _pull(options.name, line)
    print(path)


def _pull(name: str, line: ProgressLine) -> Path:
    from nextword.checkpoints.catalogue import CATALOGUE
    from nextword.checkpoints.download import pull
    from nextword.checkpoints.hub import PREFIX, parse_hub_name, pull_from_hub

    if name.startswith(PREFIX):
        return pull_from_hub(parse_hub_name(name), has_progress=sys.stderr.isatty())
    if name not in CATALOGUE:
        known = ", ".join(CATALOGUE)
        raise DownloadError(f"{name}: not in the catalogue, which has {known}; hf:owner/name names one of the Hub")
    entry = CATALOGUE[name]
    what = f"(compressed; the model has {entry.size_bytes / 1e6:.0f} MB)"
    return pull(entry, report=lambda done, total: line.show_bytes(done, total, what))
