"""`prepare`: a corpus in, a folder of token shards for training out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from nextword.checks import checked_arguments
from nextword.data.selection import SelectionOptions
from nextword.plain_text import count
from nextword.training.options import with_options
from nextword.workflows.paths import FilePath, Files, list_files
from nextword.workflows.training_options import SelectionKeywords

if TYPE_CHECKING:
    from nextword.data.prepare import PrepareReport as PrepareReport

__all__ = ["DEFAULT_SELECTION", "PreparedCorpus", "SelectionOptions", "prepare"]

DEFAULT_SELECTION = SelectionOptions()
"""All documents but empty ones."""


@dataclass(frozen=True, kw_only=True)
class PreparedCorpus:
    """A corpus as tokens on disk, which `pretrain` and `finetune` take in place of files."""

    folder: Path
    """Folder with the tokens and a copy of the tokenizer."""
    report: PrepareReport
    """Documents that were read, kept and left out, and the number of tokens."""
    first_bad: str | None = None
    """Message about the first record that could not be read and was left out."""

    @property
    def num_tokens(self) -> int:
        """Number of tokens in the folder."""
        return self.report.num_tokens

    def __repr__(self) -> str:
        return f"PreparedCorpus({str(self.folder)!r}, {count(self.num_tokens, 'token')})"

    def __str__(self) -> str:
        report, selection = self.report, self.report.selection
        if report.num_tokens == report.num_resumed:
            return f"{report.num_tokens:,} tokens: complete and intact, nothing was left to do"
        documents = "document" if selection.num_kept == 1 else "documents"
        lines = [f"{report.num_tokens:,} tokens of {selection.num_kept:,} {documents}"]
        for reason, number in sorted(selection.left_out.items()):
            lines.append(f"{number:,} of {selection.num_read:,} left out: {reason}")
        return "\n".join(lines)


def ignore_progress(_: PrepareReport) -> None:
    """Do nothing with the report so far."""


@checked_arguments
def prepare(
    corpus: Files,
    *,
    tokenizer: FilePath,
    output: FilePath,
    field: str = "text",
    skip_bad: bool = False,
    selection: SelectionOptions = DEFAULT_SELECTION,
    on_progress: Callable[[PrepareReport], None] = ignore_progress,
    **options: Unpack[SelectionKeywords],
) -> PreparedCorpus:
    """Turn a corpus into tokens for training, in constant memory; an interrupted call resumes.

    `tokenizer`: a model (a name, folder or .gguf file), or a folder that `train_tokenizer` wrote. `output`: folder for
    the tokens and a copy of the tokenizer. `field`: field of a record that holds its text. `skip_bad`: leave out and
    count records that cannot be read. Other keywords are the fields of `SelectionOptions`, such as min_characters or
    deduplicate, and replace those of `selection`. Raises DataError if the folder holds anything else, if the corpus is
    empty or cannot be read, or if writing fails.
    """
    from nextword.checkpoints.catalogue import resolve
    from nextword.checkpoints.open_directory import open_tokenizer
    from nextword.data.prepare import prepare_corpus
    from nextword.data.records import BadRecords

    chosen, bad, folder = with_options(selection, options), BadRecords(skip=skip_bad), Path(output)
    report = prepare_corpus(
        list_files(corpus),
        open_tokenizer(resolve(str(tokenizer))),
        folder,
        field=field,
        selection=chosen,
        on_bad=bad.on_bad,
        on_progress=on_progress,
    )
    return PreparedCorpus(folder=folder, report=report, first_bad=bad.first)
