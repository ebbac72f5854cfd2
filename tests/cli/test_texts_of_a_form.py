"""Texts of a given form from the command line: files of schemas, notes on texts cut short, refusals in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command

SCHEMA = {"type": "array", "items": {"enum": [1, 2]}, "minItems": 2, "maxItems": 2}


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "pair.json"
    path.write_text(json.dumps(SCHEMA), encoding="utf-8")
    return path


def test_the_schema_of_a_file_is_followed(command: Command, tiny: Path, schema: Path) -> None:
    done = command("generate", tiny, "hi", "--schema", schema, "--seed", "1", "--temperature", "2")
    assert (done.code, len(json.loads(done.out))) == (0, 2)
    assert "incomplete" not in done.err


def test_each_form_has_its_flag(command: Command, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "numbers.gbnf").write_text('root ::= [0-9] ("," [0-9]){2}\n', encoding="utf-8")
    done = command("generate", tiny, "hi", "--grammar", tmp_path / "numbers.gbnf", "--seed", "1")
    assert re.fullmatch(r"\d,\d,\d\n", done.out)
    done = command("generate", tiny, "hi", "--regex", "[xy]{3}", "--seed", "1", "-n", "2")
    assert re.fullmatch(r"[xy]{3}\n---\n[xy]{3}\n", done.out)
    done = command("generate", tiny, "hi", "--choice", "yes", "--choice", "no", "--seed", "1")
    assert done.out in ("yes\n", "no\n")


def test_a_text_cut_short_is_said_to_be_incomplete(command: Command, tiny: Path, schema: Path) -> None:
    for more in ((), ("--json",)):
        done = command("generate", tiny, "hi", "--schema", schema, "--max-tokens", "2", "--seed", "1", *more)
        assert done.code == 0
        assert "[the text is incomplete: " in done.err
    done = command("chat", tiny, "--schema", schema, "--max-tokens", "2", "--seed", "1", given="hi\n")
    assert "[the text is incomplete: " in done.err


def test_answers_of_a_chat_have_the_form_and_it_can_be_changed(command: Command, tiny: Path, schema: Path) -> None:
    lines = 'hi\n/set schema none\n/set choice a "b c"\nhi\n/set regex x\nhi\n'
    done = command("chat", tiny, "--schema", schema, "--seed", "1", given=lines)
    first, second, third = done.out.splitlines()
    assert len(json.loads(first)) == 2
    assert second in ("a", "b c")
    assert third in ("a", "b c")
    assert "regex and choice: a text can have one form" in done.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ('{"items": {"not": {}}}', "at /items/not: not cannot be enforced"),
        ('{"type": "strin"}', "at /type: Invalid type: strin"),
        ('{"items":' * 5000 + "1" + "}" * 5000, "nest"),
        ('{"const": "' + "x" * 70_000 + '"}', "at most 65,536"),
        ('{"$ref": "#"}', "no text fits it"),
        ("false", "no value fits it"),
    ],
)
def test_a_bad_schema_is_one_line_and_exit_code_2(
    command: Command, tiny: Path, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "bad.json").write_text(content, encoding="utf-8")
    done = command("generate", tiny, "hi", "--schema", tmp_path / "bad.json")
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_a_missing_file_is_named(command: Command, tiny: Path, tmp_path: Path) -> None:
    done = command("generate", tiny, "hi", "--grammar", tmp_path / "none.lark")
    assert done.code == 2
    assert "none.lark" in done.err
