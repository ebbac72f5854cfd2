"""`answer_options`: how an answer in a chat differs from a completion, as keywords of `Engine.submit`."""

from __future__ import annotations

import json

from nextword.errors import RequestError
from nextword.inference.engine import SubmitOptions
from nextword.text.chat_options import ChatOptions
from nextword.text.choose_template import choose_template
from nextword.text.thoughts import ThoughtMark
from nextword.text.tokenizer import Tokenizer
from nextword.text.tool_syntax import CallSyntax
from nextword.text.tool_use import ToolUse, read_tool_choice


def answer_options(tokenizer: Tokenizer, rendering: ChatOptions) -> SubmitOptions:
    """Return that it ends with its turn, mostly begins a text, and may have thoughts and calls; see `ChatOptions`."""
    return {
        "continues_text": bool(rendering.get("continue_final_message")),
        "end_token_ids": tokenizer.turn_end_ids(rendering.get("chat_template")),
        "thought_marks": tokenizer.thought_marks(**rendering),
        "tool_use": find_tool_use(tokenizer, rendering),
    }


def find_tool_use(tokenizer: Tokenizer, rendering: ChatOptions) -> ToolUse | None:
    """Return the tools that an answer may call, and how the chat template writes calls; None if there are none.

    None also where the template writes calls in no form that is known here: the model may write them, and they stay
    text. Raises RequestError for tools that are none, and for a call that is asked for and cannot be forced.
    """
    choice = read_tool_choice(rendering)
    if choice is None:
        return None
    syntax = _call_syntax(tokenizer, rendering)
    if syntax is None:
        if choice.is_required:
            raise RequestError("tool_choice: the chat template writes calls in no known form, so none can be forced")
        return None
    return ToolUse(
        syntax=syntax,
        functions=choice.functions,
        is_required=choice.is_required,
        is_parallel=rendering.get("parallel_tool_calls", True),
        token_ids=frozenset(token_id for text in syntax.texts for token_id, _ in tokenizer.find_special_tokens(text)),
    )


def _call_syntax(tokenizer: Tokenizer, rendering: ChatOptions) -> CallSyntax | None:
    from nextword.text.find_tool_syntax import find_call_syntax  # imports a library that generation does not need

    chosen, variables = rendering.get("chat_template"), rendering.get("template_variables")
    template = choose_template(tokenizer.chat_template, tokenizer.named_templates, chosen, has_tools=True)
    marks: tuple[ThoughtMark, ...] = tokenizer.thought_marks(**rendering).marks
    ends = tuple(map(tokenizer.token_text, tokenizer.turn_end_ids(chosen)))
    special = tuple(tokenizer.special_variables.items())
    return find_call_syntax(template, special, json.dumps(variables or {}), marks, ends)
