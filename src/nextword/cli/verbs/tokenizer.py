"""`nextword tokenizer train`: a corpus in, a tokenizer made for it out."""

from __future__ import annotations

import dataclasses
from typing import Literal

import tyro

from nextword.cli.arguments import CorpusArgument, FieldArgument, OutputArgument, SkipBadArgument
from nextword.cli.console import note, note_skipped
from nextword.workflows.train_tokenizer import train_tokenizer


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a tokenizer: nextword tokenizer train CORPUS... --vocab-size 4096 -o DIR."""

    action: tyro.conf.Positional[Literal["train"]]
    """Action to take."""
    corpus: CorpusArgument
    output: OutputArgument
    """Folder for tokenizer.json and its settings, as transformers reads them."""
    vocab_size: int = 4096
    """Maximum number of tokens, special ones included."""
    kind: Literal["bpe", "characters"] = "bpe"
    """Byte-level BPE, which can write any text, or a token for each of the most frequent characters, for teaching."""
    json: bool = False
    """Print one JSON object: size and compression of the tokenizer, and an example."""
    field: FieldArgument = "text"
    skip_bad: SkipBadArgument = False


def run(options: Options) -> None:
    """Write the folder, then print the mean bytes per token, and an example."""
    from nextword.cli.json_output import print_json

    trained = train_tokenizer(
        options.corpus,
        output=options.output,
        vocab_size=options.vocab_size,
        kind=options.kind,
        field=options.field,
        skip_bad=options.skip_bad,
    )
    report = trained.report
    note_skipped(trained.num_bad, trained.first_bad)
    if options.json:
        figures = {**dataclasses.asdict(report), "bytes_per_token": report.bytes_per_token}
        print_json({"output": options.output, **figures, "example": trained.example})
        return
    print(trained)
    if report.num_unknown:
        note(f"{report.num_unknown} of {report.num_tokens} tokens stand for characters outside the vocabulary")
