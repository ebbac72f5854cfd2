"""The next sentence of a summary: candidates from the model, and the one among them that the text explains best.

A small model writes fluently what the text does not say. Of several candidates, one is taken that invents no name and
no number, repeats nothing and quotes no speaker: that with the largest (log p(sentence | text) - 0.5 log p(sentence))
per token, both by the model itself. The second term is large for what would be said of any text (Li et al. 2016, "A
Diversity-Promoting Objective Function", equation 9). benchmarks/NOTES.md has what each part gives.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nextword.decoding.params import SamplingParams
from nextword.inference.continuations import Continuations, score_continuations
from nextword.inference.engine import Engine
from nextword.inference.sequence import Request
from nextword.inference.sequence import Sequence as Completed
from nextword.tasks.facts import Facts

NUM_CANDIDATES = 8
"""Candidates for each sentence: the greedy one, and samples."""
_SAMPLED = SamplingParams(temperature=0.7, top_p=0.95)
_MAX_TOKENS = 96
"""Limit of a sentence; a longer one is a loop, more often than not."""
_GENERIC_WEIGHT = 0.5
"""Weight of the log-probability of a sentence without the text."""
_REPEATED_SHARE = 0.8
"""Share of a sentence's words in one earlier sentence from which it repeats that."""
_WORD = re.compile(r"\w+")
_LABEL = re.compile(r"^\W*(\w[^\n:]{0,30}?)\W*:(?=\s)", re.MULTILINE)
"""Matches the name of a speaker at the beginning of a line."""

FindEnd = Callable[[str], int | None]
"""Function of the text of a candidate: index where its first sentence ends, None if it goes on."""


@dataclass(frozen=True)
class Candidate:
    """A sentence that the model would write next."""

    text: str
    space: str
    """White space in front of it."""
    num_tokens: int
    is_whole: bool
    """False if it stops at the limit of tokens."""

    @property
    def written(self) -> str:
        """Text as the model wrote it."""
        return self.space + self.text

    @property
    def words(self) -> frozenset[str]:
        """Different words of the sentence, in small letters."""
        return frozenset(_WORD.findall(self.text.casefold()))


@dataclass(frozen=True)
class Source:
    """A text to summarise: what is asked about it, and what may be said."""

    text: str
    prompt: Sequence[int]
    """Token ids of instruction and text."""
    generic_prompt: Sequence[int]
    """Token ids of the instruction alone."""
    facts: Facts = field(init=False)
    speakers: frozenset[str] = field(init=False)
    """Names that begin several lines, as in a dialogue."""

    def __post_init__(self) -> None:
        labels = [label.casefold() for label in _LABEL.findall(self.text)]
        object.__setattr__(self, "facts", Facts(self.text))
        object.__setattr__(self, "speakers", frozenset(label for label in labels if labels.count(label) > 1))

    def is_faithful(self, candidate: Candidate) -> bool:
        """Return True if a candidate invents no name and no number and is no speaker's turn."""
        label = _LABEL.match(candidate.text.lstrip())
        is_turn = label is not None and label.group(1).casefold() in self.speakers
        return not is_turn and not self.facts.invented_in(candidate.text)


@dataclass(frozen=True)
class Continued:
    """A summary that is to be continued by a sentence."""

    source: Source
    written: str
    """Text of the summary so far, with what leads to the next sentence."""
    sentences: Sequence[Candidate]


def next_sentences(
    engine: Engine, drafts: Sequence[Continued], find_end: FindEnd, params: Sequence[SamplingParams] | None
) -> list[Candidate | None]:
    """Return the next sentence of each summary; None where the model has nothing more to say.

    `params`: sampling parameters of each summary, by which one sentence is drawn and taken if it repeats none; None:
    the best of several is taken. All candidates of all summaries are generated together.
    """
    drawings = [_drawings(draft, params[number] if params else None) for number, draft in enumerate(drafts)]
    candidates = _generate(engine, drafts, drawings, find_end)
    if params is not None:
        return [_unless_repeated(draft, found[0]) for draft, found in zip(drafts, candidates, strict=True)]
    pools = [_acceptable(draft, found) for draft, found in zip(drafts, candidates, strict=True)]
    return _best(engine, drafts, pools)


def _drawings(draft: Continued, params: SamplingParams | None) -> list[SamplingParams]:
    """Return the sampling parameters of the candidates; each sentence has seeds of its own."""
    number = len(draft.sentences)
    if params is not None:
        seed = None if params.seed is None else (params.seed + number * 2**32) % 2**64
        return [dataclasses.replace(params, seed=seed, max_tokens=_MAX_TOKENS)]
    greedy = SamplingParams(temperature=0.0, max_tokens=_MAX_TOKENS)
    seeds = range(NUM_CANDIDATES * number + 1, NUM_CANDIDATES * (number + 1))
    return [greedy, *(dataclasses.replace(_SAMPLED, seed=seed, max_tokens=_MAX_TOKENS) for seed in seeds)]


def search_sentences(
    engine: Engine, sources: Sequence[Source], find_end: FindEnd, params: Sequence[SamplingParams], *, most: int
) -> list[list[Candidate]]:
    """Search for the whole summary of each text; return its sentences, the first `most` of them.

    `params`: of a beam search, with the limit of tokens, for each text.
    """
    ends = engine.tokenizer.turn_end_ids()
    requests = [
        engine.submit(source.prompt, own, end_token_ids=ends) for source, own in zip(sources, params, strict=True)
    ]
    engine.run(requests)
    return [_cut(engine, request.sequences[0], find_end, most) for request in requests]


