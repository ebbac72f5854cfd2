"""`find_difference`: what a tokenizer that was read back does otherwise than the one that was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nextword.errors import TokenizerError
from nextword.text.tokenizer import Tokenizer


class Difference(NamedTuple):
    """A property in which two tokenizers differ, and its values."""

    name: str
    own: object
    other: object


def find_difference(own: Tokenizer, other: Tokenizer) -> Difference | None:
    """Return the first property in which two tokenizers differ; None if they give the same tokens, texts and ends.

    Tokens without text, of which no text has any, may have one in the other.
    """
    pairs = ((name, mine, theirs) for name, mine, theirs in _properties(own, other) if mine != theirs)
    return next((_narrowed(*pair) for pair in pairs), None)


def other_token(own: Tokenizer, other: Tokenizer) -> int | None:
    """Return the first token id that has a text in one of two tokenizers and another one, or none, in the other."""
    mine, theirs = (tokens_by_id(one.definition(), one.other_tokens) for one in (own, other))
    return next((token_id for token_id in sorted(mine | theirs) if mine.get(token_id) != theirs.get(token_id)), None)


def _properties(own: Tokenizer, other: Tokenizer) -> Iterator[tuple[str, object, object]]:
    """Yield what decides about tokens, texts and chats, by name."""
    mine, theirs = own.definition(), other.definition()
    tokens, read_back = tokens_by_id(mine, own.other_tokens), tokens_by_id(theirs, other.other_tokens)
    yield "tokens by ids", tokens, {token_id: read_back.get(token_id) for token_id in tokens}
    for name in ("added_tokens", "normalizer", "pre_tokenizer", "decoder"):
        yield name, mine[name], theirs[name]
    model, found = mine["model"], theirs["model"]
    for name in dict.fromkeys([*model, *found]):
        yield f"model: {name}", model.get(name), found.get(name)
    yield "tokens before a text", own.prefix_token_ids, other.prefix_token_ids
    yield "tokens after a text", own.suffix_token_ids, other.suffix_token_ids
    yield "BOS token", own.bos_token_id, other.bos_token_id
    templates = f"{own.chat_template} {own.named_templates}"
    for role, token in own.special_variables.items():
        yield f"{role} of the chat template", token, other.special_variables.get(role) if role in templates else token
    yield "chat template", own.chat_template and own.written_template(own.chat_template), other.chat_template
    written = {name: own.written_template(text) for name, text in own.named_templates.items()}
    yield "named chat templates", written, other.named_templates
    yield "tokens of a chat", _chat(own), _chat(other)
    yield "ends of texts and turns", set(own.turn_end_ids()), set(other.turn_end_ids())


def _chat(tokenizer: Tokenizer) -> list[int] | None:
    """Return the tokens of a question; None if the template shows none."""
    try:
        return tokenizer.encode_chat([{"role": "user", "content": "?"}], tools=[])
    except TokenizerError:
        return None


def tokens_by_id(definition: Mapping[str, Any], other_tokens: Mapping[int, str]) -> dict[int, str]:
    """Return the tokens by id, but for those that decode as nothing and occur in no text."""
    model = definition["model"]["vocab"]
    listed = model.items() if isinstance(model, dict) else ((token, place) for place, (token, _) in enumerate(model))
    tokens = {token_id: token for token, token_id in listed}
    tokens |= {token["id"]: token["content"] for token in definition["added_tokens"]}
    return {token_id: token for token_id, token in sorted((tokens | dict(other_tokens)).items()) if token}


def _narrowed(name: str, own: object, other: object) -> Difference:
    """Show of two mappings or lists the first entries that differ."""
    if isinstance(own, Mapping) and isinstance(other, Mapping):
        key = next(key for key in (*own, *other) if own.get(key) != other.get(key))
        return Difference(f"{name}: {key}", own.get(key), other.get(key))
    if isinstance(own, list) and isinstance(other, list):
        place = next((at for at, (one, two) in enumerate(zip(own, other, strict=False)) if one != two), None)
        if place is not None:
            return Difference(name, own[place], other[place])
        return Difference(f"number of {name}", len(own), len(other))
    return Difference(name, own, other)
