"""`read_text`, `text_rows`: a request's text as token ids, and tokens with their scores as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nextword.checks import shown
from nextword.decoding.param_checks import Number
from nextword.errors import NextwordError
from nextword.inference.backend import TokenScores
from nextword.serving.errors import ApiError, context_exceeded, refusal
from nextword.serving.fields import Fields, with_param
from nextword.serving.logprobs import finite
from nextword.serving.preparing import encode_messages
from nextword.serving.service import Service
from nextword.serving.vocabulary import Vocabulary

TEXT_FIELDS = ("text", "token_ids", "messages")


def read_text(service: Service, fields: Fields) -> list[int]:
    """Return the token ids of the one of `TEXT_FIELDS` that is there; they fit the context. Raises ApiError."""
    given = [name for name in TEXT_FIELDS if fields.has(name)]
    if len(given) != 1:
        raise ApiError(f"{given[-1] if given else 'text'}: one of {', '.join(TEXT_FIELDS)} must be there", param="text")
    (name,) = given
    if name == "token_ids":
        token_ids = read_token_ids(service, fields.body[name], name)
    else:
        try:
            token_ids = (
                service.lm.tokenizer.encode_prompt(fields.take(name, str))
                if name == "text"
                else encode_messages(service.lm.engine, service.reader.chat({name: fields.body[name]}))
            )
        except NextwordError as error:
            raise refusal(error, name) from None
    if not token_ids:
        raise ApiError(f"{name}: has no tokens: write something", param=name)
    check_length(service, token_ids, name)
    return token_ids


def check_length(service: Service, token_ids: Sequence[int], name: str) -> None:
    """Raise ApiError for more tokens than the model's context."""
    context = service.lm.engine.backend.max_seq_len
    if len(token_ids) > context:
        raise context_exceeded(len(token_ids), context, name)


def read_token_ids(service: Service, value: object, name: str) -> list[int]:
    """Return a list of at least one of the model's token ids. Raises ApiError for anything else."""
    size = service.lm.engine.backend.vocab_size
    ids = value if isinstance(value, list) else []
    if not ids or not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < size for one in ids):
        raise ApiError(f"{name} = {shown(value)}: must be a list of token ids from 0 to {size - 1}", param=name)
    return ids


def read_number(fields: Fields, name: str, low: int, high: int, default: int) -> int:
    """Return a whole number of a range. Raises ApiError."""
    if not fields.has(name):
        return default
    value: int = with_param(name, Number(int, low, high), name, fields.body[name])
    return value


def read_model(service: Service, body: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the name of the model that is asked for, and its adapter. Raises ApiError for one that is not served."""
    name = Fields(body, body).take("model", str, service.model)
    return name, service.reader.adapter(name)


def read_base_model(service: Service, body: Mapping[str, Any], rule: str) -> str:
    """Return the name of the base model. Raises ApiError, which gives the rule, where an adapter is asked for."""
    model, adapter = read_model(service, body)
    if adapter is not None:
        remedy = "open the adapter's folder as the model, or as the one to --compare"
        raise ApiError(f"model = {shown(model)}: {rule}; {remedy}", param="model")
    return model


def begins_of(pieces: Sequence[bytes]) -> list[int]:
    """Return the character at which each piece of a text begins; pieces within one character begin at it."""
    begins, before = [], 0
    for data in pieces:
        begins.append(before - (bool(data) and is_within(data[0])))
        before += num_characters(data)
    return begins


def num_characters(data: bytes) -> int:
    """Return the number of characters that begin in these bytes of UTF-8."""
    return sum(not is_within(byte) for byte in data)


def is_within(byte: int) -> bool:
    """Return True for a byte of UTF-8 that goes on with a character."""
    return byte & 0xC0 == 0x80


def text_rows(vocabulary: Vocabulary, token_ids: Sequence[int], scores: TokenScores | None) -> list[dict[str, Any]]:
    """Return a row for each token; the first, before which nothing stands, has no scores. None: there is one token."""
    rows = [{**vocabulary.named(token_ids[0]), "log_prob": None, "rank": None, "entropy": None}]
    if scores is not None:
        columns = (scores.nats.tolist(), scores.ranks.tolist(), scores.entropies.tolist())
        for token_id, nats, rank, entropy in zip(token_ids[1:], *columns, strict=True):
            rows.append(token_row(vocabulary, token_id, nats, rank, entropy))
    return rows


def token_row(vocabulary: Vocabulary, token_id: int, nats: float, rank: int, entropy: float) -> dict[str, Any]:
    """Return a token with its log-probability, its rank and the entropy of what it was predicted by."""
    return {**vocabulary.named(token_id), "log_prob": finite(-nats), "rank": rank, "entropy": entropy}
