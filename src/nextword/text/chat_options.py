"""`ChatOptions`: the keywords that say how a conversation is rendered, the same for tokenizers, models and chats."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict, get_type_hints

from nextword.checks import check_value
from nextword.errors import RequestError


class ChatOptions(TypedDict, total=False):
    """Keywords of everything that renders a conversation. Those that transformers has mean what they do there."""

    tools: Sequence[Mapping[str, Any]] | None
    """JSON schemas of functions that the model may call."""
    tool_choice: Literal["none", "auto", "required"] | Mapping[str, Any] | None
    """Choice among the tools: "none" (they are not shown), "auto" (the model decides; as without), "required", or one
    by its name, as in {"type": "function", "function": {"name": "f"}}; all in OpenAI's form."""
    parallel_tool_calls: bool
    """False: an answer calls one tool at most."""
    template_variables: Mapping[str, Any] | None
    """Values of further names that the template reads, such as {"enable_thinking": False}."""
    chat_template: str | PathLike[str] | None
    """A template, a file with one, or the name of one of the model's, in the place of its own."""
    continue_final_message: bool | str
    """End with the unfinished text of the last message, to be continued; a string names the key of that text in the
    place of "content"."""


def check_chat_options(options: Mapping[str, object]) -> None:
    """Raise RequestError for an unknown name or a value of the wrong type."""
    hints = get_type_hints(ChatOptions)
    check_names(options, hints)
    for name, value in options.items():
        check_value(name, value, hints[name])


def check_names(given: Iterable[str], known: Collection[str]) -> None:
    """Raise RequestError for a keyword of a chat that is not known, and say how it may have been meant."""
    for name in given:
        if name not in known:
            import difflib  # for a message alone

            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            as_variable = f"a variable of the chat template is given as template_variables={{{name!r}: ...}}"
            raise RequestError(f"unknown keyword {name!r}: {f'did you mean {near[0]!r}?' if near else as_variable}")
