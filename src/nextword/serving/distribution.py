"""`POST /v1/distribution`: the distributions that the tokens of a text are drawn from, after each step of sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from nextword.checks import shown
from nextword.decoding.param_checks import Number
from nextword.decoding.params import SamplingParams
from nextword.decoding.sampler import Sampler, unseen
from nextword.inference.backend import Logits
from nextword.inference.breakers import dry_breakers
from nextword.inference.cache_budget import whole_pages
from nextword.inference.engine import Engine
from nextword.inference.logits_after import logits_after
from nextword.inference.sequence import Request as EngineRequest
from nextword.inference.stored_prefix import store_prefix
from nextword.serving.asked import Asked
from nextword.serving.disconnect import until_disconnected
from nextword.serving.distribution_rows import describe
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields, Ignored, with_param
from nextword.serving.handlers import JsonResponse, ignored_by, read_request
from nextword.serving.preparing import prepare
from nextword.serving.service import Service

T = TypeVar("T")

DISTRIBUTION_FIELDS = ("top", "at", "search", "show", "prompt_length", "sample_index")
"""Fields besides those of a completion or a chat."""
MOST_POSITIONS = 64
_MOST_ROWS = 1000
"""Rows of one position: the most probable, those found, and those asked for, each."""
_MOST_ROWS_IN_ALL = 16_384
_LONGEST_SEARCH = 256
_MOST = 2**31


@dataclass(frozen=True)
class _Asked:
    """A request for distributions."""

    model: str
    adapter: str | None
    params: SamplingParams
    token_ids: list[int]
    end_token_ids: Sequence[int]
    positions: tuple[int, ...]
    """For each distribution the number of tokens before it."""
    prompt_length: int
    """Number of tokens that were not drawn: penalties of the output begin after them."""
    sample_index: int
    top: int
    search: str | None
    show: tuple[int, ...]


async def distribution(request: Request) -> Response:
    """Answer `POST /v1/distribution`."""
    service, body = await read_request(request)
    ignored, size = ignored_by(request), request.state.num_body_bytes
    asked = await service.in_thread(lambda: _read(service, body, ignored), num_bytes=size)
    lengths = set(asked.positions)
    work = with_rows_of_logits(
        service, asked.token_ids, lengths, asked.adapter, lambda rows: _positions(service, asked, rows)
    )
    described = await until_disconnected(request.receive, work)
    answer = {"object": "distribution", "model": asked.model, "positions": described}
    return await service.in_thread(lambda: JsonResponse(answer))


async def with_rows_of_logits(
    service: Service,
    token_ids: list[int],
    lengths: set[int],
    adapter: str | None,
    read: Callable[[Mapping[int, Logits]], T],
) -> T:
    """Return what `read`, in a thread, makes of the logits after so many first tokens.

    Only a few requests hold such rows at the same time: they are large.
    """
    async with service.logit_rows.turns:
        rows = await _rows_of_logits(service, token_ids, lengths, adapter)
        return await service.in_thread(lambda: read(rows))


async def _rows_of_logits(
    service: Service, token_ids: list[int], lengths: set[int], adapter: str | None
) -> dict[int, Logits]:
    """Return the rows; the model computes only those that are not stored."""
    found = service.logit_rows.find(token_ids, lengths, adapter)
    missing = lengths - found.keys()
    if missing:
        pieces = await service.compute(
            lambda: _compute_rows(service.lm.engine, token_ids, missing, adapter), max(missing)
        )
        for computed in pieces:
            service.logit_rows.keep(token_ids, computed, adapter)
            found |= computed
    return found


def _compute_rows(
    engine: Engine, token_ids: list[int], lengths: set[int], adapter: str | None
) -> Iterator[dict[int, Logits] | None]:
    """Yield the rows by and by, and None between the pieces that others may run after."""
    left = sorted(lengths)
    while left:
        yield from store_prefix(engine, token_ids[: left[0]], adapter=adapter)
        most = engine.prefill_limit if engine.backend.is_batch_invariant else len(token_ids)
        group = [length for length in left if length < left[0] + most]
        yield from engine.room(whole_pages(group[-1]))
        yield logits_after(engine, token_ids, group, adapter=adapter)
        left = left[len(group) :]


def sampler_of(
    service: Service,
    params: SamplingParams,
    prompt: Sequence[int],
    *,
    end_token_ids: Sequence[int],
    sample_index: int = 0,
) -> Sampler:
    """Return the sampler with which `generate` would begin after this prompt."""
    breakers = dry_breakers(service.lm.tokenizer, params)
    return Sampler(params, prompt, end_token_ids=end_token_ids, breakers=breakers, sample_index=sample_index)


def refuse_unseen(params: SamplingParams) -> None:
    """Raise ApiError for parameters that act on something else than the model's logits and the tokens so far."""
    if (name := unseen(params)) is not None:
        message = f"{name} = {shown(getattr(params, name))}: its effect is not shown here; leave it out"
        raise ApiError(message, param=name)


