"""`SeenTokens`: the tokens of a sequence as penalties need them, updated token by token.

In: the prompt's token ids, then each token of the completion. Out: distinct tokens, their counts, and the tokens that
would repeat an n-gram. The work for one more token does not grow with the length of the text.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray


class TokenCounts:
    """Distinct tokens in the order of their first use, with their counts, in arrays that grow by doubling."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._token_ids = np.zeros(16, dtype=np.intp)
        self._counts = np.zeros(16, dtype=np.float32)

    def copy(self) -> TokenCounts:
        """Return the same counts; both grow independently."""
        copied = TokenCounts()
        copied._places = self._places.copy()
        copied._token_ids, copied._counts = self._token_ids.copy(), self._counts.copy()
        return copied

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
        self._followers: dict[tuple[int, ...], frozenset[int]] = {}

    def copy(self) -> NGramMemory:
        """Return the same memory; both grow independently."""
        copied = copy.copy(self)
        copied._followers = self._followers.copy()
        return copied

    def add(self, token_id: int) -> None:
        """Append the next token of the sequence."""
        if len(self._latest) == self._size - 1:
            self._followers[self._latest] = self._followers.get(self._latest, frozenset()) | {token_id}
        self._latest = (*self._latest, token_id)[-(self._size - 1) :] if self._size > 1 else ()

    def repeating(self) -> list[int]:
        """Return the tokens that would now complete an n-gram of the sequence again, ascending."""
        return sorted(self._followers.get(self._latest, ()))


class Repetitions:
    """For each place of a sequence, how many tokens before it are those at the sequence's end: what DRY penalises."""

    def __init__(self, token_ids: Iterable[int], *, window: int, breakers: Collection[int]) -> None:
        """Start with a prompt; `window`: number of last tokens that count, -1 for all; `breakers`: end a repetition."""
        self._window = window
        self._breakers = breakers
        self._token_ids = np.fromiter(token_ids, dtype=np.int64)
        self._num_tokens = len(self._token_ids)
        self._is_breaker = np.isin(self._token_ids, np.fromiter(breakers, dtype=np.int64))
        self._lengths = _common_suffixes(self._token_ids, self._is_breaker)

    def copy(self) -> Repetitions:
        """Return the same memory; both grow independently."""
        copied = copy.copy(self)
        copied._token_ids, copied._is_breaker = self._token_ids.copy(), self._is_breaker.copy()
        copied._lengths = self._lengths.copy()
        return copied

    def add(self, token_id: int) -> None:
        """Append the next token of the sequence."""
        count = self._num_tokens
        if count == len(self._token_ids):
            room = np.zeros(max(count, 64), dtype=np.int64)
            self._token_ids = np.concatenate([self._token_ids, room])
            self._lengths = np.concatenate([self._lengths, room])
            self._is_breaker = np.concatenate([self._is_breaker, room.astype(np.bool_)])
        self._token_ids[count], self._is_breaker[count] = token_id, token_id in self._breakers
        lengths = self._lengths[: count + 1]
        lengths[1:] = lengths[:-1] + 1  # the place after one that agreed agrees in one token more
        lengths[0] = 1
        lengths[self._token_ids[: count + 1] != token_id] = 0
        if self._is_breaker[count]:
            lengths[:] = 0
        lengths[count] = 0  # the end agrees with itself
        self._num_tokens = count + 1

    def lengths(self, allowed_length: int) -> dict[int, int]:
        """Return each token that would prolong a repetition of at least this length, with the longest one's length."""
        count = self._num_tokens
        first = 0 if self._window < 0 else max(count - self._window, 0)
        within = np.minimum(self._lengths[first:count], np.arange(1, count - first + 1))
        found: dict[int, int] = {}
        for place in np.flatnonzero(within[:-1] >= allowed_length):
            following = first + int(place) + 1
            if not self._is_breaker[following]:
                token_id = int(self._token_ids[following])
                found[token_id] = max(found.get(token_id, 0), int(within[place]))
        return found


def _common_suffixes(token_ids: NDArray[np.int64], is_breaker: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each place how many tokens up to it are those up to the end, none of them a breaker: Z-algorithm."""
    tokens = token_ids[::-1].tolist()
    count = len(tokens)
    most = int(np.argmax(is_breaker[::-1])) if is_breaker.any() else count
    agreed = [0] * count
    left = right = 0  # the part of the sequence that is known to repeat its beginning, reversed
    for place in range(1, count):
        length = min(right - place, agreed[place - left]) if place < right else 0
        while place + length < count and tokens[length] == tokens[place + length]:
            length += 1
        agreed[place] = length
        if place + length > right:
            left, right = place, place + length
    return np.minimum(np.array(agreed[::-1], dtype=np.int64), most)


class SeenTokens:
    """The tokens of one sequence, in the forms that its penalties need; no others are kept."""

    def __init__(
        self,
        prompt_token_ids: Iterable[int],
        *,
        count_all: bool,
        count_output: bool,
        ngram_size: int,
        repetition_window: int = 0,
        breakers: Collection[int] = (),
    ) -> None:
        """Start with a prompt.

        Args:
            prompt_token_ids: of the sequence, without padding.
            count_all: keep the distinct tokens of prompt and output, for the repetition penalty.
            count_output: keep the counts of the output's tokens, for the presence and frequency penalties.
            ngram_size: keep the n-grams of prompt and output of this size; 0: none.
            repetition_window: look for repetitions in this many last tokens, -1: in all, 0: do not.
            breakers: tokens across which there is no repetition.
        """
        self.all = TokenCounts() if count_all else None
        self.output = TokenCounts() if count_output else None
        self.ngrams = NGramMemory(ngram_size) if ngram_size else None
        prompt = list(prompt_token_ids)
        window, breakers = repetition_window, frozenset(breakers)
        self.repetitions = Repetitions(prompt, window=window, breakers=breakers) if window else None
        self.num_output = 0
        if self.all or self.ngrams:
            for token_id in prompt:
                self._add_to(self.all, self.ngrams, token_id=token_id)

    def copy(self) -> SeenTokens:
        """Return the same memory; both grow independently."""
        copied = copy.copy(self)
        copied.all, copied.output = self.all and self.all.copy(), self.output and self.output.copy()
        copied.ngrams, copied.repetitions = (
            self.ngrams and self.ngrams.copy(),
            self.repetitions and self.repetitions.copy(),
        )
        return copied

    def append(self, token_id: int) -> None:
        """Append the next token of the output."""
        self._add_to(self.all, self.output, self.ngrams, self.repetitions, token_id=token_id)
        self.num_output += 1

    @staticmethod
    def _add_to(*memories: TokenCounts | NGramMemory | Repetitions | None, token_id: int) -> None:
        for memory in memories:
            if memory is not None:
                memory.add(token_id)
