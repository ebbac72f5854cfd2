"""Preemption: a request gives up its keys and values to others, and has them computed again when there is room.

A text that may become long mostly ends early, so most requests reserve positions of the KV cache as they grow, and many
run where few could if each held its longest text's. Where the cache becomes full after all, the request that is due
last waits again. Its tokens, samplers and streams stay; its keys and values are computed from its tokens, like a
prompt, and have the same bits, since the backend's do not depend on the chunks. So it changes no text.
"""

from __future__ import annotations

from nextword.inference.backend import Backend
from nextword.inference.cache_budget import whole_pages
from nextword.inference.drafts import MOST_DRAFTED
from nextword.inference.guide import GuidedSequences
from nextword.inference.sequence import Request


def is_preemptible(request: Request, backend: Backend) -> bool:
    """Return True for one text without a guide; others, whose sequences share keys and values, reserve all at first."""
    is_plain = request.params.n == 1 and not request.params.num_beams and request.guide is None
    return is_plain and backend.is_batch_invariant


def positions_now(request: Request) -> int:
    """Return the positions that must be reserved for a request's next step, which may run a draft of most length."""
    if not request.is_preemptible:
        return request.num_positions
    num_tokens = len(request.prompt_token_ids) + sum(len(sequence.tokens) for sequence in request.sequences)
    return min(whole_pages(num_tokens + MOST_DRAFTED), request.num_positions)


def preempt(request: Request, caches: GuidedSequences) -> None:
    """Close the caches of a request; `resume` continues it once `Request.prefill_token_ids` are computed again."""
    if not request.is_prefilling:
        (sequence,) = request.sequences
        caches.close_cache(sequence.cache_id)
    elif request.cache_id is not None:
        caches.close_cache(request.cache_id)
    request.cache_id = None
    request.num_prefilled = 0
    request.num_preemptions += 1
    request.is_preempted = bool(request.sequences)
    if not request.sequences:
        request.prompt_tokens.clear()


def resume(request: Request) -> None:
    """Give a preempted request's text the keys and values that were computed again."""
    assert request.cache_id is not None
    (sequence,) = request.sequences
    sequence.cache_id, request.cache_id = request.cache_id, None
    request.num_prefilled = len(request.prompt_token_ids)
    request.is_preempted = False
