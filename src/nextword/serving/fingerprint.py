"""`fingerprint`: a short name of what texts depend on besides the request: model, weights and version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nextword import __version__
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.language_model import LanguageModel
from nextword.models.stored_tensor import StoredTensor

_SAMPLES = 16
"""Values of each tensor that are looked at: training changes nearly all of them, and reading all would take long."""


def fingerprint(lm: LanguageModel) -> str:
    """Return the name, `system_fingerprint` in answers; it is the same after a restart."""
    backend, directory = lm.engine.backend, lm.directory
    described = repr(lm).partition(", ")[2]  # without the name, which may be a path
    known = (described, repr(directory.config), directory.size_bytes, backend.vocab_size, lm.tokenizer.fingerprint)
    digest = hashlib.sha256(repr((known, lm.adapters, __version__)).encode())
    for part in _weights(directory):
        digest.update(part)
    for folder in lm.adapter_folders.values():
        for part in _files(folder):
            digest.update(part)
    return f"fp_{digest.hexdigest()[:12]}"


def _weights(directory: ModelDirectory) -> Iterator[bytes]:
    """Yield samples of all tensors; of a merged adapter its files, since merging tensors takes long."""
    if directory.adapter is not None:
        yield from _files(directory.adapter)
        return
    for name, tensor in directory.tensors.items():
        yield name.encode() + _sample(tensor)


def _files(adapter: Path) -> Iterator[bytes]:
    """Yield the files of an adapter, which are small."""
    paths = sorted(adapter.glob("adapter_*")) if adapter.is_dir() else [adapter]
    yield from (path.read_bytes() for path in paths)


def _sample(tensor: StoredTensor) -> bytes:
    """Return values that are spread evenly over a tensor, as they are encoded."""
    data = tensor.data
    places = np.linspace(0, max(data.size - 1, 0), min(_SAMPLES, data.size)).astype(np.intp)
    return data[np.unravel_index(places, data.shape)].tobytes()
