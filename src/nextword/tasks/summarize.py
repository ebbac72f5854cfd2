"""Summarisation as word prediction, of texts of any length.

A text beyond the context is split at paragraph and sentence boundaries, its parts are summarised, then their summaries
together; nothing is cut off. A summary ends with the last of its sentences, or before one that it would repeat, for
small models rarely end by themselves. The settings were measured: benchmarks/NOTES.md. Textbook section 1.1.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError, TokenizerError
from nextword.inference.engine import Engine
from nextword.inference.sequence import Request, TextPiece
from nextword.plain_text import excerpt
from nextword.tasks.split_text import SENTENCE_END, num_tokens, split_text

Length = Literal["short", "medium", "long"]
Style = Literal["paragraph", "bullets"]

_NUM_SENTENCES: dict[Length, int] = {"short": 2, "medium": 5, "long": 10}
_IN_WORDS = {2: "two", 5: "five", 10: "ten"}
_MAX_TOKENS: dict[Length, int] = {"short": 160, "medium": 320, "long": 640}
_LEAST_ROOM = 64
"""Minimum number of tokens for the text beside prompt and summary."""
_FREQUENCY_PENALTY = 0.2
"""Penalty against repetition loops. A repetition penalty would also penalise the names and facts of the text."""
_INSTRUCTION = (
    "Give a short, objective summary of the input text in up to {}. Focus on the key actions and intentions, and do "
    "not use second or third person pronouns."
)
_OPENING: dict[Style, str] = {"paragraph": "", "bullets": "-"}
"""First characters of the summary, given to the model to show it the form."""
_LINE_END = re.compile(r"(?<=\S)(?=\n)")


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


def summarize(
    engine: Engine,
    text: str,
    *,
    length: Length = "medium",
    style: Style = "paragraph",
    on_part: Callable[[int, int], None] = lambda part, num_parts: None,
    on_text: Callable[[str], None] = lambda piece: None,
) -> Summary:
    """Summarise a text in up to 2 (short), 5 (medium) or 10 (long) sentences or bullet points.

    Decoding is greedy, so the same text gives the same summary. `on_part(part, num_parts)` is called after each part,
    `on_text` with the pieces of the final summary. Raises RequestError for an empty text, or a context too
    small to hold a sentence beside the instruction.
    """
    text = text.strip()
    if not text:
        raise RequestError("there is no text to summarise: the input is empty")
    (fitting,) = _fit(engine, [text], [summary_params(length)], length=length, style=style, on_part=on_part)
    return fitting.of_whole(_summarize_part(engine, fitting.text, length, style, on_text))


def summarize_batch(
    engine: Engine,
    texts: Sequence[str],
    params: Sequence[SamplingParams],
    *,
    length: Length = "medium",
    on_part: Callable[[int, int], None] = lambda part, num_parts: None,
) -> Iterator[Summary]:
    """Summarise texts together, each with its own parameters; yield the summaries in order.

    `summary_params(length)` gives the parameters of `summarize`. Long texts, `on_part` and errors are as there.
    """
    for index, text in enumerate(texts):
        if not text.strip():
            raise RequestError(f"text {index + 1} of {len(texts)} is empty: there is nothing to summarise")
    fitting = _fit(engine, [text.strip() for text in texts], params, length=length, style="paragraph", on_part=on_part)
    summaries = _summarize_together(engine, [fit.text for fit in fitting], params, length=length)
    return (fit.of_whole(summary) for fit, summary in zip(fitting, summaries, strict=True))


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
    params: Sequence[SamplingParams],
    *,
    length: Length,
    style: Style,
    on_part: Callable[[int, int], None],
) -> list[_Fitting]:
    """Summarise the parts of texts beyond the context, all together, until the summaries fit it."""
    room = engine.backend.max_seq_len - len(_prompt(engine, "", length, style)) - _MAX_TOKENS[length]
    if room < _LEAST_ROOM:
        raise RequestError(f"the context of {engine.backend.max_seq_len} tokens is too small to summarise anything")
    parts = [split_text(engine.tokenizer, text, max_tokens=room) for text in texts]
    num_parts = [len(of_text) for of_text in parts]
    while too_long := [index for index, of_text in enumerate(parts) if len(of_text) > 1]:
        jobs = [(part, params[index]) for index in too_long for part in parts[index]]
        generated = _summarize_together(engine, [part for part, _ in jobs], [one for _, one in jobs], length=length)
        summaries = []
        for number, summary in enumerate(generated, 1):
            on_part(number, len(jobs))
            summaries.append(summary.text)
        for index in too_long:
            count = len(parts[index])
            parts[index] = split_text(engine.tokenizer, "\n\n".join(summaries[:count]), max_tokens=room)
            del summaries[:count]
            if len(parts[index]) >= count:
                raise RequestError("the summaries of the parts are no shorter than the parts: use a larger model")
    return [
        _Fitting(of_text[0], count, num_tokens(engine.tokenizer, text))
        for text, of_text, count in zip(texts, parts, num_parts, strict=True)
    ]


def _summarize_together(
    engine: Engine, texts: Sequence[str], params: Sequence[SamplingParams], *, length: Length
) -> Iterator[Summary]:
    """Summarise texts that fit the context together; yield the summaries in order."""
    requests: list[Request] = []
    drafts = [_Draft(_NUM_SENTENCES[length], SENTENCE_END) for _ in texts]
    try:
        for text, one in zip(texts, params, strict=True):
            requests.append(_submit(engine, text, one, length, "paragraph"))
        for text, draft in zip(texts, drafts, strict=True):
            while not draft.is_over:
                engine.step()
                for request, other in zip(requests, drafts, strict=True):
                    _read(engine, request, other)
            yield _summary(engine, text, draft)
    finally:
        for request in requests:
            engine.cancel(request)


def _read(engine: Engine, request: Request, draft: _Draft) -> None:
    """Append the pieces that a request has generated, up to the draft's end. Raises the request's error."""
    while request.pieces and not draft.is_over:
        draft.push(request.pieces.popleft())
    if draft.is_over:
        engine.cancel(request)
    if request.error is not None:
        raise request.error


def summary_params(length: Length = "medium") -> SamplingParams:
    """Return the sampling parameters of a summary: greedy, with a frequency penalty against loops."""
    return SamplingParams(temperature=0.0, frequency_penalty=_FREQUENCY_PENALTY, max_tokens=_MAX_TOKENS[length])


def _summarize_part(engine: Engine, text: str, length: Length, style: Style, on_text: Callable[[str], None]) -> Summary:
    """Summarise a text that fits the context, piece by piece."""
    request = _submit(engine, text, summary_params(length), length, style)
    draft = _Draft(_NUM_SENTENCES[length], _LINE_END if style == "bullets" else SENTENCE_END)
    on_text(_OPENING[style])
    for piece in _settled(draft, engine.stream(request)):
        on_text(piece)
    return _summary(engine, text, draft, opening=_OPENING[style])


def _summary(engine: Engine, text: str, draft: _Draft, *, opening: str = "") -> Summary:
    """Return the draft of a text's summary as its summary."""
    return Summary(
        text=(opening + draft.text).strip(),
        num_parts=1,
        num_text_tokens=num_tokens(engine.tokenizer, text),
        num_summary_tokens=draft.num_tokens,
        is_complete=draft.is_complete,
    )


