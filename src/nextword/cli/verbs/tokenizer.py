"""`nextword tokenizer train`: a corpus in, a tokenizer made for it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from nextword.cli.arguments import CorpusArgument, FieldArgument, OutputArgument, Reader, SkipBadArgument
from nextword.cli.console import note
from nextword.errors import DataError

if TYPE_CHECKING:
    from nextword.data.documents import Document
    from nextword.text.tokenizer import Tokenizer
    from nextword.text.train_tokenizer import TokenizerReport

_SAMPLE_CHARACTERS = 1_000_000
_SHOWN_CHARACTERS = 60


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a tokenizer: nextword tokenizer train CORPUS... --vocab-size 4096 -o DIR."""

    action: tyro.conf.Positional[Literal["train"]]
    """What to do."""
    corpus: CorpusArgument
    output: OutputArgument
    """Folder for tokenizer.json and its settings, as transformers reads them."""
    vocab_size: int = 4096
    """Tokens at most, special ones included."""
    kind: Literal["bpe", "characters"] = "bpe"
    """Byte-level BPE, which can write any text, or a token for each of the most frequent characters, for teaching."""
    json: bool = False
    """Print one JSON object: what the tokenizer makes of the beginning of the corpus."""
    field: FieldArgument = "text"
    skip_bad: SkipBadArgument = False


def run(options: Options) -> None:
    """Write the folder, then print how much text a token holds, and an example."""
    from nextword.text.train_tokenizer import measure_tokenizer, train_tokenizer

    reader = Reader(options.corpus, field=options.field, skip_bad=options.skip_bad)
    sample: list[str] = []
    texts = _keep_beginning(reader.documents(), sample)
    tokenizer = train_tokenizer(texts, vocab_size=options.vocab_size, kind=options.kind)
    _save(tokenizer, Path(options.output))
    reader.note_skipped()
    _print_report(options, tokenizer, measure_tokenizer(tokenizer, "".join(sample)), sample)


def _keep_beginning(documents: Iterable[Document], sample: list[str]) -> Iterator[str]:
    """The texts of the documents; the first of them are added to `sample` in passing."""
    room = _SAMPLE_CHARACTERS
    for document in documents:
        if room > 0:
            sample.append(document.text[:room])
            room -= len(document.text)
        yield document.text


def _save(tokenizer: Tokenizer, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}") from None


def _print_report(options: Options, tokenizer: Tokenizer, report: TokenizerReport, sample: list[str]) -> None:
    from nextword.cli.json_output import print_json

    line = next(line for text in sample for line in text.splitlines() if line.strip())[:_SHOWN_CHARACTERS]
    tokens = [tokenizer.token_text(token_id) for token_id in tokenizer.encode(line)]
    if options.json:
        figures = {**dataclasses.asdict(report), "bytes_per_token": report.bytes_per_token}
        print_json({"output": options.output, **figures, "example": tokens})
        return
    print(f"{report.vocab_size:,} tokens, {report.bytes_per_token:.2f} bytes/token; for example:")
    print(" ".join(map(repr, tokens)))
    if report.num_unknown:
        note(f"{report.num_unknown} of {report.num_tokens} tokens stand for characters that the vocabulary has not")
