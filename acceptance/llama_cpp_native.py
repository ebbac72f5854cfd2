"""llama.cpp's own route `/completion` in terms of `/v1/completions`: its fields, its answers, its events."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NATIVE = ("/completion", "/completions")
"""Paths of llama.cpp that have its own form."""
_NAMES = {"n_predict": "max_tokens", "n_probs": "logprobs", "post_sampling_probs": "processed_logprobs"}
_ENDLESS = 100_000
_DROPPED = ("return_tokens", "response_fields", "backend_sampling", "speculative.p_min")


def from_native(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request to `/v1/completions` that asks for the same."""
    found = {_NAMES.get(name, name): value for name, value in body.items() if name not in _DROPPED}
    found["prompt"] = _prompt(body.get("prompt"))
    if isinstance(bias := found.get("logit_bias"), list):
        found["logit_bias"] = {str(token): value for token, value in bias}
    if found.get("max_tokens", 1) < 0:  # as many as the context holds
        found["max_tokens"] = _ENDLESS
    return {**found, "return_token_ids": True, "return_tokens_as_token_ids": True}


def to_native(asked: Mapping[str, Any], answer: Mapping[str, Any]) -> Any:
    """Return the answer in the native form: an object, or a list of them for a list of prompts."""
    usage = answer["usage"]
    found = [
        {**_piece(asked, choice), **_end(asked, choice, usage, len(choice["token_ids"]), choice["text"])}
        for choice in answer["choices"]
    ]
    return found if len(found) > 1 else found[0]


def to_native_chunk(asked: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream in the native form; the last says how it ended."""
    *pieces, last = chunks
    text, count = "", 0
    for chunk in pieces:
        choice = chunk["choices"][0]
        text, count = text + choice["text"], count + len(choice.get("token_ids", []))
        if choice["finish_reason"] is None:
            yield {**_piece(asked, choice), "stop": False}
        else:
            yield {**_piece(asked, choice), **_end(asked, choice, last["usage"], count, text)}


def slots(metrics: str, count: int) -> list[dict[str, bool]]:
    """Return llama.cpp's list of slots, from the number of requests that run."""
    found = re.search(r"^nextword:num_requests_running (\S+)", metrics, re.MULTILINE)
    running = float(found[1]) if found else math.nan
    return [{"is_processing": number < running} for number in range(count)]


def _prompt(prompt: Any) -> Any:
    if isinstance(prompt, Mapping):
        return prompt["prompt_string"] if "multimodal_data" not in prompt else prompt
    return [_prompt(one) for one in prompt] if isinstance(prompt, list) else prompt


def _piece(asked: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    tokens = choice.get("token_ids", [])
    piece = {"content": choice["text"], "tokens": tokens if asked.get("return_tokens") or asked.get("stream") else []}
    scores = choice.get("logprobs")
    if not asked.get("n_probs") or scores is None:
        return piece
    is_processed = asked.get("post_sampling_probs", False)
    rows = zip(scores["tokens"], scores["token_logprobs"], scores["top_logprobs"], strict=True)
    name = "top_probs" if is_processed else "top_logprobs"
    found = [
        {
            **_token(chosen, value, is_processed),
            name: [_token(other, score, is_processed) for other, score in list(tops.items())[: asked["n_probs"]]],
        }
        for chosen, value, tops in rows
    ]
    return {**piece, "completion_probabilities": found}


def _token(name: str, log_prob: float, is_processed: bool) -> dict[str, Any]:
    """A token by its name, token_id:42."""
    value = {"prob": math.exp(log_prob)} if is_processed else {"logprob": log_prob}
    return {"id": int(name.removeprefix("token_id:")), "token": name, "bytes": list(name.encode()), **value}


def _end(
    asked: Mapping[str, Any], choice: Mapping[str, Any], usage: Mapping[str, Any], count: int, text: str
) -> dict[str, Any]:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    drafts = usage["completion_tokens_details"]
    accepted = drafts["accepted_prediction_tokens"]
    return {
        "stop": True,
        "stop_type": "limit" if choice["finish_reason"] == "length" else "eos",
        "truncated": choice["finish_detail"] == "context",
        "has_new_line": "\n" in text,
        "tokens_predicted": count,
        "timings": {
            "prompt_n": usage["prompt_tokens"] - cached,
            "cache_n": cached,
            "predicted_n": count,
            "draft_n": accepted + drafts["rejected_prediction_tokens"],
            "draft_n_accepted": accepted,
        },
        "generation_settings": {name: asked.get(name) for name in ("n_predict", "seed")},
    }
