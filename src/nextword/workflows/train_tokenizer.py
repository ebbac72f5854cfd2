"""`train_tokenizer`: files of text in, a folder with a tokenizer made for them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nextword.checks import checked_arguments
from nextword.errors import DataError, os_reason
from nextword.plain_text import count
from nextword.workflows.paths import FilePath, Files, list_files

if TYPE_CHECKING:
    from nextword.data.documents import Document
    from nextword.text.tokenizer import Tokenizer
    from nextword.text.train_tokenizer import TokenizerReport

_SAMPLE_CHARACTERS = 1_000_000
_EXAMPLE_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True)
class TrainedTokenizer:
    """A tokenizer that was trained and written."""

    folder: Path
    """Folder with tokenizer.json and its settings, which transformers opens too."""
    tokenizer: Tokenizer = field(repr=False)
    """The tokenizer, ready for use."""
    report: TokenizerReport
    """Tokens and bytes of the first million characters of the corpus."""
    example: tuple[str, ...]
    """Tokens of the beginning of the corpus's first line, as text."""
    num_bad: int = 0
    """Records that could not be read and were left out."""
    first_bad: str | None = None
    """Message about the first of them."""

    def __repr__(self) -> str:
        return f"TrainedTokenizer({str(self.folder)!r}, {count(self.report.vocab_size, 'token')})"

    def __str__(self) -> str:
        figures = f"{self.report.vocab_size:,} tokens, {self.report.bytes_per_token:.2f} bytes/token; for example:"
        return f"{figures}\n{' '.join(map(repr, self.example))}"


@checked_arguments
def train_tokenizer(
    corpus: Files,
    *,
    output: FilePath,
    vocab_size: int = 4096,
    kind: Literal["bpe", "characters"] = "bpe",
    field: str = "text",
    skip_bad: bool = False,
) -> TrainedTokenizer:
    """Train a tokenizer of at most `vocab_size` tokens on a corpus, and write it to the folder `output`.

    `kind`: byte-level BPE, which can write any text, or a token for each of the most frequent characters, for teaching.
    `field`: field of a record that holds its text. `skip_bad`: leave out and count records that cannot be read. Raises
    ConfigError for a vocabulary that is too small, DataError for a corpus that is empty or cannot be read.
    """
    from nextword.data.documents import read_documents
    from nextword.data.records import BadRecords
    from nextword.text.train_tokenizer import measure_tokenizer
    from nextword.text.train_tokenizer import train_tokenizer as train

    bad, sample, folder = BadRecords(skip=skip_bad), list[str](), Path(output)
    documents = read_documents(list_files(corpus), field=field, on_bad=bad.on_bad)
    tokenizer = train(_keep_beginning(documents, sample), vocab_size=vocab_size, kind=kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {os_reason(error)}") from None
    line = next((line for text in sample for line in text.splitlines() if line.strip()), "")
    return TrainedTokenizer(
        folder=folder,
        tokenizer=tokenizer,
        report=measure_tokenizer(tokenizer, "".join(sample)),
        example=tuple(map(tokenizer.token_text, tokenizer.encode(line[:_EXAMPLE_CHARACTERS]))),
        num_bad=bad.num_bad,
        first_bad=bad.first,
    )


def _keep_beginning(documents: Iterable[Document], sample: list[str]) -> Iterator[str]:
    """Yield the texts of the documents, adding the first of them to `sample`."""
    room = _SAMPLE_CHARACTERS
    for document in documents:
        if room > 0:
            sample.append(document.text[:room])
            room -= len(document.text)
        yield document.text
