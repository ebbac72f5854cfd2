"""`open_model_directory`: open a Hugging Face folder or a GGUF file; the result is the same for both formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nextword.checkpoints.gguf.open import open_gguf, open_gguf_tokenizer
from nextword.checkpoints.model_directory import ModelDirectory, without_collections
from nextword.errors import CheckpointError, os_reason

if TYPE_CHECKING:
    from nextword.text.tokenizer import Tokenizer

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def open_tokenizer(path: Path) -> Tokenizer:
    """Open the tokenizer of a model, or of a folder without a model.

    Raises CheckpointError or TokenizerError if its files are missing, damaged or not supported.
    """
    if path.is_dir():
        from nextword.text.tokenizer_folder import load_tokenizer_folder

        return load_tokenizer_folder(path)
    return open_gguf_tokenizer(path) if _magic(path) == b"GGUF" else open_model_directory(path).tokenizer


@without_collections()
def open_model_directory(path: Path) -> ModelDirectory:
    """Open a Hugging Face folder or a GGUF file; headers are checked, weights mapped but not read.

    Raises CheckpointError, in one line naming file and field, for anything else and for anything damaged.
    """
    if path.is_dir():
        from nextword.checkpoints.huggingface import open_huggingface_folder  # a GGUF file does not need it

        return open_huggingface_folder(path)
    magic = _magic(path)
    if magic == b"GGUF":
        return open_gguf(path)
    if path.suffix in _PICKLE_SUFFIXES:
        raise CheckpointError(f"{path}: a pickle, which can run any code and is not read; convert it to safetensors")
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path}: only weights; name the folder that holds config.json beside it")
    raise CheckpointError(f"{path}: begins with {magic!r}; expected a Hugging Face folder or a GGUF file")


def _magic(path: Path) -> bytes:
    """Return the first four bytes of a regular file: a pipe would block."""
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path}: no regular file; expected a Hugging Face folder or a GGUF file")
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {os_reason(error)}") from None
