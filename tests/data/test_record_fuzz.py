"""Whatever a file of records holds, it is read, or refused in one line with its place; nothing else is raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.data.chats import ChatFields, read_chats
from nextword.data.documents import read_documents
from nextword.data.labelled import read_labelled
from nextword.data.summarised import read_summarised
from nextword.data.supervised import ExamplesReport, encode_chats
from nextword.errors import NextwordError
from nextword.text.train_tokenizer import train_tokenizer

NAMES = [
    *("messages", "conversations", "instruction", "input", "output", "prompt", "completion", "system", "history"),
    *(
        "tools",
        "functions",
        "chat_template_kwargs",
        "role",
        "content",
        "from",
        "value",
        "type",
        "text",
        "weight",
        "name",
    ),
    *("tool_calls", "function", "arguments", "reasoning_content", "tool_call_id", "label", "dialogue", "summary"),
]
ROLES = ["user", "assistant", "system", "tool", "human", "gpt", "function_call", "observation", "USER", "critic", ""]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([*ROLES, *NAMES, "[]", "{"]),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(ROLES), "content": VALUES | st.text(max_size=5)},
        optional=dict.fromkeys(("weight", "name", "tool_calls", "reasoning_content"), VALUES),
    ),
    max_size=4,
)
RECORDS = VALUES | st.fixed_dictionaries({"messages": MESSAGES}, optional=dict.fromkeys(("tools", "system"), VALUES))
TOKENIZER = train_tokenizer(["abc xyz"], vocab_size=60, kind="characters")


def read_all(path: Path, on_bad: Any = None) -> None:
    """Read a file as every verb does."""
    for fields in (ChatFields(), ChatFields(user="{text} {name}", answer="summary")):
        chats = read_chats([path], fields=fields, on_bad=on_bad)
        list(encode_chats(chats, TOKENIZER, seq_len=64, report=ExamplesReport(), on_bad=on_bad))
    list(read_documents([path], on_bad=on_bad))
    list(read_labelled(path, on_bad=on_bad))
    list(read_summarised(path, on_bad=on_bad))


def check(path: Path) -> None:
    told: list[NextwordError] = []
    for on_bad in (None, told.append):
        try:
            read_all(path, on_bad)
        except NextwordError as error:
            told.append(error)
    for message in map(str, told):
        assert message.startswith(str(path))
        assert "\n" not in message


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "records.jsonl"


@settings(deadline=None, max_examples=150)
@given(records=st.lists(RECORDS, max_size=3))
def test_any_records_are_read_or_named(path: Path, records: list[Any]) -> None:
    path.write_text("\n".join(json.dumps(record) for record in records))
    check(path)


@settings(deadline=None, max_examples=150)
@given(content=st.binary(max_size=60), kind=st.sampled_from([".jsonl", ".json", ".tsv", ".jsonl.gz", ".parquet"]))
def test_any_bytes_are_read_or_named(path: Path, content: bytes, kind: str) -> None:
    file = path.with_name(f"bytes{kind}")
    file.write_bytes(content)
    check(file)
