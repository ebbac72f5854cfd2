"""Which tokens end a completion, and which end an answer: those of all files, and of the chat template."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder
from tests.text.test_chat_input import FULL, PLAIN
from tests.text.vocabularies import as_tokenizer, byte_level_backend

BEGIN, END, TURN = "<|begin|>", "<|end|>", "<|turn|>"


def backend() -> Any:
    return byte_level_backend(AddedToken(TURN, special=True))


def folder_with(path: Path, *, generation: object = ..., config: object = ..., eos: str | None = None) -> Tokenizer:
    backend().save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos, "chat_template": PLAIN}))
    for name, value in (("generation_config.json", generation), ("config.json", config)):
        if value is not ...:
            (path / name).write_text(json.dumps({"eos_token_id": value}))
    return load_tokenizer_folder(path)


def ids(*tokens: str) -> list[int]:
    return [backend().token_to_id(token) for token in tokens]


def test_the_end_tokens_of_all_files_count(tmp_path: Path) -> None:
    (begin, end, turn) = ids(BEGIN, END, TURN)
    assert folder_with(tmp_path, generation=[turn], config=begin, eos=END).eos_token_ids == (turn, begin, end)


def test_a_chat_also_ends_where_its_template_ends_an_answer(tmp_path: Path) -> None:
    (begin, end) = ids(BEGIN, END)
    opened = folder_with(tmp_path, config=begin)
    assert (opened.eos_token_ids, opened.turn_end_ids()) == ((begin,), (begin, end))
    assert opened.turn_end_ids("{% for m in messages %}{{ m.content }}<|turn|>{% endfor %}") == (begin, *ids(TURN))


@pytest.mark.parametrize("value", ["0", -1, 99999, True, [[2]], [0, "2"], 1.0, {}])
def test_a_value_that_is_no_token_id_is_named_in_one_warning(tmp_path: Path, value: object) -> None:
    (end,) = ids(END)
    with pytest.warns(UserWarning, match=r"generation_config\.json: eos_token_id: .* is no token id") as caught:
        opened = folder_with(tmp_path, generation=value, eos=END)
    assert len(caught) == 1
    assert opened.eos_token_ids == ((0, end) if value == [0, "2"] else (end,))


@pytest.mark.parametrize("value", [None, [], 2])
def test_other_values_are_taken_without_a_word(tmp_path: Path, value: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder_with(tmp_path, generation=value, eos=END)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (PLAIN, END),
        (FULL, END),
        ("{% for m in messages %}{{ m.content | trim }}\n\n  <|turn|>{% endfor %}", TURN),
        ("{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{{ eos_token }}{% endfor %}", TURN),
        ("{% for m in messages %}<|begin|>{{ m.role }}: {{ m.content }}\n{% endfor %}", BEGIN),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", None),
        ("{% for m in messages %}{{ m.content }} end {{ eos_token }}{% endfor %}", None),
        ("{{ raise_exception('no') }}", None),
        ("{% for m in messages %}{{ m.reasoning_content }}<|end|>{{ m.content }}<|end|>{% endfor %}", None),
        ("{% for m in messages %}{{ m.reasoning_content }}<|end|>{{ m.content }}<|turn|>{% endfor %}", TURN),
    ],
)
def test_the_end_of_a_turn_is_the_token_behind_an_answer(template: str, end: str | None) -> None:
    tokenizer = as_tokenizer(backend(), chat_template=template)
    tokenizer.special_variables["eos_token"] = TURN
    assert tokenizer.turn_end_ids() == (() if end is None else tuple(ids(end)))


def test_a_model_without_a_template_ends_at_its_end_tokens() -> None:
    assert as_tokenizer(backend()).ending_at([3]).turn_end_ids() == (3,)
