"""`nextword data show`: an example as the model will see it in training, with the tokens that carry loss."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nextword.cli.arguments import ModelArgument
from nextword.cli.console import count, takes_colours
from nextword.errors import RequestError

if TYPE_CHECKING:
    from nextword.data.chats import Chat
    from nextword.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Options:
    """Show an example of a file as the model's chat template writes it: nextword data show MODEL chats.jsonl.

    The tokens that carry loss are green, or stand between ⟦ and ⟧ where there are no colours.
    """

    action: tyro.conf.Positional[Literal["show"]]
    """What to do."""
    model: ModelArgument
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """Examples as .jsonl, .json or .parquet: messages, ShareGPT, instruction and output, prompt and completion."""
    number: int = 1
    """Which example, from 1."""
    user: str | None = None
    """For records of another form: what the user says, with fields in braces, as in "Summarise: {dialogue}"."""
    answer: str | None = None
    """For records of another form: the field that holds the answer."""
    json: bool = False
    """Print one JSON object: each token, and whether it carries loss."""


def run(options: Options) -> None:
    """Print the example, then how many of its tokens carry loss. The weights are not read."""
    from nextword.checkpoints.catalogue import resolve
    from nextword.checkpoints.open_directory import open_tokenizer
    from nextword.cli.json_output import print_json

    chat = _chat(options)
    tokenizer = open_tokenizer(resolve(options.model))
    token_ids, has_loss = tokenizer.encode_answers(chat.messages)
    if options.json:
        tokens = [
            {"token_id": token_id, "text": tokenizer.token_text(token_id), "carries_loss": is_target}
            for token_id, is_target in zip(token_ids, has_loss, strict=True)
        ]
        print_json({"place": chat.place, "tokens": tokens})
        return
    begin, end = ("\033[32m", "\033[0m") if takes_colours(sys.stdout) else ("⟦", "⟧")
    runs = _runs(tokenizer, token_ids, has_loss)
    print("".join(f"{begin}{text}{end}" if is_target else text for text, is_target in runs).rstrip("\n"))
    print(f"{chat.place}: {count(len(token_ids), 'token')}, {sum(has_loss)} with loss")


def _chat(options: Options) -> Chat:
    from nextword.data.chats import ChatFields, read_chats

    fields = ChatFields(user=options.user, answer=options.answer)
    if options.number < 1:
        raise RequestError(f"example {options.number}: they are counted from 1")
    chats = read_chats([options.file], fields=fields)
    chat = next(itertools.islice(chats, options.number - 1, None), None)
    if chat is None:
        raise RequestError(f"{options.file}: has no example {options.number}")
    return chat


def _runs(tokenizer: Tokenizer, token_ids: Sequence[int], has_loss: Sequence[bool]) -> Iterator[tuple[str, bool]]:
    """The text, cut where loss begins and ends."""
    shown, position = "", 0
    for is_target, run in itertools.groupby(has_loss):
        position += len(list(run))
        text = tokenizer.decode(token_ids[:position], skip_special_tokens=False)
        yield text[len(shown) :], is_target
        shown = text
