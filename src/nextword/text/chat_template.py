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
import jinja2.meta

from nextword.errors import TokenizerError
from nextword.text.chat_messages import PlainMessage
from nextword.text.template_budget import bounded_work, charge, depth, full_size
from nextword.text.template_sandbox import BoundedSandbox

_REASON_LENGTH = 300
_LONGEST_DATE = 1000


def render_chat_template(
    template: str, messages: Sequence[PlainMessage], *, add_generation_prompt: bool, variables: Mapping[str, object]
) -> str:
    """Render a conversation by a template.

    `variables`: the special tokens by name, such as bos_token, "tools" if there are any, and whatever else the template
    reads. Raises TokenizerError if the template is damaged, refuses the messages, or does more work than they need.
    """
    shown = {
        "tools": None,
        "documents": None,
        **variables,
        "messages": messages,
        "add_generation_prompt": add_generation_prompt,
    }
    try:
        compiled = _compile(template)
        with bounded_work(_num_characters(shown)):
            return compiled.render(shown)
    except Exception as error:  # a template is a foreign program: whatever it raises is its own failure
        reason = " ".join(str(error)[:_REASON_LENGTH].split()) or type(error).__name__
        raise TokenizerError(f"the chat template cannot be applied to these messages: {reason}") from None


def template_variables(template: str) -> frozenset[str]:
    """Return the names that a template reads and does not set. Raises TokenizerError if it is damaged."""
    try:
        return frozenset(jinja2.meta.find_undeclared_variables(BoundedSandbox().parse(template)))
    except Exception as error:
        raise TokenizerError(f"the chat template cannot be read: {' '.join(str(error).split())}") from None


def _num_characters(value: object) -> int:
    """Return the size of plain data in characters, its keys included."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + _num_characters(one) for key, one in value.items())
    return sum(map(_num_characters, value)) if isinstance(value, list | tuple) else 1


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
    width = indent if isinstance(indent, int) else len(indent or "")
    widths = sum(len(separator) for separator in separators or ()) + width * depth(value)
    charge(full_size(value) * (1.0 + widths))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    if len(pattern) > _LONGEST_DATE:
        raise jinja2.TemplateError(f"a date of {len(pattern)} characters")
    return datetime.datetime.now().strftime(pattern)
