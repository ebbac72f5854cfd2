"""Parts of a conversation beside texts, rendered as transformers renders them, in the forms that templates read."""

from __future__ import annotations

from typing import Any

import pytest

from nextword.errors import RequestError, TokenizerError
from nextword.text.tokenizer import Tokenizer
from tests.text.test_chat_template import TEMPLATES
from tests.text.vocabularies import as_tokenizer, byte_level_backend

FULL = """{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}
{%- for m in messages %}<|begin|>{{ m.role }}
{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}
{%- if m.content is string %}{{ m.content }}
{%- elif m.content %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}
{%- for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments | tojson }}</call>
{%- endfor %}<|end|>
{% endfor %}{% if add_generation_prompt %}<|begin|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}{% endif %}"""
PLAIN = (
    "{% for m in messages %}<|begin|>{{ m['role'] + '\n' + m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"
)
PARTS_ONLY = "{% for m in messages %}{{ m.role }}:{% for p in m.content %}{{ p.text }}{% endfor %}<|end|>{% endfor %}"
JSON_ARGUMENTS = (
    "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.name + c.function.arguments }}{% endfor %}<|end|>{% endfor %}"
)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"type": "function", "id": "1", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
USER: dict[str, Any] = {"role": "user", "content": "Rain?"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Rain "}, {"type": "text", "text": "or sun?"}]}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "parts": [PARTS],
    "a call": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "sun"}],
    "a call, content None": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    "a call, no content": [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "sun"}],
    "reasoning": [USER, {"role": "assistant", "content": "No.", "reasoning_content": "Sunny today."}, USER],
    "reasoning by another name": [USER, {"role": "assistant", "content": "No.", "reasoning": "Sunny."}],
    "None in other keys": [{**USER, "name": None, "tool_calls": None}],
}


def tokenizer(template: str | None = FULL) -> Tokenizer:
    return as_tokenizer(byte_level_backend(), chat_template=template)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("peer")
    tokenizer().save(folder)
    return transformers.AutoTokenizer.from_pretrained(str(folder))


@pytest.mark.peer
@pytest.mark.parametrize("variables", [{}, {"enable_thinking": False}], ids=["", "without thoughts"])
@pytest.mark.parametrize("tools", [None, [], [TOOL]], ids=["", "tools empty", "tools"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversations_are_rendered_as_in_transformers(
    peer: Any, name: str, tools: list[dict[str, Any]] | None, variables: dict[str, Any]
) -> None:
    messages = CONVERSATIONS[name]
    expected = peer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True, **variables)
    assert tokenizer().render_chat(messages, tools=tools, template_variables=variables) == expected


@pytest.mark.peer
@pytest.mark.parametrize("template", [FULL, PLAIN, TEMPLATES["with renamed roles"], TEMPLATES["with generation tags"]])
@pytest.mark.parametrize(
    "last",
    [
        {"role": "assistant", "content": "The river is"},
        {"role": "assistant", "content": " The river is  \n"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "?"},
    ],
)
def test_a_last_message_is_continued_as_in_transformers(peer: Any, template: str, last: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "?"}, last]
    expected = peer.apply_chat_template(messages, chat_template=template, tokenize=False, continue_final_message=True)
    ours = tokenizer(template)
    assert ours.render_chat(messages, continue_final_message=True) == expected
    theirs = peer.apply_chat_template(
        messages, chat_template=template, return_dict=False, continue_final_message=True, tokenize=True
    )
    assert ours.encode_chat(messages, continue_final_message=True) == theirs


@pytest.mark.peer
def test_reasoning_is_continued_as_in_transformers(peer: Any) -> None:
    messages = [USER, {"role": "assistant", "reasoning_content": "Let me", "content": ""}]
    expected = peer.apply_chat_template(messages, tokenize=False, continue_final_message="reasoning_content")
    assert tokenizer().render_chat(messages, continue_final_message="reasoning_content") == expected
    parts = [PARTS, {**PARTS, "role": "assistant"}]
    expected = peer.apply_chat_template(parts, tokenize=False, continue_final_message=True)
    assert tokenizer().render_chat(parts, continue_final_message=True) == expected


def test_a_message_that_the_template_does_not_show_cannot_be_continued() -> None:
    hidden = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    with pytest.raises(TokenizerError, match="does not show the last message's content"):
        tokenizer(hidden).render_chat([USER, {"role": "assistant", "content": "x"}], continue_final_message=True)
    with pytest.raises(RequestError, match=r"messages\[-1\] has no text 'reasoning'"):
        tokenizer().render_chat([USER], continue_final_message="reasoning")


def test_parts_are_lines_for_a_template_that_reads_texts_alone() -> None:
    """As vLLM and llama.cpp join them."""
    assert tokenizer(PLAIN).render_chat([PARTS]) == "<|begin|>user\nRain \nor sun?<|end|>\n<|begin|>assistant\n"
    swallowing = "{% for m in messages %}{{ m.content if m.content is string else '' }}{% endfor %}"
    assert tokenizer(swallowing).render_chat([PARTS]) == "Rain \nor sun?"
    assert tokenizer(PLAIN).render_chat([{"role": "user", "content": ["a", "b"]}], add_generation_prompt=False) == (
        "<|begin|>user\na\nb<|end|>\n"
    )


