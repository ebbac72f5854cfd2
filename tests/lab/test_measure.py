"""`/lab/measure` and `/lab/summarize`: the figures of `perplexity` and `surprise`, the text of `summarize`."""

from __future__ import annotations

import math
from typing import Any

import pytest

import nextword as nw
from nextword.evaluation.conventions import CONVENTION_NAMES
from tests.serving.client import Client

TEXT = "The naïve café. " * 5


@pytest.fixture(scope="module")
def measured(client: Client) -> Any:
    return client.post("/lab/measure", {"text": TEXT}).json


def test_the_conventions_are_those_of_perplexity(measured: Any, lm: nw.LanguageModel) -> None:
    assert [one["name"] for one in measured["conventions"]] == list(CONVENTION_NAMES)
    for one in measured["conventions"]:
        report = lm.perplexity(TEXT, convention=one["name"], context=one["context"])
        assert (one["perplexity"], one["num_tokens"]) == (report.perplexity, report.num_tokens)
        assert one["bits_per_byte"] == report.bits_per_byte
        interval = report.perplexity_interval
        assert one["interval"] == (None if interval is None else [interval.low, interval.high])
    assert any(one["interval"] for one in measured["conventions"])


def test_the_tokens_are_those_of_surprise(measured: Any, lm: nw.LanguageModel) -> None:
    report = nw.surprise(lm, TEXT)
    tokens = [token for piece in report.pieces for token in piece.tokens]
    assert [row["token_id"] for row in measured["tokens"]] == [token.token_id for token in tokens]
    assert [row["log_prob"] for row in measured["tokens"]] == [
        None if token.nats is None else -token.nats for token in tokens
    ]
    assert math.isclose(measured["bits_per_byte"], report.sums.bits_per_byte)
    assert math.isclose(measured["running_mean"][-1], report.sums.mean_nats)
    surprisals = [-measured["tokens"][index]["log_prob"] for index in measured["most_surprising"]]
    assert surprisals == sorted((-row["log_prob"] for row in measured["tokens"][1:]), reverse=True)[:20]
    begins = [row["begin"] for row in measured["tokens"]]
    assert begins == [len(TEXT.encode()[:index].decode("utf-8", "ignore")) for index in range(len(begins))]


def test_a_short_text_is_computed_step_by_step(client: Client, lm: nw.LanguageModel) -> None:
    found = client.post("/lab/measure", {"text": "to be"}).json
    product = 1.0
    for number, (step, token) in enumerate(zip(found["steps"], lm.score("to be").tokens, strict=True), 1):
        assert step["probability"] == math.exp(token.log_prob or 0.0)
        product *= step["inverse"]
        assert math.isclose(step["product"], product)
        assert math.isclose(step["perplexity"], product ** (1 / number))
    (sliding,) = (one for one in found["conventions"] if one["name"] == "sliding")
    assert math.isclose(sliding["perplexity"], found["steps"][-1]["perplexity"])


def test_a_selection_has_its_share(client: Client, measured: Any) -> None:
    begin = TEXT.index("café")
    selected = client.post("/lab/measure", {"text": TEXT, "selection": [begin, begin + 4]}).json["selection"]
    inside = [-row["log_prob"] for row in measured["tokens"] if begin <= row["begin"] < begin + 4]
    assert (selected["num_tokens"], len(inside)) == (5, 5)
    assert math.isclose(selected["nats"], sum(inside))
    assert math.isclose(selected["share"], sum(inside) / measured["total_nats"])
    assert math.isclose(selected["perplexity"], math.exp(sum(inside) / 5))
    whole = client.post("/lab/measure", {"text": TEXT, "selection": [0, len(TEXT)]}).json["selection"]
    assert math.isclose(whole["share"], 1.0)


def test_texts_that_are_written_meanwhile_stay_the_same(client: Client, lm: nw.LanguageModel) -> None:
    import threading

    params: dict[str, Any] = {"max_tokens": 40, "temperature": 1.0, "seed": 3}
    expected = lm.generate("abc", **params).completions[0]
    texts: list[Any] = []
    asking = threading.Thread(target=lambda: texts.append(client.complete("abc", **params)["choices"][0]["text"]))
    asking.start()
    client.post("/lab/measure", {"text": "another text, of some length " * 40})
    asking.join()
    assert texts == [expected.text]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("measure", {}, "text"),
        ("measure", {"text": "a"}, "text"),
        ("measure", {"text": "a" * 20_000}, "text"),
        ("measure", {"text": "a" * 200_001}, "text"),
        ("measure", {"text": "abc", "selection": [0]}, "selection"),
        ("measure", {"text": "abc", "selection": [2, 1]}, "selection"),
        ("measure", {"text": "abc", "selection": [0, 4]}, "selection"),
        ("measure", {"text": "abc", "selection": [False, 1]}, "selection"),
        ("measure", {"text": "abc", "context": 3}, "context"),
        ("summarize", {"text": "a" * 200_001}, "text"),
        ("summarize", {"text": "a", "length": "tiny"}, "length"),
        ("summarize", {"text": ""}, None),
    ],
)
def test_a_bad_field_is_named(client: Client, path: str, body: dict[str, Any], param: str | None) -> None:
    answer = client.post(f"/lab/{path}", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
