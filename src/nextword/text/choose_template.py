"""`choose_template`: which of a model's chat templates is applied, by the rules of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from nextword.errors import RequestError, TokenizerError

TEMPLATE_NAME = "chat_template.jinja"
"""File of the folder of a model or an adapter that holds its chat template."""
_FOR_TOOLS = "tool_use"
_LARGEST_BYTES = 1_000_000


def choose_template(
    own: str | None, named: Mapping[str, str], choice: str | PathLike[str] | None, *, has_tools: bool
) -> str:
    """Return the text of the template.

    `own` and `named`: those of the model. `choice`: a file, the name of one of the model's templates, or a template;
    None: the model's own, or its "tool_use" where there are tools. Raises TokenizerError if the model has none, or one
    without any expression, RequestError for a choice that is none.
    """
    if isinstance(choice, PathLike):
        return _read(Path(choice))
    known = {**({} if own is None else {"default": own}), **named}
    if choice is not None:
        if choice not in known and "{" not in choice:  # no template: it would show nothing of a conversation
            names = ", ".join(sorted(known)) or "none"
            raise RequestError(
                f"chat_template = {choice!r:.80}: is no template, and the model has none of that name ({names});"
                " check the name of the file, which Python gives as a Path"
            )
        return _of_model(known[choice]) if choice in known else choice
    chosen = known.get(_FOR_TOOLS if has_tools and _FOR_TOOLS in known else "default")
    if chosen is None:
        hint = f"name one of {', '.join(sorted(known))} as chat_template" if known else _HINT
        raise TokenizerError(f"this model has no {'default ' if known else ''}chat template: {hint}")
    return _of_model(chosen)


def _of_model(template: str) -> str:
    """Raise TokenizerError for a template that shows nothing of a conversation, such as the mere name of one."""
    if "{" not in template:
        raise TokenizerError(
            f"the chat template in the model's files is {template!r:.80}, which shows no message:"
            " give a template as chat_template"
        )
    return template


def _read(path: Path) -> str:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_BYTES:
            raise RequestError(f"{path}: no file of at most {_LARGEST_BYTES} bytes with a chat template")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None


_HINT = "it continues text; use generate instead of chat, or give a template as chat_template"