class _Draft:
    """Summary while it is generated, up to its end (see `_end_of`); it needs no piece after that."""

    def __init__(self, num_sentences: int, boundary: re.Pattern[str]) -> None:
        self.text = ""
        self.num_tokens = 0
        self.is_over = False
        self.is_complete = False
        self._num_sentences, self._boundary = num_sentences, boundary

    def push(self, piece: TextPiece) -> None:
        """Append a piece; find out whether the summary ends with it."""
        self.text += piece.text
        self.num_tokens = piece.num_tokens
        is_finished = piece.finish_detail is not None
        end = _end_of(self._num_sentences, self._boundary, self.text, is_finished=is_finished)
        self.text = self.text[:end]
        self.is_over = is_finished or end is not None
        self.is_complete = piece.finish_detail == "end_of_sequence" if is_finished else end is not None

    @property
    def may_repeat(self) -> bool:
        """True if the unfinished sentence begins like an earlier one."""
        *sentences, unfinished = _sentences(self._boundary, self.text)
        return any(sentence.startswith(unfinished) for sentence in sentences)


def _settled(draft: _Draft, pieces: Iterable[TextPiece]) -> Iterator[str]:
    """Yield the text of a draft as its pieces come in, up to its end.

    White space is held back until more comes, a sentence that begins like an earlier one until it differs from it.
    """
    given = 0
    for piece in pieces:
        draft.push(piece)
        if draft.is_over or not draft.may_repeat:
            settled = len(draft.text.rstrip())
            yield draft.text[given:settled]
            given = max(given, settled)
        if draft.is_over:
            return


def _end_of(count: int, boundary: re.Pattern[str], text: str, *, is_finished: bool = False) -> int | None:
    """Return the index where a summary ends; None if it continues.

    It ends after `count` sentences, or before the first sentence that repeats an earlier one: greedy decoding then runs
    in a loop. `is_finished`: the rest after the last boundary is a sentence, too.
    """
    sentences = _sentences(boundary, text)
    ends = [match.end() for match in boundary.finditer(text)]
    num_complete = len(sentences) if is_finished else len(ends)
    for number, sentence in enumerate(sentences[:num_complete]):
        if sentence and sentence in sentences[:number]:
            return ends[number - 1]
        if number + 1 == count and number < len(ends):
            return ends[number]
    return None


def _sentences(boundary: re.Pattern[str], text: str) -> list[str]:
    """Return the text between boundaries, without white space and bullet dashes; the last is unfinished."""
    ends = [match.end() for match in boundary.finditer(text)]
    return [text[start:end].strip("- \n") for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def _submit(engine: Engine, text: str, params: SamplingParams, length: Length, style: Style) -> Request:
    prompt = _prompt(engine, text.strip(), length, style)
    return engine.submit(prompt, params, end_token_ids=engine.tokenizer.turn_end_ids())


def _prompt(engine: Engine, text: str, length: Length, style: Style) -> list[int]:
    """Encode an instruction for a chat model, "TL;DR:" for a base model; then the summary's opening."""
    tokenizer = engine.tokenizer
    if tokenizer.chat_template is None:
        opening = "\n" + _OPENING[style] if _OPENING[style] else ""
        return tokenizer.encode_prompt(f"{text}\n\nTL;DR:{opening}")
    noun = "bullet points" if style == "bullets" else "sentences"
    instruction = _INSTRUCTION.format(f"{_IN_WORDS[_NUM_SENTENCES[length]]} {noun}")
    try:
        prompt = tokenizer.encode_chat([{"role": "system", "content": instruction}, {"role": "user", "content": text}])
    except TokenizerError:  # Gemma 2's template, among others, refuses a system prompt
        prompt = tokenizer.encode_chat([{"role": "user", "content": f"{instruction}\n\n{text}"}])
    return [*prompt, *tokenizer.encode(_OPENING[style], add_special_tokens=False)]
