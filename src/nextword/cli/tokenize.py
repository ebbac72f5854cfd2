"""`nextword tokenize`: the tokens of a text."""

from __future__ import annotations

import dataclasses
import json

import tyro

from nextword.cli.sources import ModelArgument, text_or_stdin


@dataclasses.dataclass(frozen=True)
class Options:
    """Show the tokens of a text."""

    model: ModelArgument
    text: tyro.conf.Positional[str]
    """The text; - reads standard input."""
    json: bool = False
    """Print a JSON list of token ids."""


def run(options: Options) -> None:
    """Print a line for each token: id and text. The weights are not read."""
    from nextword.checkpoints.catalogue import resolve
    from nextword.checkpoints.open_directory import open_model_directory

    tokenizer = open_model_directory(resolve(options.model)).tokenizer
    token_ids = tokenizer.encode(text_or_stdin(options.text))
    if options.json:
        print(json.dumps(token_ids))
        return
    for token_id in token_ids:
        print(f"{token_id:8d}  {tokenizer.token_text(token_id)!r}")
