"""`TorchBackend`: the forward pass in PyTorch, for reference and GPUs.

Sequences run one after the other within a step: PyTorch's matrix products round differently for different batch shapes,
and a sequence must not depend on what runs beside it. So a batch takes as long as its sequences one by one.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from nextword.inference.backend import Chunk, Logits, Threads, TokenScores
from nextword.inference.torch_adapters import TorchAdapters
from nextword.models.kv_cache import KVCache
from nextword.models.linear_change import Changes
from nextword.models.transformer import Transformer

_SCORED_ROWS = 256
"""Rows of logits in memory at once, for a sequence of any length: 48 MiB for a vocabulary of 49,152."""


class TorchBackend:
    """Runs a `Transformer` on the device of its weights."""

    def __init__(self, model: Transformer, *, adapters: Mapping[str, Changes] = MappingProxyType({})) -> None:
        self._model = model.eval()
        self._adapters = TorchAdapters(model, adapters)
        self._adapter_of: dict[int, str | None] = {}
        weight = next(model.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        self._caches: dict[int, KVCache] = {}
        self._new_ids = itertools.count()

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits."""
        return self._model.config.vocab_size

    @property
    def max_seq_len(self) -> int:
        """Maximum number of positions of one sequence: the context length."""
        return self._model.config.max_seq_len

    @property
    def is_batch_invariant(self) -> bool:
        """False: products of several rows round differently from those of one."""
        return False

    @property
    def threads(self) -> Threads | None:
        """None: PyTorch has threads of its own."""
        return None

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Names of the adapters that a sequence may run with."""
        return self._adapters.names

    @property
    def max_positions(self) -> int:
        """Maximum number of positions of all open sequences together: no limit but the system's memory."""
        return sys.maxsize

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return sum(weight.numel() * weight.element_size() for weight in self._model.parameters())

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None, is_long: bool = False) -> int:
        """Open an empty sequence and return its handle; no prefix is stored for later prompts.

        `adapter`: name of one of the backend's. `is_long`: rotate by LongRoPE's angles for long sequences.
        """
        cache = KVCache(self._model.config, dtype=self._dtype, device=self._device, is_long=is_long)
        return self._keep(cache, adapter)

    def cache_length(self, cache_id: int) -> int:
        """Return the number of positions of a sequence."""
        return self._caches[cache_id].length

    def fork_cache(self, cache_id: int) -> int:
        """Copy a sequence and return the handle of the copy; both grow independently from then on."""
        return self._keep(self._caches[cache_id].fork(), self._adapter_of[cache_id])

    def close_cache(self, cache_id: int) -> None:
        """Close a sequence and free its pages."""
        del self._caches[cache_id], self._adapter_of[cache_id]

    def draft_limit(self, cache_id: int) -> int:
        """Return 0: several positions in one product are rounded otherwise than one by one."""
        return 0

    def truncate_cache(self, cache_id: int, length: int) -> None:
        """End a sequence at `length`."""
        self._caches[cache_id].truncate(length)

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its sequence; return a (num_logits, vocab_size) float32 array per chunk, in order."""
        return [self._run(chunk) for chunk in chunks]

    def _run(self, chunk: Chunk) -> Logits:
        array: Logits = self._logits(chunk).cpu().numpy()
        return array

    def _logits(self, chunk: Chunk) -> Tensor:
        token_ids = torch.tensor([list(chunk.token_ids)], device=self._device)
        self._adapters.active = self._adapter_of[chunk.cache_id]
        logits: Tensor = self._model(token_ids, kv_cache=self._caches[chunk.cache_id], last_rows=chunk.num_logits)
        return logits[0].float()

    @torch.inference_mode()
    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """Append each chunk as `step` does; score a target for each row of logits, `num_logits` targets per chunk."""
        return [self._score(chunk, of_chunk) for chunk, of_chunk in zip(chunks, targets, strict=True)]

    def _score(self, chunk: Chunk, targets: Sequence[int]) -> TokenScores:
        num_before = len(chunk.token_ids) - chunk.num_logits
        if num_before:
            self._run(Chunk(chunk.cache_id, chunk.token_ids[:num_before], 0))
        parts = []
        for start in range(0, chunk.num_logits, _SCORED_ROWS):
            token_ids = chunk.token_ids[num_before:][start : start + _SCORED_ROWS]
            logits = self._logits(Chunk(chunk.cache_id, token_ids, len(token_ids)))
            parts.append(_score_rows(logits, torch.tensor(targets[start : start + _SCORED_ROWS], device=self._device)))
        nats, entropies, ranks, largest = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
        return TokenScores(nats, entropies, ranks, largest)

    def _keep(self, cache: KVCache, adapter: str | None) -> int:
        cache_id = next(self._new_ids)
        self._caches[cache_id], self._adapter_of[cache_id] = cache, adapter
        return cache_id


def _score_rows(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute the fields of `TokenScores` for rows of logits, (n, V), and a target each, (n,)."""
    highest, largest = logits.max(dim=1, keepdim=True)
    distances = logits - highest  # (n, V), none above 0
    exponentials = distances.exp()
    totals = exponentials.sum(dim=1, dtype=torch.float64)
    nats = totals.log() - distances.gather(1, targets[:, None])[:, 0]
    weighted = torch.where(exponentials > 0, exponentials * distances, 0.0).sum(dim=1, dtype=torch.float64)
    own = logits.gather(1, targets[:, None])
    is_lower_id = torch.arange(logits.shape[1], device=logits.device) < targets[:, None]
    ranks = 1 + ((logits > own) | ((logits == own) & is_lower_id)).sum(dim=1, dtype=torch.int32)
    return nats, totals.log() - weighted / totals, ranks, largest[:, 0].to(torch.int32)
