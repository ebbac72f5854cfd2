"""Chat templates, expression by expression, and the continuation of their last message.

The judge is transformers; the features are those that its own tests of chat templates go through.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from nextword.errors import NextwordError, TokenizerError
from nextword.text.tokenizer import Tokenizer
from tests.peers.template_features import BLOCKS, EXPRESSIONS, LINES, MESSAGES, NAMES
from tests.text.vocabularies import as_tokenizer, byte_level_backend

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.peer

VARIABLES = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
NOT_FOR_CHATS = ("pprint", "striptags", "urlize", "xmlattr")
"""Filters that make web pages, and Python's own notation."""


def tokenizer(template: str) -> Tokenizer:
    ours = as_tokenizer(byte_level_backend(), chat_template=template)
    ours.special_variables = dict(VARIABLES)
    return ours


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("peer")
    tokenizer("").save(folder)
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def by_transformers(peer: Any, template: str, messages: list[dict[str, Any]], **options: Any) -> str | None:
    """Return what transformers renders, None if it refuses."""
    try:
        rendered: str = peer.apply_chat_template(messages, chat_template=template, tokenize=False, **options)
    except Exception:
        return None
    return rendered


def by_us(template: str, messages: list[dict[str, Any]], **options: Any) -> str | None:
    try:
        return tokenizer(template).render_chat(messages, add_generation_prompt=False, **options)
    except NextwordError:
        return None


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_expressions_have_the_values_of_transformers(peer: Any, kind: str) -> None:
    expressions = EXPRESSIONS[kind].split(";")
    num_refused = 0
    for expression in expressions:
        template = f"{NAMES}{{{{ {expression.strip()} }}}}"
        expected = by_transformers(peer, template, MESSAGES)
        assert by_us(template, MESSAGES) == expected, expression
        num_refused += expected is None
    assert num_refused < len(expressions) / 2


def test_blocks_write_what_they_write_in_transformers(peer: Any) -> None:
    for block in [*BLOCKS, *LINES]:
        assert by_us(NAMES + block, MESSAGES) == by_transformers(peer, NAMES + block, MESSAGES), block


@pytest.mark.parametrize("name", NOT_FOR_CHATS)
def test_filters_that_are_not_for_chats_are_refused_by_name(name: str) -> None:
    with pytest.raises(TokenizerError, match=f"No filter named '{name}'"):
        tokenizer(f"{{{{ messages | {name} }}}}").render_chat(MESSAGES)


@pytest.mark.parametrize("documents", [[], [{"title": "T", "text": "Rain."}, {"title": "U", "text": "Sun <b>"}]])
def test_documents_are_a_variable_as_in_transformers(peer: Any, documents: list[dict[str, str]]) -> None:
    listed = "{% for d in documents %}{{ d.title }}: {{ d['text'] }}\n{% endfor %}"
    template = listed + "{{ documents | tojson }}{{ messages[2].content }}"
    expected = by_transformers(peer, template, MESSAGES, documents=documents)
    assert by_us(template, MESSAGES, template_variables={"documents": documents}) == expected


TURNS = "{% for m in messages %}<|begin|>{{ m['role'] + '\n' + (CONTENT) }}<|end|>\n{% endfor %}"
FORMS = [
    *("m['content']", "m['content'] | trim", "m.content.strip() + '  '", "' ' + m.content", "m.content + '\n\n'"),
    *("m.content.rstrip()", "m.content.lstrip('\n')", "m.content | upper", "m.content.split('</think>')[-1]"),
    *("m.content | tojson", "m.content | e", "m.content | replace('\n', ' ')", "m.content | replace(' ', '')"),
    *("m.content | indent(2)", "m.content | string | safe", "'%s' % m.content", "'{}'.format(m.content)"),
    "'x' if loop.last else m.content",
]
TEXTS = [
    *("The river is", "The river is ", "  The river is \n\n", "", "   ", "\n", "?", "assistant", " user"),
    *(
        "No.</think>\n\nThe",
        "<think>a</think>x",
        "a 'b' \"c\" <d> & é漢😀",
        "ends with <|end|>",
        "a\tb\r\nc\u2028d \xa0",
    ),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_last_message_is_continued_or_refused_as_in_transformers(peer: Any, form: str) -> None:
    template = TURNS.replace("CONTENT", form)
    for text, continues in itertools.product(TEXTS, (True, False)):
        answer = {"role": "assistant", "content": text}
        for messages in (
            [answer],
            [{"role": "user", "content": text}, answer],
            [{"role": "assistant", "content": text + " more"}, {"role": "user", "content": "x"}, answer],
        ):
            expected = by_transformers(peer, template, messages, continue_final_message=continues)
            assert by_us(template, messages, continue_final_message=continues) == expected, messages


@pytest.mark.parametrize("text", ["The river is", "The river is ", ""])
def test_no_mark_of_ours_is_left_in_a_template_that_writes_the_text_twice(text: str) -> None:
    """Transformers leaves its own there."""
    template = TURNS.replace("CONTENT", "m.content ~ '|' ~ m.content")
    messages = [{"role": "assistant", "content": text}]
    assert by_us(template, messages, continue_final_message=True) == f"<|begin|>assistant\n{text}|{text}"
