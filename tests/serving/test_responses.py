"""`/v1/responses`: the answers of chats, as OpenAI's client reads them."""

from __future__ import annotations

from typing import Any

import pytest

import nextword as nw
from tests.serving.client import Client

openai = pytest.importorskip("openai")
MESSAGES = [{"role": "user", "content": "ab"}]


def test_a_response_is_the_answer_of_a_chat(client: Client, lm: nw.LanguageModel) -> None:
    for params in ({"seed": 3}, {"seed": 3, "logit_bias": {"256": 100}}):
        bias = {int(key): value for key, value in params.get("logit_bias", {}).items()}  # type: ignore[attr-defined]
        expected = lm.chat(MESSAGES, max_tokens=8, seed=3, logit_bias=bias).text
        with openai.OpenAI(base_url=f"{client.url}/v1", api_key="none") as sync:
            asked: dict[str, Any] = {"model": "tiny", "input": "ab", "max_output_tokens": 8, "extra_body": params}
            whole = sync.responses.create(**asked)
            with sync.responses.stream(**asked) as stream:
                events = list(stream)
        final = events[-1].response
        assert whole.output_text == final.output_text == expected
        assert whole.status == final.status == ("completed" if bias else "incomplete")
        assert [event.sequence_number for event in events] == list(range(len(events)))
        kinds = [event.type for event in events if event.type != "response.output_text.delta"]
        assert kinds[0] == "response.created"
        assert kinds[-1] == f"response.{whole.status}"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "function_call"}]}, "input"),
        ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "a", "background": True}, "background"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools"),
        ({"input": "a", "n": 3}, "n"),
    ],
)
def test_what_is_not_served_is_refused(client: Client, body: dict[str, Any], param: str) -> None:
    answer = client.post("/v1/responses", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