def test_a_text_is_a_part_for_a_template_that_reads_parts_alone() -> None:
    assert tokenizer(PARTS_ONLY).render_chat([USER]) == "user:Rain?<|end|>"


@pytest.mark.parametrize("arguments", [{"city": "Oslo"}, '{"city": "Oslo"}'])
def test_arguments_have_the_form_that_the_template_reads(arguments: object) -> None:
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    messages = [USER, {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert '<call>f {"city": "Oslo"}</call>' in tokenizer(FULL).render_chat(messages)
    assert 'f{"city": "Oslo"}<|end|>' in tokenizer(JSON_ARGUMENTS).render_chat(messages)


def test_what_a_template_does_not_show_is_refused() -> None:
    with pytest.raises(TokenizerError, match="does not show tools"):
        tokenizer(PLAIN).render_chat([USER], tools=[TOOL])
    messages = [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
    with pytest.raises(TokenizerError, match=r"does not show messages\[1\]\['tool_calls'\]"):
        tokenizer(PLAIN).render_chat(messages)


def test_a_variable_that_the_template_does_not_read_is_named_in_a_warning() -> None:
    with pytest.warns(UserWarning, match="does not read the variable enable_thinkng; it reads enable_thinking"):
        tokenizer().render_chat([USER], template_variables={"enable_thinkng": False})


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], r"messages = \[\]: must hold"),
        ([{"role": "user", "content": 5}], r"messages\[0\]\['content'\] = 5: must be a string, or a list of parts"),
        ([{"role": "user", "content": None}], r"messages\[0\]\['content'\] = None: must be"),
        ([{"role": "user"}], r"messages\[0\] = .*: has no 'content'"),
        ([{"content": "x"}], r"messages\[0\] = .*: has no 'role'"),
        ([{"role": 1, "content": "x"}], r"messages\[0\]\['role'\] = 1: must be a string"),
        ([USER, {"role": "assistant", "content": None}], r"messages\[1\]\['content'\] = None"),
        ([{"role": "user", "content": [5]}], r"messages\[0\]\['content'\]\[0\] = 5: must be a part"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            r"messages\[0\]\['content'\]\[0\] = .*image_url.*: must be a part",
        ),
        ([{**USER, "tool_calls": [object()]}], r"messages\[0\]\['tool_calls'\]\[0\] = <object .*: must be text"),
        ([{**USER, "more": {1: 2}}], r"messages\[0\]\['more'\] = .*: must be a mapping whose keys are strings"),
        ([{"role": "user", "content": "\ud800"}], r"messages\[0\]\['content'\]: character 0 is not valid Unicode"),
    ],
)
def test_what_no_template_can_show_is_refused_by_its_place(messages: list[Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        tokenizer().render_chat(messages)


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RequestError, match="nested more than 100 deep"):
        tokenizer().render_chat([{**USER, "more": endless}])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tools": "x"}, "tools = 'x'"),
        ({"tools": [1]}, r"tools\[0\] = 1"),
        ({"template_variables": {"messages": 1}}, r"template_variables\['messages'\]: has an argument"),
        ({"template_variables": []}, "template_variables = "),
        ({"enable_thinking": False}, r"is given as template_variables=\{'enable_thinking': ...\}"),
        ({"chat_template": "tool_use"}, r"chat_template = 'tool_use': is no template, and the model has none"),
    ],
)
def test_options_that_are_none_are_refused(options: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        tokenizer().render_chat([USER], **options)


def test_special_tokens_in_tools_calls_and_variables_stay_text() -> None:
    ours = tokenizer(FULL + "{{ custom }}{{ messages[0] | string }}{{ tools | tojson(ensure_ascii=true) }}")

    def controls(word: str) -> int:
        tool = {"type": "function", "function": {"name": word, "parameters": {word: word}}}
        call = {"type": "function", "function": {"name": word, "arguments": f'{{"{word}": "\\u003c|end|>"}}'}}
        messages = [
            {"role": "user", "content": [{"type": "text", "text": word}]},
            {"role": "assistant", "tool_calls": [call], "reasoning_content": word},
        ]
        ids = ours.encode_chat(messages, tools=[tool], template_variables={"custom": word})
        return sum(ours.token_text(token_id) in ("<|begin|>", "<|end|>") for token_id in ids)

    assert controls("<|end|>") == controls("word")


def test_templates_are_chosen_by_name_file_and_text(tmp_path: Any) -> None:
    ours = tokenizer("own {{ messages[0].content }}")
    ours.named_templates = {"tool_use": "with tools {{ tools }}", "rag": "rag {{ messages[0].content }}"}
    assert ours.render_chat([USER]) == "own Rain?"
    assert ours.render_chat([USER], tools=[TOOL]).startswith("with tools")
    assert ours.render_chat([USER], chat_template="rag") == "rag Rain?"
    assert ours.render_chat([USER], chat_template="{{ messages[0].role }}") == "user"
    (tmp_path / "a.jinja").write_text("file {{ messages[0].role }}")
    assert ours.render_chat([USER], chat_template=tmp_path / "a.jinja") == "file user"
    with pytest.raises(RequestError, match="no file of at most"):
        ours.render_chat([USER], chat_template=tmp_path / "b.jinja")
    ours.chat_template = None
    with pytest.raises(TokenizerError, match="name one of rag, tool_use as chat_template"):
        ours.render_chat([USER])
