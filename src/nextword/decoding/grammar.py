"""`GrammarCompiler` and `GrammarMatcher`: which tokens may come next, for a text that has to match a constraint.

In: a constraint and the bytes of each token. Out: for each position of a completion a mask over the vocabulary, and
whether the text is complete. The work is llguidance's: an Earley parser over bytes, walked along a trie of the tokens.
Special tokens have no bytes here, so that none of them is ever part of a text.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from nextword.decoding.constraint import Constraint
from nextword.decoding.grammar_errors import NO_TEXT, refusal
from nextword.decoding.mask import Mask, is_in, packed, unpacked, with_tokens
from nextword.errors import RequestError

if TYPE_CHECKING:
    from llguidance import LLMatcher

_LONGEST_SECONDS = 2.0
"""Time to compile a constraint in; nearly all take milliseconds."""
_STACK_BYTES = 128 * 2**20
"""Stack of the thread that compiles: rules that use rules are followed by recursion, some 3 kB each."""
_LONGEST_FORCED = 100_000
"""Bytes that every text begins with, which no constraint of `LARGEST_BYTES` has but by repetition."""
_MOST_ITEMS = 20_000
"""Ways to go on at one place, of which each optional name of an object is four."""
_MOST_STATES = 50_000
"""States of the lexer, each of 1 to 2 kB."""
_SLICES = (
    r"[\x20\x0A\x0D\x09]+",
    *(rf'[^"\\\x00-\x1F\x7F]{{1,{most}}}' for most in (1, 2, 3, 4, 6, 8, 12, 20, 30)),
    r'[^"\\\x00-\x1F\x7F]+',
)
"""Kinds of text whose tokens are allowed as one where all of it is: white space, and strings of JSON up to a length."""
_MOST_KEPT = 64
"""Compiled constraints that are kept for the next request with the same."""


class _Spellings:
    """The bytes of each token as llguidance has them, and its numbers of tokens.

    It has three kinds of numbers: the token ids; behind them one for each token that is spelled otherwise at the
    beginning of a text, where vocabularies of pieces leave out a space; and the last, for the end of a text.
    """

    is_tokenizer_wrapper = True
    """Asked for by llguidance, as are the next four names and the call."""
    bos_token_id = None
    special_token_ids = ()

    def __init__(self, spellings: Sequence[bytes], at_start: Sequence[bytes]) -> None:
        self.num_tokens = len(spellings)
        changed = [number for number, (one, other) in enumerate(zip(spellings, at_start, strict=True)) if one != other]
        self.changed = np.array(changed, dtype=np.intp)
        """Tokens with another spelling at the beginning of a text."""
        self.silent = np.array([number for number in changed if not at_start[number]], dtype=np.intp)
        """Those of them that are nothing there."""
        self.texts = packed(np.array([bool(spelling) for spelling in spellings]))
        """Tokens that are text: what a grammar names by numbers can be others, too."""
        self.tokens = [*spellings, *(at_start[number] for number in changed), b""]
        self.eos_token_id = len(self.tokens) - 1

    def __call__(self, text: str) -> list[int]:
        return []  # no text is ever encoded: every token that fits is allowed, not only those of the usual encoding

    def number_at_start(self, token_id: int) -> int | None:
        """Return llguidance's number for a token at the beginning of a text; None if it is nothing there."""
        place = int(np.searchsorted(self.changed, token_id))
        if place == len(self.changed) or self.changed[place] != token_id:
            return token_id
        return None if token_id in self.silent else self.num_tokens + place


