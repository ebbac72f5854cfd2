"""`prepare_corpus`: encode a corpus into token shards, in constant memory; an interrupted run can be resumed.

The resulting folder depends on corpus, tokenizer and settings alone: not on interruptions or the number of cores.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from nextword.data.documents import Document, read_documents
from nextword.data.files import find_files
from nextword.data.records import OnBad
from nextword.data.selection import SelectionOptions, SelectionReport, select
from nextword.data.shards import (
    HEADER_NAME,
    SHARD_TOKENS,
    Header,
    ShardWriter,
    TokenShards,
    read_header,
    smallest_dtype,
    write_header,
)
from nextword.errors import DataError, os_reason
from nextword.text.tokenizer import Tokenizer

TOKENIZER_FOLDER = "tokenizer"
"""Subfolder with the tokenizer, so that the prepared folder is all that training needs."""
_LONGEST_PIECE = 1 << 20
"""Maximum number of characters of a piece; encoding takes about a hundred bytes for each token."""
_BATCH_CHARACTERS = 1 << 22
_BATCH_TEXTS = 1024


@dataclasses.dataclass
class PrepareReport:
    """Counts of a run: documents selected, unreadable, tokens written."""

    selection: SelectionReport = dataclasses.field(default_factory=SelectionReport)
    """Documents read, kept and left out."""
    num_unreadable: int = 0
    """Records that cannot be read."""
    num_tokens: int = 0
    """Tokens in the folder."""
    num_resumed: int = 0
    """Tokens that an interrupted run had written before."""


def prepare_corpus(
    paths: Sequence[Path | str],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    field: str = "text",
    selection: SelectionOptions | None = None,
    on_bad: OnBad = None,
    on_progress: Callable[[PrepareReport], None] = lambda report: None,
    shard_tokens: int = SHARD_TOKENS,
) -> PrepareReport:
    """Write the tokens of a corpus: of each document, with what the tokenizer puts around texts, and the end token.

    A folder that the same call has begun is completed; a complete one is checked against its checksums. Raises
    DataError if the folder holds anything else, if a text cannot be read and `on_bad` is None, if the tokenizer has no
    end token, or if writing fails.
    """
    selection = selection or SelectionOptions()
    report = PrepareReport()
    header = _begin(folder, tokenizer, _fingerprint(paths, field, selection))
    report.num_resumed = report.num_tokens = header.num_tokens
    if header.is_complete:
        TokenShards(folder).check_content()
        return report

    counting = _counting(report, on_bad)
    documents = read_documents(paths, field=field, on_bad=counting, longest_piece=_LONGEST_PIECE)
    kept = _with_ends(select(documents, selection, report.selection))
    try:
        writer = _open_writer(folder, header, tokenizer, shard_tokens)
        for pieces in _batches(itertools.islice(kept, header.num_pieces, None)):
            _encode(pieces, tokenizer, writer, report)
            on_progress(report)
        if report.num_tokens:
            writer.finish()
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {os_reason(error)}") from None
    if not report.num_tokens:
        raise DataError("no document remains: the corpus is empty, or every document was left out")
    return report


def _counting(report: PrepareReport, on_bad: OnBad) -> OnBad:
    """Return a function that counts an unreadable record before `on_bad` is called; None without it."""
    if on_bad is None:
        return None

    def count_bad(error: DataError) -> None:
        report.num_unreadable += 1
        on_bad(error)

    return count_bad


def _open_writer(folder: Path, header: Header, tokenizer: Tokenizer, shard_tokens: int) -> ShardWriter:
    """Write header and tokenizer, remove files of a killed run, and open a writer for the next shard."""
    (folder / TOKENIZER_FOLDER).mkdir(parents=True, exist_ok=True)
    for partial in folder.glob(".*.partial"):
        partial.unlink()
    write_header(folder, header)  # first, so that an interrupted run is recognised
    tokenizer.save(folder / TOKENIZER_FOLDER)
    return ShardWriter(folder, header, shard_tokens=shard_tokens)


def prepared_folder(paths: Sequence[Path | str]) -> Path | None:
    """Return the path if it is one prepared folder of tokens; None for files of text.

    Raises DataError if a prepared folder is named beside other paths.
    """
    folders = [Path(path) for path in paths if (Path(path) / HEADER_NAME).is_file()]
    if folders and len(paths) > 1:
        raise DataError(f"{folders[0]}: holds prepared tokens, which must be the only path: leave out the others")
    return folders[0] if folders else None


def _begin(folder: Path, tokenizer: Tokenizer, source: str) -> Header:
    """Return the header to continue from: that of the folder, or an empty one."""
    if not tokenizer.eos_token_ids:
        raise DataError("the tokenizer has no end-of-sequence token to put between documents")
    fresh = Header(smallest_dtype(tokenizer.vocab_size), tokenizer.fingerprint, source)
    if (folder / HEADER_NAME).exists():
        header = read_header(folder)
        if (header.tokenizer, header.source) != (fresh.tokenizer, fresh.source):
            raise DataError(f"{folder}: holds tokens of another corpus, tokenizer or selection; choose another folder")
        return header
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: exists and is no folder; choose another")
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DataError(f"{folder}: exists and holds no tokens; choose another folder")
    return fresh


def _fingerprint(paths: Sequence[Path | str], field: str, selection: SelectionOptions) -> str:
    """Hash the settings, and path and size of each file: they decide which documents come in which order."""
    files = [(str(path.resolve()), path.stat().st_size) for path in find_files(paths)]
    settings = json.dumps([files, field, dataclasses.asdict(selection)])
    return hashlib.sha256(settings.encode()).hexdigest()


_Piece = tuple[Document, bool]
"""Piece of a document, and True if it is the last one."""


def _with_ends(documents: Iterable[Document]) -> Iterator[_Piece]:
    previous: Document | None = None
    for document in documents:
        if previous is not None:
            yield previous, not document.continues
        previous = document
    if previous is not None:
        yield previous, True


def _batches(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Group pieces into batches that are large enough to use all cores."""
    batch: list[_Piece] = []
    num_characters = 0
    for piece in pieces:
        batch.append(piece)
        num_characters += len(piece[0].text)
        if num_characters >= _BATCH_CHARACTERS or len(batch) == _BATCH_TEXTS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch


def _encode(pieces: Sequence[_Piece], tokenizer: Tokenizer, writer: ShardWriter, report: PrepareReport) -> None:
    encoded = tokenizer.encode_batch([document.text for document, _ in pieces], add_special_tokens=False)
    end = tokenizer.eos_token_ids[0]
    for (document, is_end), token_ids in zip(pieces, encoded, strict=True):
        if not document.continues:
            token_ids = [*tokenizer.prefix_token_ids, *token_ids]
        if is_end:
            last = [*tokenizer.suffix_token_ids, end]
            token_ids += last[:-1] if last[-2:-1] == [end] else last
        writer.add(token_ids, ends_document=is_end)
        report.num_tokens += len(token_ids)
