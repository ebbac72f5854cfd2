"""Fields of other APIs that are not served, or have values that cannot be: each refusal names the field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.client import Client

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"prompt": "ab", "max_tokens": 2},
    CHAT: {"messages": [{"role": "user", "content": "ab"}], "max_tokens": 2},
}
BOTH: list[tuple[str, Any]] = [
    ("audio", {"voice": "a"}), ("modalities", ["text", "audio"]), ("web_search_options", {}), ("suffix", "x"),
    ("functions", [{"name": "f"}]), ("function_call", "auto"), ("use_beam_search", True), ("priority", 1),
    ("cache_salt", "a"), ("guided_json", {}), ("guided_regex", "a"), ("n_predict", 3), ("truncate_prompt_tokens", 2),
    ("chat_template", "{{ 1 }}"), ("think", True), ("options", {}), ("keep_alive", 3), ("lora", []),
    ("mm_processor_kwargs", {}), ("kv_transfer_params", {}), ("documents", []), ("image", "a"), ("bad_words", ["a"]),
    ("store", "x"), ("metadata", []), ("service_tier", 3), ("reasoning_effort", 3), ("verbosity", 1), ("user", 3),
    ("logit_bias", {"foo": 1}), ("logit_bias", {"-1": 1}), ("logit_bias", {"99999": 1}), ("logit_bias", {"5": "a"}),
    ("n", 17), ("n", 0), ("max_completion_tokens", 0), ("max_completion_tokens", "2"), ("stop", 5), ("stop", [None]),
    ("stream_options", {}), ("prediction", "a"), ("request_id", ""), ("return_progress", True), ("temperature", "1"),
]  # fmt: skip


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(("name", "value"), BOTH)
def test_a_refusal_names_the_field_and_says_what_to_do(client: Client, path: str, name: str, value: Any) -> None:
    answer = client.post(path, {**BODIES[path], name: value})
    assert (answer.status, answer.error["type"], answer.error["param"]) == (400, "invalid_request_error", name)
    message = answer.error["message"]
    assert name in message
    assert message.count("\n") == 0
    assert len(message) > len(name) + 15


INNER: list[tuple[dict[str, Any], str]] = [
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
    ({"response_format": {"type": "json_object", "schem": {}}}, "response_format.schem"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "strict": "yes"}}},
        "response_format.json_schema.strict",
    ),
    ({"structured_outputs": {"jsn": {}}}, "structured_outputs.jsn"),
]


@pytest.mark.parametrize(("fields", "param"), INNER)
def test_a_field_within_another_has_its_whole_name(client: Client, fields: dict[str, Any], param: str) -> None:
    for path, body in BODIES.items():
        answer = client.post(path, {**body, **fields})
        assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_what_a_template_does_not_read_is_no_warning_with_a_client_s_text(client: Client) -> None:
    """Warnings are errors in these tests; each would stay in memory, with its text, and be written to the log."""
    fields = {"chat_template_kwargs": {"a\nb": 1, "enable_thinking": False}}
    assert client.post(CHAT, {**BODIES[CHAT], **fields}).status == 200
    answer = client.post(CHAT, {**BODIES[CHAT], "chat_template_kwargs": {"messages": []}})
    assert (answer.status, answer.error["param"]) == (400, "chat_template_kwargs")
