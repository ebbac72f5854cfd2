"""`Convention`: what exactly a perplexity counts, under the names of the tools that count so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

from nextword.errors import RequestError
from nextword.evaluation.windows import Window, halved_chunks, rolling_windows, sliding_windows
from nextword.text.encode_pieces import encode_pieces
from nextword.text.tokenizer import Tokenizer

ConventionName = Literal["sliding", "llama.cpp", "lm-eval"]
CONVENTION_NAMES: tuple[ConventionName, ...] = get_args(ConventionName)

_LLAMA_CPP_CONTEXT = 512
"""What llama.cpp's tool takes unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """A rule for which tokens are scored, with its settings."""

    name: ConventionName
    context: int
    """Tokens of a window."""
    stride: int | None = None
    """Tokens from the start of a window to the start of the next; of `sliding` only."""

    def windows(self, pieces: Iterable[str], tokenizer: Tokenizer) -> Iterator[Window]:
        """The windows of a text that comes in pieces. Raises RequestError for settings out of range.

        BOS stands before the text where the tokenizer puts one there, as it does for the peer; the prefix of `lm-eval`
        is the BOS that the vocabulary has, whether texts begin with it or not, else the end-of-sequence token.
        """
        if self.name == "lm-eval":
            token_ids = chain.from_iterable(encode_pieces(tokenizer, pieces, add_special_tokens=False))
            return rolling_windows(token_ids, context=self.context, prefix_token_id=_prefix(tokenizer))
        token_ids = chain.from_iterable(encode_pieces(tokenizer, pieces))
        if self.name == "llama.cpp":
            bos_token_id = tokenizer.bos_token_id if tokenizer.add_bos else None
            return halved_chunks(token_ids, context=self.context, bos_token_id=bos_token_id)
        assert self.stride is not None
        return sliding_windows(token_ids, context=self.context, stride=self.stride)

    @property
    def num_needed(self) -> int:
        """Tokens, BOS among them, that a text must have for any of them to be scored."""
        return {"sliding": 2, "llama.cpp": self.context, "lm-eval": 1}[self.name]


def choose_convention(
    name: ConventionName, *, context: int | None = None, stride: int | None = None, max_seq_len: int
) -> Convention:
    """A convention with its settings; None: what its tool takes. `max_seq_len`: how many tokens the model attends to.

    Raises RequestError for an unknown name, a context beyond the model's, and a stride that is out of range or means
    nothing.
    """
    if name not in CONVENTION_NAMES:
        raise RequestError(f"convention = {name!r}: there are {', '.join(CONVENTION_NAMES)}")
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


def num_bos(tokenizer: Tokenizer) -> int:
    """Tokens that the tokenizer puts before a text: 1 or 0."""
    return int(tokenizer.add_bos and tokenizer.bos_token_id is not None)


def _prefix(tokenizer: Tokenizer) -> int:
    if tokenizer.bos_token_id is not None:
        return tokenizer.bos_token_id
    if not tokenizer.eos_token_ids:
        raise RequestError("the convention lm-eval needs a BOS or end-of-sequence token, and this vocabulary has none")
    return tokenizer.eos_token_ids[0]