def _cut(engine: Engine, found: Completed, find_end: FindEnd, most: int) -> list[Candidate]:
    """Cut the text of a search after its sentences."""
    sentences: list[Candidate] = []
    rest = found.stream.text
    while rest.strip() and len(sentences) < most:
        end = find_end(rest)
        written = rest[:end]
        text = written.strip()
        num_tokens = len(engine.tokenizer.encode(written, add_special_tokens=False))
        is_whole = end is not None or found.finish_detail == "end_of_sequence"
        sentences.append(Candidate(text, written[: len(written) - len(written.lstrip())], num_tokens, is_whole))
        rest = rest[len(written) :]
    return sentences


class _Reader:
    """Reads a request up to the end of its first sentence."""

    def __init__(self, request: Request, find_end: FindEnd) -> None:
        self._request, self._find_end = request, find_end
        self._text, self._num_tokens = "", 0
        self.candidate: Candidate | None = None

    def read(self, engine: Engine) -> None:
        """Take in what the request has generated. Raises the request's error."""
        while self._request.pieces and self.candidate is None:
            piece = self._request.pieces.popleft()
            self._text += piece.text
            self._num_tokens = piece.num_tokens
            end = self._find_end(self._text)
            if end is not None or piece.finish_detail is not None:
                is_whole = end is not None or piece.finish_detail == "end_of_sequence"
                text = self._text[:end].strip()
                space = self._text[: len(self._text) - len(self._text.lstrip())]
                self.candidate = Candidate(text, space, self._num_tokens, is_whole)
                engine.cancel(self._request)
        if self._request.error is not None:
            raise self._request.error


def _generate(
    engine: Engine, drafts: Sequence[Continued], drawings: Sequence[Sequence[SamplingParams]], find_end: FindEnd
) -> list[list[Candidate]]:
    """Generate the candidates of all summaries together, a request for each."""
    requests: list[Request] = []
    readers: list[list[_Reader]] = []
    try:
        for draft, params in zip(drafts, drawings, strict=True):
            written = engine.tokenizer.encode(draft.written, add_special_tokens=False)
            prompt, ends = [*draft.source.prompt, *written], engine.tokenizer.turn_end_ids()
            own = [engine.submit(prompt, one, end_token_ids=ends) for one in params]
            requests += own
            readers.append([_Reader(request, find_end) for request in own])
        waiting = [reader for of_one in readers for reader in of_one]
        while waiting:
            engine.step()
            for reader in waiting:
                reader.read(engine)
            waiting = [reader for reader in waiting if reader.candidate is None]
    finally:
        for request in requests:
            engine.cancel(request)
    return [[reader.candidate for reader in of_one if reader.candidate] for of_one in readers]


def _unless_repeated(draft: Continued, candidate: Candidate) -> Candidate | None:
    """Return a candidate; None if it is empty or an earlier sentence word for word."""
    earlier = [sentence.text for sentence in draft.sentences]
    return candidate if candidate.text and candidate.text not in earlier else None


def _acceptable(draft: Continued, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates among which the best is taken; of a first sentence the least bad ones if none is good."""
    different = list({candidate.text: candidate for candidate in candidates if candidate.text}.values())
    whole = [candidate for candidate in different if candidate.is_whole and not _repeats(draft, candidate)]
    faithful = [candidate for candidate in whole if draft.source.is_faithful(candidate)]
    if draft.sentences:
        return faithful
    true = [candidate for candidate in whole if not draft.source.facts.invented_in(candidate.text)]
    return faithful or true or whole or different


def _repeats(draft: Continued, candidate: Candidate) -> bool:
    """True if most words of a candidate are those of one earlier sentence."""
    shared = max((len(candidate.words & sentence.words) for sentence in draft.sentences), default=0)
    return bool(draft.sentences) and shared >= _REPEATED_SHARE * len(candidate.words)


def _best(engine: Engine, drafts: Sequence[Continued], pools: Sequence[Sequence[Candidate]]) -> list[Candidate | None]:
    """Return the best candidate of each pool; None for an empty one."""
    scored = [(draft, pool) for draft, pool in zip(drafts, pools, strict=True) if len(pool) > 1]
    given = _log_probs(engine, [(draft.source.prompt, draft, pool) for draft, pool in scored])
    generic = _log_probs(engine, [(draft.source.generic_prompt, draft, pool) for draft, pool in scored])
    ranked = iter(
        max(range(len(pool)), key=lambda number: own[number] - _GENERIC_WEIGHT * other[number])
        for (_, pool), own, other in zip(scored, given, generic, strict=True)
    )
    return [pool[next(ranked)] if len(pool) > 1 else pool[0] if pool else None for pool in pools]


def _log_probs(
    engine: Engine, jobs: Sequence[tuple[Sequence[int], Continued, Sequence[Candidate]]]
) -> list[list[float]]:
    """Return the mean log-probability per token, in nats, of each candidate after a prompt and the summary so far."""
    encode = engine.tokenizer.encode
    items = [
        Continuations(
            [*prompt, *encode(draft.written, add_special_tokens=False)],
            [encode(candidate.written, add_special_tokens=False)],
        )
        for prompt, draft, pool in jobs
        for candidate in pool  # an item each, so that small memory takes them in turns; batches share the prompt
    ]
    means = (float(score.log_probs.mean()) for (score,) in score_continuations(engine, items))
    return [[next(means) for _ in pool] for _, _, pool in jobs]
