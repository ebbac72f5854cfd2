"""`train_tokenizer`: train a tokenizer on texts, as byte-level BPE or with a token for each character.

Both have the special tokens of pretraining and of chats, so that a model pretrained with them can be fine-tuned on
conversations later. This module reads and writes no files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from nextword.errors import ConfigError, DataError
from nextword.text.pre_tokenizers import build_pre_tokenizer, find_rules
from nextword.text.tokenizer import Tokenizer

TokenizerKind = Literal["bpe", "characters"]

END_OF_TEXT = "<|endoftext|>"
"""End of a document and of every message of a chat: one token that always ends generation."""
UNKNOWN = "<|unknown|>"
"""Token for characters outside a vocabulary of characters."""
CHAT_MARKS = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
"""Chat template of the form that llama.cpp calls "zephyr"."""
_WORDS = "smollm"
"""Pre-tokenizer, by its name in pre_tokenizers: GPT-2's, with each digit on its own."""
_SPECIALS = [END_OF_TEXT, *CHAT_MARKS]
_NUM_BYTES = 256
_LARGEST = 2**31 - 1
"""Tokens of a vocabulary at most: ids have 32 bits everywhere."""


@dataclass(frozen=True)
class TokenizerReport:
    """Size of a text in tokens of a tokenizer."""

    vocab_size: int
    """Tokens of the vocabulary, special ones included."""
    num_bytes: int
    """UTF-8 bytes of the text."""
    num_tokens: int
    """Tokens of the text."""
    num_unknown: int
    """Tokens for characters outside the vocabulary."""

    @property
    def bytes_per_token(self) -> float:
        """Mean bytes of UTF-8 in a token."""
        return self.num_bytes / max(self.num_tokens, 1)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int, kind: TokenizerKind = "bpe") -> Tokenizer:
    """Train a tokenizer of at most `vocab_size` tokens, special ones included.

    The same texts in the same order give the same tokenizer; memory grows with the number of different words only.
    Raises ConfigError for a vocabulary too small for bytes and special tokens, DataError if there is no text.
    """
    smallest = len(_SPECIALS) + (_NUM_BYTES if kind == "bpe" else 2)
    if vocab_size < smallest:
        raise ConfigError(f"a vocabulary of {vocab_size} tokens is too small: {kind} needs at least {smallest}")
    if vocab_size > _LARGEST:
        raise ConfigError(f"a vocabulary of {vocab_size} tokens is too large: at most {_LARGEST} have ids of 32 bits")
    backend = _train_bpe(texts, vocab_size) if kind == "bpe" else _count_characters(texts, vocab_size)
    backend.add_special_tokens(_SPECIALS)
    variables = {"eos_token": END_OF_TEXT} | ({"unk_token": UNKNOWN} if kind == "characters" else {})
    return Tokenizer(
        backend,
        bos_token_id=None,  # most training windows of a long document begin in its middle, without a BOS
        eos_token_ids=(_SPECIALS.index(END_OF_TEXT),),
        chat_template=CHAT_TEMPLATE,
        special_variables=variables,
    )


def measure_tokenizer(tokenizer: Tokenizer, text: str) -> TokenizerReport:
    """Encode a text and count its bytes, tokens and unknown tokens."""
    token_ids = tokenizer.encode(text)
    unknown = tokenizer.special_variables.get("unk_token")
    num_unknown = sum(tokenizer.token_text(token_id) == unknown for token_id in token_ids)
    return TokenizerReport(tokenizer.vocab_size, len(text.encode()), len(token_ids), num_unknown)


def _train_bpe(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = build_pre_tokenizer(find_rules(_WORDS))
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=_SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    seen = _Seen()
    backend.train_from_iterator(seen.pass_on(texts), trainer)
    seen.require_text()
    return backend


def _count_characters(texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Build a vocabulary of the most frequent characters, in the order of Unicode."""
    counts: Counter[str] = Counter()
    seen = _Seen()
    for text in seen.pass_on(texts):
        counts.update(text)
    seen.require_text()
    specials = [*_SPECIALS, UNKNOWN]
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[: vocab_size - len(specials)]
    vocabulary = {token: token_id for token_id, token in enumerate([*specials, *sorted(frequent)])}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    backend.decoder = decoders.Fuse()
    return backend


class _Seen:
    """Check that there was any text: the library trains on none without an error."""

    def __init__(self) -> None:
        self._has_text = False

    def pass_on(self, texts: Iterable[str]) -> Iterable[str]:
        for text in texts:
            self._has_text = self._has_text or bool(text)
            yield text

    def require_text(self) -> None:
        if not self._has_text:
            raise DataError("there is no text to train a tokenizer on: all documents are empty")
