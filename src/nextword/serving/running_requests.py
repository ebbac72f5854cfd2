"""`GET /v1/requests`, `DELETE /v1/requests/{id}`: what runs and waits, in numbers, and its end from outside."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextword.checks import shown
from nextword.serving.errors import ApiError, cancelled
from nextword.serving.handlers import JsonResponse
from nextword.serving.job import Job
from nextword.serving.service import Service


async def requests(request: Request) -> Response:
    """Answer `GET /v1/requests`: sizes and ages, and no text."""
    service: Service = request.app.state.service
    jobs = sorted(service.jobs, key=lambda job: job.begin)
    return JsonResponse({"object": "list", "data": [_described(job) for job in jobs]})


async def cancel(request: Request) -> Response:
    """Answer `DELETE /v1/requests/{name}`: end the requests of an id; their clients get an error."""
    service: Service = request.app.state.service
    name = request.path_params["name"]
    jobs = [job for job in service.jobs if job.request_id == name]
    if not jobs:
        raise ApiError(f"no request {shown(name)} runs or waits", status=404, kind="not_found_error")
    for job in jobs:
        job.cancel(cancelled())
    return JsonResponse({"id": name, "object": "request", "deleted": True})


def _described(job: Job) -> dict[str, Any]:
    return {
        "id": job.request_id,
        "object": "request",
        "seconds": time.monotonic() - job.begin,
        "num_running": job.num_running,
        "num_waiting": job.num_waiting,
        "prompt_tokens": sum(len(one.prompt_token_ids) for one in job.requests),
        "prefilled_tokens": sum(one.num_prefilled for one in job.requests),
        "completion_tokens": sum(len(sequence.tokens) for one in job.requests for sequence in one.sequences),
    }
