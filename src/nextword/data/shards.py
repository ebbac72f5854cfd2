"""Token shards: the tokens of a corpus in memory-mapped files, with the ends of its documents.

A folder holds tokens.json (the header), and for each shard its tokens and the ends of its documents, as arrays of plain
little-endian numbers. The shards are one long sequence of tokens: a document may lie in two of them. This module knows
no text.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nextword.atomic_file import write_atomically
from nextword.data.batch import TokenArray
from nextword.errors import DataError, os_reason
from nextword.json_file import read_json_object

HEADER_NAME = "tokens.json"
_FORMAT = "nextword tokens 1"
_DTYPES: Mapping[str, np.dtype[Any]] = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
_END_DTYPE = np.dtype("<u8")
SHARD_TOKENS = 1 << 24
"""Tokens from which on a shard is written: 32 or 64 MB, held in memory until then."""


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """Entry of the header about one shard."""

    name: str
    num_tokens: int
    num_documents: int
    """Documents that end in the shard."""
    tokens_crc32: int
    ends_crc32: int

    def tokens_path(self, folder: Path) -> Path:
        """Return the path of the file with its tokens."""
        return folder / f"{self.name}.tokens"

    def ends_path(self, folder: Path) -> Path:
        """Return the path of the file with the ends of its documents."""
        return folder / f"{self.name}.ends"


@dataclasses.dataclass(frozen=True)
class Header:
    """Content of tokens.json."""

    dtype: str
    """Type of the token ids: uint16 or uint32."""
    tokenizer: str
    """Fingerprint of the tokenizer."""
    source: str
    """Fingerprint of the corpus and of all settings."""
    num_pieces: int = 0
    """Pieces of the corpus in the shards, after which an interrupted run continues."""
    is_complete: bool = False
    shards: tuple[ShardInfo, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Tokens of all shards."""
        return sum(shard.num_tokens for shard in self.shards)


