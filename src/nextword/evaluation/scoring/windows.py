"""The conventions of perplexity, one function each: which tokens of a text are scored, and with how much context.

Token ids in, as they come; windows out. Only one window is held, so a text may have any length. Knows no models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True)
class Window:
    """Tokens that the model sees together. The last one is only predicted."""

    start: int
    """Position of the first token in the text's tokens; -1 for a prefix before them."""
    token_ids: Sequence[int]
    num_scored: int
    """Number of last tokens that are scored; those before are context."""

    @property
    def scored(self) -> Sequence[int]:
        """The tokens that are scored."""
        return self.token_ids[self.num_context :]

    @property
    def num_context(self) -> int:
        """Number of tokens before the first scored one."""
        return len(self.token_ids) - self.num_scored


def sliding_windows(token_ids: Iterable[int], *, context: int, stride: int, num_before: int = 0) -> Iterator[Window]:
    """Cut windows of `context` tokens, moved by `stride`; each scores the tokens that no window before has scored.

    The convention of transformers' documentation. The first token of a text is never scored, and without overlap
    neither is the first token of any window, since it has no context. `stride`: 1 to `context`; `context`: at least 2.
    `num_before`: first tokens that are no part of the text, such as BOS, and never scored.
    """
    coming = iter(token_ids)
    window = list(islice(coming, context))
    start, scored_until = 0, max(1, num_before)
    while True:
        stop = start + len(window)
        num_scored = stop - max(scored_until, start + 1)
        if num_scored > 0:
            yield Window(start, window, num_scored)
        following = list(islice(coming, stride))
        if not following:
            return
        window = window[stride:] + following
        start, scored_until = start + stride, stop


def halved_chunks(token_ids: Iterable[int], *, context: int, prefix: Sequence[int]) -> Iterator[Window]:
    """Cut disjoint chunks of `context` tokens and score the second half of each; drop what does not fill a chunk.

    The convention of llama.cpp. `prefix`: BOS there; replaces as many first tokens of each chunk. `context`: at least
    3.
    """
    num_scored = context - context // 2 - 1
    coming = iter(token_ids)
    start = 0
    while len(chunk := list(islice(coming, context))) == context:
        chunk[: len(prefix)] = prefix
        yield Window(start, chunk, num_scored)
        start += context


def rolling_windows(token_ids: Iterable[int], *, context: int, prefix_token_id: int) -> Iterator[Window]:
    """Cut blocks of `context` tokens and score all of them, each block after the last token of the one before.

    The convention of lm-eval. The first block follows the prefix; the last, if shorter, has as much context as fits.
    """
    coming = iter(token_ids)
    window, num_seen = [prefix_token_id], 0
    while block := list(islice(coming, context)):
        window = (window + block)[-(context + 1) :]
        num_seen += len(block)
        yield Window(num_seen - len(window), window, len(block))
