"""`render_chat_template`: render a conversation as text by the chat template of a model.

A template comes with a checkpoint and is not trusted: it runs in jinja2's immutable sandbox, with a bound on its work.
Its variables, filters and output are those of transformers. This module knows no token ids.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import NoReturn

import jinja2

from nextword.errors import TokenizerError
from nextword.text.chat_marks import Message
from nextword.text.template_sandbox import BoundedSandbox, bounded_work, charge

_REASON_LENGTH = 300


def render_chat_template(
    template: str, messages: Sequence[Message], *, add_generation_prompt: bool, variables: Mapping[str, str]
) -> str:
    """Render a conversation by a template; `variables` are the special tokens by name, such as bos_token.

    Raises TokenizerError if the template is damaged, refuses the messages, or does more work than they need.
    """
    size = sum(len(text) for message in messages for text in message.values())
    try:
        compiled = _compile(template)
        with bounded_work(size):
            return compiled.render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **variables,
            )
    except Exception as error:  # a template is a foreign program: whatever it raises is its own failure
        reason = " ".join(str(error)[:_REASON_LENGTH].split()) or type(error).__name__
        raise TokenizerError(f"the chat template cannot be applied to these messages: {reason}") from None


@functools.lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    """Compile a template and cache it: compiling takes a hundred times as long as rendering."""
    environment = BoundedSandbox()
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment.compile_bounded(template)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    plain = json.dumps(value, ensure_ascii=ensure_ascii, sort_keys=sort_keys)
    widths = [len(separator) for separator in separators or ()]
    charge(len(plain) * (1.0 + sum(widths) + (indent if isinstance(indent, int) else len(indent or ""))))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)
