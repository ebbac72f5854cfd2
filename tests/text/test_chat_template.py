"""Chat templates as published models have them: rendered as transformers renders them, and never without end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nextword.errors import TokenizerError
from nextword.text.chat_template import render_chat_template
from nextword.text.tokenizer import Tokenizer
from tests.text.vocabularies import byte_level_backend

VARIABLES = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
CHAT = [
    {"role": "user", "content": '  What is "x"?\n'},
    {"role": "assistant", "content": "A <b>letter</b> & é.\n"},
    {"role": "user", "content": "漢字, 'too'?"},
]
WITH_SYSTEM = [{"role": "system", "content": "Be brief."}, *CHAT]
TEMPLATES = {
    "ChatML": """{% for message in messages %}
{% if loop.first and message.role != 'system' %}
{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}
{% endif %}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "with a date": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") if strftime_now is defined else "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|head|>system<|/head|>\n\n" }}
{%- if tools is not none %}{{- "Environment: tools\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\n\n" + system_message + "<|eot|>" }}
{%- for message in messages %}
    {{- '<|head|>' + message['role'] + "<|/head|>\n\n" + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|head|>assistant<|/head|>\n\n' }}{%- endif %}""",
    "that refuses": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("Roles must alternate: user, assistant, user, ...") }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"] + eos_token }}
    {%- endif %}
{%- endfor %}""",
    "with renamed roles": """{{ bos_token }}{% if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}{%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}{%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}
    {%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}""",
    "with generation tags": """{% for message in messages %}
{% if message.role == 'assistant' %}
<|assistant|>
{% generation %}
{{ message.content }}{{ eos_token }}
{% endgeneration %}
{%- else -%}
<|{{ message.role }}|>{%- generation -%}  {{ loop.index }} {{ message.content }}  {%- endgeneration -%}
{% endif %}
{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}""",
    "with all the rest": """{%- macro shown(value, indent=None) -%}{{ value | tojson(indent=indent) }}{%- endmacro -%}
{%- for message in messages | reverse -%}
    {%- if loop.index > 2 -%}{%- break -%}{%- endif -%}
    {%- if message.role == 'assistant' -%}{%- continue -%}{%- endif -%}
    {{ shown(message) }}|{{ shown(message, 2) }}|{{ message | tojson(true) }}
    {{ message | tojson(separators=(',', ':')) }}
    {{ message | tojson(sort_keys=true) ~ loop.index ~ none ~ missing }}
    {{- '%s-%5.2f' % (message.role, 3.14159) ~ '{:>9}{}'.format(message.role, 1700000000) }}
    {{- message.content.split('\n')[-1].strip().replace("'", '"') ~ message.role * 3 }}
    {{- messages | map(attribute='role') | join(', ') ~ ','.join(['a', 'b']) ~ [[1], [2]] | sum(start=[]) }}
    {{- messages | selectattr('role', 'equalto', 'user') | list | length }}
{%- endfor -%}
{{ tools is none }}{{ documents is none }}{{ unk_token is defined }}{{ 2 ** 10 }}
{{ '<&>' | e }}{{ 'ab' | indent(3, true) }}
{%- set text %}{% for n in range(3) %}{{ n }}{% endfor %}{% endset %}{{ text }}
{%- filter upper %}loud{% endfilter %}{%- macro framed() %}[{{ caller() }}]{% endmacro %}
{%- call framed() %}in{% endcall %}
{%- for item in [[1, [2]], [3]] recursive %}{{ loop(item) if item is iterable else item }}{% endfor %}""",
}
ENDLESS = {
    "a range": "{% for i in range(10**12) %}x{% endfor %}",
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "filtered loops": "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}",
    "a recursive loop": "{% for i in 'ab' recursive %}{% if loop.depth < 60 %}{{ loop('ab') }}{% endif %}{% endfor %}",
    "a recursive macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "a macro without end": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "much output": "{% set s = 'x' * 1000000 %}{% for i in range(1000) %}{{ s }}{% endfor %}",
    "a long text": "{{ 'x' * 10**10 }}",
    "a long list": "{{ [0] * 10**10 }}",
    "a large number": "{{ (10**10) ** (10**10) }}",
    "a squared number": "{% set ns = namespace(n=3) %}{% for i in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "a width": "{{ 'x'.ljust(10**10) }}",
    "a width of bytes": "{{ 'x'.encode().ljust(10**10) }}",
    "a width in a filter": "{{ 'x' | center(10**10) }}",
    "a width through map": "{{ ['x'] | map('center', 10**10) | list }}",
    "a width by name": "{{ ('x' | attr('zfill'))(10**10) }}",
    "an old format": "{{ '%09999999999d' % 1 }}",
    "a computed width": "{{ '%*d' % (10**10, 1) }}",
    "a new format": "{{ '{:>9999999999}'.format(1) }}",
    "a nested format": "{{ '{:>{}}'.format('x', 10**10) }}",
    "tabs": "{{ '\t'.expandtabs(10**10) }}",
    "an indent": "{{ 'x' | indent(10**10, true) }}",
    "an indent of text": "{% set s = 'x\n' * 100000 %}{{ s | indent(s, true) }}",
    "JSON": "{{ [1] | tojson(indent=10**10) }}",
    "slices": "{{ [1] | slice(10**12) | list }}",
    "filler text": "{{ lipsum(n=10**9) }}",
}
DOUBLED = {
    "~": "ns.s ~ ns.s",
    "+": "ns.s + ns.s",
    "join": "[ns.s, ns.s] | join",
    "method join": "''.join([ns.s, ns.s])",
    "separators": "[1, 2, 3] | join(ns.s)",
    "replace": "ns.s | replace('x', 'xx')",
    "method replace": "ns.s.replace('', 'xx')",
    "old format": "'%s%s' % (ns.s, ns.s)",
    "new format": "'{0}{0}'.format(ns.s)",
    "translate": "ns.s.translate({120: 'xx'})",
    "lists": "[ns.s | list, ns.s | list] | sum(start=[]) | join",
    "lists, lazily": "([ns.s | list] * 2) | select | sum(start=[]) | join",
}


def render(template: str, messages: list[dict[str, str]] | None = None, *, prompts: bool = True) -> str:
    return render_chat_template(template, messages or CHAT, add_generation_prompt=prompts, variables=VARIABLES)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("peer")
    Tokenizer(
        byte_level_backend(),
        bos_token_id=None,
        eos_token_ids=(),
        chat_template=None,
        special_variables=VARIABLES,
    ).save(folder)
    return transformers.AutoTokenizer.from_pretrained(str(folder))


@pytest.mark.peer
@pytest.mark.parametrize("prompts", [True, False])
@pytest.mark.parametrize("messages", [CHAT, WITH_SYSTEM], ids=["chat", "with a system message"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_rendered_as_in_transformers(
    peer: Any, name: str, messages: list[dict[str, str]], prompts: bool
) -> None:
    template = TEMPLATES[name]
    expected = peer.apply_chat_template(messages, chat_template=template, tokenize=False, add_generation_prompt=prompts)
    assert render(template, messages, prompts=prompts) == expected


def test_a_template_says_why_it_refuses() -> None:
    with pytest.raises(TokenizerError, match="messages: Roles must alternate: user, assistant, user"):
        render(TEMPLATES["that refuses"], CHAT[1:])


@pytest.mark.parametrize("name", ENDLESS)
def test_work_without_end_is_refused(name: str) -> None:
    with pytest.raises(TokenizerError, match="cannot be applied to these messages: ") as caught:
        render(ENDLESS[name])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", DOUBLED)
def test_texts_that_double_are_refused(name: str) -> None:
    double = f"{{% set ns.s = {DOUBLED[name]} %}}"
    with pytest.raises(TokenizerError, match="without end"):
        render(f"{{% set ns = namespace(s='xx') %}}{{% for i in range(64) %}}{double}{{% endfor %}}")


def test_blocks_that_double_are_refused() -> None:
    block = "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}"
    with pytest.raises(TokenizerError, match="without end"):
        render(f"{{% set ns = namespace(s='xx') %}}{{% for i in range(64) %}}{block}{{% endfor %}}")


def test_what_is_slow_without_writing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextword.text.template_budget._SECONDS", 0.0)
    with pytest.raises(TokenizerError, match="without end"):
        render("{% for message in messages %}{% endfor %}")


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_long_conversations_are_rendered(name: str) -> None:
    if name == "that refuses":
        messages = CHAT[:2] * 1000
    else:
        messages = [*CHAT[:2] * 1000, {"role": "user", "content": "a long text " * 1_000_000}]
    assert render(TEMPLATES[name], messages)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for", "unexpected|expected"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages.missing.more }}", "no attribute 'missing'"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% include 'x' %}", "loader"),
        ("{{ raise_exception('two\nlines') }}", "two lines"),
        ("{{" + "(" * 10_000 + "1" + ")" * 10_000 + "}}", "recursion"),
        ("{{ messages | unknown }}", "No filter named 'unknown'"),
    ],
)
def test_a_template_that_fails_is_one_line(template: str, reason: str) -> None:
    with pytest.raises(TokenizerError, match=f"cannot be applied to these messages: .*({reason})") as caught:
        render(template)
    assert "\n" not in str(caught.value)


def test_messages_are_not_changed_by_a_template() -> None:
    before = json.dumps(CHAT)
    with pytest.raises(TokenizerError):
        render("{% for message in messages %}{{ message.update({'role': 'x'}) }}{% endfor %}")
    assert json.dumps(CHAT) == before