class GrammarCompiler:
    """Compiles constraints for one vocabulary, and keeps the latest of them."""

    def __init__(self, spellings: Sequence[bytes], at_start: Sequence[bytes] | None = None) -> None:
        """Build the trie of a vocabulary, some 50 ms for 50,000 tokens.

        `spellings`: the bytes of each token, none for tokens that are no text. `at_start`: their bytes at the beginning
        of a text, if these differ.
        """
        from llguidance import LLTokenizer  # not waited for where no text has to have a form

        self._spellings = _Spellings(spellings, spellings if at_start is None else at_start)
        self._tokenizer = LLTokenizer(self._spellings, slices=list(_SLICES))
        self._compiled: collections.OrderedDict[Constraint, Grammar] = collections.OrderedDict()

    def compile(self, constraint: Constraint) -> Grammar:
        """Compile a constraint, or return it as it was compiled before.

        Raises RequestError, saying where, for one that is invalid, unsupported, without any text, or too complex.
        """
        compiled = self._compiled.pop(constraint, None) or _in_time(lambda: self._compile(constraint), constraint)
        self._compiled[constraint] = compiled
        while len(self._compiled) > _MOST_KEPT:
            self._compiled.popitem(last=False)
        return compiled

    def _compile(self, constraint: Constraint) -> Grammar:
        from llguidance import LLMatcher, LLParserLimits

        from nextword.decoding.lark_text import lark_text

        limits = LLParserLimits(
            max_items_in_row=_MOST_ITEMS,
            step_max_items=10 * _MOST_ITEMS,
            max_lexer_states=_MOST_STATES,
            verbose_errors=False,
        )
        compiled = LLMatcher(self._tokenizer, lark_text(constraint), log_level=0, limits=limits)
        if compiled.is_error():
            for part in constraint.parts:
                self._compile(part)  # raises the error in what the user wrote
            raise refusal(constraint, compiled.get_error())
        grammar = Grammar(constraint, compiled, self._spellings)
        starts = [grammar.matcher(begins_text=begins_text).look_ahead() for begins_text in (False, True)]
        if not any(is_match or mask.any() for mask, is_match in starts):
            raise refusal(constraint, NO_TEXT)
        if len(grammar.matcher().forced_bytes()) > _LONGEST_FORCED:
            raise refusal(constraint, f"its text has no end, or begins with {_LONGEST_FORCED:,} bytes without a choice")
        return grammar


