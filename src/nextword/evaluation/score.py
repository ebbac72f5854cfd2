"""`Score`: the log-probability of each token of a text."""

from __future__ import annotations

from dataclasses import dataclass

from nextword.decoding.sampler import ChosenToken
from nextword.plain_text import count


@dataclass(frozen=True, kw_only=True)
class Score:
    """Log-probabilities of the tokens of a text. `print` shows a line for each token, a notebook its colours."""

    tokens: tuple[ChosenToken, ...]
    """The scored tokens with their log-probabilities in nats."""
    token_texts: tuple[str, ...]
    """The text of each of them."""

    @property
    def log_prob(self) -> float:
        """Sum of the log-probabilities in nats."""
        return sum(token.log_prob for token in self.tokens if token.log_prob is not None)

    def __repr__(self) -> str:
        return f"Score({count(len(self.tokens), 'token')}, log-probability {self.log_prob:.4f} nats)"

    def __str__(self) -> str:
        lines = [f"{token.log_prob:10.4f}  {text!r}" for token, text in zip(self.tokens, self.token_texts, strict=True)]
        return "\n".join([*lines, f"{self.log_prob:10.4f}  nats, {count(len(self.tokens), 'token')}"])

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, coloured_text, line

        pairs = zip(self.tokens, self.token_texts, strict=True)
        pieces = ((text, -(token.log_prob or 0.0), f"log-probability {token.log_prob:.4f}") for token, text in pairs)
        total = f"log-probability {self.log_prob:.4f} nats, {count(len(self.tokens), 'token')}"
        return block(coloured_text(pieces), line(total))
