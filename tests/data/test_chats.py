"""Examples in every form that people store them in, read as conversations; damage names file and line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from nextword.data.chats import ChatFields, read_chats
from nextword.errors import ConfigError, DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"
SAID = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def read(path: Path, record: Any, **fields: str) -> list[Mapping[str, Any]]:
    path.write_text(json.dumps(record))
    (chat,) = read_chats([path], fields=ChatFields(**fields))
    return list(chat.messages)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": SAID},
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"conversations": SAID},
        {"instruction": "hi", "input": "", "output": "hello"},
        {"instruction": "hi", "output": "hello"},
        {"prompt": "hi", "completion": "hello", "id": 3},
        {"prompt": SAID[:1], "completion": SAID[1:]},
    ],
)
def test_every_form_is_the_same_conversation(tmp_path: Path, record: object) -> None:
    assert read(tmp_path / "a.jsonl", record) == SAID


def test_an_instruction_has_its_input_below_and_its_system_message_before(tmp_path: Path) -> None:
    record = {"instruction": "Translate.", "input": "hi", "output": "salut", "system": "Be brief."}
    assert read(tmp_path / "a.jsonl", record) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Translate.\n\nhi"},
        {"role": "assistant", "content": "salut"},
    ]


def test_any_other_form_is_read_by_naming_its_fields(tmp_path: Path) -> None:
    record = {"dialogue": "{hi}", "summary": "a greeting"}
    messages = read(tmp_path / "a.jsonl", record, user="Summarise {}:\n{dialogue}", answer="summary")
    assert messages == [
        {"role": "user", "content": "Summarise {}:\n{hi}"},
        {"role": "assistant", "content": "a greeting"},
    ]


def test_half_of_the_fields_is_refused() -> None:
    with pytest.raises(ConfigError, match="needed together"):
        ChatFields(user="{dialogue}")


def test_of_a_folder_the_files_with_records_are_read(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("What this is.")
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": SAID}))
    assert len(list(read_chats([tmp_path]))) == 1
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"no file in this folder ends in \.jsonl, \.ndjson, \.json, \.parquet"):
        read_chats([tmp_path])


def test_parquet_with_columns_of_other_forms_is_read(tmp_path: Path) -> None:
    rows = {"messages": [SAID, None], "prompt": [None, "hi"], "completion": [None, "hello"]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "a.parquet")
    assert [list(chat.messages) for chat in read_chats([tmp_path / "a.parquet"])] == [SAID, SAID]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": "hi"}, "fields text match no known form: messages; conversations; instruction and output; prompt"),
        ({"messages": "hi"}, "expected a list of messages, found str"),
        ({"messages": [{"role": "user"}]}, "messages[0] = {'role': 'user'}: has no 'content'"),
        ({"messages": SAID[:1]}, "no message is the assistant's"),
        ({"messages": [{"role": "assistant", "content": 3}]}, "messages[0]['content'] = 3: must be a string"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0]['content'][0] = {'type': 'image_url'}: must be a part",
        ),
        ({"prompt": "hi", "completion": "\ud800"}, "messages[1]['content']: character 0 is not valid Unicode"),
        ({"conversations": [{"from": "human", "text": "hi"}]}, "a message without 'from' and 'value'"),
    ],
)
def test_a_bad_example_is_named_or_counted(tmp_path: Path, record: object, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in ({"messages": SAID}, record, {"messages": SAID})))
    with pytest.raises(DataError, match=r"a\.jsonl:2: ") as refused:
        list(read_chats([path]))
    assert reason in str(refused.value)
    told: list[DataError] = []
    assert len(list(read_chats([path], on_bad=told.append))) == 2
    assert len(told) == 1


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no field 'summary'; the fields are dialogue"):
        read(tmp_path / "a.jsonl", {"dialogue": "hi"}, user="{dialogue}", answer="summary")


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here")
def test_real_instructions_and_dialogues_are_read() -> None:
    instructions = list(read_chats([SHARED / "instructions.json"]))
    assert len(instructions) == 1100
    fields = ChatFields(user="{dialogue}", answer="summary")
    dialogues = list(read_chats([SHARED / "dialogsum-dev.jsonl"], fields=fields))
    assert len(dialogues) == 500
    assert all(chat.messages[-1]["content"] for chat in [*instructions, *dialogues])
