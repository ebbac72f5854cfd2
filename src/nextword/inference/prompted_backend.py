"""`PromptedBackend`: a backend whose sequences all begin with virtual tokens, which its users do not see."""

from __future__ import annotations

from collections.abc import Sequence

from nextword.inference.backend import PAGE_POSITIONS, Backend, Chunk, Logits, Threads, TokenScores
from nextword.inference.cache_budget import whole_pages


class PromptedBackend:
    """Puts a trained prompt, token ids `vocab_size` to `vocab_size + num_virtual_tokens - 1`, before each sequence."""

    def __init__(self, inner: Backend, *, vocab_size: int, num_virtual_tokens: int) -> None:
        self._inner, self._vocab_size = inner, vocab_size
        self._virtual = list(range(vocab_size, vocab_size + num_virtual_tokens))

    @property
    def vocab_size(self) -> int:
        """Width of a row of logits, without virtual tokens: they are never sampled."""
        return self._vocab_size

    @property
    def max_seq_len(self) -> int:
        """Maximum number of positions of one sequence after the virtual tokens."""
        return self._inner.max_seq_len - len(self._virtual)

    @property
    def is_batch_invariant(self) -> bool:
        """True if the inner backend's logits do not depend on the chunks."""
        return self._inner.is_batch_invariant

    @property
    def threads(self) -> Threads | None:
        """Threads of the inner backend."""
        return self._inner.threads

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """Names of the adapters that a sequence may run with."""
        return self._inner.adapter_names

    @property
    def max_positions(self) -> int:
        """Maximum number of positions of all open sequences together, even if each is as short as a page."""
        return self._inner.max_positions // (1 + whole_pages(len(self._virtual)) // PAGE_POSITIONS)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self._inner.weight_bytes

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None) -> int:
        """Open a sequence that begins with the virtual tokens, and return its handle."""
        cache_id = self._inner.open_cache([*self._virtual, *prompt], adapter=adapter)
        missing = self._virtual[self._inner.cache_length(cache_id) :]
        try:
            if missing:
                self._inner.step([Chunk(cache_id, missing, 0)])
        except BaseException:
            self._inner.close_cache(cache_id)
            raise
        return cache_id

    def cache_length(self, cache_id: int) -> int:
        """Return the number of positions of a sequence, without virtual tokens."""
        return self._inner.cache_length(cache_id) - len(self._virtual)

    def fork_cache(self, cache_id: int) -> int:
        """Copy a sequence and return the handle of the copy; both grow independently from then on."""
        return self._inner.fork_cache(cache_id)

    def close_cache(self, cache_id: int) -> None:
        """Close a sequence and free its pages."""
        self._inner.close_cache(cache_id)

    def draft_limit(self, cache_id: int) -> int:
        """Return how many tokens of a draft the next step may hold after the sequence's own next token."""
        return self._inner.draft_limit(cache_id)

    def truncate_cache(self, cache_id: int, length: int) -> None:
        """End a sequence at `length`, without virtual tokens."""
        self._inner.truncate_cache(cache_id, length + len(self._virtual))

    def step(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Append each chunk to its sequence; return a (num_logits, vocab_size) float32 array per chunk, in order."""
        return [logits[:, : self._vocab_size] for logits in self._inner.step(chunks)]

    def score(self, chunks: Sequence[Chunk], targets: Sequence[Sequence[int]]) -> list[TokenScores]:
        """Append each chunk as `step` does; score a target for each row of logits, `num_logits` targets per chunk."""
        return self._inner.score(chunks, targets)
