"""`TorchBackend`: the forward pass in PyTorch, for reference and GPUs.

Texts run one after the other within a step: PyTorch's matrix products round differently for different batch shapes, and
a text must not depend on its company. So a batch here costs what its texts cost alone.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

import torch

from nextword.inference.backend import Chunk, Logits
from nextword.models.kv_cache import KVCache
from nextword.models.transformer import Transformer


class TorchBackend:
    """Runs a `Transformer` where its weights lie."""

    def __init__(self, model: Transformer) -> None:
        self._model = model.eval()
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
        """Positions that one text may have."""
        return self._model.config.max_seq_len

    @property
    def max_positions(self) -> int:
        """Positions that all open texts may have together: as many as the system gives memory for."""
        return sys.maxsize

    def open_cache(self, prompt: Sequence[int] = ()) -> int:
        """The handle of a new, empty place in the KV cache: nothing is kept for later prompts."""
        return self._keep(KVCache(self._model.config, dtype=self._dtype, device=self._device))

    def cache_length(self, cache_id: int) -> int:
        """Positions that stand in a place."""
        return self._caches[cache_id].length

    def fork_cache(self, cache_id: int) -> int:
        """The handle of a copy, which then goes its own way."""
        return self._keep(self._caches[cache_id].fork())

    def close_cache(self, cache_id: int) -> None:
        """Give a place back."""
        del self._caches[cache_id]

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its text; one (num_logits, vocab_size) float32 array for each chunk, in order."""
        return [self._run(chunk) for chunk in chunks]

    def _run(self, chunk: Chunk) -> Logits:
        token_ids = torch.tensor([list(chunk.token_ids)], device=self._device)
        logits = self._model(token_ids, kv_cache=self._caches[chunk.cache_id], last_rows=chunk.num_logits)
        array: Logits = logits[0].float().cpu().numpy()
        return array

    def _keep(self, cache: KVCache) -> int:
        cache_id = next(self._new_ids)
        self._caches[cache_id] = cache
        return cache_id
