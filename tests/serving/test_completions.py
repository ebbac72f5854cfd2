"""`/v1/completions`: texts and log-probabilities are those of `generate`, bit for bit, streamed or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nextword as nw
from nextword.inference.continuations import Continuations, score_continuations
from tests.serving.client import Client

PATH = "/v1/completions"

PARAMS = st.fixed_dictionaries(
    {"max_tokens": st.integers(1, 20), "seed": st.integers(0, 2**63)},
    optional={
        "temperature": st.sampled_from([0.0, 0.7, 1.5]),
        "top_p": st.sampled_from([0.2, 0.9]),
        "n": st.integers(1, 3),
        "stop": st.sampled_from(["a", ["e", " t"], ["\u00e9"]]),
        "logprobs": st.sampled_from([0, 3]),
        "echo": st.booleans(),
        "repetition_penalty": st.just(1.2),
        "min_tokens": st.just(1),
    },
)
PROMPTS = st.text("abc é漢", min_size=1, max_size=12)


def by_choice(chunks: list[Any], num_choices: int) -> list[dict[str, Any]]:
    """Put the chunks of a stream together as a client does."""
    found: list[dict[str, Any]] = [
        {"text": "", "tokens": [], "offsets": [], "log_probs": [], "end": None} for _ in range(num_choices)
    ]
    for chunk in chunks:
        for choice in chunk["choices"]:
            one = found[choice["index"]]
            one["text"] += choice["text"]
            one["end"] = choice["finish_reason"] or one["end"]
            scores = choice["logprobs"] or {"tokens": [], "text_offset": [], "token_logprobs": []}
            one["tokens"] += scores["tokens"]
            one["offsets"] += scores["text_offset"]
            one["log_probs"] += scores["token_logprobs"]
    return found


@settings(max_examples=60, deadline=None)
@given(prompt=PROMPTS, params=PARAMS)
def test_text_and_log_probabilities_are_those_of_generate(
    client: Client, lm: nw.LanguageModel, prompt: str, params: dict[str, Any]
) -> None:
    expected = lm.generate(prompt, **params)
    whole = client.complete(prompt, **params)
    streamed = by_choice(client.stream(PATH, {"prompt": prompt, **params}), params.get("n", 1))
    assert len(whole["choices"]) == len(expected.completions)
    for choice, chunks, completion in zip(whole["choices"], streamed, expected.completions, strict=True):
        assert choice["text"] == chunks["text"] == completion.text
        assert choice["finish_reason"] == chunks["end"] == completion.finish_reason
        assert (choice["finish_detail"], choice["seed"]) == (completion.finish_detail, expected.seed)
        if "logprobs" in params:
            prompt_scores = [None, *(token.log_prob for token in expected.prompt_tokens)] if params.get("echo") else []
            scores = choice["logprobs"]
            assert scores["token_logprobs"] == [*prompt_scores, *(token.log_prob for token in completion.tokens)]
            assert "".join(scores["tokens"]) == completion.text
            assert (chunks["tokens"], chunks["log_probs"]) == (scores["tokens"], scores["token_logprobs"])
            assert chunks["offsets"] == scores["text_offset"]
            assert scores["text_offset"] == [len("".join(scores["tokens"][:at])) for at in range(len(scores["tokens"]))]
    assert whole["usage"]["completion_tokens"] == sum(len(one.tokens) for one in expected.completions)
    assert whole["usage"]["prompt_tokens"] == len(expected.prompt_token_ids)


def test_prompts_may_be_texts_token_ids_or_both(client: Client, lm: nw.LanguageModel) -> None:
    greedy = {"temperature": 0, "max_tokens": 5}
    ids = lm.tokenizer.encode("ab")
    alone = client.complete("ab", **greedy)["choices"][0]["text"]
    several = client.complete([ids, "ab", [*ids[:1], "b"]], n=2, **greedy)
    assert [choice["text"] for choice in several["choices"]] == [alone] * 6
    assert [choice["index"] for choice in several["choices"]] == list(range(6))
    assert client.complete(ids, **greedy)["choices"][0]["text"] == alone
    assert several["usage"]["prompt_tokens"] == 6


def test_a_prompt_is_scored_without_generating(client: Client, lm: nw.LanguageModel) -> None:
    scored = client.complete("abcab", echo=True, logprobs=1, max_tokens=0)["choices"][0]
    assert scored["text"] == "abcab"
    assert scored["logprobs"]["token_logprobs"][0] is None
    assert scored["logprobs"]["token_logprobs"][1:] == [token.log_prob for token in lm.score("abcab").tokens]


def test_a_scored_prompt_has_the_bits_of_an_evaluation(client: Client, lm: nw.LanguageModel) -> None:
    """lm-eval's client sends a context with its continuation, and reads the log-probabilities of the latter."""
    random = np.random.default_rng(0)
    for _ in range(10):
        ids = random.integers(0, 256, size=40).tolist()
        at = int(random.integers(1, 39))
        ((expected,),) = score_continuations(lm.engine, [Continuations(ids[:at], [ids[at:]])])
        asked = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0, "seed": 1234}
        scores = client.complete(ids, **asked)["choices"][0]["logprobs"]
        found = scores["token_logprobs"][at:-1]
        assert found == expected.log_probs.tolist()
        best = [max(top.values()) for top in scores["top_logprobs"][at:-1]]
        assert all(one == most for one, most in zip(found, best, strict=True)) == expected.is_greedy


