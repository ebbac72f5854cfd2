"""What the tests of the native backend share: small random models, texts, and one text's logits by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from unittest import mock

import numpy as np
import pytest

from nextword.errors import BackendError
from nextword.inference.backend import Backend, Chunk, Logits, Weights
from nextword.inference.native_backend import NativeBackend
from nextword.models.config import ModelConfig
from nextword.models.rope import Rope
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import weight_shapes

CONFIG = ModelConfig(
    family="llama",
    vocab_size=45,
    hidden_size=40,
    intermediate_size=72,
    num_layers=2,
    num_heads=6,
    num_kv_heads=2,
    head_dim=12,
    max_seq_len=400,
    norm_eps=1e-5,
    rope=Rope(theta=1000.0, rotary_dim=12),
    attention_scale=12**-0.5,
)
"""Grouped heads, and sizes that fill no group of 32, no vector of 16 and no panel of 32 rows."""
WINDOW = dataclasses.replace(CONFIG, num_layers=3, sliding_window=37, sliding_layers=(0, 2))
ALL_SLIDING = dataclasses.replace(CONFIG, sliding_window=37, sliding_layers=(0, 1))


def random_weights(config: ModelConfig, *, seed: int = 5) -> dict[str, StoredTensor]:
    """Matrices that keep the size of what goes through them, norms around 1, F32."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in weight_shapes(config).items():
        values = random.standard_normal(shape)
        values = 1 + 0.2 * values if name.endswith("norm.weight") else values * 1.5 * shape[-1] ** -0.5
        tensors[name] = StoredTensor(name, "F32", shape, values.astype(np.float32))
    return tensors


def native(
    config: ModelConfig = CONFIG,
    tensors: Mapping[str, StoredTensor] | None = None,
    *,
    weights: Weights = "f32",
    num_threads: int = 2,
    max_cache_bytes: int = 2**26,
    isa: str = "",
) -> NativeBackend:
    """A native backend; skips the test where this processor lacks the instruction set."""
    with mock.patch.dict("os.environ", {"NEXTWORD_ISA": isa}):
        try:
            return NativeBackend(
                config,
                random_weights(config) if tensors is None else tensors,
                weights=weights,
                num_threads=num_threads,
                max_cache_bytes=max_cache_bytes,
            )
        except BackendError as error:
            if not isa:
                raise
            pytest.skip(str(error))


def random_text(length: int, *, seed: int = 0, vocab_size: int = CONFIG.vocab_size) -> list[int]:
    """Token ids."""
    return [int(token_id) for token_id in np.random.default_rng(seed).integers(0, vocab_size, length)]


def logits_of(backend: Backend, token_ids: Sequence[int], *, chunks: Sequence[int] = ()) -> Logits:
    """(T, V): all logits of a text that runs by itself, cut into chunks of these lengths; what is left comes last."""
    cache_id = backend.open_cache()
    parts = [
        backend.step([Chunk(cache_id, piece, len(piece))])[0] for piece in pieces(token_ids, chunks) if len(piece) > 0
    ]
    backend.close_cache(cache_id)
    return np.concatenate(parts)


def pieces(token_ids: Sequence[int], lengths: Sequence[int]) -> Iterator[Sequence[int]]:
    """The text, cut."""
    start = 0
    for length in lengths:
        yield token_ids[start : start + length]
        start += length
    yield token_ids[start:]


def mean_divergence(expected: Logits, seen: Logits) -> float:
    """Mean Kullback-Leibler divergence of the seen distributions from the expected ones, in nats."""
    log_p, log_q = log_probs(expected), log_probs(seen)
    return float(np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)))


def log_probs(logits: Logits) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Log-softmax over the last axis, in double."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    result: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result
