"""`Guide`: a second sequence that gets the same tokens as a completion, and whose logits change those of the first.

`GuidedSequences` keeps the two together: they are forked, cut back, closed and run as one. A guide of the same backend
runs in the same step; whatever is drawn, searched or drafted from the logits needs to know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nextword.decoding.guidance import Guidance
from nextword.inference.backend import Backend, Chunk, Logits
from nextword.inference.prefill import PREFILL_CHUNK, prefill_chunk


@dataclass(kw_only=True, eq=False)
class Guide:
    """Guide of one request, and its prompt as far as it is computed."""

    backend: Backend
    """Computes it: the request's own, or that of the amateur."""
    prompt_token_ids: list[int]
    guidance: Guidance
    adapter: str | None = None
    cache_id: int | None = None
    """The prompt's handle in the KV cache; None before the first step, and once it follows the sequences."""
    num_prefilled: int = 0
    logits: Logits | None = None
    """Logits after the prompt, (V,)."""

    @property
    def is_ready(self) -> bool:
        """True if its prompt is computed."""
        return self.logits is not None

    def prefill(self, most: int = PREFILL_CHUNK) -> int:
        """Compute the next chunk of the prompt, of `most` tokens at most where the backend's rounding allows it.

        Returns its number of tokens. Raises RequestError without memory.
        """
        if self.cache_id is None:
            self.cache_id = self.backend.open_cache(self.prompt_token_ids, adapter=self.adapter)
            self.num_prefilled = self.backend.cache_length(self.cache_id)
        most = most if self.backend.is_batch_invariant else PREFILL_CHUNK
        chunk = prefill_chunk(self.cache_id, self.prompt_token_ids, self.num_prefilled, num_logits=1, most=most)
        (rows,) = self.backend.step([chunk])
        self.num_prefilled += len(chunk.token_ids)
        if chunk.num_logits:
            self.logits = rows[-1].copy()
        return len(chunk.token_ids)

    def close(self) -> None:
        """Close the cache of the prompt."""
        if self.cache_id is not None:
            self.backend.close_cache(self.cache_id)
            self.cache_id = None


class _Companion(NamedTuple):
    """Guide of one sequence, with the handle of its own sequence."""

    guide: Guide
    cache_id: int


class GuidedSequences:
    """Sequences of a backend, of which some have guides."""

    def __init__(self, backend: Backend, amateur: Backend | None = None) -> None:
        """Start without sequences; `amateur`: backend of the weaker model that contrastive decoding asks."""
        self._backend, self._amateur = backend, amateur
        self._companions: dict[int, _Companion] = {}

    def __bool__(self) -> bool:
        """Return True if any sequence has a guide."""
        return bool(self._companions)

    def attach(self, cache_id: int, guide: Guide) -> None:
        """Let a guide whose prompt is computed follow a sequence, and the forks of that."""
        assert guide.cache_id is not None, "a guide without a prompt"
        self._companions[cache_id] = _Companion(guide, guide.cache_id)
        guide.cache_id = None

    def fork_cache(self, cache_id: int) -> int:
        """Copy a sequence with its guide, and return the handle of the copy."""
        fork = self._backend.fork_cache(cache_id)
        if found := self._companions.get(cache_id):
            other = found.guide.backend.fork_cache(found.cache_id)
            self._companions[fork] = found._replace(cache_id=other)
        return fork

    def close_cache(self, cache_id: int) -> None:
        """Close a sequence and its guide."""
        self._backend.close_cache(cache_id)
        if found := self._companions.pop(cache_id, None):
            found.guide.backend.close_cache(found.cache_id)

    def draft_limit(self, cache_id: int) -> int:
        """Return how many tokens of a draft the next step may hold, as `Backend.draft_limit`."""
        limit, found = self._backend.draft_limit(cache_id), self._companions.get(cache_id)
        return min(limit, found.guide.backend.draft_limit(found.cache_id)) if found else limit

    def take_back(self, cache_id: int, num_tokens: int) -> None:
        """Take back the last tokens of a draft from a sequence and its guide."""
        _take_back(self._backend, cache_id, num_tokens)
        if found := self._companions.get(cache_id):
            _take_back(found.guide.backend, found.cache_id, num_tokens)

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its sequence and its guide; return the guided logits, as `Backend.step`.

        Raises RequestError, and has changed nothing, without memory.
        """
        guided = {index: found for index, chunk in enumerate(chunks) if (found := self._companions.get(chunk.cache_id))}
        copies = {index: chunks[index]._replace(cache_id=found.cache_id) for index, found in guided.items()}
        beside = {index: chunk for index, chunk in copies.items() if guided[index].guide.backend is self._backend}
        opinions = self._amateur_step({index: chunk for index, chunk in copies.items() if index not in beside})
        try:
            rows = self._backend.step([*chunks, *beside.values()])
        except BaseException:
            for index in opinions:
                _take_back(guided[index].guide.backend, guided[index].cache_id, len(chunks[index].token_ids))
            raise
        opinions.update(zip(beside, rows[len(chunks) :], strict=True))
        for index, found in guided.items():
            pairs = zip(rows[index], opinions[index], strict=True)
            rows[index] = np.stack([found.guide.guidance(*pair) for pair in pairs])
        return rows[: len(chunks)]

    def _amateur_step(self, chunks: Mapping[int, Chunk]) -> dict[int, Logits]:
        """Run chunks of the amateur, all of whose tokens can be taken back if the other model has no memory."""
        if not chunks or self._amateur is None:
            return {}
        tentative = [chunk._replace(num_drafted=len(chunk.token_ids)) for chunk in chunks.values()]
        return dict(zip(chunks, self._amateur.step(tentative), strict=True))


def _take_back(backend: Backend, cache_id: int, num_tokens: int) -> None:
    backend.truncate_cache(cache_id, backend.cache_length(cache_id) - num_tokens)