def test_the_seed_that_was_drawn_gives_the_text_again(client: Client) -> None:
    first = client.complete("ab", max_tokens=12)["choices"][0]
    again = client.complete("ab", max_tokens=12, seed=first["seed"])["choices"][0]
    assert again["text"] == first["text"]
    assert client.complete("ab", seed=-1)["choices"][0]["seed"] == 2**64 - 1


def test_token_ids_are_returned_where_asked_for(client: Client, lm: nw.LanguageModel) -> None:
    asked = {"max_tokens": 4, "seed": 1, "logprobs": 0, "return_token_ids": True, "return_tokens_as_token_ids": True}
    choice = client.complete("ab", **asked)["choices"][0]
    assert choice["prompt_token_ids"] == lm.tokenizer.encode_prompt("ab")
    ids = [token.token_id for token in lm.generate("ab", max_tokens=4, seed=1).completions[0].tokens]
    assert choice["token_ids"] == ids
    assert choice["logprobs"]["tokens"] == [f"token_id:{token_id}" for token_id in ids]


def test_the_prompt_s_token_ids_are_in_the_first_chunk_of_each_choice(client: Client, lm: nw.LanguageModel) -> None:
    asked = {"max_tokens": 3, "seed": 1, "return_token_ids": True, "n": 2, "echo": True}
    chunks = client.stream("/v1/completions", {"prompt": ["ab", "cde"], **asked})
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    for index, prompt in enumerate(["ab", "ab", "cde", "cde"]):
        first, *others = [choice for choice in choices if choice["index"] == index]
        assert first["prompt_token_ids"] == lm.tokenizer.encode_prompt(prompt)
        assert not any("prompt_token_ids" in choice for choice in others)
    messages = [{"role": "user", "content": "ab"}]
    expected = lm.tokenizer.encode_chat(messages)
    body = {"messages": messages, "max_tokens": 3, "return_token_ids": True, "n": 2}
    whole = client.post("/v1/chat/completions", body).json
    first, *others = client.stream("/v1/chat/completions", body)
    assert whole["prompt_token_ids"] == first["prompt_token_ids"] == expected
    assert not any("prompt_token_ids" in chunk for chunk in others)


def test_a_prediction_changes_no_text_and_its_tokens_are_counted(client: Client, lm: nw.LanguageModel) -> None:
    text = lm.generate("abab", max_tokens=30, temperature=0).text
    asked = {"prompt": "abab", "max_tokens": 30, "temperature": 0}
    plain = client.complete(**asked)
    predicted = client.complete(**asked, prediction={"type": "content", "content": [{"type": "text", "text": text}]})
    assert predicted["choices"][0]["text"] == plain["choices"][0]["text"] == text
    details = predicted["usage"]["completion_tokens_details"]
    assert details["accepted_prediction_tokens"] > 0


