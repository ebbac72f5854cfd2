"""`measure_surprise`: a text in; out, its characters with their surprisal, and the sums over all of them."""

from __future__ import annotations

import codecs
import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from nextword.errors import RequestError
from nextword.evaluation.scoring.tokens import ScoredToken, scored_tokens
from nextword.inference.engine import Engine
from nextword.plain_text import count, text_table


@dataclass(frozen=True)
class ScoredPiece:
    """A piece of text that can be shown: one token, or the tokens that make a character together."""

    text: str
    """The text of the piece."""
    tokens: tuple[ScoredToken, ...]
    """Its tokens with their scores."""

    @property
    def nats(self) -> float | None:
        """Surprisal of all its tokens; None if none of them has a score."""
        known = [token.nats for token in self.tokens if token.nats is not None]
        return sum(known) if known else None

    @property
    def ranks(self) -> str:
        """The ranks of its scored tokens, with commas between them."""
        return ", ".join(f"{token.rank:,}" for token in self.tokens if token.rank is not None)

    @property
    def title(self) -> str:
        """Tooltip: its surprisal, ranks and entropy in words."""
        if self.nats is None:
            return "no context: not scored"
        entropy = sum(token.entropy for token in self.tokens if token.entropy is not None)
        return f"surprisal {self.nats:.3f} nats, rank {self.ranks}, entropy {entropy:.3f} nats"


def scored_pieces(tokens: Iterable[ScoredToken]) -> Iterator[ScoredPiece]:
    """Join tokens into pieces of whole characters; bytes that are no UTF-8 become U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held: list[ScoredToken] = []
    text = ""
    for token in tokens:
        held.append(token)
        text += decoder.decode(token.data)
        if not decoder.getstate()[0]:
            yield ScoredPiece(text, tuple(held))
            held, text = [], ""
    if held:
        yield ScoredPiece(text + decoder.decode(b"", True), tuple(held))


@dataclass
class SurpriseAccumulator:
    """Sums over scored pieces, and the most surprising of them."""

    total_nats: float = 0.0
    total_entropy: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0
    most_surprising: list[tuple[float, int, ScoredPiece]] = field(default_factory=list)
    """Nats, negated index and piece; a heap while pieces come, then the most surprising first."""

    @property
    def mean_nats(self) -> float:
        """Surprisal in nats per token; NaN without scored tokens."""
        return self.total_nats / self.num_tokens if self.num_tokens else math.nan

    @property
    def mean_entropy(self) -> float:
        """Entropy of the predicted distributions in nats per token: the surprisal that the model expected."""
        return self.total_entropy / self.num_tokens if self.num_tokens else math.nan

    @property
    def bits_per_byte(self) -> float:
        """Surprisal in bits per byte of the scored tokens."""
        return self.total_nats / math.log(2) / self.num_bytes if self.num_bytes else math.nan

    def watch(self, pieces: Iterable[ScoredPiece], *, num_kept: int = 10) -> Iterator[ScoredPiece]:
        """Yield the same pieces, and count them; keep the `num_kept` most surprising ones."""
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


@dataclass(frozen=True, kw_only=True)
class SurpriseReport:
    """A text with the surprisal of each of its tokens under a model."""

    pieces: tuple[ScoredPiece, ...]
    """All of the text; a first token without context has no score."""
    sums: SurpriseAccumulator
    """Sums and means over all tokens."""

    @property
    def text(self) -> str:
        """The text that was scored."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def nats_per_token(self) -> float:
        """Mean surprisal."""
        return self.sums.mean_nats

    @property
    def entropy_per_token(self) -> float:
        """Mean entropy in nats: the surprisal that the model expected."""
        return self.sums.mean_entropy

    @property
    def bits_per_byte(self) -> float:
        """Surprisal in bits per byte of the scored tokens."""
        return self.sums.bits_per_byte

    @property
    def most_surprising(self) -> tuple[ScoredPiece, ...]:
        """The ten pieces of the highest surprisal, the highest first."""
        return tuple(piece for *_, piece in self.sums.most_surprising)

    def __repr__(self) -> str:
        return f"SurpriseReport({count(self.sums.num_tokens, 'token')}, {self.nats_per_token:.4f} nats a token)"

    def __str__(self) -> str:
        rows = [(f"{piece.nats:.3f}", f"{piece.ranks}", repr(piece.text)) for piece in self.most_surprising]
        return f"{self._summary()}\n{text_table(('nats', 'rank', 'most surprising'), rows, left=(2,))}"

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, coloured_text, line

        return block(
            coloured_text((piece.text, piece.nats, piece.title) for piece in self.pieces), line(self._summary())
        )

    def _summary(self) -> str:
        return (
            f"{count(self.sums.num_tokens, 'token')}, {self.nats_per_token:.4f} nats a token where "
            f"{self.entropy_per_token:.4f} were expected, {self.bits_per_byte:.4f} bits a byte"
        )


def measure_surprise(engine: Engine, text: str, *, context: int | None = None) -> SurpriseReport:
    """Score each token of a text. `context`: tokens of a window; None: the model's context.

    Raises RequestError for a context out of range, and for a text of fewer than two tokens.
    """
    sums = SurpriseAccumulator()
    pieces = tuple(sums.watch(surprise_pieces(engine, text, context=context)))
    return SurpriseReport(pieces=pieces, sums=sums)


def surprise_pieces(engine: Engine, text: str, *, context: int | None = None) -> Iterator[ScoredPiece]:
    """Yield the pieces of a text with their scores as they are computed; arguments and errors as above."""
    tokens = scored_tokens(engine, [text], context=context)
    first = list(islice(tokens, 2))
    if not any(token.nats is not None for token in first):
        raise RequestError("the text is empty" if not text else "the text has a single token: at least two are needed")
    return scored_pieces(chain(first, tokens))
