"""`begun_template`: a chat template that writes the tokens before a conversation itself.

For a GGUF file they are put before the rendered text where the template does not write them; a folder has no setting
that says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from nextword.errors import TokenizerError
from nextword.text.chat_template import render_chat_template

_NAME = "rendered_conversation"


def begun_template(template: str, prefix: str, variables: Mapping[str, str]) -> str:
    """Return the template, or one around it that begins with `prefix` whatever the template itself begins with.

    `variables`: special tokens by name.
    """
    if _begins(template, prefix, variables):
        return template
    text = template.removesuffix("\n")  # as jinja does at the end of a template
    start = "{{ '' }}" if text.startswith("\n") else ""  # else the newline after the first tag would be dropped
    shown = "'" + prefix.replace("\\", "\\\\").replace("'", "\\'") + "'"
    missing = f"{{{{ '' if {_NAME}.startswith({shown}) else {shown} }}}}{{{{ {_NAME} }}}}"
    return f"{{% set {_NAME} %}}{start}{text}{{% endset %}}{missing}"


def _begins(template: str, prefix: str, variables: Mapping[str, str]) -> bool:
    """Return True if plain conversations begin with the prefix: those of the probes that the template accepts."""
    question, system = ({"role": role, "content": "Hello"} for role in ("user", "system"))
    rendered = []
    for messages in ([question], [system, question]):
        with contextlib.suppress(TokenizerError):
            rendered.append(render_chat_template(template, messages, add_generation_prompt=True, variables=variables))
    return bool(rendered) and all(text.startswith(prefix) for text in rendered)
