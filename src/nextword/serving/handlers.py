"""The handlers of the routes that generate text: a body in, an answer whole or streamed out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from nextword.checks import shown
from nextword.inference.sequence import Request as EngineRequest
from nextword.serving.asked import ChatAsked, CompletionAsked, Reader
from nextword.serving.chat_reply import ChatReply
from nextword.serving.completion_reply import CompletionReply
from nextword.serving.disconnect import ClientGone, until_disconnected
from nextword.serving.encoding import to_json_in_parts
from nextword.serving.errors import ApiError, shutting_down
from nextword.serving.event_stream import EventStream
from nextword.serving.fields import Ignored, parse_json
from nextword.serving.job import Event, Job
from nextword.serving.preparing import prepare
from nextword.serving.progress import timings
from nextword.serving.replies import Identity, Reply
from nextword.serving.reports import Reports
from nextword.serving.service import Service

A = TypeVar("A", CompletionAsked, ChatAsked)


class JsonResponse(Response):
    """A response whose body is JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json_in_parts(content)


async def completions(request: Request) -> Response:
    """Answer `POST /v1/completions`."""
    service, _, asked, requests = await prepared(request, Reader.completion)
    identity = Identity("cmpl-", asked.model, service.fingerprint)
    reply = CompletionReply(asked, requests, service.lm.tokenizer, identity)
    return await answer(service, request, requests, reply, asked)


async def chat_completions(request: Request) -> Response:
    """Answer `POST /v1/chat/completions`."""
    service, _, asked, requests = await prepared(request, Reader.chat)
    identity = Identity("chatcmpl-", asked.model, service.fingerprint)
    reply = ChatReply(asked, requests[0], service.lm.tokenizer, identity)
    return await answer(service, request, requests, reply, asked)


async def prepared(
    request: Request, read: Callable[[Reader, Mapping[str, Any], Ignored], A]
) -> tuple[Service, Mapping[str, Any], A, list[EngineRequest]]:
    """Return the service that a request is for, its JSON, what it asks for, and the engine's requests.

    The client may go in the meantime.
    """
    first: Service = request.app.state.service
    data, ignored = await read_body(request), ignored_by(request)

    def work() -> tuple[Service, Mapping[str, Any], A, list[EngineRequest]]:
        body = parse_json(data, first.limits)
        service = first.of(body)
        service.admission.check(1, 0)  # before a prompt is encoded, which takes longer the less there is of the cores
        asked = read(service.reader, body, ignored)
        return service, body, asked, prepare(service.lm.engine, asked)

    return await until_disconnected(request.receive, first.in_thread(work, num_bytes=len(data)))


async def answer(
    service: Service, request: Request, requests: Sequence[EngineRequest], reply: Reply, reports: Reports
) -> Response:
    """Run prepared requests and answer with the reply, streamed or whole."""
    request.state.request_id = reports.request_id or request.state.request_id
    job = request.state.job = service.submit(requests, request.state.request_id)
    job.tells_progress = reports.return_progress
    if reports.stream:
        return EventStream(job, reply, reports, service.in_thread)
    try:
        events = await until_disconnected(request.receive, _all_events(job))
    finally:
        job.cancel()
    times = {"timings": timings(job)} if reports.timings_per_token else {}
    return await service.in_thread(lambda: JsonResponse({**reply.whole(events), **times}))


async def _all_events(job: Job) -> list[Event]:
    found: list[Event] = []
    while (events := await job.next_events()) is not None:
        found += events
    return found


def ignored_by(request: Request) -> Ignored:
    """Return the list for names of fields that are not known, which the request's line in the log shows."""
    service: Service = request.app.state.service
    request.state.ignored = [] if service.lenient else None
    ignored: Ignored = request.state.ignored
    return ignored


async def read_request(request: Request) -> tuple[Service, dict[str, Any]]:
    """Return the service that a request is for, and its JSON. Raises ApiError as `read_body`, and if it is no JSON."""
    first: Service = request.app.state.service
    data = await read_body(request)
    body = await first.in_thread(lambda: parse_json(data, first.limits), num_bytes=len(data))
    return first.of(body), body


async def read_body(request: Request) -> bytes:
    """Read a request's body. Raises ApiError if it is no JSON by its header, too large, or does not arrive in time."""
    service: Service = request.app.state.service
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(f"content-type = {shown(kind)}: must be application/json", status=415)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError("content-encoding: must be identity; send the body as it is", status=415)
    _check_size(int(request.headers.get("content-length", 0)), service)
    try:
        async with service.reading():
            return b"".join([part async for part in _bounded(service, request)])
    except TimeoutError:
        if service.is_ending:
            raise shutting_down() from None
        raise ApiError("the body did not arrive in time", status=408, kind="timeout_error") from None
    except ClientDisconnect:
        raise ClientGone from None


async def _bounded(service: Service, request: Request) -> AsyncIterator[bytes]:
    """Yield the parts of a body. Raises ApiError for one that is too large, alone or with those of the others."""
    size = 0
    async for part in request.stream():
        size += len(part)
        _check_size(size, service)
        service.hold_body(request.state, len(part))
        yield part


def _check_size(num_bytes: int, service: Service) -> None:
    most = service.limits.max_body_bytes
    if num_bytes > most:
        raise ApiError(f"the body has more than {most} bytes", status=413, code="request_too_large")
