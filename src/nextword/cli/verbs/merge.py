"""`nextword merge`: a model and its adapter in, a model directory without an adapter out."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro

from nextword.cli.arguments import ModelArgument, OutputArgument
from nextword.cli.console import note
from nextword.workflows.save_model import merge


@dataclasses.dataclass(frozen=True)
class Options:
    """Merge an adapter into its model: nextword merge smollm2-135m my-adapter -o merged."""

    model: ModelArgument
    adapter: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ADAPTER")]
    """Folder of the adapter, as nextword or peft saved it."""
    output: OutputArgument
    """Folder for the model, as every reader of Hugging Face folders opens it."""


def run(options: Options) -> None:
    """Write the folder in the 16 bits of the matrices, if they hold all weights exactly, else in float32."""
    note(str(merge(options.model, options.adapter, output=options.output)))
