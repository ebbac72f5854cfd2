"""Which tokens the assistant writes: transformers is told by generation tags of the template, we find them without."""

from __future__ import annotations

from typing import Any

import pytest

from tests.text.vocabularies import as_tokenizer, byte_level_backend

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.peer

TURNS = (
    "{% for m in messages %}<|begin|>{{ m.role }}\n{% if m.role == 'assistant' %}ANSWER"
    "{% else %}{{ m.content }}<|end|>{% endif %}\n{% endfor %}"
)
CALLS = "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>{% endfor %}"
THOUGHTS = "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
ANSWERS = {
    "plain": "{% generation %}{{ m.content }}<|end|>{% endgeneration %}",
    "trimmed": "{% generation %}{{ m.content | trim }}<|end|>{% endgeneration %}",
    "tags that trim": "{%- generation -%} {{ m.content }}<|end|> {%- endgeneration -%}",
    "within a condition": "{% generation %}{% if m.content %}{{ m.content }}{% endif %}<|end|>{% endgeneration %}",
    "with thoughts": "{% generation %}" + THOUGHTS + "{{ m.content }}<|end|>{% endgeneration %}",
    "with calls": "{% generation %}{{ m.content }}" + CALLS + "<|end|>{% endgeneration %}",
}
USER = {"role": "user", "content": "the x"}
CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}


def says(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one answer": [USER, says("the é")],
    "with a system prompt": [{"role": "system", "content": "the"}, USER, says("the x"), USER, says("漢 the.")],
    "the assistant begins": [says("hi"), USER, says("hi")],
    "two answers in a row": [USER, says("a"), says("b")],
    "ended by the user": [USER, says("a"), USER],
    "spaces around": [USER, says("  a \n")],
    "an empty answer": [USER, says("")],
    "the question again": [USER, says("the x")],
}
FURTHER = {
    "with thoughts": [USER, says("a", reasoning_content="why the")],
    "with calls": [USER, says("a", tool_calls=[CALL]), {"role": "tool", "content": "r"}, says("done")],
}
"""Conversations that only the answers of the same name show."""


@pytest.mark.parametrize("name", ANSWERS)
def test_the_tokens_of_answers_are_those_that_transformers_is_told(name: str) -> None:
    template = TURNS.replace("ANSWER", ANSWERS[name])
    peer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level_backend())
    ours = as_tokenizer(byte_level_backend(), chat_template=template)
    further = [FURTHER[name]] if name in FURTHER else []
    for messages in [*CONVERSATIONS.values(), *further]:
        theirs = peer.apply_chat_template(
            messages, chat_template=template, return_dict=True, return_assistant_tokens_mask=True
        )
        ((token_ids, is_answer),) = ours.encode_answers(messages)
        assert token_ids == theirs["input_ids"], messages
        assert is_answer == [bool(mark) for mark in theirs["assistant_masks"]], messages
