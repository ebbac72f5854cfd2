"""Forms of texts in the tokens of a model: the bytes of each, thoughts before the form, and what the form forces."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import numpy as np

from nextword.decoding.grammar import GrammarCompiler, Matcher
from nextword.decoding.mask import Mask, packed
from nextword.errors import RequestError
from nextword.inference.drafts import MOST_AGREED, MOST_DRAFTED, Outlook
from nextword.text.stream_decoder import StreamDecoder
from nextword.text.thoughts import ThoughtSplitter
from nextword.text.tokenizer import Tokenizer

_MOST_BYTES = 8192
"""Most bytes of text that must follow which are looked at in one go; a form may force many more."""


def grammar_compiler(tokenizer: Tokenizer, vocab_size: int, shown: Collection[int] = ()) -> GrammarCompiler:
    """Return a compiler for the first `vocab_size` tokens, which a model gives logits for.

    `shown`: control tokens that are text of the forms.
    """
    spellings = [tokenizer.token_bytes(token_id) for token_id in range(vocab_size)]
    at_start = [tokenizer.token_bytes(token_id, begins_text=True) for token_id in range(vocab_size)]
    for token_id in shown:
        spellings[token_id] = at_start[token_id] = tokenizer.token_text(token_id).encode()
    return GrammarCompiler(spellings, at_start)


class AfterThoughts:
    """Matches an answer that begins with thoughts, which the prompt has opened: they are free, and cannot end the text.

    White space between them and the answer is free, too, as far as it stands in the token that ends them.
    """

    def __init__(self, answer: Matcher, splitter: ThoughtSplitter, decoder: StreamDecoder, *, vocab_size: int) -> None:
        self._answer = answer
        self._splitter = splitter
        self._decoder = decoder
        self._vocab_size = vocab_size

    def copy(self) -> AfterThoughts:
        """Return a matcher at the same place of the text; both go on independently."""
        return AfterThoughts(
            self._answer.copy(), copy.copy(self._splitter), self._decoder.copy(), vocab_size=self._vocab_size
        )

    @property
    def is_complete(self) -> bool:
        """True if the answer is complete, as `Matcher.is_complete`."""
        return not self._splitter.is_thinking and self._answer.is_complete

    def mask(self, end_token_ids: Collection[int]) -> Mask:
        """Return which tokens may come next, as `Matcher.mask`."""
        if not self._splitter.is_thinking:
            return self._answer.mask(end_token_ids)
        allowed = np.ones(self._vocab_size, dtype=np.bool_)
        allowed[[token_id for token_id in end_token_ids if token_id < self._vocab_size]] = False
        return packed(allowed)

    def allows(self, token_id: int) -> bool:
        """Return True if a token may come next, as `Matcher.allows`; among thoughts any."""
        return self._splitter.is_thinking or self._answer.allows(token_id)

    def accept(self, token_id: int) -> None:
        """Append a token. Raises RequestError for one that ends the thoughts and begins the answer."""
        if not self._splitter.is_thinking:
            self._answer.accept(token_id)
            return
        parts = self._splitter.push(self._decoder.push(token_id))
        said = "".join(part for part, is_thought in parts if not is_thought)
        if said.strip():
            raise RequestError(f"the thoughts end in a token that begins the answer with {said!r}: ask again")

    def forced_bytes(self) -> bytes:
        """Return what must follow, as `Matcher.forced_bytes`; nothing among thoughts."""
        return b"" if self._splitter.is_thinking else self._answer.forced_bytes()

    def num_fitting(self, token_ids: Sequence[int]) -> int:
        """Return how many of these tokens may come next, as `Matcher.num_fitting`; among thoughts all."""
        return len(token_ids) if self._splitter.is_thinking else self._answer.num_fitting(token_ids)


class ForcedText:
    """Proposes the text that a form leaves no choice about, such as the names of a JSON object. A `DraftSource`."""

    def __init__(self, matcher: Matcher, tokenizer: Tokenizer) -> None:
        """Follow a matcher, which gets the tokens of the sequence from its sampler."""
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._ahead: list[int] = []
        """Tokens of the text that must follow, the next one last; empty where none must, or is known yet."""

    def append(self, token_id: int) -> None:
        """Append the next token of the sequence, which the matcher has already."""
        if self._ahead and self._ahead[-1] == token_id:
            self._ahead.pop()  # what is left must follow still
        else:
            self._ahead = []

    def outlook(self, limit: int) -> Outlook:
        """Return how many tokens must follow; only their division into tokens is open."""
        if not self._ahead:
            forced = self._matcher.forced_bytes()[:_MOST_BYTES].decode(errors="ignore")
            self._ahead = self._tokenizer.encode_continuation(forced)[::-1] if forced else []
        return Outlook(min(limit, MOST_DRAFTED, len(self._ahead)), agreed=MOST_AGREED)

    def propose(self, num_tokens: int) -> Sequence[int]:
        """Return the usual tokens of the text that must follow."""
        return self._ahead[: -num_tokens - 1 : -1]

    def close(self) -> None:
        """Nothing is held but memory of Python."""
