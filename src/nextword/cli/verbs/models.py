"""`nextword models`: the models on this machine: the catalogue, the cache of the Hugging Face Hub, or given folders."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from nextword.cli.console import note
from nextword.cli.json_output import print_json


@dataclasses.dataclass(frozen=True)
class Options:
    """List the models of the catalogue and of the Hugging Face cache, or those in given folders."""

    path: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[PATH ...]")] = ()
    """Folders to search for model folders and .gguf files, or such a folder or file itself."""
    verify: bool = False
    """Read downloaded weights whole, and compare their SHA-256 with the published ones."""
    json: bool = False
    """Print a JSON list."""


def run(options: Options) -> None:
    """Print a line for each model under a line of headings."""
    from nextword.workflows.model_list import list_models

    models = list_models(*options.path, verify=options.verify)
    if options.json:
        print_json(models.to_json())
    elif models:
        print(models)
    else:
        note(f"no models in {', '.join(options.path)}")
