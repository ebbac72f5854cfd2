"""`SeenTokens`: the tokens of a sequence as penalties need them, updated token by token.

In: the prompt's token ids, then each token of the completion. Out: distinct tokens, their counts, and the tokens that
would repeat an n-gram. The work for one more token does not grow with the length of the text.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class TokenCounts:
    """Distinct tokens in the order of their first use, with their counts, in arrays that grow by doubling."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._token_ids = np.zeros(16, dtype=np.intp)
        self._counts = np.zeros(16, dtype=np.float32)

    def add(self, token_id: int) -> None:
        """Count one more occurrence of a token."""
        place = self._places.setdefault(token_id, len(self._places))
        if place == len(self._token_ids):
            self._token_ids = np.concatenate([self._token_ids, np.zeros_like(self._token_ids)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._token_ids[place] = token_id
        self._counts[place] += 1

    @property
    def token_ids(self) -> NDArray[np.intp]:
        """The distinct tokens."""
        return self._token_ids[: len(self._places)]

    @property
    def counts(self) -> NDArray[np.float32]:
        """Count of each of `token_ids`."""
        return self._counts[: len(self._places)]


class NGramMemory:
    """The tokens that have followed each run of size - 1 tokens."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._latest: tuple[int, ...] = ()
        self._followers: dict[tuple[int, ...], set[int]] = {}

    def add(self, token_id: int) -> None:
        """Append the next token of the sequence."""
        if len(self._latest) == self._size - 1:
            self._followers.setdefault(self._latest, set()).add(token_id)
        self._latest = (*self._latest, token_id)[-(self._size - 1) :] if self._size > 1 else ()

    def repeating(self) -> list[int]:
        """Return the tokens that would now complete an n-gram of the sequence again, ascending."""
        return sorted(self._followers.get(self._latest, ()))


class SeenTokens:
    """The tokens of one sequence, in the forms that its penalties need; no others are kept."""

    def __init__(
        self, prompt_token_ids: Iterable[int], *, count_all: bool, count_output: bool, ngram_size: int
    ) -> None:
        """Start with a prompt.

        Args:
            prompt_token_ids: of the sequence, without padding.
            count_all: keep the distinct tokens of prompt and output, for the repetition penalty.
            count_output: keep the counts of the output's tokens, for the presence and frequency penalties.
            ngram_size: keep the n-grams of prompt and output of this size; 0: none.
        """
        self.all = TokenCounts() if count_all else None
        self.output = TokenCounts() if count_output else None
        self.ngrams = NGramMemory(ngram_size) if ngram_size else None
        self.num_output = 0
        if self.all or self.ngrams:
            for token_id in prompt_token_ids:
                self._add_to(self.all, self.ngrams, token_id=token_id)

    def append(self, token_id: int) -> None:
        """Append the next token of the output."""
        self._add_to(self.all, self.output, self.ngrams, token_id=token_id)
        self.num_output += 1

    @staticmethod
    def _add_to(*memories: TokenCounts | NGramMemory | None, token_id: int) -> None:
        for memory in memories:
            if memory is not None:
                memory.add(token_id)
