"""Summarisation as word prediction, of texts of any length.

A text beyond the context is split at paragraph and sentence boundaries, its parts are summarised, then their summaries
together; nothing is cut off. A summary is written a sentence at a time (`sentences`) and ends after as many as its
length allows, or before one that it would repeat. Settings were measured: benchmarks/NOTES.md. Textbook section 1.1.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nextword.checks import checked_arguments
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError, TokenizerError
from nextword.inference.engine import Engine
from nextword.plain_text import excerpt
from nextword.tasks.sentences import Candidate, Continued, Source, next_sentences, search_sentences
from nextword.tasks.split_text import SENTENCE_END, num_tokens, split_text

Length = Literal["short", "medium", "long"]
Style = Literal["paragraph", "bullets"]

_NUM_SENTENCES: dict[Length, int] = {"short": 2, "medium": 5, "long": 10}
_IN_WORDS = {2: "two", 5: "five", 10: "ten"}
_ROOM: dict[Length, int] = {"short": 160, "medium": 320, "long": 640}
"""Tokens of the context that are kept free for the summary."""
_TOGETHER = 32
"""Texts that are summarised together."""
_LEAST_ROOM = 64
"""Minimum number of tokens for the text beside prompt and summary."""
_INSTRUCTION = (
    "Give a short, objective summary of the input text in up to {}. Focus on the key actions and intentions, and do "
    "not use second or third person pronouns."
)
_LINE_END = re.compile(r"(?<=\S)(?=\n)")


@dataclass(frozen=True)
class _Form:
    """Form of a summary."""

    noun: str
    """Name of a piece of it, in the instruction."""
    dash: str
    """Character before each piece, given to the model to show it the form."""
    boundaries: tuple[re.Pattern[str], ...]
    """Patterns that match up to the end of a piece."""

    def written(self, sentences: Sequence[Candidate]) -> str:
        """Return a summary so far as the model wrote it, with what leads to the next sentence."""
        if not self.dash:
            return "".join(sentence.written for sentence in sentences)
        return self.dash + "".join(f"{sentence.written}\n{self.dash}" for sentence in sentences)

    def text(self, sentences: Sequence[Candidate]) -> str:
        """Return the text of a summary."""
        if not self.dash:
            return " ".join(sentence.text for sentence in sentences)
        return "\n".join(f"{self.dash} {sentence.text}" for sentence in sentences)

    def end_of_sentence(self, text: str) -> int | None:
        """Return the index in a text where its first piece ends; None if it goes on."""
        ends = [match.end() for pattern in self.boundaries if (match := pattern.search(text))]
        return min(ends, default=None)


_FORMS: dict[Style, _Form] = {
    "paragraph": _Form("sentences", "", (SENTENCE_END, _LINE_END)),
    "bullets": _Form("bullet points", "-", (_LINE_END,)),
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A summary and its figures. `print` shows the text."""

    text: str
    """The summary."""
    num_parts: int
    """Pieces that the text was split into; 1 if it fits the context."""
    num_text_tokens: int
    """Tokens of the text."""
    num_summary_tokens: int
    """Tokens generated for the final summary."""
    is_complete: bool
    """True if it ends with the model's last word or its last sentence; False if it stops at the limit of tokens."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Summary({excerpt(self.text)}, {self._figures()})"

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, line

        return block(*map(line, self.text.splitlines()), line(self._figures()))

    def _figures(self) -> str:
        parts = f" in {self.num_parts} parts" if self.num_parts > 1 else ""
        end = "" if self.is_complete else "; it stops at the limit of tokens"
        return f"{self.num_summary_tokens} tokens for a text of {self.num_text_tokens:,}{parts}{end}"


@checked_arguments
def summarize(
    engine: Engine,
    text: str,
    *,
    length: Length = "medium",
    style: Style = "paragraph",
    on_part: Callable[[int, int], None] = lambda part, num_parts: None,
    on_text: Callable[[str], None] = lambda piece: None,
    on_prompt: Callable[[list[int]], None] = lambda token_ids: None,
) -> Summary:
    """Summarise a text in up to 2 (short), 5 (medium) or 10 (long) sentences or bullet points.

    The same text gives the same summary. `on_part(part, num_parts)` is called after each part, `on_text` with the
    sentences of the final summary, `on_prompt` with the token ids that it continues. Raises RequestError for an empty
    text, a context too small to hold a sentence beside the instruction, or if the model writes nothing.
    """
    text = text.strip()
    if not text:
        raise RequestError("there is no text to summarise: the input is empty")
    (fitting,) = _fit(engine, [text], length=length, style=style, on_part=on_part)
    on_prompt(_prompt(engine, fitting.text, length, style))
    (summary,) = _write(engine, [fitting.text], length, style, on_text=on_text)
    if not summary.text:
        raise RequestError("the summary came back empty: the model wrote nothing after the text")
    return fitting.of_whole(summary)


def summarize_batch(
    engine: Engine,
    texts: Sequence[str],
    params: Sequence[SamplingParams] | None = None,
    *,
    length: Length = "medium",
    on_part: Callable[[int, int], None] = lambda part, num_parts: None,
) -> Iterator[Summary]:
    """Summarise texts together; yield the summaries in order.

    `params`: sampling parameters for each text, by which each sentence is drawn, or with `num_beams` the whole summary
    searched for; None: the best of several candidates is taken, as in `summarize`. A summary is empty if the model
    writes nothing. Long texts, `on_part` and errors are as there.
    """
    for index, text in enumerate(texts):
        if not text.strip():
            raise RequestError(f"text {index + 1} of {len(texts)} is empty: there is nothing to summarise")
    fitting = _fit(engine, [text.strip() for text in texts], params, length=length, style="paragraph", on_part=on_part)
    for first in range(0, len(texts), _TOGETHER):
        some = fitting[first : first + _TOGETHER]
        own = params[first : first + _TOGETHER] if params else None
        written = _write(engine, [fit.text for fit in some], length, "paragraph", own)
        yield from (fit.of_whole(summary) for fit, summary in zip(some, written, strict=True))


@dataclass(frozen=True)
class _Fitting:
    """A text that fits the context, or the summaries of the parts of one that does not."""

    text: str
    num_parts: int
    num_tokens: int
    """Tokens of the whole text."""

    def of_whole(self, summary: Summary) -> Summary:
        """Return the summary of the fitting text as one of the whole text."""
        return dataclasses.replace(summary, num_parts=self.num_parts, num_text_tokens=self.num_tokens)


def _fit(
    engine: Engine,
    texts: Sequence[str],
    params: Sequence[SamplingParams] | None = None,
    *,
    length: Length,
    style: Style,
    on_part: Callable[[int, int], None],
) -> list[_Fitting]:
    """Summarise the parts of texts beyond the context, all together, until the summaries fit it."""
    room = engine.backend.max_seq_len - len(_prompt(engine, "", length, style)) - _ROOM[length]
    if room < _LEAST_ROOM:
        raise RequestError(f"the context of {engine.backend.max_seq_len} tokens is too small to summarise anything")
    parts = [split_text(engine.tokenizer, text, max_tokens=room) for text in texts]
    num_parts = [len(of_text) for of_text in parts]
    while too_long := [index for index, of_text in enumerate(parts) if len(of_text) > 1]:
        jobs = [(part, index) for index in too_long for part in parts[index]]
        own = [params[index] for _, index in jobs] if params else None
        summaries = _write(engine, [part for part, _ in jobs], length, "paragraph", own, on_summary=on_part)
        _check_parts(summaries)
        for index in too_long:
            count = len(parts[index])
            joined = "\n\n".join(summary.text for summary in summaries[:count])
            parts[index] = split_text(engine.tokenizer, joined, max_tokens=room)
            del summaries[:count]
            if len(parts[index]) >= count:
                raise RequestError("the summaries of the parts are no shorter than the parts: use a larger model")
    return [
        _Fitting(of_text[0], count, num_tokens(engine.tokenizer, text))
        for text, of_text, count in zip(texts, parts, num_parts, strict=True)
    ]


def _check_parts(summaries: Sequence[Summary]) -> None:
    """Raise RequestError if summaries of parts are empty: what they say would be missing without a word."""
    empty = [str(number) for number, summary in enumerate(summaries, 1) if not summary.text]
    if empty:
        which = f"part {empty[0]}" if len(empty) == 1 else f"parts {', '.join(empty)}"
        raise RequestError(f"the summary of {which} of {len(summaries)} came back empty: the model wrote nothing")


@dataclass
class _Draft:
    """A summary while it is written."""

    source: Source
    sentences: list[Candidate] = field(default_factory=list)
    is_over: bool = False
    is_complete: bool = True

    def take(self, sentence: Candidate | None, num_sentences: int) -> None:
        """Append the next sentence; None ends the summary, as do the last sentence and one that was cut off."""
        if sentence is not None:
            self.sentences.append(sentence)
            self.is_complete = sentence.is_whole
        self.is_over = sentence is None or not sentence.is_whole or len(self.sentences) == num_sentences


def _write(
    engine: Engine,
    texts: Sequence[str],
    length: Length,
    style: Style,
    params: Sequence[SamplingParams] | None = None,
    *,
    on_summary: Callable[[int, int], None] = lambda number, num_texts: None,
    on_text: Callable[[str], None] = lambda piece: None,
) -> list[Summary]:
    """Summarise texts that fit the context together, a sentence at a time.

    `on_summary(number, num_texts)` is called after each summary, or the search for all of them, `on_text` with the
    pieces of the first.
    """
    form, generic = _FORMS[style], _prompt(engine, "", length, style)
    drafts = [_Draft(Source(text, _prompt(engine, text, length, style), generic)) for text in texts]
    if params and params[0].num_beams:
        _search(engine, drafts, form, length, params)
        on_summary(len(drafts), len(drafts))
    given = 0
    while unfinished := [number for number, draft in enumerate(drafts) if not draft.is_over]:
        continued = [
            Continued(drafts[number].source, form.written(drafts[number].sentences), drafts[number].sentences)
            for number in unfinished
        ]
        own = [params[number] for number in unfinished] if params else None
        for number, sentence in zip(
            unfinished, next_sentences(engine, continued, form.end_of_sentence, own), strict=True
        ):
            drafts[number].take(sentence, _NUM_SENTENCES[length])
            if drafts[number].is_over:
                on_summary(sum(draft.is_over for draft in drafts), len(drafts))
        text = form.text(drafts[0].sentences)
        on_text(text[given:])
        given = len(text)
    return [_summary(engine, draft, form) for draft in drafts]


def _search(
    engine: Engine, drafts: Sequence[_Draft], form: _Form, length: Length, params: Sequence[SamplingParams]
) -> None:
    """Write the drafts by beam searches for whole summaries, of which as many sentences stay as the length allows."""
    bounded = [dataclasses.replace(own, max_tokens=_ROOM[length]) for own in params]
    sources, most = [draft.source for draft in drafts], _NUM_SENTENCES[length]
    found = search_sentences(engine, sources, form.end_of_sentence, bounded, most=most)
    for draft, sentences in zip(drafts, found, strict=True):
        for sentence in sentences:
            draft.take(sentence, most)
        draft.is_over = True


def _summary(engine: Engine, draft: _Draft, form: _Form) -> Summary:
    return Summary(
        text=form.text(draft.sentences),
        num_parts=1,
        num_text_tokens=num_tokens(engine.tokenizer, draft.source.text),
        num_summary_tokens=sum(sentence.num_tokens for sentence in draft.sentences),
        is_complete=draft.is_complete,
    )


def _prompt(engine: Engine, text: str, length: Length, style: Style) -> list[int]:
    """Encode an instruction for a chat model, "TL;DR:" for a base model; the summary follows."""
    tokenizer, form = engine.tokenizer, _FORMS[style]
    if tokenizer.chat_template is None:
        opening = "\n" if form.dash else ""
        return tokenizer.encode_prompt(f"{text}\n\nTL;DR:{opening}")
    instruction = _INSTRUCTION.format(f"{_IN_WORDS[_NUM_SENTENCES[length]]} {form.noun}")
    try:
        return tokenizer.encode_chat([{"role": "system", "content": instruction}, {"role": "user", "content": text}])
    except TokenizerError:  # Gemma 2's template, among others, refuses a system prompt
        return tokenizer.encode_chat([{"role": "user", "content": f"{instruction}\n\n{text}"}])
