"""`training_example`: a record of chats in, its tokens as a model will see them in training out."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nextword.checks import checked_arguments
from nextword.errors import RequestError
from nextword.html.page import Html, escaped
from nextword.plain_text import count
from nextword.workflows.paths import FilePath, loaded_model

if TYPE_CHECKING:
    from nextword.data.supervised import Example
    from nextword.language_model import LanguageModel
    from nextword.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ExampleToken:
    """A token of an example."""

    token_id: int
    """Id in the vocabulary."""
    text: str
    """The token as text for display."""
    carries_loss: bool
    """True if it is part of an answer, so that its prediction counts in the loss."""


@dataclass(frozen=True, kw_only=True)
class TrainingExample:
    """A conversation as the model's chat template writes it, with the tokens that carry loss."""

    place: str
    """File and line of the record."""
    tokens: tuple[ExampleToken, ...]
    """All tokens of the example."""
    parts: tuple[tuple[str, bool], ...]
    """The text, cut where loss begins and ends: each part, and whether it carries loss."""

    @property
    def num_targets(self) -> int:
        """Number of tokens that carry loss."""
        return sum(token.carries_loss for token in self.tokens)

    def marked(self, begin: str = "⟦", end: str = "⟧") -> str:
        """Return the text with marks around what carries loss."""
        return "".join(f"{begin}{text}{end}" if is_target else text for text, is_target in self.parts).rstrip("\n")

    @property
    def caption(self) -> str:
        """Place of the example, and how many of its tokens carry loss."""
        return f"{self.place}: {count(len(self.tokens), 'token')}, {self.num_targets} with loss"

    def __repr__(self) -> str:
        return f"TrainingExample({self.place!r}, {count(len(self.tokens), 'token')}, {self.num_targets} with loss)"

    def __str__(self) -> str:
        return f"{self.marked()}\n{self.caption}"

    def _repr_html_(self) -> Html:
        shown = (
            f'<span style="background:#c8e6c9;color:#000">{escaped(text)}</span>' if is_target else escaped(text)
            for text, is_target in self.parts
        )
        return Html(f'<pre style="white-space:pre-wrap">{"".join(shown)}</pre><p>{escaped(self.caption)}</p>')


@checked_arguments
def training_example(
    model: FilePath | LanguageModel,
    file: FilePath,
    *,
    number: int = 1,
    user: str | None = None,
    answer: str | None = None,
    chat_template: str | None = None,
) -> TrainingExample:
    """Show an example of a file as the model sees it in fine-tuning; the weights are not read.

    `number`: which example of the file, from 1. `user` and `answer`: for records of another form than the known ones,
    what the user says with fields in braces, and the field with the answer. `chat_template`: "chatml" or a file, in the
    place of the model's own. Raises RequestError for an example that is not there, DataError for one that cannot be
    read, or that the chat template does not show whole.
    """
    from nextword.checkpoints.catalogue import resolve
    from nextword.checkpoints.open_directory import open_tokenizer
    from nextword.data.chats import ChatFields, read_chats
    from nextword.data.supervised import ExamplesReport, encode_chats
    from nextword.text.named_templates import with_chat_template

    opened, fields = loaded_model(model), ChatFields(user=user, answer=answer)
    if number < 1:
        raise RequestError(f"example {number}: they are counted from 1")
    tokenizer = open_tokenizer(resolve(str(model))) if opened is None else opened.tokenizer
    if chat_template is not None:
        tokenizer, _ = with_chat_template(tokenizer, chat_template)
    chats = read_chats([file], fields=fields)
    examples = encode_chats(chats, tokenizer, seq_len=sys.maxsize, report=ExamplesReport())
    example = next(itertools.islice(examples, min(number - 1, sys.maxsize), None), None)
    if example is None:
        raise RequestError(f"{file}: has no example {number}")
    return _shown(example, tokenizer)


def _shown(example: Example, tokenizer: Tokenizer) -> TrainingExample:
    token_ids, has_loss = example.token_ids.tolist(), example.is_target.tolist()
    tokens = tuple(
        ExampleToken(token_id, tokenizer.token_text(token_id), is_target)
        for token_id, is_target in zip(token_ids, has_loss, strict=True)
    )

    def parts() -> Iterator[tuple[str, bool]]:
        shown, position = "", 0
        for is_target, run in itertools.groupby(has_loss):
            position += len(list(run))
            text = tokenizer.decode(token_ids[:position], skip_special_tokens=False)
            yield text[len(shown) :], is_target
            shown = text

    return TrainingExample(place=example.place, tokens=tokens, parts=tuple(parts()))
