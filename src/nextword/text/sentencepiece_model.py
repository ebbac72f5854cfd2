"""`read_sentencepiece_model`: the fields of a SentencePiece model (`tokenizer.model`) that decide about tokens.

The file is a ModelProto of sentencepiece_model.proto in the wire format of protocol buffers: fields by number, each a
varint, eight or four bytes, or bytes with their length before them. Fields that are not named here are skipped.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nextword.errors import CheckpointError, TokenizerError
from nextword.input_file import read_bounded
from nextword.text.piece_tokenizer import TokenKind

_LARGEST_BYTES = 64_000_000
"""Limit far above the largest published file, of 5 MB."""
_MOST_PIECES = 2_000_000
_LONGEST_PIECE = 512
"""Most characters of a piece; SentencePiece trains pieces of up to 16, and every cut of a piece is looked up."""

_PIECES, _TRAINING, _NORMALIZATION, _DENORMALIZATION = 1, 2, 3, 5
"""Fields of a ModelProto."""
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
"""Kinds of values."""
_UNIGRAM, _BPE = 1, 2
_MODEL_TYPES = {3: "WORD", 4: "CHAR"}
_NO_ID = -1

_Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One entry of the vocabulary."""

    text: str
    score: float
    kind: TokenKind


@dataclass(frozen=True, kw_only=True)
class SentencePieceModel:
    """Vocabulary and settings of a SentencePiece model."""

    pieces: tuple[Piece, ...]
    is_unigram: bool
    """Unigram, else BPE."""
    has_byte_fallback: bool
    """Characters outside the vocabulary become their bytes."""
    unknown_id: int
    roles: dict[str, str]
    """Special tokens by name, such as bos_token."""
    charsmap: bytes
    """Replacements of characters, precompiled; b"" for none."""
    adds_prefix: bool
    """A space is put before each text."""
    cleans_spaces: bool
    """Spaces around a text are left out, and runs of them become one."""


def read_sentencepiece_model(path: Path) -> SentencePieceModel:
    """Read a model. Raises CheckpointError naming the file if it is damaged, too large, or of a kind not supported."""
    content = read_bounded(path, most=_LARGEST_BYTES, kind="a SentencePiece model")
    try:
        return _model(content)
    except TokenizerError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _model(content: bytes) -> SentencePieceModel:
    fields = _fields(content)
    entries = _all_bytes(fields, _PIECES)
    if not 0 < len(entries) <= _MOST_PIECES:
        raise TokenizerError(f"{len(entries)} pieces; a SentencePiece model has 1 to {_MOST_PIECES}")
    pieces = tuple(_piece(entry, place) for place, entry in enumerate(entries))
    training, spaces = _message(fields, _TRAINING), _message(fields, _NORMALIZATION)
    model_type = _number(training, 3, _UNIGRAM)
    if model_type not in (_UNIGRAM, _BPE):
        raise TokenizerError(f"model_type is {_MODEL_TYPES.get(model_type, model_type)}; UNIGRAM and BPE are read")
    if _number(training, 24, 0):
        raise TokenizerError("treat_whitespace_as_suffix is true; only spaces before words are read")
    if not _number(spaces, 5, 1):
        raise TokenizerError("escape_whitespaces is false; only models with replaced spaces are read")
    if _bytes(_message(fields, _DENORMALIZATION), 2):
        raise TokenizerError("denormalizer_spec replaces characters of decoded texts, which is not supported")
    return SentencePieceModel(
        pieces=pieces,
        is_unigram=model_type == _UNIGRAM,
        has_byte_fallback=bool(_number(training, 35, 0)),
        unknown_id=_unknown_id(training, pieces),
        roles=_roles(training),
        charsmap=_bytes(spaces, 2),
        adds_prefix=bool(_number(spaces, 3, 1)),
        cleans_spaces=bool(_number(spaces, 4, 1)),
    )


def _piece(entry: bytes, place: int) -> Piece:
    fields = _fields(entry)
    text, number = _text(fields, 1, "", f"piece {place}"), _number(fields, 3, TokenKind.NORMAL)
    score = _float(fields, 2)
    if not 0 < len(text) <= _LONGEST_PIECE:
        raise TokenizerError(f"piece {place} has {len(text)} characters; expected 1 to {_LONGEST_PIECE}")
    if number not in set(TokenKind) or not math.isfinite(score):
        raise TokenizerError(f"piece {place}, {text!r:.40}, has type {number} and score {score}: no SentencePiece")
    return Piece(text=text, score=score, kind=TokenKind(number))


def _unknown_id(training: _Fields, pieces: tuple[Piece, ...]) -> int:
    """Return the id of the piece that stands for what has no other; the file names it twice."""
    unknown_id, text = _number(training, 40, 0), _text(training, 45, "<unk>", "unk_piece")
    found = [place for place, piece in enumerate(pieces) if piece.kind is TokenKind.UNKNOWN]
    if found != [unknown_id] or pieces[unknown_id].text != text:
        raise TokenizerError(
            f"unk_id is {unknown_id} and unk_piece {text!r:.40}, but pieces of that type are {found!r:.40}"
        )
    return unknown_id


def _roles(training: _Fields) -> dict[str, str]:
    """Return the names of special tokens as transformers takes them from the file: of BOS, EOS and UNK."""
    numbers = {"bos_token": (41, 1, 46, "<s>"), "eos_token": (42, 2, 47, "</s>"), "unk_token": (40, 0, 45, "<unk>")}
    return {
        role: _text(training, text_field, text, role)
        for role, (id_field, token_id, text_field, text) in numbers.items()
        if _number(training, id_field, token_id) >= 0
    }


def _fields(message: bytes) -> _Fields:
    """Return the values of a message by field. Raises TokenizerError where its lengths do not fit."""
    fields: _Fields = {}
    for number, value in _values(message):
        fields.setdefault(number, []).append(value)
    return fields


def _values(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise _damaged()
        if size > len(message) - place:
            raise _damaged()
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return a number of up to 64 bits, seven to a byte, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        value, place = value | (byte & 0x7F) << shift, place + 1
        if byte < 0x80:
            return value, place
    raise _damaged()


def _damaged() -> TokenizerError:
    return TokenizerError("no SentencePiece model, or one that was cut off; fetch it again")


def _all_bytes(fields: _Fields, number: int) -> list[bytes]:
    values = fields.get(number, [])
    found = [value for value in values if isinstance(value, bytes)]
    if len(found) != len(values):
        raise _damaged()
    return found


def _message(fields: _Fields, number: int) -> _Fields:
    """Return a message inside a message; given in parts, the parts count together."""
    return _fields(b"".join(_all_bytes(fields, number)))


def _bytes(fields: _Fields, number: int) -> bytes:
    return (_all_bytes(fields, number) or [b""])[-1]


def _text(fields: _Fields, number: int, default: str, name: str) -> str:
    found = _all_bytes(fields, number)
    try:
        return found[-1].decode() if found else default
    except UnicodeDecodeError:
        raise TokenizerError(f"{name} is not UTF-8: {found[-1]!r:.60}") from None


def _number(fields: _Fields, number: int, default: int) -> int:
    """Return a whole number of 32 bits with a sign, of which negative ones are written with 64."""
    value = fields.get(number, [default])[-1]
    if isinstance(value, bytes):
        raise _damaged()
    return value - 2**64 if value >= 2**63 else value


def _float(fields: _Fields, number: int) -> float:
    value = fields.get(number, [bytes(4)])[-1]
    if isinstance(value, int) or len(value) != 4:
        raise _damaged()
    return float(struct.unpack("<f", value)[0])
