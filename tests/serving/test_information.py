"""The routes that compute nothing: the tokenizer's, and those about the server."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import nextword as nw
from nextword.serving.limits import Limits
from tests.serving.client import Client


def test_text_becomes_tokens_and_text_again(client: Client, lm: nw.LanguageModel) -> None:
    for field in ("content", "prompt"):
        answer = client.post("/tokenize", {field: "aé漢", "with_pieces": True}).json
        assert [token["id"] for token in answer["tokens"]] == lm.tokenizer.encode("aé漢")
        assert [token["piece"] for token in answer["tokens"]] == ["a", *([byte] for byte in "é漢".encode())]
        assert (answer["count"], answer["max_model_len"]) == (6, 64)
    assert client.post("/detokenize", {"tokens": lm.tokenizer.encode("aé")}).json == {"content": "aé", "prompt": "aé"}


def test_control_tokens_are_read_and_shown(client: Client) -> None:
    assert client.post("/tokenize", {"prompt": "<|end|>", "add_special_tokens": False}).json["tokens"] == [256]
    assert client.post("/tokenize", {"prompt": "<|end|>", "parse_special": False}).json["count"] == 7
    assert client.post("/detokenize", {"tokens": [256]}).json["prompt"] == "<|end|>"
    info = client.get("/tokenizer_info").json
    assert (info["eos_token"], info["bos_token"], info["vocab_size"]) == ("<|end|>", None, 257)


def test_a_conversation_is_shown_as_the_model_sees_it(client: Client, lm: nw.LanguageModel) -> None:
    messages = [{"role": "user", "content": "hello"}]
    assert client.post("/apply-template", {"messages": messages}).json == {"prompt": "user: hello"}
    tokens = client.post("/tokenize", {"messages": messages}).json["tokens"]
    assert tokens == lm.tokenizer.encode_chat(messages)


def test_properties_are_those_of_the_server(client: Client, lm: nw.LanguageModel) -> None:
    props = client.get("/props").json
    assert props["limits"] == dataclasses.asdict(Limits())
    assert (props["model"], props["context"], props["version"]) == ("tiny", 64, nw.__version__)
    assert props["default_params"]["temperature"] == lm.params().temperature
    assert str(lm.directory.path.parent) not in str(props)
    assert client.get("/version").json == {"version": nw.__version__}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": 3}, "prompt"),
        ("/tokenize", {"prompt": "a", "add_special": 3}, "add_special"),
        ("/tokenize", {"promt": "a"}, "promt"),
        ("/tokenize", {"messages": []}, "messages"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": "abc"}, "tokens"),
        ("/detokenize", {"tokens": [-1]}, "tokens"),
        ("/apply-template", {"messages": [{"role": "user"}]}, "messages"),
        ("/apply-template", {"messages": [], "chat_template": "{{ 1 }}"}, "chat_template"),
    ],
)
def test_a_bad_field_is_named(client: Client, path: str, body: dict[str, Any], param: str) -> None:
    answer = client.post(path, body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
