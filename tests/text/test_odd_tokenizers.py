"""Vocabularies and tokenizer files that are damaged, hostile or unusual: decoded as written, or one line of error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

from nextword.checkpoints.gguf.metadata import GGUFMetadata
from nextword.checkpoints.gguf.tokenizer import build_gguf_tokenizer
from nextword.errors import CheckpointError, TokenizerError
from nextword.text.tokenizer import Tokenizer
from nextword.text.tokenizer_folder import load_tokenizer_folder
from tests.text.vocabularies import SPACE, as_tokenizer, byte_level_backend, piece_backend

WORDS = ["café", "đem", "ilÖveyou", "číslo", "Ãtat", "a\u0120b", "日本"]
Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize("word", WORDS)
def test_an_added_token_is_decoded_as_it_is_written(word: str) -> None:
    backend = byte_level_backend(AddedToken(word, normalized=False))
    tokenizer = as_tokenizer(backend)
    token_ids = tokenizer.encode(f"x {word} y", parse_special=True)
    token_id = backend.token_to_id(word)
    assert token_id is not None
    assert token_id in token_ids
    assert tokenizer.decode(token_ids, skip_special_tokens=False) == f"x {word} y"
    assert tokenizer.token_text(token_id) == word


@pytest.mark.parametrize("word", [*WORDS, f"a{SPACE}b"])
@pytest.mark.parametrize("normalized", [False, True])
def test_added_tokens_that_are_not_special_are_decoded_as_they_are_written(word: str, normalized: bool) -> None:
    for backend in (byte_level_backend(), piece_backend()):
        if normalized and backend.normalizer is not None:
            continue  # which spells the token
        backend.add_tokens([AddedToken(word, normalized=normalized)])
        tokenizer = as_tokenizer(backend)
        assert tokenizer.decode(tokenizer.encode(f"x {word}")) == f"x {word}"
        stream = tokenizer.stream_decoder()
        assert "".join(map(stream.push, tokenizer.encode(word))) + stream.flush() == word


def test_an_added_token_that_merges_form_too_is_spelled_in_bytes() -> None:
    backend = byte_level_backend()
    backend.add_tokens([AddedToken("Ġthe", normalized=False)])
    tokenizer = as_tokenizer(backend)
    assert tokenizer.decode(tokenizer.encode("in the sea")) == "in the sea"


def gguf_tokenizer(tokens: list[str], kinds: list[int], **settings: object) -> Tokenizer:
    """A byte-level vocabulary: all bytes, then these."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    content = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [*alphabet, "ab", *tokens],
        "tokenizer.ggml.token_type": [1] * 257 + kinds,
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 257,
        **{f"tokenizer.ggml.{key}": value for key, value in settings.items()},
    }
    return build_gguf_tokenizer(GGUFMetadata(content, Path("model.gguf")))


def test_of_a_token_listed_twice_the_control_token_counts_and_both_decode() -> None:
    tokenizer = gguf_tokenizer(["<|end|>", "ab", "<|end|>", "<|end|>", "café", "", "[PAD]"], [3, 1, 1, 3, 4, 1, 5])
    assert tokenizer.encode("ab<|end|>", parse_special=True) == [258, 260]
    assert tokenizer.decode([256, 258]) == "abab"
    assert tokenizer.decode([259]) == "<|end|>"
    assert tokenizer.decode([260, 257]) == ""
    assert tokenizer.encode("café") == [261]
    assert tokenizer.decode([261]) == "café"
    assert (tokenizer.decode([262, 263, 999]), tokenizer.vocab_size) == ("", 264)
    assert tokenizer.token_text(263) == "<unused 263>"


@pytest.mark.parametrize(
    ("settings", "around"),
    [
        ({}, ([], [])),
        ({"bos_token_id": 258, "add_bos_token": True}, ([258], [])),
        ({"add_eos_token": True}, ([], [257])),
        ({"bos_token_id": 258, "add_bos_token": True, "add_eos_token": True}, ([258], [257])),
        ({"bos_token_id": 258, "pre": "llama-bpe"}, ([258], [])),
    ],
)
def test_gguf_flags_say_what_stands_around_a_text(
    settings: dict[str, object], around: tuple[list[int], list[int]]
) -> None:
    tokenizer = gguf_tokenizer(["<|end|>", "<a:b>"], [3, 3], **settings)
    prefix, suffix = around
    assert tokenizer.encode("ab") == [*prefix, 256, *suffix]
    assert tokenizer.encode_prompt("ab") == [*prefix, 256]
    assert tokenizer.encode_batch(["ab"]) == [tokenizer.encode("ab")]
    assert tokenizer.encode("ab", add_special_tokens=False) == [256]


def set_field(**fields: object) -> Edit:
    return lambda definition: definition.update(fields)


def set_model(**fields: object) -> Edit:
    return lambda definition: definition["model"].update(fields)


def split(pattern: str) -> Edit:
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return set_field(pre_tokenizer=step)


def around(ids: list[int]) -> dict[str, Any]:
    text, other = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    special = {"x": {"id": "x", "ids": ids, "tokens": ["x"] * len(ids)}}
    single = [{"SpecialToken": {"id": "x", "type_id": 0}}, text]
    return {"type": "TemplateProcessing", "single": single, "pair": [text, other], "special_tokens": special}