def _positions(service: Service, asked: _Asked, rows: Mapping[int, Logits]) -> list[dict[str, Any]]:
    """Describe each position; the sampler goes through the text once."""
    first = min(asked.prompt_length, *asked.positions)
    sampler = sampler_of(
        service,
        asked.params,
        asked.token_ids[:first],
        end_token_ids=asked.end_token_ids,
        sample_index=asked.sample_index,
    )
    found = [service.vocabulary.search(asked.search)] if asked.search else []
    others = np.concatenate([*found, np.array(asked.show, dtype=np.intp)])
    described = {}
    for position in sorted(set(asked.positions)):
        for token_id in asked.token_ids[sampler.position : position]:
            sampler.append(token_id)
        here = asked.token_ids[position] if position < len(asked.token_ids) else None
        described[position] = {
            "position": position,
            **describe(
                sampler,
                rows[position],
                service.vocabulary,
                token_id=here,
                top=asked.top,
                others=others,
                most_others=_MOST_ROWS,
            ),
        }
    return [described[position] for position in asked.positions]


def _read(service: Service, body: Mapping[str, Any], ignored: Ignored) -> _Asked:
    """Read a body. Raises ApiError naming the field."""
    own = {name: body[name] for name in DISTRIBUTION_FIELDS if name in body}
    others = {name: value for name, value in body.items() if name not in own and value is not None}
    reading: Callable[[Mapping[str, Any], Ignored], Any] = (
        service.reader.chat if "messages" in others else service.reader.completion
    )
    asked = reading(of_any_length(others), ignored)
    refuse_unseen(asked.params)
    request = _one_prompt(service, asked)
    fields = Fields(own, DISTRIBUTION_FIELDS)
    token_ids = request.prompt_token_ids
    positions = _at(own.get("at"), len(token_ids))
    prompt_length = _number(own, "prompt_length", 1, len(token_ids), len(token_ids))
    if asked.params.mirostat_tau > 0.0 and any(position > prompt_length for position in positions):
        message = "mirostat_tau: its bound after the first token depends on all draws before; ask at prompt_length"
        raise ApiError(message, param="mirostat_tau")
    show = _token_ids(service, own.get("show"))
    search = fields.take("search", str)
    if search is not None and len(search) > _LONGEST_SEARCH:
        raise ApiError(f"search: at most {_LONGEST_SEARCH} characters are allowed", param="search")
    top = _number(own, "top", 0 if show or search else 1, _MOST_ROWS, 50)
    if len(positions) * (top + len(show) + (_MOST_ROWS if search else 0)) > _MOST_ROWS_IN_ALL:
        raise ApiError(f"at, top, show: more than {_MOST_ROWS_IN_ALL} rows in all: ask for fewer", param="at")
    return _Asked(
        model=asked.model,
        adapter=asked.adapter,
        params=asked.params,
        token_ids=token_ids,
        end_token_ids=request.end_token_ids,
        positions=positions,
        prompt_length=prompt_length,
        sample_index=_number(own, "sample_index", 0, service.limits.max_n - 1, 0),
        top=top,
        search=search,
        show=show,
    )


def of_any_length(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body of a request that generates nothing: `min_tokens` may be above the default limit of tokens."""
    has_limit = any(body.get(name) is not None for name in ("max_tokens", "max_completion_tokens"))
    return body if has_limit else {**body, "max_tokens": _MOST}


def _one_prompt(service: Service, asked: Asked) -> EngineRequest:
    """Return the engine's request for the prompt, which may fill the whole context: nothing is generated."""
    params = dataclasses.replace(asked.params, max_tokens=0, min_tokens=0)
    requests = prepare(service.lm.engine, dataclasses.replace(asked, params=params))  # type: ignore[arg-type]
    if len(requests) > 1:
        raise ApiError(f"prompt: has {len(requests)} prompts: must be one", param="prompt")
    return requests[0]


def _at(value: Any, length: int) -> tuple[int, ...]:
    """Return the positions: numbers of tokens before a distribution, of which there is at least one."""
    if value in (None, "last"):
        return (length,)
    if not isinstance(value, list) or not 0 < len(value) <= MOST_POSITIONS:
        raise ApiError(f'at = {shown(value)}: must be "last", or a list of 1 to {MOST_POSITIONS} positions', param="at")
    return tuple(with_param("at", Number(int, 1, length), f"at[{i}]", one) for i, one in enumerate(value))


def _number(own: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    value = own.get(name)
    found: int = default if value is None else with_param(name, Number(int, low, high), name, value)
    return found


def _token_ids(service: Service, value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    size = service.lm.engine.backend.vocab_size
    if not isinstance(value, list) or len(value) > _MOST_ROWS:
        raise ApiError(f"show = {shown(value)}: must be a list of at most {_MOST_ROWS} token ids", param="show")
    return tuple(with_param("show", Number(int, 0, size - 1), f"show[{i}]", one) for i, one in enumerate(value))
