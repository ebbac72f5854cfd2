"""`nextword export`: a model in any form in, a GGUF file or a Hugging Face folder out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal, cast

import tyro

from nextword.cli.arguments import ModelArgument
from nextword.cli.console import note
from nextword.errors import RequestError

_FLOATS = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


@dataclasses.dataclass(frozen=True)
class Options:
    """Write a model in another form: nextword export my-model -o my-model.gguf --weights q8."""

    model: ModelArgument
    output: Annotated[str, tyro.conf.arg(aliases=["-o"], metavar="PATH")]
    """The file, or the folder with --to hf."""
    to: Literal["gguf", "hf"] = "gguf"
    """gguf: one file for llama.cpp; hf: a folder for transformers and vLLM."""
    weights: Literal["auto", "f32", "f16", "bf16", "q8", "q4"] = "auto"
    """Floats, or blocks of 32 with 8 or 4 bits each (gguf only); auto: as the model has them."""


def run(options: Options) -> None:
    """Write what was asked for, an adapter's model with the adapter merged into it."""
    from nextword.adapters.open import open_merged

    path = Path(options.output)
    if options.to == "hf" and options.weights not in ("auto", *_FLOATS):
        raise RequestError(f"weights {options.weights}: a Hugging Face folder has floats here; f32, f16 or bf16")
    directory = open_merged(options.model)
    if options.to == "gguf":
        from nextword.checkpoints.gguf.writer import save_gguf

        save_gguf(path, directory, weights=options.weights)
    else:
        from nextword.checkpoints.save_directory import save_opened
        from nextword.models.stored_tensor import FloatDtype

        save_opened(path, directory, dtype=cast("FloatDtype | None", _FLOATS.get(options.weights)))
    note(f"{path}: {_size(path):,} bytes")


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
