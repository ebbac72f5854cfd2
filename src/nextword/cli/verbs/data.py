"""`nextword data show`: an example as the model will see it in training, with the tokens that carry loss."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated, Literal

import tyro

from nextword.cli.arguments import ModelArgument
from nextword.cli.console import takes_colours
from nextword.workflows.training_example import training_example

_GREEN = ("\033[32m", "\033[0m")


@dataclasses.dataclass(frozen=True)
class Options:
    """Show an example of a file as the model's chat template writes it: nextword data show MODEL chats.jsonl.

    The tokens that carry loss are green, or stand between ⟦ and ⟧ where there are no colours.
    """

    action: tyro.conf.Positional[Literal["show"]]
    """Action to take."""
    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """Examples as .jsonl, .json or .parquet: messages, ShareGPT, instruction and output, prompt and completion."""
    number: int = 1
    """Which example, from 1."""
    user: str | None = None
    """For records of another form: what the user says, with fields in braces, as in "Summarise: {dialogue}"."""
    answer: str | None = None
    """For records of another form: the field that holds the answer."""
    chat_template: Annotated[str | None, tyro.conf.arg(metavar="chatml|FILE")] = None
    """Template of chats in the place of the model's own."""
    json: bool = False
    """Print one JSON object: each token, and whether it carries loss."""


def run(options: Options) -> None:
    """Print the example, then how many of its tokens carry loss."""
    from nextword.cli.json_output import print_json

    example = training_example(
        options.model,
        options.file,
        number=options.number,
        user=options.user,
        answer=options.answer,
        chat_template=options.chat_template,
    )
    if options.json:
        print_json({"place": example.place, "tokens": [dataclasses.asdict(token) for token in example.tokens]})
        return
    print(example.marked(*_GREEN) if takes_colours(sys.stdout) else example.marked())
    print(example.caption)
