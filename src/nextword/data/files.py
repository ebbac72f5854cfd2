"""Files of a corpus: find them by path or folder, and open them decompressed. It knows no records."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from nextword.errors import DataError, MissingExtraError, os_reason

TEXT, LINES, JSON, PARQUET = "text", "lines", "json", "parquet"
KINDS = {
    ".txt": TEXT,
    ".text": TEXT,
    ".md": TEXT,
    ".jsonl": LINES,
    ".ndjson": LINES,
    ".json": JSON,
    ".parquet": PARQUET,
}
"""Kind of a file by the end of its name; a file with any other end is text if it is named itself."""
RECORD_KINDS = (LINES, JSON, PARQUET)
"""Kinds of files that hold records with fields."""
ALL_KINDS = (TEXT, *RECORD_KINDS)
_COMPRESSED = (".gz", ".zst")


def find_files(paths: Sequence[Path | str], *, kinds: Collection[str] = ALL_KINDS) -> list[Path]:
    """Find the files named, and those of these kinds below the folders named, in the order of their names.

    Raises DataError if a path does not exist, or a folder holds no file of these kinds.
    """
    return [file for path in paths for file in _files_of(Path(path), kinds)]


def file_kind(path: Path) -> str:
    """Return the kind of a file: TEXT, LINES (a JSON value on each line), JSON or PARQUET."""
    return KINDS.get(bare_name(path).suffix.lower(), TEXT)


@contextlib.contextmanager
def open_decompressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, decompressed by the end of its name: .gz, .zst.

    Raises DataError, also for errors inside the block, if the file cannot be read or the compressed data are damaged;
    MissingExtraError for .zst without a library for it.
    """
    try:
        with path.open("rb") as raw, _decompress(raw, path) as stream:
            yield stream
    except OSError as error:  # damaged gzip is one too, without a strerror
        raise DataError(f"{path}: cannot be read: {os_reason(error)}") from None
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged: {error}; fetch the file again") from None
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # of whichever library was there
            raise
        raise DataError(f"{path}: damaged: {error}; fetch the file again") from None


def _files_of(path: Path, kinds: Collection[str]) -> Iterator[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and _is_corpus(file.relative_to(path), kinds))
        if not files:
            ends = ", ".join(end for end, kind in KINDS.items() if kind in kinds)
            raise DataError(f"{path}: no file in this folder ends in {ends} (or these with .gz, .zst)")
        yield from files
    elif path.exists():
        yield path
    else:
        raise DataError(f"{path}: no such file or folder")


def _is_corpus(path: Path, kinds: Collection[str]) -> bool:
    is_hidden = any(part.startswith(".") for part in path.parts)
    return not is_hidden and KINDS.get(bare_name(path).suffix.lower()) in kinds


def bare_name(path: Path) -> Path:
    """Return the path without the end that names its compression."""
    return path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path


def _decompress(raw: IO[bytes], path: Path) -> Any:
    match path.suffix.lower():
        case ".gz":
            return gzip.open(raw)
        case ".zst":
            return _open_zstd(raw)
        case _:
            return contextlib.nullcontext(raw)


def _open_zstd(raw: IO[bytes]) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.open(raw)
    try:
        import zstandard
    except ModuleNotFoundError:
        raise MissingExtraError("zstandard is not installed: pip install 'nextword[data]'") from None
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
