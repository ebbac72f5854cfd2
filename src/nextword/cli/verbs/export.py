"""`nextword export`: a model in any form in, a GGUF file or a Hugging Face folder out."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import tyro

from nextword.cli.arguments import ModelArgument
from nextword.cli.console import note
from nextword.workflows.save_model import ExportWeights, export


@dataclasses.dataclass(frozen=True)
class Options:
    """Write a model in another form: nextword export my-model -o my-model.gguf --weights q8."""

    model: ModelArgument
    output: Annotated[str, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    """The file, or the folder with --to hf."""
    to: Literal["gguf", "hf"] = "gguf"
    """gguf: one file for llama.cpp; hf: a folder for transformers and vLLM."""
    weights: ExportWeights = "auto"
    """Floats, or blocks of 32 with 8 or 4 bits each (gguf only); auto: as the model has them; for hf the 16
    bits of its matrices, if they hold all exactly, else f32."""


def run(options: Options) -> None:
    """Write the model; an adapter's folder is written as its base model with the adapter merged."""
    note(str(export(options.model, output=options.output, to=options.to, weights=options.weights)))
