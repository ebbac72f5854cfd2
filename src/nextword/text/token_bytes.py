"""`TokenBytes`: the bytes that each token adds to a text, read from the decoder of a `tokenizers` tokenizer.

With every decoder of a language model the bytes of the tokens, joined, are the text in UTF-8, so a text can be decoded
a token at a time. Decoders differ in the spelling of tokens, in the space that is removed from the beginning, and in
the replacement of bytes that are not UTF-8.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import tokenizers

from nextword.checks import shown
from nextword.errors import TokenizerError

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Replacement for bytes that are not UTF-8."""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CLEANED = {
    **{f" {mark}": mark for mark in ".?!,"},
    " ' ": "'",
    **{f" {rest}": rest for rest in ("n't", "'m")},
    " do not": " don't",
    **{f" {rest}": rest for rest in ("'s", "'ve", "'re")},
}
"""Replacements in each token, in order, by a WordPiece decoder with `cleanup`."""
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
"""Code points U+DC00 + B, by which Python's "surrogateescape" decodes a byte B that is not UTF-8."""


def is_byte_token(token: str) -> bool:
    """Return True for a token such as <0xE2>, which stands for one byte in vocabularies of pieces."""
    return _BYTE_TOKEN.fullmatch(token) is not None


def checked_token_id(token_id: int) -> int:
    """Return what can be a token id. Raises TokenizerError for anything else."""
    if not isinstance(token_id, (int, Integral)) or not 0 <= token_id < 2**32:
        raise TokenizerError(f"token id {shown(token_id)}: must be a whole number from 0 to {2**32 - 1}")
    return token_id


class TokenBytes:
    """Bytes of each token, and the rules by which bytes become text."""

    def __init__(self, backend: tokenizers.Tokenizer, *, other_tokens: Mapping[int, str]) -> None:
        """Read the decoder. Raises TokenizerError for one that does more than join the bytes of tokens.

        `other_tokens`: tokens by ids that the backend does not know.
        """
        self.removes_space = False
        """True if a space at the very beginning of a text is left out."""
        self._id_to_token = backend.id_to_token
        self._other_tokens = other_tokens
        self._replaces_each_byte = self._is_byte_level = self._joins_words = False
        self._spell = self._read_decoder(_decoder_steps(backend))
        self._literal = self._literal_tokens(backend)
        self._cache: dict[int, bytes] = {}

    def __getitem__(self, token_id: int) -> bytes:
        """Return the bytes of a token; none for an id without a token, such as a padding row of the vocabulary."""
        found = self._cache.get(token_id)
        if found is None:
            token = self._other_tokens.get(token_id, self._id_to_token(token_id))
            spell = str.encode if token in self._literal else self._spell
            found = self._cache[token_id] = b"" if token is None else spell(token)
        return found

    def decoder(self) -> Callable[[bytes, bool], str]:
        """Return an incremental decoder: a function (next bytes, True if they are the last) -> completed characters."""
        if not self._replaces_each_byte:
            return codecs.getincrementaldecoder("utf-8")("replace").decode
        decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        return lambda data, is_last: _ESCAPED_BYTE.sub(REPLACEMENT, decode(data, is_last))

    def show(self, token_id: int) -> str:
        """Return the text of one token for display; bytes of an incomplete character as <0xE2>."""
        text = self[token_id].decode("utf-8", "surrogateescape")
        return _ESCAPED_BYTE.sub(lambda byte: f"<0x{ord(byte[0]) - 0xDC00:02X}>", text)

    def _literal_tokens(self, backend: tokenizers.Tokenizer) -> set[str]:
        """Return the added tokens that are found in a text as they are written.

        An added token such as "café" is no spelling of bytes, though each of its characters can be one. Where the model
        forms the same token from other text too, or a normalizer has spelled it, its spelling counts.
        """
        literal: set[str] = set()
        for token_id, token in {} if self._joins_words else backend.get_added_tokens_decoder().items():
            text = token.content
            is_written = self._id_to_token(token_id) == text and (self._is_byte_level or not token.normalized)
            if is_written and self._spell(text) != text.encode() and not self._is_formed(backend, text):
                literal.add(text)
        return literal

    def _is_formed(self, backend: tokenizers.Tokenizer, token: str) -> bool:
        """Return True if the model itself makes this token of a text."""
        if _BYTE_TOKEN.fullmatch(token) and not self._is_byte_level:
            return True
        try:
            return [formed.value for formed in backend.model.tokenize(token)] == [token]
        except Exception:  # of the library: the model has no token for some character
            return False

    def _read_decoder(self, steps: Sequence[Mapping[str, Any]]) -> Callable[[str], bytes]:
        """Return the function that spells a token as bytes. Raises TokenizerError for an unknown decoder."""
        kinds = [step["type"] for step in steps]
        self._is_byte_level = kinds == ["ByteLevel"]
        if self._is_byte_level:
            return _byte_level_spelling()
        if kinds == ["Metaspace"]:
            self.removes_space = steps[0]["prepend_scheme"] != "never"
            return _piece_spelling({steps[0]["replacement"]: " "})
        self._joins_words = kinds in ([], ["WordPiece"])
        if self._joins_words:  # with spaces between
            self.removes_space = True
            return _word_spelling(steps[0] if steps else {"prefix": None, "cleanup": False})
        if not _is_piece_decoder(steps):
            raise TokenizerError(
                f"the tokenizer's decoder ({', '.join(kinds)}) is unknown; known are ByteLevel, Metaspace, WordPiece,"
                " and Replace, ByteFallback, Fuse, Strip of one space at the beginning"
            )
        self.removes_space = "Strip" in kinds
        # SentencePiece replaces each byte that is not UTF-8; others replace each truncated character once, as the
        # Unicode standard advises.
        self._replaces_each_byte = "ByteFallback" in kinds
        replacements = {step["pattern"]["String"]: step["content"] for step in steps if step["type"] == "Replace"}
        return _piece_spelling(replacements, has_bytes="ByteFallback" in kinds)


