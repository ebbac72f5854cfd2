"""`nextword models`: the names that can be used, and what is on this machine."""

from __future__ import annotations

import dataclasses
import json

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled


@dataclasses.dataclass(frozen=True)
class Options:
    """List the models that can be named."""

    json: bool = False
    """Print a JSON list."""


def run(options: Options) -> None:
    """A line for each model: name, family, size, format, licence, whether it is here."""
    if options.json:
        print(json.dumps([_row(name) for name in CATALOGUE]))
        return
    for name, entry in CATALOGUE.items():
        place = "here" if is_pulled(entry) else f"nextword pull {name}"
        print(f"{name}  {entry.family}  {entry.size_bytes / 1e6:.0f} MB  gguf  {entry.license}  {place}")


def _row(name: str) -> dict[str, object]:
    entry = CATALOGUE[name]
    return {
        "name": name,
        "family": entry.family,
        "size_bytes": entry.size_bytes,
        "format": "gguf",
        "license": entry.license,
        "is_local": is_pulled(entry),
    }
