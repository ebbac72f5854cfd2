"""Answers with thoughts and calls, as templates show them. The judge is what transformers renders, turn by turn."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken

from nextword.errors import TokenizerError
from nextword.text.tokenizer import Tokenizer
from tests.text.vocabularies import as_tokenizer, byte_level_backend

HIDES_THOUGHTS = """{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}
{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for m in messages %}{{- '<|begin|>' + m.role + '\\n' }}{%- if m.role == 'assistant' and loop.index0 > ns.last %}
{{- '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n\\n' }}{%- endif %}{{- m.content }}
{%- for call in m.tool_calls or [] %}{{- '\\n<call>' }}{{- call.function | tojson }}{{- '</call>' }}{%- endfor %}
{{- '<|end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|begin|>assistant\\n' }}{%- endif %}"""
"""As Qwen3: thoughts before the last question are not shown."""
ENDS_WITH_LAST = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if loop.last and not add_generation_prompt %}<|end|>"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
"""Only the last answer is ended."""
BEGINS_THOUGHTS = (
    "{% for m in messages %}<|begin|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant\n<think>{% endif %}"
)
"""The prompt begins the thoughts."""
CALL = {"type": "function", "id": "1", "function": {"name": "get", "arguments": {"city": 'Oslo "the"', "day": 3}}}
ASKED: list[dict[str, Any]] = [
    {"role": "user", "content": "the first question"},
    {"role": "assistant", "content": "one", "reasoning_content": "what the first may mean"},
    {"role": "user", "content": "the second question"},
    {"role": "assistant", "content": "", "reasoning_content": "I have to look", "tool_calls": [CALL]},
    {"role": "tool", "content": "sunny", "name": "get", "tool_call_id": "1"},
    {"role": "assistant", "content": "two", "reasoning_content": "now I know"},
]
PLAIN = [message for message in ASKED if "tool_calls" not in message and message["role"] != "tool"]


def of_template(template: str) -> tuple[Tokenizer, Any]:
    peer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level_backend())
    peer.chat_template = template
    return as_tokenizer(byte_level_backend(), chat_template=template), peer


def learnt(tokenizer: Tokenizer, token_ids: list[int], mask: list[bool]) -> list[str]:
    """The text of each run of tokens with loss."""
    pairs = zip(token_ids, mask, strict=True)
    runs = [
        [pair[0] for pair in run] for is_answer, run in itertools.groupby(pairs, key=lambda pair: pair[1]) if is_answer
    ]
    return [tokenizer.decode(run, skip_special_tokens=False) for run in runs]


def to_write(peer: Any, messages: list[dict[str, Any]], number: int) -> tuple[str, str]:
    """The rendering up to an answer, and what it has beyond the prompt of generation, without its last line end."""
    shown = peer.apply_chat_template(messages[: number + 1], tokenize=False)
    prompt = peer.apply_chat_template(messages[:number], tokenize=False, add_generation_prompt=True)
    assert shown.startswith(prompt)
    return shown, shown[len(prompt) :].removesuffix("\n")


@pytest.mark.parametrize("template", [HIDES_THOUGHTS, ENDS_WITH_LAST, BEGINS_THOUGHTS])
def test_each_answer_is_learnt_as_it_is_written_in_generation(template: str) -> None:
    tokenizer, peer = of_template(template)
    messages = ASKED if template is HIDES_THOUGHTS else PLAIN
    if template is ENDS_WITH_LAST:
        messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    numbers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    wanted = [to_write(peer, messages, number) for number in numbers]
    found: list[str] = []
    for token_ids, mask in tokenizer.encode_answers(messages):
        answers = learnt(tokenizer, token_ids, mask)
        shown = wanted[len(found) + len(answers) - 1][0]
        assert tokenizer.decode(token_ids, skip_special_tokens=False) == shown
        found += answers
    assert found == [answer for _, answer in wanted]


def test_only_answers_that_a_template_hides_end_examples_of_their_own() -> None:
    counts = {
        template: len(of_template(template)[0].encode_answers(messages))
        for template, messages in ((HIDES_THOUGHTS, ASKED), (BEGINS_THOUGHTS, PLAIN))
    }
    assert counts == {HIDES_THOUGHTS: 2, BEGINS_THOUGHTS: 1}


def test_an_answer_of_weight_0_is_read_and_not_learnt() -> None:
    tokenizer, peer = of_template(HIDES_THOUGHTS)
    ((token_ids, mask),) = tokenizer.encode_answers(PLAIN, learnt=[True, False, True, True])
    shown, answer = to_write(peer, PLAIN, 3)
    assert tokenizer.decode(token_ids, skip_special_tokens=False) == shown
    assert learnt(tokenizer, token_ids, mask) == [answer]


def test_a_special_token_in_a_call_stays_text() -> None:
    call = {"type": "function", "function": {"name": "get", "arguments": {"city": "<|end|>"}}}
    tokenizer, _ = of_template(HIDES_THOUGHTS)
    messages = [ASKED[0], {"role": "assistant", "content": "", "tool_calls": [call]}]
    ((token_ids, mask),) = tokenizer.encode_answers(messages)
    (answer,) = learnt(tokenizer, token_ids, mask)
    assert answer.count("<|end|>") == 2
    end = tokenizer.special_token_id("<|end|>")
    assert token_ids.count(end or -1) == 2


SAYS_CONTENT = (
    "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}"
    "{{ m.role }}: {{ m.content }}\n{% endif %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "assistant", "content": "hello", "reasoning_content": "they greet"}, "[1]['reasoning_content']"),
        ({"role": "assistant", "content": "hello", "name": "anna"}, "[1]['name']"),
        ({"role": "assistant", "content": "hello", "refusal": "no"}, "[1]['refusal']"),
        ({"role": "assistant", "content": "hello", "score": 12.5}, "[1]['score']"),
        ({"role": "assistant", "content": "hello", "tool_calls": [CALL]}, "[1]['tool_calls']"),
        ({"role": "observation", "content": "it rains"}, "[1]['content']"),
        ({"role": "system", "content": "hi"}, "[1]['content']"),  # as is said elsewhere
    ],
)
def test_what_a_template_does_not_show_is_named(message: dict[str, Any], place: str) -> None:
    tokenizer = as_tokenizer(byte_level_backend(), chat_template=SAYS_CONTENT)
    with pytest.raises(TokenizerError) as refused:
        tokenizer.encode_answers([{"role": "user", "content": "hi"}, message, {"role": "assistant", "content": "bye"}])
    assert f"does not show messages{place}" in str(refused.value)


def test_the_end_of_an_answer_is_the_first_end_token() -> None:
    """As in Phi-3, where the template writes another token behind the last turn."""
    template = (
        "{% for m in messages %}{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}assistant\n{% else %}<|done|>{% endif %}"
    )
    tokenizer = as_tokenizer(byte_level_backend(AddedToken("<|done|>", special=True)), chat_template=template)
    messages = [{"role": message["role"], "content": message["content"]} for message in PLAIN]
    ((token_ids, mask),) = tokenizer.encode_answers(messages)
    assert learnt(tokenizer, token_ids, mask) == ["one<|end|>", "two<|end|>"]
