"""`timings` of the tokens of a request, and `prompt_progress` before them, in the form of llama.cpp's server."""

from __future__ import annotations

import time
from typing import Any

from nextword.serving.job import Job


def timings(job: Job) -> dict[str, Any]:
    """Return the numbers of tokens of the prompt and of the answer up to now, and their times in milliseconds.

    That of the prompt begins when the request was taken, so the time in which it waited is in it.
    """
    now = time.monotonic()
    first_token = job.first_token or now
    num_cached = sum(request.num_cached for request in job.requests)
    num_prompt = sum(len(request.prompt_token_ids) for request in job.requests) - num_cached
    num_tokens = sum(len(sequence.tokens) for request in job.requests for sequence in request.sequences)
    return {
        "cache_n": num_cached,
        **_rates("prompt", num_prompt, 1000.0 * (first_token - job.begin)),
        **_rates("predicted", num_tokens, 1000.0 * (now - first_token)),
    }


def prompt_progress(job: Job) -> dict[str, Any]:
    """Return how many tokens of the prompts are computed; `cache`: those that an earlier request had left."""
    return {
        "total": sum(len(request.prompt_token_ids) for request in job.requests),
        "cache": sum(request.num_cached for request in job.requests),
        "processed": sum(request.num_prefilled for request in job.requests),
        "time_ms": 1000.0 * (time.monotonic() - job.begin),
    }


def _rates(name: str, count: int, milliseconds: float) -> dict[str, Any]:
    return {
        f"{name}_n": count,
        f"{name}_ms": milliseconds,
        f"{name}_per_token_ms": milliseconds / max(count, 1),
        f"{name}_per_second": 1000.0 * count / max(milliseconds, 1e-3),
    }
