"""`open_backend`: a config and stored tensors in, the backend that runs them out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from nextword.errors import BackendError, MissingExtraError
from nextword.extras import has_torch
from nextword.inference.backend import (
    WHOLE_CACHE,
    Backend,
    BackendName,
    Meanwhile,
    OnProgress,
    Weights,
    ignore_progress,
)
from nextword.inference.longrope_backend import rotate_by_length
from nextword.models.config import ModelConfig
from nextword.models.stored_tensor import StoredTensor
from nextword.native import native

if TYPE_CHECKING:
    from nextword.models.linear_change import Changes

_MAX_THREADS = 1024


def open_backend(
    config: ModelConfig,
    tensors: Mapping[str, StoredTensor],
    *,
    backend: BackendName = "auto",
    weights: Weights = "auto",
    num_threads: int | None = None,
    cache_share: float = WHOLE_CACHE,
    num_virtual_tokens: int = 0,
    adapters: Mapping[str, Changes] = MappingProxyType({}),
    on_progress: OnProgress = ignore_progress,
    meanwhile: Meanwhile = (),
) -> Backend:
    """Load a model into the named backend; "auto": the C++ core where it was built, else PyTorch.

    `num_threads`: cores to use; None: all. `cache_share`: of the free memory, for keys and values in the native
    backend. `num_virtual_tokens`: number of last tokens of the vocabulary to prepend to every sequence. `adapters`:
    adapters by name, of which each sequence may choose one. `on_progress`: called by the native backend while it packs
    weights. `meanwhile`: called once each, by the native backend while other threads pack. Raises what those raise,
    BackendError if it cannot run here, MissingExtraError without PyTorch, CheckpointError for weights that do not fit
    the config.
    """
    if num_threads is not None and num_threads < 1:
        raise BackendError(f"{num_threads} threads: at least 1 is needed")
    if num_threads is not None and num_threads > _MAX_THREADS:
        raise BackendError(f"{num_threads} threads: at most {_MAX_THREADS} are supported; use one per core")
    opened = _open(config, tensors, backend, weights, num_threads, cache_share, adapters, on_progress, meanwhile)
    if not num_virtual_tokens:
        return opened
    from nextword.inference.prompted_backend import PromptedBackend

    num_words = config.vocab_size - num_virtual_tokens
    return PromptedBackend(opened, vocab_size=num_words, num_virtual_tokens=num_virtual_tokens)


def _open(
    config: ModelConfig,
    tensors: Mapping[str, StoredTensor],
    backend: BackendName,
    weights: Weights,
    num_threads: int | None,
    cache_share: float,
    adapters: Mapping[str, Changes],
    on_progress: OnProgress,
    meanwhile: Meanwhile,
) -> Backend:
    if backend == "torch" or native is None:
        for work in meanwhile:
            work()
    if backend == "torch":
        return _open_torch(config, tensors, weights, num_threads, adapters)
    if native is None:
        missing = "the C++ core was not built: install a C++17 compiler and install nextword again"
        if backend == "native":
            raise BackendError(f"{missing}, or use backend torch") from None
        if not has_torch():
            raise MissingExtraError(f"{missing}, or compute with PyTorch: pip install 'nextword[train]'") from None
        warnings.warn(f"PyTorch computes, slower, since {missing}", stacklevel=2)
        return _open_torch(config, tensors, weights, num_threads, adapters)
    from nextword.inference.native_backend import NativeBackend

    opened = NativeBackend(
        config,
        tensors,
        weights=weights,
        num_threads=num_threads,
        cache_share=cache_share,
        adapters=adapters,
        on_progress=on_progress,
        meanwhile=meanwhile,
    )
    return rotate_by_length(opened, config)


def _open_torch(
    config: ModelConfig,
    tensors: Mapping[str, StoredTensor],
    weights: Weights,
    num_threads: int | None,
    adapters: Mapping[str, Changes],
) -> Backend:
    try:
        import torch

        from nextword.inference.torch_backend import TorchBackend
        from nextword.models.build import build_transformer
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed: pip install 'nextword[train]'") from None
    dtypes = {"auto": torch.float32, "f32": torch.float32, "bf16": torch.bfloat16}
    if weights not in dtypes:
        raise BackendError(f"weights {weights}: PyTorch computes with f32 or bf16 here; the native backend has all")
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    model = build_transformer(config, tensors, dtype=dtypes[weights])
    return rotate_by_length(TorchBackend(model, adapters=adapters), config)
