"""`read_chats`: read conversations for supervised fine-tuning from records in the usual forms.

| form | fields |
|---|---|
| messages | `messages`: a list of `role` and `content`, as OpenAI writes them |
| ShareGPT | `conversations`: a list of `from` and `value` |
| instruction | `instruction`, `output`, and `input` and `system` if wanted |
| prompt | `prompt` and `completion`: texts, or lists of messages |

Other forms are read with `ChatFields`. This module knows no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextword.data.files import RECORD_KINDS, find_files
from nextword.data.records import OnBad, Record, read_records, refuse
from nextword.errors import ConfigError

_SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant"}
"""Role by its name in ShareGPT; other names are roles already."""


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

    messages: tuple[dict[str, str], ...]
    """Messages, each {"role", "content"}."""
    place: str
    """File and line, for messages."""


def read_chats(
    paths: Sequence[Path | str], *, fields: ChatFields | None = None, on_bad: OnBad = None
) -> Iterator[Chat]:
    """Read the conversations of .jsonl, .json and .parquet files, and of folders with such files.

    `fields`: how to read records of another form. Raises DataError, naming file and line, for a record that cannot be
    read or has no message of the assistant, unless `on_bad` is given.
    """
    fields = fields or ChatFields()
    return (chat for file in find_files(paths, kinds=RECORD_KINDS) for chat in _file_chats(file, fields, on_bad))


def _file_chats(path: Path, fields: ChatFields, on_bad: OnBad) -> Iterator[Chat]:
    for record in read_records(path, on_bad=on_bad):
        try:
            chat = Chat(tuple(_messages(record, fields)), record.place)
            if not any(message["role"] == "assistant" for message in chat.messages):
                raise _FormError("no message is the assistant's, so there is no target to train on")
        except _FormError as error:
            refuse(f"{record.place}: {error}", on_bad)
        else:
            yield chat


class _FormError(Exception):
    """A record has none of the known forms."""


def _messages(record: Record, chosen: ChatFields) -> list[dict[str, str]]:
    fields = {name: value for name, value in record.fields.items() if value is not None}  # Parquet has all columns
    if chosen.user is not None and chosen.answer is not None:
        return [
            _message("user", _filled(chosen.user, fields)),
            _message("assistant", _field(fields, chosen.answer)),
        ]
    for names, read in _FORMS.items():
        if all(name in fields for name in names):
            return read(fields)
    known = "; ".join(" and ".join(names) for names in _FORMS)
    raise _FormError(f"fields {', '.join(fields) or 'none'} match no known form: {known}; or say --user and --answer")


def _from_messages(fields: Mapping[str, Any]) -> list[dict[str, str]]:
    return _turns(fields["messages"], "role", "content")


def _from_sharegpt(fields: Mapping[str, Any]) -> list[dict[str, str]]:
    turns = fields["conversations"]
    has_roles = isinstance(turns, list) and all(isinstance(turn, Mapping) and "role" in turn for turn in turns)
    return _turns(turns, *(("role", "content") if has_roles else ("from", "value")))


def _from_instruction(fields: Mapping[str, Any]) -> list[dict[str, str]]:
    parts = [part for name in ("instruction", "input") if (part := fields.get(name))]
    before = [_message("system", fields["system"])] if fields.get("system") else []
    instruction = "\n\n".join(_text(part) for part in parts)
    return [*before, _message("user", instruction), _message("assistant", fields["output"])]


def _from_prompt(fields: Mapping[str, Any]) -> list[dict[str, str]]:
    prompt, completion = fields["prompt"], fields["completion"]
    before = _turns(prompt, "role", "content") if isinstance(prompt, list) else [_message("user", prompt)]
    is_list = isinstance(completion, list)
    return [*before, *(_turns(completion, "role", "content") if is_list else [_message("assistant", completion)])]


_FORMS: Mapping[tuple[str, ...], Callable[[Mapping[str, Any]], list[dict[str, str]]]] = {
    ("messages",): _from_messages,
    ("conversations",): _from_sharegpt,
    ("instruction", "output"): _from_instruction,
    ("prompt", "completion"): _from_prompt,
}
"""Reader by the fields that a record must have; the first that fits is used."""


def _turns(turns: object, role: str, content: str) -> list[dict[str, str]]:
    if not isinstance(turns, list):
        raise _FormError(f"expected a list of messages, found {type(turns).__name__}")
    for turn in turns:
        if not isinstance(turn, Mapping) or role not in turn or content not in turn:
            raise _FormError(f"a message without {role!r} and {content!r}: {str(turn)[:80]}")
    return [_message(_SPEAKERS.get(_text(turn[role]), _text(turn[role])), turn[content]) for turn in turns]


def _message(role: str, content: object) -> dict[str, str]:
    if isinstance(content, list):  # OpenAI's parts
        content = "".join(_part_text(part) for part in content)
    return {"role": role, "content": _text(content)}


def _part_text(part: object) -> str:
    if not isinstance(part, Mapping) or part.get("type") != "text":
        raise _FormError(f"a part of a message is not text: {str(part)[:80]}")
    return _text(part.get("text"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _FormError(f"expected text, found {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _FormError(f"character {error.start} is half a surrogate pair, not Unicode") from None
    return value


def _field(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        raise _FormError(f"no field {name!r}; the fields are {', '.join(fields) or 'none'}")
    return _text(fields[name])


def _filled(template: str, fields: Mapping[str, Any]) -> str:
    """Replace names in braces by the fields of the record; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda match: _field(fields, match[1]), template)
