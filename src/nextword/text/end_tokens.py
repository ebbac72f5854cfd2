"""Tokens that end a completion: those that the files of a folder declare, and the one that ends a turn of its template.

| from | key |
|---|---|
| generation_config.json, config.json | `eos_token_id`: an id or a list |
| tokenizer_config.json | `eos_token` |
| the chat template | the token that it writes behind an assistant's message |

transformers stops at those of the first file that has any; chats of base models taught later, whose files name the end
of a text alone, would not end by that.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

from nextword.json_file import read_json_object
from nextword.text.chat_marks import Span
from nextword.text.chat_messages import PlainMessage

ANSWER, _THOUGHT = "Xq7", "Zw4"
"""Texts that no template changes or writes by itself."""
_ASKED: PlainMessage = {"role": "user", "content": "?"}
_ANSWERED: PlainMessage = {"role": "assistant", "reasoning_content": _THOUGHT, "content": ANSWER}
PROBES: tuple[tuple[PlainMessage, ...], ...] = ((_ASKED, _ANSWERED), (_ASKED, _ANSWERED, _ASKED))
"""Conversations with an answer; some templates end it only before the next question."""


def declared_end_tokens(folder: Path, eos_token_id: int | None, *, vocab_size: int) -> tuple[int, ...]:
    """Return the ids that generation_config.json, config.json and the tokenizer declare, without repetition.

    `eos_token_id`: the tokenizer's. Warns, naming the file, of values that are no ids of the vocabulary, which do not
    count.
    """
    found: list[int] = []
    for name in ("config.json", "generation_config.json"):
        content = read_json_object(folder / name) if (folder / name).exists() else {}
        size = content.get("vocab_size")
        vocab_size = (
            max(vocab_size, size) if isinstance(size, int) else vocab_size
        )  # padded vocabularies have more rows
        value = content.get("eos_token_id")
        values = value if isinstance(value, list) else [] if value is None else [value]
        ids = [one for one in values if type(one) is int and 0 <= one < vocab_size]
        wrong = [one for one in values if one not in ids or type(one) is not int]
        if wrong:
            shown = ", ".join(f"{one!r:.40}" for one in wrong)
            warnings.warn(
                f"{folder / name}: eos_token_id: {shown} is no token id of this vocabulary and does not count",
                stacklevel=2,
            )
        found = [*ids, *found]  # those of generation_config.json first
    return tuple(dict.fromkeys([*found, *([] if eos_token_id is None else [eos_token_id])]))


def token_behind(text: str, tokens: Sequence[tuple[int, Span]], added: Collection[int]) -> int | None:
    """Return the added token that follows the `ANSWER` in a text, with only space between; None if none does.

    Nor does one that also ends the thought in front of the answer: it ends parts of a message.
    """
    begin = text.find(ANSWER)
    position = begin + len(ANSWER)
    of_parts = {
        token_id for token_id, (start, stop) in tokens if text.rfind(_THOUGHT, 0, begin) < start and stop <= begin
    }
    for token_id, (start, stop) in tokens:
        if stop > position and text[max(start, position) : stop].strip():
            is_end = token_id in added and start >= position
            return token_id if is_end and (_THOUGHT not in text or token_id not in of_parts) else None
    return None
