"""`POST /v1/score`: the log-probabilities of continuations of a prompt, token by token."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from nextword.checks import shown
from nextword.errors import NextwordError
from nextword.inference.continuations import Continuations, ContinuationScore, score_continuations
from nextword.inference.engine import Engine
from nextword.inference.stored_prefix import store_prefix
from nextword.serving.disconnect import until_disconnected
from nextword.serving.errors import ApiError, context_exceeded, refusal
from nextword.serving.fields import Fields, Ignored
from nextword.serving.handlers import JsonResponse, ignored_by, read_request
from nextword.serving.logprobs import finite
from nextword.serving.service import Service
from nextword.text.tokenizer import Tokenizer

SCORE_FIELDS = ("model", "prompt", "continuations")


async def score(request: Request) -> Response:
    """Answer `POST /v1/score`: a prompt and continuations, each a text or token ids."""
    service, body = await read_request(request)
    ignored, size = ignored_by(request), request.state.num_body_bytes
    model, item = await service.in_thread(lambda: _read(service, body, ignored), num_bytes=size)
    num_tokens = len(item.prompt) + sum(map(len, item.continuations))
    scored = service.compute(lambda: score_in_pieces(service.lm.engine, item), num_tokens)
    scores = await until_disconnected(request.receive, scored)
    tokenizer = service.lm.tokenizer
    return await service.in_thread(lambda: JsonResponse(_answer(tokenizer, model, item, scores)), num_bytes=size)


def score_in_pieces(engine: Engine, item: Continuations) -> Iterator[ContinuationScore | None]:
    """Yield the score of each continuation, and None between the pieces that others may run after.

    A piece has about as many tokens as the prompts of a step. A long continuation is scored in several pieces, the
    tokens before each as its prompt, if that changes no bit.
    """
    yield from store_prefix(engine, item.prompt)
    can_cut, left = engine.backend.is_batch_invariant, list(item.continuations)
    while left:
        most, group = engine.prefill_limit, [left.pop(0)]
        if can_cut and len(group[0]) > most:
            yield (yield from _score_long(engine, item.prompt, group[0]))
            continue
        while left and sum(map(len, group)) + len(left[0]) <= most:
            group.append(left.pop(0))
        part = Continuations(item.prompt, group)
        yield from engine.room(part.num_positions)
        yield from next(score_continuations(engine, [part]))


def _score_long(
    engine: Engine, prompt: Sequence[int], continuation: Sequence[int]
) -> Generator[None, None, ContinuationScore]:
    parts, done = list[ContinuationScore](), 0
    while done < len(continuation):
        end = done + engine.prefill_limit
        part = Continuations([*prompt, *continuation[:done]], [continuation[done:end]])
        yield from engine.room(part.num_positions)
        parts += next(score_continuations(engine, [part]))
        done = end
        yield
    log_probs = np.concatenate([part.log_probs for part in parts])
    return ContinuationScore(log_probs, all(part.is_greedy for part in parts))


def _answer(
    tokenizer: Tokenizer, model: str, item: Continuations, scores: Sequence[ContinuationScore]
) -> dict[str, Any]:
    num_tokens = sum(map(len, item.continuations))
    return {
        "object": "score",
        "model": model,
        "scores": [_one(tokenizer, *pair) for pair in zip(item.continuations, scores, strict=True)],
        "usage": {
            "prompt_tokens": len(item.prompt),
            "completion_tokens": num_tokens,
            "total_tokens": len(item.prompt) + num_tokens,
        },
    }


def _one(tokenizer: Tokenizer, token_ids: Sequence[int], found: ContinuationScore) -> dict[str, Any]:
    return {
        "log_prob": finite(found.log_prob),
        "is_greedy": found.is_greedy,
        "token_ids": list(token_ids),
        "tokens": [tokenizer.token_text(token_id) for token_id in token_ids],
        "token_logprobs": [finite(one) for one in found.log_probs.tolist()],
    }


def _read(service: Service, body: Mapping[str, Any], ignored: Ignored) -> tuple[str, Continuations]:
    """Return the model's name, and the prompt with its continuations as token ids."""
    fields = Fields(body, SCORE_FIELDS, ignored=ignored)
    model = fields.take("model", str, service.model)
    if service.reader.adapter(model) is not None:
        raise ApiError(f"model = {shown(model)}: continuations are scored by the base model alone", param="model")
    tokenizer, given = service.lm.tokenizer, body.get("continuations")
    if not isinstance(given, list) or not 0 < len(given) <= service.limits.max_prompts:
        allowed = f"a list of 1 to {service.limits.max_prompts} continuations"
        raise ApiError(f"continuations = {shown(given)}: must be {allowed}", param="continuations")
    try:
        prompt = _ids(body.get("prompt"), "prompt", service) or tokenizer.encode_prompt(body["prompt"])
        continuations = [_ids(one, "continuations", service) or tokenizer.encode_continuation(one) for one in given]
    except NextwordError as error:
        raise refusal(error, "prompt") from None
    if not prompt or not all(continuations):
        name = "continuations" if prompt else "prompt"
        raise ApiError(f"{name}: an empty text has no probability: give at least one token", param=name)
    context = service.lm.engine.backend.max_seq_len
    if (size := len(prompt) + max(map(len, continuations)) - 1) > context:
        raise context_exceeded(size, context, "continuations")
    return model, Continuations(prompt, continuations)


def _ids(value: object, name: str, service: Service) -> list[int] | None:
    """Return token ids that were given as such, None for a text. Raises ApiError for anything else."""
    if isinstance(value, str):
        return None
    size = service.lm.engine.backend.vocab_size
    ids = value if isinstance(value, list) else []
    if not ids or not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < size for one in ids):
        raise ApiError(f"{name} = {shown(value)}: must be a text, or token ids from 0 to {size - 1}", param=name)
    return ids
