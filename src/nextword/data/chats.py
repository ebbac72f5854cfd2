"""`read_chats`: read conversations for supervised fine-tuning from records in the usual forms.

| form | fields |
|---|---|
| messages | `messages`: a list of `role` and `content`, as OpenAI writes them |
| ShareGPT | `conversations`: a list of `from` and `value` |
| instruction | `instruction`, `output`, and `input` if wanted |
| prompt | `prompt` and `completion`: texts, or lists of messages |

Beside these stand, in any form, `system`, `tools` and `chat_template_kwargs`. Other forms are read with `ChatFields`.
Messages come out whole, with their tool calls and reasoning. This module knows no tokens and no templates.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextword.data.chat_forms import (
    BESIDE,
    FORMS,
    FormError,
    read_tools,
    read_variables,
    text_of,
    with_system,
    without_none,
)
from nextword.data.files import PARQUET, RECORD_KINDS, file_kind, find_files
from nextword.data.records import OnBad, Record, read_records, refuse
from nextword.errors import ConfigError, RequestError
from nextword.text.chat_messages import Message, plain_messages


@dataclass(frozen=True)
class ChatFields:
    """Fields of the user's and the assistant's message in records of any other form."""

    user: str | None = None
    """User's message, with fields of the record in braces: "Summarise: {dialogue}"."""
    answer: str | None = None
    """Field that holds the assistant's answer."""

    def __post_init__(self) -> None:
        if (self.user is None) != (self.answer is None):
            raise ConfigError("user and answer are needed together: the user's message and the field of the answer")


@dataclass(frozen=True)
class Chat:
    """Conversation, with its file and line."""

    messages: tuple[Message, ...]
    """Messages in OpenAI's form, but for their weight."""
    place: str
    """File and line, for messages."""
    learnt: tuple[bool, ...] | None = None
    """For each message, False if its weight is 0: it carries no loss; None: there are no weights."""
    tools: Sequence[Mapping[str, Any]] | None = None
    """JSON schemas of the functions that the assistant may call."""
    template_variables: Mapping[str, Any] | None = None
    """Values of further names that the chat template reads."""
    unused: tuple[str, ...] = ()
    """Fields of the record that say nothing of the conversation, such as an id."""


def read_chats(
    paths: Sequence[Path | str], *, fields: ChatFields | None = None, on_bad: OnBad = None
) -> Iterator[Chat]:
    """Read the conversations of .jsonl, .json and .parquet files, and of folders with such files.

    `fields`: how to read records of another form. Raises DataError, naming file and line, for a record that cannot be
    read or has no message of the assistant to learn, unless `on_bad` is given.
    """
    fields = fields or ChatFields()
    return (chat for file in find_files(paths, kinds=RECORD_KINDS) for chat in _file_chats(file, fields, on_bad))


def _file_chats(path: Path, fields: ChatFields, on_bad: OnBad) -> Iterator[Chat]:
    for record in read_records(path, on_bad=on_bad):
        try:
            yield _chat(record, fields)
        except (FormError, RequestError) as error:
            refuse(f"{record.place}: {error}", on_bad)


def _chat(record: Record, chosen: ChatFields) -> Chat:
    fields = {name: value for name, value in record.fields.items() if value is not None}  # Parquet has all columns
    if file_kind(record.path) == PARQUET:
        fields = without_none(fields)
    messages, used = _messages(fields, chosen)
    weights = [_weight(message, number) for number, message in enumerate(messages)]
    messages = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
    plain_messages(messages)
    answers = [weight for message, weight in zip(messages, weights, strict=True) if message["role"] == "assistant"]
    if not answers:
        raise FormError("no message is the assistant's, so there is no target to train on")
    if not any(answers):
        raise FormError("every answer has weight 0, so there is no target to train on")
    return Chat(
        messages=tuple(messages),
        place=record.place,
        learnt=None if all(weights) else tuple(weights),
        tools=read_tools(fields),
        template_variables=read_variables(fields),
        unused=tuple(name for name in fields if name not in (*used, *BESIDE)),
    )


def _messages(fields: Mapping[str, Any], chosen: ChatFields) -> tuple[list[dict[str, Any]], Collection[str]]:
    """Return the messages, and the fields that they were made of."""
    if chosen.user is not None and chosen.answer is not None:
        user = {"role": "user", "content": _filled(chosen.user, fields)}
        return [user, {"role": "assistant", "content": _field(fields, chosen.answer)}], fields
    for form, read in FORMS.items():
        if all(name in fields for name in form.needed):
            return with_system(read(fields), fields), (*form.needed, *form.wanted)
    known = "; ".join(" and ".join(form.needed) for form in FORMS)
    raise FormError(f"fields {', '.join(fields) or 'none'} match no known form: {known}; or say --user and --answer")


def _weight(message: Mapping[str, Any], number: int) -> bool:
    """Return False for a message of weight 0, which carries no loss."""
    weight = message.get("weight")
    if weight is None:
        return True
    if weight not in (0, 1):
        raise FormError(f"messages[{number}]['weight'] = {weight!r}: must be 0 or 1")
    if weight and message.get("role") != "assistant":
        raise FormError(f"messages[{number}]['weight'] = {weight!r}: only the assistant's messages carry loss")
    return bool(weight)


def _field(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        raise FormError(f"no field {name!r}; the fields are {', '.join(fields) or 'none'}")
    return text_of(fields[name], name)


def _filled(template: str, fields: Mapping[str, Any]) -> str:
    """Replace names in braces by the fields of the record; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda match: _field(fields, match[1]), template)
