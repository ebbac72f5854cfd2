"""A vocabulary as GGUF files carry it, made into a `tokenizers` tokenizer: byte-level BPE with a named pre-tokenizer.

In: plain lists. Out: the library's tokenizer. It knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from nextword.errors import TokenizerError

_CONTROL, _USER_DEFINED = 3, 4
"""Token types of GGUF that stand outside the merges."""

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS: dict[str, str | None] = {
    "gpt-2": None,
    "default": None,
    "smollm": None,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"),
}
"""Pre-tokenizer name -> regular expression of the words; None: GPT-2's own, which the library has built in."""

_SINGLE_DIGITS = {"smollm"}
"""Pre-tokenizers that first set every digit apart."""


def byte_level_bpe(
    tokens: Sequence[str], merges: Sequence[str], token_types: Sequence[int], *, pre_tokenizer: str
) -> tokenizers.Tokenizer:
    """The tokenizer of a GGUF vocabulary of model "gpt2". Raises TokenizerError for an unknown pre-tokenizer name."""
    if pre_tokenizer not in _PATTERNS:
        known = ", ".join(sorted(_PATTERNS))
        raise TokenizerError(f"tokenizer.ggml.pre = {pre_tokenizer!r}: not among the known pre-tokenizers ({known})")
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    pairs = [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)]
    try:
        backend = tokenizers.Tokenizer(
            models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=pre_tokenizer == "llama-bpe")
        )
    except Exception as error:  # the library raises bare Exception
        raise TokenizerError(f"tokenizer.ggml.merges do not fit tokenizer.ggml.tokens: {error}") from None
    backend.pre_tokenizer = _pre_tokenizer(pre_tokenizer)
    backend.decoder = decoders.ByteLevel()
    for special, kind in ((True, _CONTROL), (False, _USER_DEFINED)):
        added = [token for token, token_type in zip(tokens, token_types, strict=False) if token_type == kind]
        backend.add_tokens([tokenizers.AddedToken(token, special=special, normalized=False) for token in added])
    return backend


def _pre_tokenizer(name: str) -> pre_tokenizers.PreTokenizer:
    pattern = _PATTERNS[name]
    steps: list[pre_tokenizers.PreTokenizer] = []
    if name in _SINGLE_DIGITS:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None))
    return pre_tokenizers.Sequence(steps)