def _in_time(work: Callable[[], Grammar], constraint: Constraint) -> Grammar:
    """Do the work in a thread, and raise its error, or RequestError where it takes long."""
    done: list[Grammar | BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # also those of Rust, which are no Exception
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    usual = threading.stack_size(_STACK_BYTES)
    try:
        thread.start()
    finally:
        threading.stack_size(usual)
    thread.join(_LONGEST_SECONDS)
    if not done:
        raise RequestError(f"{constraint.kind}: takes more than {_LONGEST_SECONDS:g} s to compile: make it simpler")
    if isinstance(done[0], BaseException):
        raise done[0]
    return done[0]


@dataclasses.dataclass(frozen=True)
class Grammar:
    """A constraint compiled for a vocabulary."""

    constraint: Constraint
    _compiled: LLMatcher
    _spellings: _Spellings

    def matcher(self, *, begins_text: bool = False) -> GrammarMatcher:
        """Return a matcher at the beginning of a completion.

        `begins_text`: its first token is spelled as at the beginning of a text.
        """
        return GrammarMatcher(self._compiled.deep_copy(), self._spellings, self.constraint, begins_text=begins_text)


class Matcher(Protocol):
    """A form of text, as a sampler asks about it."""

    def copy(self) -> Matcher:
        """Return a matcher at the same place of the text; both go on independently."""

    @property
    def is_complete(self) -> bool:
        """True if the text has its form as it is, and no token could follow."""

    def mask(self, end_token_ids: Collection[int]) -> Mask:
        """Return which tokens may come next; `end_token_ids` end the text. Raises RequestError if none may."""

    def allows(self, token_id: int) -> bool:
        """Return True if a token may come next as text, which is known sooner than the whole mask."""

    def accept(self, token_id: int) -> None:
        """Append a token that `mask` allows, and that does not end the text."""

    def forced_bytes(self) -> bytes:
        """Return the bytes with which every text that matches must go on; empty where it has a choice."""

    def num_fitting(self, token_ids: Sequence[int]) -> int:
        """Return how many of these tokens, from the first on, may come next as text."""


class GrammarMatcher:
    """A constraint with the tokens of one completion up to now."""

    def __init__(
        self, matcher: LLMatcher, spellings: _Spellings, constraint: Constraint, *, begins_text: bool = False
    ) -> None:
        self._matcher = matcher
        self._spellings = spellings
        self._constraint = constraint
        self._begins_text = begins_text
        self._accepted: list[bool] = []
        """For each token of the completion, True if llguidance has it, too."""
        self._found: tuple[Mask, bool] | None = None

    def copy(self) -> GrammarMatcher:
        """Return a matcher at the same place of the text; both go on independently."""
        copied = copy.copy(self)
        copied._matcher = self._matcher.deep_copy()
        copied._accepted = list(self._accepted)
        return copied

    @property
    def is_complete(self) -> bool:
        """True if the text matches as it is, and no token could follow."""
        if not self._matcher.is_accepting():
            return False
        mask, is_match = self.look_ahead()
        return is_match and not mask.any()

    def look_ahead(self) -> tuple[Mask, bool]:
        """Return which tokens may come next as text, and True if the text matches as it is. Raises RequestError."""
        if self._found is None:
            numbers = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
            if self._matcher.is_error():
                raise self._dead_end(self._matcher.get_error())
            mask = numbers[: len(self._spellings.texts)] & self._spellings.texts
            if self._is_at_start:
                mask = self._at_start(unpacked(mask, self._spellings.num_tokens), numbers)
            self._found = mask, is_in(numbers, self._spellings.eos_token_id)
        return self._found

    def _at_start(self, allowed: NDArray[np.bool_], numbers: Mask) -> Mask:
        """Return the mask at the beginning of a text, from that of usual spellings and llguidance's of its numbers."""
        spellings = self._spellings
        as_there = unpacked(numbers, spellings.num_tokens + len(spellings.changed))[spellings.num_tokens :]
        allowed[spellings.changed] = as_there
        allowed[spellings.silent] = allowed.any()
        return packed(allowed)

    def mask(self, end_token_ids: Collection[int]) -> Mask:
        """Return which tokens may come next, those that end the text where it is complete.

        Raises RequestError if none may: no text in this vocabulary completes it, or its parser has reached a limit.
        """
        mask, is_match = self.look_ahead()
        ends = [token_id for token_id in end_token_ids if token_id < self._spellings.num_tokens]
        if is_match or any(is_in(mask, token_id) for token_id in ends):
            mask = with_tokens(mask, ends, are_allowed=is_match)
        if not is_match and not mask.any():
            raise self._dead_end(NO_TEXT)
        return mask

    def allows(self, token_id: int) -> bool:
        """Return True if a token may come next as text, which is known sooner than the whole mask."""
        if self._found is not None:
            return is_in(self._found[0], token_id)
        return is_in(self._spellings.texts, token_id) and self.num_fitting([token_id]) == 1

    def accept(self, token_id: int) -> None:
        """Append a token that `mask` allows, and that does not end the text."""
        number = self._spellings.number_at_start(token_id) if self._is_at_start else token_id
        if number is not None and not self._matcher.consume_token(number):
            raise self._dead_end(self._matcher.get_error())
        self._accepted.append(number is not None)
        self._found = None

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens that were accepted."""
        kept = len(self._accepted) - num_tokens
        self._matcher.rollback(sum(self._accepted[kept:]))
        del self._accepted[kept:]
        self._found = None

    def forced_bytes(self) -> bytes:
        """Return the bytes with which every text that matches must go on; empty where it has a choice."""
        return bytes(self._ahead().compute_ff_bytes())

    def num_fitting(self, token_ids: Sequence[int]) -> int:
        """Return how many of these tokens, from the first on, may come next as text."""
        numbers: list[int] = []
        for token_id in token_ids:
            number = self._spellings.number_at_start(token_id) if self._is_at_start and not numbers else token_id
            if number is None or token_id >= self._spellings.num_tokens:
                break
            numbers.append(number)
        return int(self._ahead().validate_tokens(numbers))

    def _ahead(self) -> LLMatcher:
        """Return a copy to look ahead with: one that reaches a limit there never goes on."""
        return self._matcher.deep_copy()

    @property
    def _is_at_start(self) -> bool:
        return self._begins_text and not self._accepted

    def _dead_end(self, reason: str) -> RequestError:
        return refusal(self._constraint, reason)
