"""`NativeBackend`: the forward pass in our own C++, for CPUs. Weights are packed once, when the model is loaded.

It never imports torch. The computation is in `native/`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nextword.errors import BackendError, OutOfMemoryError
from nextword.inference.backend import (
    WHOLE_CACHE,
    Chunk,
    Logits,
    Meanwhile,
    OnProgress,
    TokenScores,
    Weights,
    ignore_progress,
)
from nextword.inference.free_memory import free_bytes
from nextword.inference.native_weights import cache_kind, choose_kinds, load_weights
from nextword.models.config import ModelConfig
from nextword.models.experts import Experts
from nextword.models.rope import LongRopeScaling, Rope
from nextword.models.stored_tensor import StoredTensor
from nextword.native import core

if TYPE_CHECKING:
    from nextword.models.linear_change import Changes

_SAME_FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "max_seq_len",
    "norm_eps",
    "is_gated",
    "is_parallel",
    "is_norm_shared",
    "is_tied",
    "attention_scale",
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "norm_weight",
    "norm_bias",
    "position_offset",
)
"""Fields of the config that the native shape has under the same name."""

_NOTHING = np.empty(0, dtype=np.float32)


class NativeBackend:
    """A packed model with its KV cache.

    Raises BackendError if this processor cannot run what NEXTWORD_ISA names, or the system cannot start that many
    threads; in a process forked in the middle of a step, every method raises it.
    """

    def __init__(
        self,
        config: ModelConfig,
        tensors: Mapping[str, StoredTensor],
        *,
        weights: Weights = "auto",
        num_threads: int | None = None,
        cache_share: float = WHOLE_CACHE,
        max_cache_bytes: int | None = None,
        adapters: Mapping[str, Changes] = MappingProxyType({}),
        on_progress: OnProgress = ignore_progress,
        meanwhile: Meanwhile = (),
    ) -> None:
        kinds = choose_kinds(config, tensors, weights)
        self._config = config
        if num_threads is None:
            num_threads = num_cores()
        try:
            self._model = core.Model(
                _shape(config),
                cache_kind=cache_kind(kinds["embedding.weight"]),
                max_cache_bytes=int(free_bytes() * cache_share) if max_cache_bytes is None else max_cache_bytes,
                num_threads=num_threads,
                isa=os.environ.get("NEXTWORD_ISA", ""),
            )
        except ValueError as error:
            raise BackendError(str(error)) from None
        except RuntimeError as error:
            raise BackendError(f"{num_threads} threads cannot be started: {error}; ask for fewer") from None
        load_weights(self._model, config, tensors, kinds, on_progress=on_progress, meanwhile=meanwhile)
        core.trim_heap()  # of what opening the file and building the tokenizer took: the peak of memory is to come
        self._adapters = {name: self._load_adapter(changes, tensors) for name, changes in adapters.items()}

    def _load_adapter(self, changes: Changes, tensors: Mapping[str, StoredTensor]) -> int:
        """Load an adapter beside the packed weights; return its number."""
        number: int = self._model.add_adapter()
        for module, make in changes.items():
            change, bias = make(), tensors.get(f"{module}.bias")
            offset = change.offset(None if bias is None else bias.to_float32())
            down, up, *vectors = (
                np.ascontiguousarray(values, dtype=np.float32).ravel() if values is not None else _NOTHING
                for values in (change.down, change.up, change.input_factor, change.output_factor, offset)
            )
            rank = 0 if change.down is None else len(change.down)
            try:
                self._model.load_adapter(number, f"{module}.weight", rank, down, up, *vectors)
            except ValueError as error:
                raise BackendError(f'{error}: merge the adapter, or load with backend="torch"') from None
        return number

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""
        return self._config.vocab_size

    @property
    def max_seq_len(self) -> int:
        """Maximum number of positions of one sequence: the context length."""
        return self._config.max_seq_len

    @property
    def is_batch_invariant(self) -> bool:
        """True: a token's logits have the same bits in every chunk."""
        return True

    @property
    def isa(self) -> str:
        """Instruction set that the kernels use."""
        return self._model.isa

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed matrices."""
        return self._model.weight_bytes

    @property
    def cache_bytes(self) -> int:
        """Bytes of the keys and values of open sequences."""
        return self._model.cache_bytes_held

    @property
    def adapter_bytes(self) -> int:
        """Bytes of the matrices of all adapters."""
        return self._model.adapter_bytes

    @property
    def threads(self) -> core.Model | None:
        """The packed model, whose threads may draw tokens between two steps."""
        return self._model

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Names of the adapters that a sequence may run with."""
        return tuple(self._adapters)

    @property
    def max_positions(self) -> int:
        """Maximum number of positions of all open sequences together, each in whole pages."""
        return self._model.max_positions

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None, is_long: bool = False) -> int:
        """Open a sequence and return its handle; it begins with stored pages of the same prefix as `prompt`.

        `adapter`: name of one of the backend's. `is_long`: rotate by LongRoPE's angles for long sequences.
        """
        return self._model.open_cache(list(prompt), is_long, 0 if adapter is None else self._adapters[adapter])

    def cache_length(self, cache_id: int) -> int:
        """Return the number of positions of a sequence."""
        return self._model.cache_length(cache_id)

    def fork_cache(self, cache_id: int) -> int:
        """Copy a sequence and return the handle of the copy, which shares its full pages; both grow independently."""
        return self._model.fork_cache(cache_id)

    def close_cache(self, cache_id: int) -> None:
        """Close a sequence and free its pages."""
        self._model.close_cache(cache_id)

    def draft_limit(self, cache_id: int) -> int:
        """Return how many tokens of a draft the next step may hold: as many as the context has room for."""
        return self.max_seq_len - self.cache_length(cache_id) - 1

    def truncate_cache(self, cache_id: int, length: int) -> None:
        """End a sequence at `length`: take back tokens that its last step held as a draft."""
        self._model.truncate_cache(cache_id, length)

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its sequence; return a (num_logits, vocab_size) float32 array per chunk, in order.

        Raises RequestError if the new positions do not fit into the KV cache, or the system has no more memory.
        """
        counts = [chunk.num_logits for chunk in chunks]
        logits = np.empty((sum(counts), self.vocab_size), dtype=np.float32)
        with self._memory_errors():
            self._model.step(_native_chunks(chunks), logits)
        return np.split(logits, np.cumsum(counts)[:-1]) if counts else []

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """Append each chunk as `step` does; score a target for each row of logits, `num_logits` targets per chunk.

        Raises RequestError as `step`.
        """
        counts = [chunk.num_logits for chunk in chunks]
        floats = np.empty((2, sum(counts)), dtype=np.float64)
        whole = np.empty((2, sum(counts)), dtype=np.int32)
        with self._memory_errors():
            self._model.score(
                _native_chunks(chunks), [target for of_chunk in targets for target in of_chunk], *floats, *whole
            )
        ends = np.cumsum(counts)
        return [
            TokenScores(*floats[:, end - count : end], *whole[:, end - count : end])
            for end, count in zip(ends, counts, strict=True)
        ]

    @contextlib.contextmanager
    def _memory_errors(self) -> Iterator[None]:
        """Turn errors of a step into OutOfMemoryErrors: a full KV cache, or no more memory in the system."""
        cache_mib, weight_mib = self.cache_bytes / 2**20, self.weight_bytes / 2**20
        try:
            yield
        except core.CacheFullError:
            raise OutOfMemoryError(
                f"the KV cache is full: {cache_mib:.0f} MiB are in use; ask for fewer or shorter texts at once"
            ) from None
        except MemoryError:
            raise OutOfMemoryError(
                f"the system has no more memory: weights take {weight_mib:.0f} MiB, the KV cache {cache_mib:.0f} MiB; "
                "end other programs, or load the model with weights of fewer bits"
            ) from None


def _native_chunks(chunks: Sequence[Chunk]) -> list[core.Chunk]:
    return [core.Chunk(chunk.cache_id, list(chunk.token_ids), chunk.num_logits, chunk.num_drafted) for chunk in chunks]


def num_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shape(config: ModelConfig) -> core.Shape:
    """Return the config in the form that the native model takes."""
    shape = core.Shape()
    for name in _SAME_FIELDS:
        setattr(shape, name, getattr(config, name))
    shape.is_layer_norm = config.norm == "layer"
    shape.has_pre_norm, shape.has_post_norm = config.norm_placement != "post", config.norm_placement != "pre"
    shape.qk_norm = core.QKNorm[(config.qk_norm or "none").upper()]
    shape.activation = core.Activation[config.activation.upper()]
    shape.has_position_embedding = config.rope is None
    shape.qkv_clip = config.qkv_clip or 0.0
    shape.attention_soft_cap, shape.logit_soft_cap = config.attention_soft_cap or 0.0, config.logit_soft_cap or 0.0
    layers = range(config.num_layers)
    ropes = [config.layer_rope(layer) for layer in layers]
    distinct = [rope for rope in dict.fromkeys(ropes) if rope is not None]
    shape.ropes = [_rope(rope) for rope in distinct]
    shape.layer_ropes = [-1 if rope is None else distinct.index(rope) for rope in ropes]
    window = config.sliding_window or 0
    shape.layer_windows = [window if config.is_sliding(layer) else 0 for layer in layers]
    if config.experts is not None:
        shape.experts = _experts(config.experts)
    return shape


def _experts(experts: Experts) -> core.Experts:
    converted = core.Experts()
    for name in ("count", "per_token", "intermediate_size", "is_normalized", "has_shared_gate"):
        setattr(converted, name, getattr(experts, name))
    converted.shared_size = experts.shared_size or 0
    converted.layers = list(experts.layers)
    return converted


def _rope(rope: Rope) -> core.Rope:
    converted = core.Rope()
    converted.frequencies = rope.inverse_frequencies(is_long=False).astype(np.float32).tolist()
    converted.factor = rope.attention_factor
    if isinstance(rope.scaling, LongRopeScaling):
        converted.long_frequencies = rope.inverse_frequencies(is_long=True).astype(np.float32).tolist()
    return converted
