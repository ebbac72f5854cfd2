"""`nextword models`: the names that can be used, and what is on this machine."""

from __future__ import annotations

import dataclasses
import json

from nextword.checkpoints.catalogue import CATALOGUE, model_path


@dataclasses.dataclass(frozen=True)
class Options:
    """List the models that can be named."""

    json: bool = False
    """Print a JSON list."""


def run(options: Options) -> None:
    """A line for each model: name, family, size, format, licence, whether it is here."""
    rows = [
        {
            "name": entry.name,
            "family": entry.family,
            "size_bytes": entry.size_bytes,
            "format": "gguf",
            "license": entry.license,
            "is_local": model_path(entry).exists(),
        }
        for entry in CATALOGUE.values()
    ]
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        place = "here" if row["is_local"] else f"nextword pull {row['name']}"
        print(f"{row['name']}  {row['family']}  {entry_size(row['size_bytes'])}  gguf  {row['license']}  {place}")


def entry_size(size_bytes: object) -> str:
    """Bytes for people."""
    return f"{int(str(size_bytes)) / 1e6:.0f} MB"