def folder_of(folder: Path, backend: tokenizers.Tokenizer, edit: Edit) -> Path:
    definition = json.loads(backend.to_str())
    edit(definition)
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    return folder


def test_dropout_left_over_from_training_draws_nothing(tmp_path: Path) -> None:
    tokenizer = load_tokenizer_folder(folder_of(tmp_path, byte_level_backend(), set_model(dropout=0.9)))
    assert {tuple(tokenizer.encode("in the sea the")) for _ in range(20)} == {
        tuple(byte_level_backend().encode("in the sea the").ids)
    }


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            set_field(normalizer={"type": "Sequence", "normalizers": [REPLACE] * 6}),
            "normalizer: makes up to 10{18} char",
        ),
        (set_field(normalizer={"type": "Prepend", "prepend": "a" * 10**7}), "normalizer: makes up to 10000001 char"),
        (set_field(post_processor=around([1] * 100_000)), "post_processor: puts 100000 tokens around"),
        (set_model(end_of_word_suffix="a" * 10**6), "end_of_word_suffix has 1000000 characters"),
        (split("(a+"), "not a tokenizer: .*parenthesis"),
        (lambda definition: definition.pop("model"), "not a tokenizer: .*Model missing"),
    ],
)
def test_a_file_that_would_hang_or_is_damaged_is_refused(edit: Edit, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        load_tokenizer_folder(folder_of(tmp_path, byte_level_backend(), edit))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("edit", [split("(a+)+$"), set_field(pre_tokenizer={"type": "FixedLength", "length": 0})])
def test_a_panic_of_the_library_is_one_line(edit: Edit, tmp_path: Path) -> None:
    tokenizer = load_tokenizer_folder(folder_of(tmp_path, byte_level_backend(), edit))
    for encode in (tokenizer.encode, lambda text: tokenizer.encode_batch([text])):
        with pytest.raises(TokenizerError, match=r"^the tokenizer cannot encode this text: [^\n]+$"):
            encode("a" * 50 + "b" * 50)


@pytest.mark.parametrize("model", [models.Unigram([("a", 0.0)], None), models.WordPiece({"a": 0}, unk_token="[UNK]")])
def test_a_vocabulary_without_an_unknown_token_says_so(model: Any) -> None:
    tokenizer = as_tokenizer(tokenizers.Tokenizer(model))
    assert tokenizer.encode("a") == [0]
    with pytest.raises(TokenizerError, match=r"cannot encode this text: .*(unk_id|UNK)"):
        tokenizer.encode("b")


def settings_of(folder: Path, **settings: object) -> Path:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bos_token": 3}, "tokenizer_config.json: bos_token is 3; expected the text of a token"),
        ({"added_tokens_decoder": ["a"]}, r"added_tokens_decoder is \['a'\]; expected tokens by their ids"),
        ({"added_tokens_decoder": {"x": {"content": "a"}}}, "expected tokens by their ids"),
        ({"added_tokens_decoder": {"9": {"content": 1}}}, "added_tokens_decoder: 9 is"),
        ({"extra_special_tokens": "abc"}, "extra_special_tokens is 'abc'; expected a list"),
        ({"extra_special_tokens": [7]}, "extra_special_tokens is 7; expected the text"),
        ({"chat_template": 7}, "chat_template is 7; expected a text"),
        ({"chat_template": [{"name": "a"}]}, "expected a text, or a list of names with templates"),
    ],
)
def test_a_damaged_setting_is_named(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    folder_of(settings_of(tmp_path, **settings), byte_level_backend(), lambda definition: None)
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer_folder(tmp_path)


def test_an_added_token_whose_files_disagree_is_said(tmp_path: Path) -> None:
    settings_of(tmp_path, added_tokens_decoder={"9000": {"content": "<|x|>"}})
    folder_of(tmp_path, byte_level_backend(), lambda definition: None)
    with pytest.warns(UserWarning, match=r"'<\|x\|>' has the id \d+ in tokenizer.json and 9000 in another"):
        load_tokenizer_folder(tmp_path)


def test_an_added_token_that_gets_another_id_than_its_file_says_is_said(tmp_path: Path) -> None:
    def edit(definition: dict[str, Any]) -> None:
        definition["added_tokens"].append({**definition["added_tokens"][0], "content": "<|x|>", "id": 9000})

    with pytest.warns(UserWarning, match=r"tokenizer.json: added_tokens gives '<\|x\|>' the id 9000; it is \d+,"):
        load_tokenizer_folder(folder_of(tmp_path, byte_level_backend(), edit))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"chat_template.jinja": "J", "chat_template.json": '{"chat_template": "O"}'}, ("J", {})),
        ({"chat_template.json": '{"chat_template": "O"}'}, ("O", {})),
        ({"additional_chat_templates/rag.jinja": "R", "chat_template.jinja": "J"}, ("J", {"rag": "R"})),
        ({"additional_chat_templates/tool_use.jinja": "U"}, (None, {"tool_use": "U"})),
    ],
)
def test_chat_templates_come_from_files_of_their_own(
    files: dict[str, str], expected: tuple[str | None, dict[str, str]], tmp_path: Path
) -> None:
    folder_of(tmp_path, byte_level_backend(), lambda definition: None)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    tokenizer = load_tokenizer_folder(tmp_path)
    assert (tokenizer.chat_template, tokenizer.named_templates) == expected
