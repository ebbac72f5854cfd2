"""`nextword pull`: fetch a model of the catalogue."""

from __future__ import annotations

import dataclasses
import sys

import tyro

from nextword.checkpoints.catalogue import CATALOGUE
from nextword.checkpoints.download import pull
from nextword.errors import DownloadError


@dataclasses.dataclass(frozen=True)
class Options:
    """Fetch a model; nothing happens if it is there."""

    name: tyro.conf.Positional[str]
    """A name that `nextword models` lists."""


def run(options: Options) -> None:
    """Fetch with progress on standard error, print where the model lies."""
    if options.name not in CATALOGUE:
        raise DownloadError(f"{options.name}: not in the catalogue, which has {', '.join(CATALOGUE)}")
    print(pull(CATALOGUE[options.name], report=_show))


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done / 1e6:.0f} of {total / 1e6:.0f} MB", end="\n" if done == total else "", file=sys.stderr)
