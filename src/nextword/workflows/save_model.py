"""`merge` and `export`: a model in any form in, the same model in another form on disk out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from nextword.checks import checked_arguments
from nextword.errors import RequestError
from nextword.workflows.paths import FilePath, loaded_model

if TYPE_CHECKING:
    from nextword.checkpoints.model_directory import ModelDirectory
    from nextword.language_model import LanguageModel
    from nextword.models.stored_tensor import FloatDtype

ExportWeights: TypeAlias = Literal["auto", "f32", "f16", "bf16", "q8", "q4"]
"""Floats, or blocks of 32 with 8 or 4 bits each (gguf only); auto: as the model has them; for hf the 16
bits of its matrices, if they hold all exactly, else f32."""
_FLOATS = {"f32": "F32", "f16": "F16", "bf16": "BF16"}


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A model that was written."""

    path: Path
    """The .gguf file, or the Hugging Face folder."""
    weights: str
    """Format of the matrices, such as "F32", "q8", or "q8, f16" where some rows are too narrow for blocks; "auto":
    as the model had them."""
    size_bytes: int
    """Size of all files together."""

    def __str__(self) -> str:
        weights = "" if self.weights == "auto" else f", weights in {self.weights.upper()}"
        return f"{self.path}: {self.size_bytes:,} bytes{weights}"


@checked_arguments
def merge(model: FilePath | LanguageModel, adapter: FilePath, *, output: FilePath) -> SavedModel:
    """Merge an adapter into its model, and write a Hugging Face folder that holds all weights exactly.

    Its type is that of matrices of 16 bits, if it holds all the others, else F32. Raises CheckpointError if the two do
    not belong together, for a trained prompt, which changes no weight, or if `output` exists or cannot be written.
    """
    from nextword.adapters.open import open_merged
    from nextword.checkpoints.save_directory import save_opened

    path = Path(output)
    return _saved(path, save_opened(path, open_merged(_source(model), str(adapter))))


@checked_arguments
def export(
    model: FilePath | LanguageModel,
    *,
    output: FilePath,
    to: Literal["gguf", "hf"] = "gguf",
    weights: ExportWeights = "auto",
) -> SavedModel:
    """Write a model as a .gguf file for llama.cpp, or as a Hugging Face folder for transformers and vLLM.

    An adapter's folder is written as its model with the adapter merged in. Raises RequestError for blocks in a Hugging
    Face folder, CheckpointError for a model that the format cannot hold, or if `output` cannot be written.
    """
    from nextword.adapters.open import open_merged

    path = Path(output)
    if to == "hf" and weights not in ("auto", *_FLOATS):
        raise RequestError(f"weights {weights}: a Hugging Face folder has floats here; f32, f16 or bf16")
    directory = open_merged(_source(model))
    if to == "hf":
        from nextword.checkpoints.save_directory import save_opened

        return _saved(path, save_opened(path, directory, dtype=cast("FloatDtype | None", _FLOATS.get(weights))))
    from nextword.checkpoints.gguf.writer import save_gguf

    return _saved(path, save_gguf(path, directory, weights=weights))


def _source(model: FilePath | LanguageModel) -> str | ModelDirectory:
    """Return the files of a loaded model, or the name to open them by."""
    opened = loaded_model(model)
    return str(model) if opened is None else opened.directory


def _saved(path: Path, weights: str) -> SavedModel:
    files = path.iterdir() if path.is_dir() else [path]
    return SavedModel(path=path, weights=weights, size_bytes=sum(file.stat().st_size for file in files))
