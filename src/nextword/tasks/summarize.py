"""Summarisation as word prediction, of texts of any length.

A text beyond the context is split at paragraph and sentence borders, summarised in parts, and the summaries together;
nothing is cut off. Textbook section 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.engine import Engine
from nextword.inference.sequence import Sequence

Length = Literal["short", "medium", "long"]
Style = Literal["paragraph", "bullets"]

_SENTENCES: dict[Length, str] = {
    "short": "one or two sentences",
    "medium": "four or five sentences",
    "long": "ten sentences",
}
_MAX_TOKENS: dict[Length, int] = {"short": 160, "medium": 320, "long": 640}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A summary and how it came about."""

    text: str
    num_parts: int
    """Pieces the text was split into; 1 if it fitted the context."""
    num_text_tokens: int
    num_summary_tokens: int
    is_complete: bool
    """Whether the model ended the summary itself; False: it stops at the limit of its length."""


def summarize(
    engine: Engine,
    text: str,
    *,
    length: Length = "medium",
    style: Style = "paragraph",
    on_part: Callable[[int, int], None] = lambda part, num_parts: None,
    on_text: Callable[[str], None] = lambda piece: None,
) -> Summary:
    """Summarise a text; greedy, so the same text gives the same summary.

    `on_part(part, num_parts)` is told of each part before it is summarised, `on_text` the pieces of the final summary.
    Raises RequestError for an empty text, or a context too small to hold a sentence beside the instruction.
    """
    if not text.strip():
        raise RequestError("there is no text to summarise: the input is empty")
    num_text_tokens = len(engine.tokenizer.encode(text, add_special_tokens=False))
    room = engine.backend.max_seq_len - len(_prompt(engine, "", length, style)) - _MAX_TOKENS[length]
    if room < 64:
        raise RequestError(f"the context of {engine.backend.max_seq_len} tokens is too small to summarise anything")
    num_parts = 1
    parts = split_text(engine, text, max_tokens=room)
    while len(parts) > 1:
        num_parts = max(num_parts, len(parts))
        summaries = []
        for index, part in enumerate(parts):
            on_part(index + 1, len(parts))
            summaries.append(_text(_summarize_part(engine, part, "short", "paragraph", lambda piece: None)))
        shorter = split_text(engine, "\n\n".join(summaries), max_tokens=room)
        if len(shorter) >= len(parts):
            raise RequestError("the summaries of the parts are no shorter than the parts: use a larger model")
        parts = shorter
    last = _summarize_part(engine, parts[0], length, style, on_text)
    return Summary(
        text=_text(last),
        num_parts=num_parts,
        num_text_tokens=num_text_tokens,
        num_summary_tokens=len(last.tokens),
        is_complete=last.finish_detail == "end_of_sequence",
    )


def split_text(engine: Engine, text: str, *, max_tokens: int) -> list[str]:
    """The text in as few pieces as a left-to-right filling gives, each of at most `max_tokens` tokens.

    Cut at paragraphs where possible, else at sentences, else at words, else between characters; the pieces add up to
    the text.
    """
    if _num_tokens(engine, text) <= max_tokens:
        return [text]
    for border in (r"\n\s*\n", r"(?<=[.!?])\s+", r"\s+"):
        pieces = _cut(text.strip(), border)
        if len(pieces) > 1:
            break
    else:
        half = len(text) // 2
        pieces = [text[:half], text[half:]]
    return [
        whole
        for group in _filled(engine, pieces, max_tokens)
        for whole in split_text(engine, group, max_tokens=max_tokens)
    ]


def _cut(text: str, border: str) -> list[str]:
    """The text cut after each border, which stays with the piece before it."""
    ends = [match.end() for match in re.finditer(border, text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if end > start]


def _filled(engine: Engine, pieces: list[str], max_tokens: int) -> list[str]:
    """Neighbours joined while they fit; a piece that is too long alone stays alone."""
    groups = [pieces[0]]
    for piece in pieces[1:]:
        if _num_tokens(engine, groups[-1] + piece) <= max_tokens:
            groups[-1] += piece
        else:
            groups.append(piece)
    return groups


def _summarize_part(
    engine: Engine, text: str, length: Length, style: Style, on_text: Callable[[str], None]
) -> Sequence:
    params = SamplingParams(temperature=0.0, repetition_penalty=1.1, max_tokens=_MAX_TOKENS[length])
    request = engine.submit(_prompt(engine, text.strip(), length, style), params)
    for piece in engine.stream(request):
        on_text(piece.text)
    return request.sequences[0]


def _text(sequence: Sequence) -> str:
    return sequence.stream.text.strip()


def _prompt(engine: Engine, text: str, length: Length, style: Style) -> list[int]:
    """An instruction for a model that chats, "TL;DR:" for one that only continues text."""
    form = "as a list of bullet points" if style == "bullets" else f"in {_SENTENCES[length]}"
    if engine.tokenizer.chat_template is None:
        opening = "\n-" if style == "bullets" else ""
        return engine.tokenizer.encode(f"{text}\n\nTL;DR:{opening}")
    content = f"Summarize the following text {form}. Write only the summary.\n\n{text}"
    return engine.tokenizer.encode_chat([{"role": "user", "content": content}])


def _num_tokens(engine: Engine, text: str) -> int:
    return len(engine.tokenizer.encode(text, add_special_tokens=False))
