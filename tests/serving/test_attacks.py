"""Requests that mean harm by what is in them: over-sized, ill-formed, or made to end the server or to learn of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

import nextword as nw
from tests.serving.client import Client, events
from tests.serving.faults import refused

PATH = "/v1/completions"
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 10**9), ("n", 0), ("n", 1.5), ("n", True), ("num_beams", 10**9), ("best_of", 10**9),
        ("max_tokens", -1), ("max_tokens", 10**400), ("logprobs", 10**9), ("prompt_logprobs", 10**9),
        ("seed", 2**64), ("seed", -(2**63) - 1), ("temperature", -1), ("temperature", "1"), ("top_p", 1.1),
        ("stop", ["a"] * 65), ("stop", "a" * 257), ("stop", [""]), ("stop_token_ids", list(range(65))),
        ("logit_bias", {str(i): 1 for i in range(1025)}), ("logit_bias", {"1" * 5000: 1}), ("logit_bias", {"٣": 1}),
        ("logit_bias", {"1": 10**400}), ("prompt", []), ("prompt", [[]]), ("prompt", ["a"] * 129), ("prompt", {}),
        ("prompt", [10**9]), ("prompt", [-1]), ("prompt", [True]), ("prompt", [1.0]), ("prompt", [[["a"]]]),
        ("prompt", "a" * 1_000_000), ("chat_template", "{{ 1 }}"), ("template", "{{ 1 }}"), ("model", "a\r\nX: y"),
        ("model", "../../etc/passwd"), ("model", "x" * 100_000), ("x" * 1_000_000, 1), ("\r\nX-Evil: 1", 1),
        ("stream_options", {"other": True}), ("stream", "yes"), ("prediction", {"content": 3}),
        ("prediction", {"type": "content", "content": [None]}), ("response_format", {"type": ["json_object"]}),
        ("structured_outputs", {"choice": []}),
        ("structured_outputs", {"choice": ""}), ("choice", []), ("user_id" * 99, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_a_value_out_of_bounds_is_refused(alive: Client, name: str, value: Any, stream: bool) -> None:
    status = 404 if name == "model" else 400
    refused(alive.post(PATH, {"prompt": "ab", "max_tokens": 3, "stream": stream, name: value}), status)


@pytest.mark.parametrize(
    "messages",
    [
        [], [3], [[]], "a", [{}], [{"role": "user"}], [{"role": 3, "content": "a"}], [{"role": "user", "content": 3}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
        [{"role": "user", "content": "a"}] * 2049, [{"role": "\ud800", "content": "a"}], [{"content": "a"}],
    ],
)  # fmt: skip
def test_a_conversation_out_of_form_is_refused(alive: Client, messages: Any) -> None:
    refused(alive.post(CHAT, {"messages": messages, "max_tokens": 2}))


def test_a_template_is_never_taken_from_a_request(alive: Client) -> None:
    evil = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    messages = [{"role": "user", "content": evil}]
    for field in ("chat_template", "template"):
        refused(alive.post(CHAT, {"messages": messages, field: evil}))
    shown = alive.post("/apply-template", {"messages": messages}).json["prompt"]
    assert shown == f"user: {evil}"
    given = {"messages": messages, "max_tokens": 1, "chat_template_kwargs": {"chat_template": evil, "messages": []}}
    assert alive.post(CHAT, given).status in (200, 400)


SURROGATE = '"\\ud800"'
STRINGS = ("prompt", "stop", "model", "prediction", "regex", "grammar", "choice", "schema", "\\ud800", "user", "order")


@pytest.mark.parametrize("text", [SURROGATE, '"a\\u0000b"', '"\\udfff\\ud800"', '"\\u202e\\u2028"'])
@pytest.mark.parametrize("field", STRINGS)
def test_text_that_is_none_ends_in_an_answer(alive: Client, field: str, text: str) -> None:
    for value in (text, f"[{text}]", f'{{"type": "content", "content": {text}}}', f"{{{text}: 1}}"):
        for path, rest in ((PATH, ""), (PATH, '"prompt": "a", '), ("/tokenize", ""), ("/v1/score", "")):
            if f'"{field}"' not in rest:
                body = f'{{{rest}"{field}": {value}}}'.encode()
                answer = alive.post(path, body)
                assert answer.status in (200, 400, 404), (body, answer.body)
                if answer.status != 200:
                    refused(answer, answer.status)


@pytest.mark.parametrize("path", [PATH, CHAT, "/tokenize", "/detokenize", "/apply-template", "/v1/score"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b'{"a": 1, "a": 2}', b"\x00", b"\xff\xfe",
        b'{"a": ' * 10_000 + b"1" + b"}" * 10_000, b"[" * 10_000_000,
        b'{"a": 1' + b"0" * 10_000 + b"}", b'{"prompt": ' + b"[" * 63 + b"]" * 63 + b"}",
        ("{" + ",".join(f'"{i}":1' for i in range(500_000)) + ',"0":1}').encode(),
    ],
)  # fmt: skip
def test_a_body_out_of_form_is_refused_at_once(alive: Client, path: str, body: bytes) -> None:
    begin = time.monotonic()
    refused(alive.post(path, body))
    assert time.monotonic() - begin < 20  # and not hours: nothing takes time with the square of the size


def _nested(depth: int, leaf: Any = True) -> Any:
    for _ in range(depth):
        leaf = {"properties": {"a": leaf}}
    return leaf


LOOP = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
FORMS: list[tuple[str, Any]] = [
    ("grammar", "root ::= " + "(" * 60_000 + '"a"' + ")" * 60_000),
    ("grammar", "start: " + "(" * 60_000 + '"a"' + ")" * 60_000),
    ("grammar", "start: start"), ("grammar", "start: a\na: b\nb: a"), ("grammar", "start: b"), ("grammar", "\x00"),
    ("regex", "(" * 60_000 + "a" + ")" * 60_000), ("regex", "(a{1000}){1000}{1000}"), ("regex", "a{1000000000}"),
    ("regex", "(a"), ("regex", "[z-a]"), ("regex", "((a{0,100}){0,100}){0,100}b"), ("regex", r"(\p{L}{0,500}){500}"),
    ("regex", r"(a)\1"), ("regex", "(?=a)b"), ("schema", LOOP), ("schema", {"$ref": "file:///etc/passwd"}),
    ("schema", {"$ref": "http://127.0.0.1:1/x"}), ("schema", {"type": "nothing"}), ("schema", _nested(40)),
    ("schema", {"type": "string", "pattern": "(a{1000}){1000}{1000}"}), ("schema", False),
    ("schema", {"anyOf": [{"const": f"k{i}"} for i in range(10_000)]}),
    ("schema", {"type": "array", "items": {"type": "integer"}, "minItems": 10**9, "maxItems": 10**9}),
    ("schema", {"type": "string", "minLength": 10**9}), ("schema", {"type": "object", "minProperties": 10**9}),
    ("schema", {"enum": []}), ("schema", {"allOf": [{"type": "string"}, {"type": "number"}]}),
    ("choice", ["k" * 100 + str(i) for i in range(20_000)]), ("choice", [""]),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(FORMS)))
def test_a_form_ends_in_text_of_that_form_or_in_an_error(alive: Client, lm: nw.LanguageModel, case: int) -> None:
    name, value = FORMS[case]
    begin = time.monotonic()
    answer = alive.post(PATH, {"prompt": "ab", "max_tokens": 4, name: value})
    assert time.monotonic() - begin < 30
    if answer.status != 200:
        refused(answer)
        return
    given: Any = {name: value}
    choice = answer.json["choices"][0]
    seed = choice.get("seed") or choice.get("nextword", {}).get("seed")
    if seed is not None:
        assert choice["text"] == lm.generate("ab", max_tokens=4, seed=seed, **given).text
    assert choice["text"][:1] in {"choice": "k"}.get(name, choice["text"][:1])


def test_a_failing_form_is_an_error_in_a_stream_too(alive: Client) -> None:
    refused(alive.post(PATH, {"prompt": "ab", "regex": "(a", "stream": True}))


def test_errors_do_not_grow_with_what_causes_them(alive: Client) -> None:
    long = "\x01" * 1_000_000
    fields: list[tuple[str, Any]] = [
        ("prompt", [long, {}]), ("prompt", {long: 1}), ("response_format", {long: 1}), ("stop", [long]),
        ("logit_bias", {long: 1}), ("prediction", {long: 1}), ("structured_outputs", {long: 1}), ("order", [long]),
        ("regex", "(" + long), ("grammar", long), ("schema", {"type": long}), ("schema", {"$ref": "#/" + long}),
        ("temperature", long), ("model", {long: 1}), ("seed", long), (long, 1),
    ]  # fmt: skip
    for name, value in fields:
        refused(alive.post(PATH, {"prompt": "a", name: value}))
    for path, body in (
        ("/v1/score", {"prompt": "a", "continuations": [{long: 1}]}),
        ("/detokenize", {"tokens": [long]}),
    ):
        refused(alive.post(path, body))


def test_many_large_prompts_do_not_stop_the_others(alive: Client) -> None:
    answer = alive.post(PATH, {"prompt": ["a" * 50_000] * 128, "max_tokens": 1, "n": 16})
    assert answer.error["code"] == "context_length_exceeded"
    assert list(events(alive.post(PATH, {"prompt": "ab", "max_tokens": 2, "stream": True}).body))
