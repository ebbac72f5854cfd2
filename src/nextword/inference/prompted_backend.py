"""`PromptedBackend`: a backend whose texts all begin with virtual tokens, which nobody above it sees."""

from __future__ import annotations

from collections.abc import Sequence

from nextword.inference.backend import PAGE_POSITIONS, Backend, Chunk, Logits, TokenScores
from nextword.inference.cache_budget import whole_pages


class PromptedBackend:
    """Wraps a backend that knows tokens `vocab_size` to `vocab_size + num_virtual_tokens - 1`, a trained prompt."""

    def __init__(self, inner: Backend, *, vocab_size: int, num_virtual_tokens: int) -> None:
        self._inner, self._vocab_size = inner, vocab_size
        self._virtual = list(range(vocab_size, vocab_size + num_virtual_tokens))

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits: virtual tokens are never chosen."""
        return self._vocab_size

    @property
    def max_seq_len(self) -> int:
        """Positions that one text may have behind the prompt."""
        return self._inner.max_seq_len - len(self._virtual)

    @property
    def max_positions(self) -> int:
        """Positions that all open texts may have together, were each as short as a page."""
        return self._inner.max_positions // (1 + whole_pages(len(self._virtual)) // PAGE_POSITIONS)

    def open_cache(self, prompt: Sequence[int] = ()) -> int:
        """The handle of a new place, in which the virtual tokens stand already."""
        cache_id = self._inner.open_cache([*self._virtual, *prompt])
        missing = self._virtual[self._inner.cache_length(cache_id) :]
        if missing:
            self._inner.step([Chunk(cache_id, missing, 0)])
        return cache_id

    def cache_length(self, cache_id: int) -> int:
        """Positions that stand in a place, virtual ones not counted."""
        return self._inner.cache_length(cache_id) - len(self._virtual)

    def fork_cache(self, cache_id: int) -> int:
        """The handle of a copy, which then goes its own way."""
        return self._inner.fork_cache(cache_id)

    def close_cache(self, cache_id: int) -> None:
        """Give a place back."""
        self._inner.close_cache(cache_id)

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its text; one (num_logits, vocab_size) float32 array for each chunk, in order."""
        return [logits[:, : self._vocab_size] for logits in self._inner.step(chunks)]

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """As `step`, but of each row of logits only what it says of a target; `num_logits` targets for each chunk."""
        return self._inner.score(chunks, targets)
