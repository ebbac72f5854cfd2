"""Log-probabilities in the two forms of OpenAI's API: four lists for completions, one list of objects for chats."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from nextword.decoding.sampler import ChosenToken
from nextword.inference.sequence import TextPiece
from nextword.text.tokenizer import Tokenizer

MINUS_INFINITY = -9999.0
"""Number that OpenAI's API has in its place, since JSON has none."""


class TokenNames:
    """Texts by which tokens are called: what they add to the text, or token_id:42."""

    def __init__(self, tokenizer: Tokenizer, *, as_ids: bool) -> None:
        self._tokenizer, self._as_ids = tokenizer, as_ids

    def chosen(self, token: ChosenToken, text: str) -> str:
        """Return the name of a token that added `text`."""
        return self._id(token.token_id) if self._as_ids else text

    def other(self, token_id: int) -> str:
        """Return the name of a token that was not chosen."""
        return self._id(token_id) if self._as_ids else self._tokenizer.token_text(token_id)

    def bytes(self, token_id: int) -> list[int]:
        """Return the UTF-8 bytes of a token: of a character, several tokens may have some."""
        return list(self._tokenizer.token_bytes(token_id))

    @staticmethod
    def _id(token_id: int) -> str:
        return f"token_id:{token_id}"


def completion_logprobs(piece: TextPiece, names: TokenNames, *, count: int, offset: int) -> dict[str, Any]:
    """Return the lists of `/v1/completions` for a piece that begins at the character `offset` of the choice's text."""
    tokens = [names.chosen(*pair) for pair in zip(piece.tokens, piece.token_texts, strict=True)]
    offsets = [offset]
    for text in piece.token_texts[:-1]:
        offsets.append(offsets[-1] + len(text))
    return {
        "tokens": tokens,
        "token_logprobs": [None if one.log_prob is None else finite(one.log_prob) for one in piece.tokens],
        "top_logprobs": [
            None if one.log_prob is None else _by_name(one, name, names, count)
            for one, name in zip(piece.tokens, tokens, strict=True)
        ],
        "text_offset": offsets[: len(tokens)],
    }


def chat_logprobs(piece: TextPiece, names: TokenNames, *, count: int) -> dict[str, Any]:
    """Return the object of `/v1/chat/completions` for the tokens of a piece."""
    content = []
    for one, text in zip(piece.tokens, piece.token_texts, strict=True):
        name = names.chosen(one, text)
        others = [
            _entry(other, name if other == one.token_id else names.other(other), value, names)
            for other, value in one.alternatives[:count]
        ]
        content.append({**_entry(one.token_id, name, one.log_prob or 0.0, names), "top_logprobs": others})
    return {"content": content, "refusal": None}


def finite(log_prob: float) -> float:
    """Return a log-probability as JSON can have it."""
    return log_prob if math.isfinite(log_prob) else MINUS_INFINITY


def _entry(token_id: int, name: str, log_prob: float, names: TokenNames) -> dict[str, Any]:
    return {"token": name, "logprob": finite(log_prob), "bytes": names.bytes(token_id)}


def _by_name(token: ChosenToken, name: str, names: TokenNames, count: int) -> dict[str, float]:
    """Return the alternatives by their texts; of two with one text the more probable, which comes first."""
    found: dict[str, float] = {}
    for _, other, value in _ranked(token, count):
        found.setdefault(name if other == token.token_id else names.other(other), finite(value))
    return found


def _ranked(token: ChosenToken, count: int) -> Iterator[tuple[int, int, float]]:
    """Yield rank, id and log-probability of so many alternatives, and of the token itself."""
    for rank, (other, value) in enumerate(token.alternatives, 1):
        if rank <= count or other == token.token_id:
            yield rank, other, value


def alternatives_by_id(
    tokens: Sequence[ChosenToken], names: TokenNames, *, count: int, num_ranked: int
) -> list[dict[str, Any] | None]:
    """Return the tokens of a prompt in vLLM's form: for each its alternatives by their ids, for the first null.

    `num_ranked`: alternatives that were looked for; the rank of a token that is not among them is null.
    """
    return [
        None
        if token.log_prob is None
        else {
            str(other): {
                "logprob": finite(value),
                "rank": rank if rank <= num_ranked else None,
                "decoded_token": names.other(other),
            }
            for rank, other, value in _ranked(token, count)
        }
        for token in tokens
    ]


def prompt_piece(
    index: int, tokens: Sequence[ChosenToken], tokenizer: Tokenizer, *, shown: Collection[int] = ()
) -> TextPiece:
    """Return the prompt as a piece of text that stands before a completion, up to its last whole character.

    `shown`: control tokens that are text there.
    """
    decoder = tokenizer.stream_decoder(shown=shown)
    texts = tuple(decoder.push(token.token_id) for token in tokens)
    return TextPiece(index, "".join(texts), 0, None, tuple(tokens), texts)
