"""`Sequence`: one completion while it is generated, and the `Request` it belongs to. State only; the engine changes it.

A request is a prompt with its parameters; its n sequences share the prompt's keys and values until they diverge.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from nextword.decoding.params import SamplingParams
from nextword.decoding.sampler import ChosenToken, Sampler
from nextword.errors import NextwordError
from nextword.inference.drafts import Drafter
from nextword.inference.guide import Guide
from nextword.inference.stop_strings import StopStrings
from nextword.inference.text_stream import TextStream
from nextword.text.thoughts import ThoughtMarks

if TYPE_CHECKING:
    from nextword.decoding.grammar import Grammar
    from nextword.text.tool_use import ToolUse

FinishReason = Literal["stop", "length", "cancelled"]
FinishDetail = Literal["end_of_sequence", "stop_token", "stop_string", "complete", "max_tokens", "context", "cancelled"]

FINISH_REASONS: dict[FinishDetail, FinishReason] = {
    "end_of_sequence": "stop",
    "stop_token": "stop",
    "stop_string": "stop",
    "complete": "stop",
    "max_tokens": "length",
    "context": "length",
    "cancelled": "cancelled",
}


@dataclass(frozen=True)
class TextPiece:
    """Text that one step added to one completion."""

    index: int
    text: str
    num_tokens: int
    """Tokens of the completion up to here."""
    finish_detail: FinishDetail | None = None
    tokens: tuple[ChosenToken, ...] = ()
    """Tokens whose text ends here; a token's text may end later than the token came."""
    token_texts: tuple[str, ...] = ()
    """Text that each of these tokens added; together they are `text`."""


@dataclass(kw_only=True, eq=False)
class Sequence:
    """One completion of a request."""

    index: int
    cache_id: int
    sampler: Sampler
    stream: TextStream
    drafter: Drafter
    tokens: list[ChosenToken] = field(default_factory=list)
    finish_detail: FinishDetail | None = None
    log_prob: float = 0.0
    """Sum of the log-probabilities of its tokens, in nats, in a beam search."""
    score: float | None = None
    """Figure by which a beam search ranks it; None before its end, and without a search."""
    num_shown: int = 0
    """Number of tokens whose text was given out."""

    def piece(self, text: str) -> TextPiece:
        """Return what the stream has just released as a piece with its tokens."""
        texts = tuple(self.stream.token_texts[self.num_shown :])
        tokens = tuple(self.tokens[self.num_shown : self.num_shown + len(texts)])
        self.num_shown += len(texts)
        return TextPiece(self.index, text, len(self.tokens), self.finish_detail, tokens, texts)

    @property
    def token_ids(self) -> list[int]:
        """The tokens of the completion, an end token included."""
        return [token.token_id for token in self.tokens]


@dataclass(kw_only=True, eq=False)
class Request:
    """A prompt with its parameters, and the state of its sequences."""

    prompt_token_ids: list[int]
    params: SamplingParams
    seed: int
    num_positions: int
    """Positions of the KV cache that all its sequences together may need."""
    num_tokens_ahead: int = 0
    """Tokens of the prompts that came with it and stand before it."""
    is_preemptible: bool = False
    """True if it reserves positions as it grows, and may have to give them up: see `preemption`."""
    room: int
    """Most tokens of a completion for which the context has room."""
    guide: Guide | None = None
    """Second sequence that changes the logits; None: there is none."""
    num_amateur_positions: int = 0
    """Positions of the amateur's KV cache that its guides may need."""
    stop: StopStrings
    end_token_ids: tuple[int, ...]
    """Tokens that end a completion."""
    continues_text: bool = True
    """True if the completions continue the prompt's text; False if each is a text of its own."""
    thought_marks: ThoughtMarks | None = None
    """Marks of the thoughts in front of a chat's answer; None: not looked for."""
    tool_use: ToolUse | None = None
    """Tools that it may call; None: there are none."""
    shown_control_ids: frozenset[int] = frozenset()
    """Control tokens that are text of its completions whatever they stand for."""
    reports_prompt: bool = False
    """True if the log-probabilities of the prompt are wanted without echo, too."""
    grammar: Grammar | None = None
    """Grammar that each completion has to match; None: anything."""
    adapter: str | None = None
    """Name of the adapter that computes it; None: the base model."""
    prediction: tuple[int, ...] = ()
    """Tokens that the caller expects the completions to have, in part at least: a draft, which changes no text."""
    cache_id: int | None = None
    """The prompt's handle in the KV cache; None before the first step and after the prefill."""
    num_prefilled: int = 0
    """Tokens of the prompt whose keys and values are there."""
    num_cached: int = 0
    """Tokens of the prompt whose keys and values an earlier request had left."""
    num_reserved: int = 0
    """Positions of the KV cache that are reserved for it now."""
    num_preemptions: int = 0
    """Times that it gave up its keys and values to others."""
    is_preempted: bool = False
    """True while it has a text without keys and values: they are to be computed again."""
    has_started: bool = False
    """True once the scheduler has let it run."""
    prompt_tokens: list[ChosenToken] = field(default_factory=list)
    """Log-probabilities of the prompt from its second token on, where it scores the prompt."""
    sequences: list[Sequence] = field(default_factory=list)
    hypotheses: list[Sequence] = field(default_factory=list)
    """Texts that have ended in a beam search, best first, at most `num_beams`."""
    pieces: deque[TextPiece] = field(default_factory=deque)
    """Text that the reader of the stream has not received yet."""
    is_finished: bool = False
    error: NextwordError | None = None
    """Error that ended this request alone; raised to the caller that waits for the request. None if there is none."""

    @property
    def num_prompt_tokens(self) -> int:
        """Number of tokens of its prompt and of its guide's."""
        return len(self.prompt_token_ids) + (0 if self.guide is None else len(self.guide.prompt_token_ids))

    @property
    def shown_token_ids(self) -> frozenset[int]:
        """Control tokens that are text of its completions: those of the marks of thoughts and calls, or all."""
        return self.shown_control_ids | shown_token_ids(self.thought_marks, self.tool_use)

    @property
    def prefill_token_ids(self) -> list[int]:
        """The tokens whose keys and values come before the first decoding step: the prompt, and what was lost."""
        if not self.is_preempted:
            return self.prompt_token_ids
        (sequence,) = self.sequences
        return self.prompt_token_ids + sequence.token_ids[:-1]  # the last token is yet to run

    @property
    def is_prefilling(self) -> bool:
        """True until all its sequences can decode."""
        return not self.sequences or self.is_preempted

    @property
    def scores_prompt(self) -> bool:
        """True if the log-probabilities of the prompt are wanted."""
        return self.reports_prompt or (self.params.echo and self.params.logprobs is not None)

    @property
    def running(self) -> list[Sequence]:
        """The sequences that still grow."""
        return [sequence for sequence in self.sequences if sequence.finish_detail is None]


def shown_token_ids(thought_marks: ThoughtMarks | None, tool_use: ToolUse | None) -> frozenset[int]:
    """Return the control tokens that are text of an answer: those of the marks of thoughts and calls."""
    return frozenset[int]().union(*(one.token_ids for one in (thought_marks, tool_use) if one is not None))
