"""Tokens with their surprisal in, pieces of text to be coloured out: no character is parted, no token is lost."""

from __future__ import annotations

import codecs
import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nextword.evaluation.scored_tokens import ScoredToken


@dataclass(frozen=True)
class Piece:
    """Text that is shown as one, of one token, or of the few that make a character together."""

    text: str
    tokens: tuple[ScoredToken, ...]

    @property
    def nats(self) -> float | None:
        """Surprisal of all its tokens; None if the model had nothing to expect them from."""
        known = [token.nats for token in self.tokens if token.nats is not None]
        return sum(known) if known else None


def pieces_of(tokens: Iterable[ScoredToken]) -> Iterator[Piece]:
    """The text of the tokens; what is no UTF-8 becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held: list[ScoredToken] = []
    text = ""
    for token in tokens:
        held.append(token)
        text += decoder.decode(token.data)
        if not decoder.getstate()[0]:
            yield Piece(text, tuple(held))
            held, text = [], ""
    if held:
        yield Piece(text + decoder.decode(b"", True), tuple(held))


@dataclass
class Summary:
    """Of the pieces that went by: sums, and the most surprising ones."""

    total_nats: float = 0.0
    total_entropy: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0
    most_surprising: list[tuple[float, int, Piece]] = field(default_factory=list)
    """Nats, number and piece of so many, the most surprising first once all went by."""

    @property
    def mean_nats(self) -> float:
        """Surprisal per token."""
        return self.total_nats / self.num_tokens if self.num_tokens else math.nan

    @property
    def mean_entropy(self) -> float:
        """Nats per token that the model expected to need."""
        return self.total_entropy / self.num_tokens if self.num_tokens else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Of the scored tokens."""
        return self.total_nats / math.log(2) / self.num_bytes if self.num_bytes else math.nan

    def watch(self, pieces: Iterable[Piece], *, num_kept: int = 10) -> Iterator[Piece]:
        """The same pieces, counted."""
        for number, piece in enumerate(pieces):
            for token in piece.tokens:
                if token.nats is not None and token.entropy is not None:
                    self.total_nats += token.nats
                    self.total_entropy += token.entropy
                    self.num_tokens += 1
                    self.num_bytes += len(token.data)
            if piece.nats is not None:
                heapq.heappush(self.most_surprising, (piece.nats, -number, piece))
                if len(self.most_surprising) > num_kept:
                    heapq.heappop(self.most_surprising)
            yield piece
        self.most_surprising.sort(reverse=True)
