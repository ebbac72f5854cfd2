"""`Convention`: the rule of a perplexity for which tokens are scored, under the name of the tool that follows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

from nextword.checks import check_value
from nextword.errors import RequestError
from nextword.evaluation.scoring.windows import Window, halved_chunks, rolling_windows, sliding_windows
from nextword.text.encode_pieces import encode_pieces
from nextword.text.tokenizer import Tokenizer

ConventionName = Literal["sliding", "llama.cpp", "lm-eval"]
CONVENTION_NAMES: tuple[ConventionName, ...] = get_args(ConventionName)

_LLAMA_CPP_CONTEXT = 512
"""The default of llama.cpp's tool."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """A rule for which tokens are scored, with its settings."""

    name: ConventionName
    """Tool whose way of cutting texts is followed."""
    context: int
    """Tokens of a window."""
    stride: int | None = None
    """Tokens from the start of a window to the start of the next; None except for `sliding`."""

    def windows(self, pieces: Iterable[str], tokenizer: Tokenizer) -> Iterator[Window]:
        """Cut a text that comes in pieces into windows. Raises RequestError for settings out of range.

        BOS, or whatever the tokenizer puts before a text, stands before it, as in the tool of that name; the prefix of
        `lm-eval` is the vocabulary's BOS, whether texts begin with it or not, else the end-of-sequence token.
        """
        if self.name == "lm-eval":
            token_ids = chain.from_iterable(encode_pieces(tokenizer, pieces, add_special_tokens=False))
            return rolling_windows(token_ids, context=self.context, prefix_token_id=_prefix(tokenizer))
        token_ids = chain.from_iterable(encode_pieces(tokenizer, pieces))
        if self.name == "llama.cpp":
            return halved_chunks(token_ids, context=self.context, prefix=tokenizer.prefix_token_ids)
        assert self.stride is not None
        num_before = len(tokenizer.prefix_token_ids)
        return sliding_windows(token_ids, context=self.context, stride=self.stride, num_before=num_before)

    @property
    def num_needed(self) -> int:
        """Fewest tokens, BOS included, of a text in which any token is scored."""
        return {"sliding": 2, "llama.cpp": self.context, "lm-eval": 1}[self.name]


def choose_convention(
    name: ConventionName, *, context: int | None = None, stride: int | None = None, max_seq_len: int
) -> Convention:
    """Return a convention with its settings; None: the default of its tool. `max_seq_len`: the model's context.

    Raises RequestError for an unknown name, a context beyond the model's, and a stride that is out of range or given
    for a convention that has none.
    """
    check_value("convention", name, ConventionName)
    if context is None:
        context = min(_LLAMA_CPP_CONTEXT, max_seq_len) if name == "llama.cpp" else max_seq_len
    if context > max_seq_len:
        raise RequestError(f"context = {context}: the model attends to at most {max_seq_len} tokens")
    if context < 3:
        raise RequestError(f"context = {context}: at least 3 tokens, so that every convention has some to score")
    if name != "sliding":
        if stride is not None:
            raise RequestError(f"stride = {stride}: only the convention sliding has one, {name} has not")
        return Convention(name=name, context=context)
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise RequestError(f"stride = {stride}: it must be from 1 to the context, {context}, else tokens are left out")
    return Convention(name=name, context=context, stride=stride)


def _prefix(tokenizer: Tokenizer) -> int:
    if tokenizer.bos_token_id is not None:
        return tokenizer.bos_token_id
    if not tokenizer.eos_token_ids:
        raise RequestError("the convention lm-eval needs a BOS or end-of-sequence token, and this vocabulary has none")
    return tokenizer.eos_token_ids[0]