def test_a_text_is_guided_away_from_another_prompt(client: Client, lm: nw.LanguageModel) -> None:
    asked: dict[str, Any] = {"max_tokens": 12, "seed": 2, "guidance_scale": 3.0, "negative_prompt": "xyz"}
    assert client.complete("abc", **asked)["choices"][0]["text"] == lm.generate("abc", **asked).text


def test_a_form_is_kept(client: Client) -> None:
    for form in (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes", "no"]}}}},
        {"structured_outputs": {"choice": ['"yes"', '"no"']}},
        {"regex": '"(yes|no)"'},
    ):
        choice = client.complete("ab", max_tokens=10, **form)["choices"][0]
        assert choice["text"] in ('"yes"', '"no"')
        assert choice["finish_reason"] == "stop"


def test_usage_comes_last_in_a_stream_that_asks_for_it(client: Client) -> None:
    chunks = client.stream(PATH, {"prompt": "ab", "max_tokens": 3, "stream_options": {"include_usage": True}})
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 5
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1


REFUSED = [
    ({}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": ["a", 3.5]}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": [300]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": ["a"] * 129}, "prompt"),
    ({"prompt": "a", "n": 10**9}, "n"),
    ({"prompt": "a", "n": 0}, "n"),
    ({"prompt": "a", "best_of": 3}, "best_of"),
    ({"prompt": "a", "temperature": "hot"}, "temperature"),
    ({"prompt": "a", "temperature": -1}, "temperature"),
    ({"prompt": "a", "top_p": 1.5}, "top_p"),
    ({"prompt": "a", "logprobs": 21}, "logprobs"),
    ({"prompt": "a", "logprobs": True}, "logprobs"),
    ({"prompt": "a", "stop": ["a"] * 65}, "stop"),
    ({"prompt": "a", "stop": ["a" * 300]}, "stop"),
    ({"prompt": "a", "stop": [""]}, "stop"),
    ({"prompt": "a", "logit_bias": {"foo": 1}}, "logit_bias"),
    ({"prompt": "a", "seed": 2**64}, "seed"),
    ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
    ({"prompt": "a", "stream_options": "all"}, "stream_options"),
    ({"prompt": "a", "suffix": "b"}, "suffix"),
    ({"prompt": "a", "max_tokns": 3}, "max_tokns"),
    (
        {"prompt": "a", "response_format": {"type": "json_schema", "json_schema": {}}},
        "response_format.json_schema.schema",
    ),
    ({"prompt": "a", "response_format": {"type": "xml"}}, "response_format"),
    ({"prompt": "a", "structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs"),
    ({"prompt": "a", "regex": "("}, "regex"),
    ({"prompt": "a\ud800"}, "prompt"),
]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(("body", "param"), REFUSED)
def test_a_bad_field_is_named(client: Client, body: dict[str, Any], param: str | None, is_streamed: bool) -> None:
    answer = client.post(PATH, {**body, "stream": is_streamed})
    assert answer.status == 400, answer.body
    assert (answer.error["type"], answer.error["param"]) == ("invalid_request_error", param)
    assert len(answer.body) < 2000


def test_options_of_a_stream_need_a_stream(client: Client) -> None:
    answer = client.post(PATH, {"prompt": "a", "stream_options": {"include_usage": True}})
    assert (answer.status, answer.error["param"]) == (400, "stream_options")


def test_a_prompt_beyond_the_context_has_its_own_code(client: Client) -> None:
    answer = client.post(PATH, {"prompt": "a" * 100, "stream": True})
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert (answer.error["n_prompt_tokens"], answer.error["n_ctx"]) == (100, 64)


def test_another_model_is_not_found(client: Client) -> None:
    answer = client.post(PATH, {"prompt": "a", "model": "gpt-4"})
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
