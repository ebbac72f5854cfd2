"""`/lab/read` and `/lab/replay`: the figures of `score`, and the tokens of `generate`."""

from __future__ import annotations

import math
from typing import Any

import pytest

import nextword as nw
from tests.serving.client import Client


def num_steps(client: Client) -> bytes:
    """The line of the counter of steps."""
    (line,) = [one for one in client.get("/metrics").body.splitlines() if one.startswith(b"nextword:model_steps_total")]
    return line


def test_a_text_has_the_scores_of_score(client: Client, lm: nw.LanguageModel) -> None:
    found = client.post("/lab/read", {"text": "ab dé"}).json
    rows = found["tokens"]
    assert (found["prompt_length"], rows[0]["log_prob"], rows[0]["rank"]) == (6, None, None)
    assert [row["log_prob"] for row in rows[1:]] == [one.log_prob for one in lm.score("ab dé").tokens]
    assert rows[4] == rows[4] | {"bytes": [0xC3], "text": "<0xC3>"}
    for index, row in enumerate(rows[1:4], 1):
        before = lm.next("ab dé"[:index])
        assert row["entropy"] == pytest.approx(before.entropy, abs=1e-6)
        ranked = [token_id for token_id, _ in before.most_probable(257)]
        assert row["rank"] == ranked.index(row["token_id"]) + 1
    ids = [row["token_id"] for row in rows]
    assert client.post("/lab/read", {"token_ids": ids, "prompt_length": 2}).json["tokens"] == rows
    assert len(client.post("/lab/read", {"text": "a"}).json["tokens"]) == 1


@pytest.mark.parametrize(
    "params", [{"temperature": 1.2, "top_k": 50}, {"presence_penalty": 1.0, "min_p": 0.01}, {"mirostat_tau": 6.0}]
)
def test_the_same_parameters_draw_the_same_text(client: Client, lm: nw.LanguageModel, params: dict[str, Any]) -> None:
    completions = lm.generate("abc", max_tokens=20, n=2, seed=9, **params).completions
    for sample_index, completion in enumerate(completions):
        text = [*b"abc", *(token.token_id for token in completion.tokens)]
        body = {"token_ids": text, "prompt_length": 3, "params": {**params, "seed": 9}, "sample_index": sample_index}
        found = client.post("/lab/replay", body).json
        assert (found["first"], found["token"], found["complete"]) == (None, None, True)
        assert found["checked"] == len(text) - 3


@pytest.mark.parametrize("other", [{"temperature": 0}, {"top_k": 3}, {"temperature": 3.0}, {"seed": 10}])
def test_other_parameters_turn_where_generate_turns(
    client: Client, lm: nw.LanguageModel, other: dict[str, Any]
) -> None:
    params: dict[str, Any] = {"temperature": 1.0, "seed": 9}
    text = [token.token_id for token in lm.generate("abc", max_tokens=20, **params).completions[0].tokens]
    body = {"token_ids": [*b"abc", *text], "prompt_length": 3}
    client.post("/lab/replay", {**body, "params": params})
    before = num_steps(client)
    found = client.post("/lab/replay", {**body, "params": {**params, **other}}).json
    assert num_steps(client) == before
    written = lm.generate("abc", max_tokens=20, **{**params, **other}).completions[0].tokens
    otherwise = [token.token_id for token in written]
    turn = next(index for index, pair in enumerate(zip(text, otherwise, strict=False)) if pair[0] != pair[1])
    assert (found["first"], found["token"]["token_id"]) == (3 + turn, otherwise[turn])
    assert found["checked"] == turn + 1
    before_turn = lm.tokenizer.decode([*b"abc", *text[:turn]])
    if before_turn.isascii():
        assert math.isclose(found["token"]["log_prob"], lm.next(before_turn).log_prob(otherwise[turn]))


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("read", {}, "text"),
        ("read", {"text": "a", "token_ids": [1]}, "text"),
        ("read", {"text": 3}, "text"),
        ("read", {"text": ""}, "text"),
        ("read", {"text": "a" * 65}, "text"),
        ("read", {"token_ids": [257]}, "token_ids"),
        ("read", {"token_ids": []}, "token_ids"),
        ("read", {"messages": []}, "messages"),
        ("read", {"text": "ab", "prompt_length": 3}, "prompt_length"),
        ("read", {"text": "ab", "txt": 3}, "txt"),
        ("replay", {"token_ids": [1, 2]}, "params"),
        ("replay", {"token_ids": [1, 2], "params": {"seed": 1, "temprature": 2}}, "temprature"),
        ("replay", {"token_ids": [1, 2], "params": {"seed": 1, "num_beams": 2}}, "num_beams"),
        ("replay", {"token_ids": [1] * 65, "params": {"seed": 1}}, "token_ids"),
        ("replay", {"token_ids": [1, 2], "prompt_length": 0, "params": {"seed": 1}}, "prompt_length"),
    ],
)
def test_a_bad_field_is_named(client: Client, path: str, body: dict[str, Any], param: str) -> None:
    answer = client.post(f"/lab/{path}", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_an_unknown_model_is_not_found(client: Client) -> None:
    bodies: dict[str, Any] = {"read": {"text": "a"}, "replay": {"token_ids": [1, 2], "params": {"seed": 1}}}
    for path, body in bodies.items():
        assert client.post(f"/lab/{path}", {**body, "model": "none"}).status == 404
