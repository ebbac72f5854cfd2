"""`ChatInput`: a conversation with everything that a chat template is to show of it, and its rendering."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextword.errors import RequestError, TokenizerError
from nextword.text.chat_marks import absent_characters, as_characters, strings_in
from nextword.text.chat_messages import Message, PlainMessage, plain_messages, plain_value
from nextword.text.chat_options import ChatOptions
from nextword.text.chat_template import render_chat_template, template_variables
from nextword.text.template_forms import fit_to_template

_REASONING = ("reasoning_content", "thinking", "reasoning")
"""Names under which a template may read the same reasoning."""
_NOT_VARIABLES = ("messages", "add_generation_prompt", "tools")
"""Names in templates for which there are arguments."""
_TAIL = " "
"""Follows the mark of an unfinished message: a template that trims messages removes it."""


@dataclass(frozen=True, kw_only=True)
class ChatInput:
    """A conversation as a template sees it, as plain data."""

    template: str
    messages: Sequence[PlainMessage]
    given: Mapping[str, Any]
    """Tools and the caller's template variables, by name."""
    special_tokens: Mapping[str, str]
    add_generation_prompt: bool
    continued: str | None = None
    """Key of the last message whose text is unfinished; the rendering ends with it."""

    def render(self) -> str:
        """Render by the template. Raises TokenizerError if it refuses, or does not show what is to be continued."""
        if self.continued is not None:
            return self._render_unfinished(self.continued)
        return render_chat_template(
            self.template,
            self.messages,
            add_generation_prompt=self.add_generation_prompt,
            variables={**self.special_tokens, **self.given},
        )

    def _render_unfinished(self, key: str) -> str:
        """Render up to the end of the last message's text, by a mark behind it, as transformers does."""
        mark, _ = absent_characters(list(strings_in([self.messages, self.given])))
        last = dict(self.messages[-1])
        names = [name for name in _REASONING if last.get(name) == last[key]] if key in _REASONING else [key]
        text, parts = last[key], last[key]
        if isinstance(parts, list):
            text = parts[-1]["text"]
            last[key] = [*parts[:-1], {**parts[-1], "text": text + mark + _TAIL}]
        else:
            last |= dict.fromkeys(names, text + mark + _TAIL)
        marked = dataclasses.replace(self, messages=[*self.messages[:-1], last], continued=None)
        rendered = as_characters(dataclasses.replace(marked, add_generation_prompt=False).render(), (mark,))
        before, found, after = rendered.rpartition(mark)
        before = before.replace(mark + _TAIL, "").replace(mark, "")  # of a template that writes the text twice
        if not found or text.strip() not in before:
            raise TokenizerError(f"the chat template does not show the last message's {key}, to be continued")
        return before if after.startswith(_TAIL) else before.rstrip()


def chat_input(
    template: str,
    messages: Sequence[Message],
    *,
    special_tokens: Mapping[str, str],
    add_generation_prompt: bool,
    options: ChatOptions,
) -> ChatInput:
    """Check what a caller gives, and put it into the forms that the template reads.

    Raises RequestError naming what cannot be shown, TokenizerError if the template leaves out tools or their calls.
    Warns of template variables that it does not read.
    """
    plain = plain_messages(messages)
    given = {**_variables(template, options.get("template_variables") or {}), "tools": _tools(options.get("tools"))}
    continues = options.get("continue_final_message", False)
    chat = ChatInput(
        template=template,
        messages=fit_to_template(template, plain, special_tokens),
        given=given,
        special_tokens=special_tokens,
        add_generation_prompt=add_generation_prompt and not continues,
        continued=_continued_key(plain[-1], continues),
    )
    _require_tools_shown(chat)
    return chat


def _variables(template: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    taken = [name for name in variables if name in _NOT_VARIABLES]
    if taken:
        raise RequestError(f"template_variables[{taken[0]!r}]: has an argument of its own; leave it out here")
    known = _read_by(template) if variables else frozenset()
    unread = [name for name in variables if name not in known]
    if unread:
        others = ", ".join(sorted(known.difference(_NOT_VARIABLES))) or "none"
        warnings.warn(
            f"the chat template does not read the variable {', '.join(unread)}; it reads {others}", stacklevel=2
        )
    plain: dict[str, Any] = plain_value(dict(variables), "template_variables")
    return plain


_read_by = functools.lru_cache(maxsize=8)(template_variables)


def _tools(tools: Sequence[Mapping[str, Any]] | None) -> Any:
    return None if tools is None else plain_value(list(tools), "tools")


def _continued_key(last: PlainMessage, choice: bool | str) -> str | None:
    if not choice:
        return None
    key = choice if isinstance(choice, str) else "content"
    if not isinstance(last.get(key), str) and not (isinstance(last.get(key), list) and last[key]):
        raise RequestError(f"messages[-1] has no text {key!r} to be continued (continue_final_message = {choice!r})")
    return key


def _require_tools_shown(chat: ChatInput) -> None:
    """Raise TokenizerError if the template writes the same without the tools, or without a message's calls."""
    if chat.given["tools"] and _same(chat, dataclasses.replace(chat, given={**chat.given, "tools": None})):
        raise TokenizerError("the chat template does not show tools: describe them in the system prompt instead")
    for index, message in enumerate(chat.messages):
        if message.get("tool_calls"):
            without = {**message, "content": message.get("content", ""), "tool_calls": []}
            messages = [*chat.messages[:index], without, *chat.messages[index + 1 :]]
            if _same(chat, dataclasses.replace(chat, messages=messages)):
                raise TokenizerError(f"the chat template does not show messages[{index}]['tool_calls']")


def _same(chat: ChatInput, other: ChatInput) -> bool:
    """Return True if both are rendered alike; a template that refuses the other one does not."""
    rendered = chat.render()
    try:
        return other.render() == rendered
    except TokenizerError:
        return False