def _decoder_steps(backend: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    """Return the steps of the decoder as in tokenizer.json, in order."""
    if backend.decoder is None:
        return []
    step = json.loads(backend.decoder.__getstate__())
    return list(step["decoders"]) if step["type"] == "Sequence" else [step]


def _is_piece_decoder(steps: Sequence[Mapping[str, Any]]) -> bool:
    kinds = "".join(f"{step['type']} " for step in steps)
    return (
        re.fullmatch(r"(Replace )*(ByteFallback )?Fuse (Strip )?", kinds) is not None
        and all("String" in step["pattern"] for step in steps if step["type"] == "Replace")
        and all(
            (step["content"], step["start"], step["stop"]) == (" ", 1, 0) for step in steps if step["type"] == "Strip"
        )
    )


def _byte_level_spelling() -> Callable[[str], bytes]:
    """Spell byte-level tokens, a byte for each character; added tokens with other characters stay as they are."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(0x100) if byte not in printable)
    alphabet = {chr(byte): byte for byte in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}

    def spell(token: str) -> bytes:
        if all(character in alphabet for character in token):
            return bytes(alphabet[character] for character in token)
        return token.encode()

    return spell


def _word_spelling(step: Mapping[str, Any]) -> Callable[[str], bytes]:
    """Spell tokens that are words, or with `prefix` the rest of a word."""
    prefix: str | None = step["prefix"]

    def spell(token: str) -> bytes:
        word = token[len(prefix) :] if prefix and token.startswith(prefix) else f" {token}"
        for written, cleaned in _CLEANED.items() if step["cleanup"] else ():
            word = word.replace(written, cleaned)
        return word.encode()

    return spell


def _piece_spelling(replacements: Mapping[str, str], *, has_bytes: bool = False) -> Callable[[str], bytes]:
    """Spell tokens that are pieces of text with other spaces, some of them single bytes such as <0xE2>."""

    def spell(token: str) -> bytes:
        for old, new in replacements.items():
            token = token.replace(old, new)
        byte = _BYTE_TOKEN.fullmatch(token) if has_bytes else None
        return token.encode() if byte is None else bytes([int(byte[1], 16)])

    return spell
