"""Chat templates: messages in, the text that the model was trained to see out.

A template comes with a checkpoint and is not trusted: it runs in jinja2's immutable sandbox. It knows no token ids.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox

from nextword.errors import TokenizerError

Message = Mapping[str, str]


def render_chat_template(
    template: str, messages: Sequence[Message], *, add_generation_prompt: bool, variables: Mapping[str, str]
) -> str:
    """The conversation as the template writes it; `variables` are the special tokens that templates name (bos_token).

    Raises TokenizerError if the template is damaged or refuses the messages.
    """
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    try:
        return environment.from_string(template).render(
            messages=messages, add_generation_prompt=add_generation_prompt, **variables
        )
    except (jinja2.TemplateError, TypeError, ValueError, OverflowError) as error:
        raise TokenizerError(f"the chat template cannot be applied to these messages: {error}") from None


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)