def smallest_dtype(vocab_size: int) -> str:
    """Return the smallest type for token ids below `vocab_size`."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def read_header(folder: Path) -> Header:
    """Read tokens.json. Raises DataError, naming the file, if it is damaged; CheckpointError if it is no JSON."""
    path = folder / HEADER_NAME
    content = read_json_object(path)
    try:
        if content.pop("format") != _FORMAT:
            raise DataError(f"{path}: not {_FORMAT!r}; prepare the corpus again")
        shards = tuple(ShardInfo(**shard) for shard in content.pop("shards"))
        header = Header(**content, shards=shards)
        sizes = [size for shard in shards for size in (shard.num_tokens, shard.num_documents)]
        if not all(isinstance(size, int) and size >= 0 for size in [header.num_pieces, *sizes]):
            raise TypeError("sizes must be whole numbers from 0")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged: {error}; prepare the corpus again") from None
    if header.dtype not in _DTYPES:
        raise DataError(f"{path}: dtype {header.dtype!r} is not one of {', '.join(_DTYPES)}")
    return header


def write_header(folder: Path, header: Header) -> None:
    """Write tokens.json atomically. Raises OSError if writing fails."""
    content: Mapping[str, Any] = {"format": _FORMAT, **dataclasses.asdict(header)}
    with write_atomically(folder / HEADER_NAME) as out:
        out.write((json.dumps(content, indent=1) + "\n").encode())


class ShardWriter:
    """Writer of shards, which holds the tokens of one shard in memory. After an interruption it begins a new shard."""

    def __init__(self, folder: Path, header: Header, *, shard_tokens: int = SHARD_TOKENS) -> None:
        self.header = header
        self._folder, self._shard_tokens = folder, shard_tokens
        self._parts: list[npt.NDArray[Any]] = []
        self._ends: list[int] = []
        self._num_tokens = self._num_pieces = 0

    def add(self, token_ids: Sequence[int], *, ends_document: bool) -> None:
        """Append the tokens of the next piece of text; write the shard, and the header, once it is full."""
        self._parts.append(np.asarray(token_ids, _DTYPES[self.header.dtype]))
        self._num_tokens += len(token_ids)
        self._num_pieces += 1
        if ends_document:
            self._ends.append(self._num_tokens)
        if self._num_tokens >= self._shard_tokens:
            self._write_shard(is_complete=False)

    def finish(self) -> Header:
        """Write the last shard and mark the folder as complete."""
        self._write_shard(is_complete=True)
        return self.header

    def _write_shard(self, *, is_complete: bool) -> None:
        shards = self.header.shards
        if self._parts:
            tokens = np.concatenate(self._parts).tobytes()
            ends = np.asarray(self._ends, _END_DTYPE).tobytes()
            shard = ShardInfo(
                f"shard-{len(shards):05d}", self._num_tokens, len(self._ends), zlib.crc32(tokens), zlib.crc32(ends)
            )
            for path, content in ((shard.tokens_path(self._folder), tokens), (shard.ends_path(self._folder), ends)):
                with write_atomically(path) as out:
                    out.write(content)
            shards = (*shards, shard)
        num_pieces = self.header.num_pieces + self._num_pieces
        self.header = dataclasses.replace(self.header, shards=shards, num_pieces=num_pieces, is_complete=is_complete)
        write_header(self._folder, self.header)
        self._parts, self._ends = [], []
        self._num_tokens = self._num_pieces = 0


class TokenShards:
    """Tokens of a prepared corpus, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        """Map the shards. Raises DataError if the folder is incomplete, or a file is missing or has another size."""
        self.folder = folder
        self.header = read_header(folder)
        if not self.header.is_complete:
            raise DataError(f"{folder}: not complete: run the same `nextword prepare` again to resume it")
        dtype = _DTYPES[self.header.dtype]
        self._tokens = [_map(s.tokens_path(folder), dtype, s.num_tokens) for s in self.header.shards]
        sizes = [shard.num_tokens for shard in self.header.shards]
        self._starts = np.cumsum([0, *sizes])
        ends = [_map(shard.ends_path(folder), _END_DTYPE, shard.num_documents) for shard in self.header.shards]
        self.document_ends: TokenArray = np.concatenate(
            [np.empty(0, np.int64)]
            + [part.astype(np.int64) + start for part, start in zip(ends, self._starts[:-1], strict=True)]
        )
        """End of each document, (documents,) int64: the index after its last token."""
        self._check_ends()

    @property
    def num_tokens(self) -> int:
        """Tokens of all shards."""
        return int(self._starts[-1])

    def read(self, start: int, stop: int) -> TokenArray:
        """Read the tokens from `start` to `stop` (exclusive), (stop - start,) int64."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts = []
        while start < stop:
            base = int(self._starts[first])
            part = self._tokens[first][start - base : stop - base]
            parts.append(part.astype(np.int64))
            start += len(part)
            first += 1
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def check_content(self) -> None:
        """Read all files. Raises DataError, naming the file, if a checksum is not that of the header."""
        for shard in self.header.shards:
            for path, crc32 in (
                (shard.tokens_path(self.folder), shard.tokens_crc32),
                (shard.ends_path(self.folder), shard.ends_crc32),
            ):
                if zlib.crc32(path.read_bytes()) != crc32:
                    raise DataError(
                        f"{path}: damaged: another checksum than in {HEADER_NAME}; prepare the corpus again"
                    )

    def _check_ends(self) -> None:
        ends = self.document_ends
        last = int(ends[-1]) if len(ends) else 0
        if last != self.num_tokens or (np.diff(ends, prepend=0) <= 0).any():
            raise DataError(f"{self.folder}: damaged: the ends of documents do not fit the tokens; prepare it again")


def _map(path: Path, dtype: np.dtype[Any], size: int) -> npt.NDArray[Any]:
    """Map the numbers in a file. Raises DataError if it does not hold `size` of them."""
    try:
        found = path.stat().st_size
        if found != size * dtype.itemsize:
            raise DataError(f"{path}: damaged: {found} bytes instead of {size * dtype.itemsize}; prepare it again")
        return np.memmap(path, dtype, mode="r") if size else np.empty(0, dtype)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {os_reason(error)}") from None
