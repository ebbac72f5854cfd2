"""`Usage`: counts of tokens in the form of OpenAI's API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nextword.inference.sequence import Request


def usage(requests: Sequence[Request], *, num_reasoning_tokens: int | None = None) -> dict[str, Any]:
    """Return the counts of finished requests: a prompt counts once for its n completions.

    `num_reasoning_tokens`: of chats, in the thoughts of all answers.
    """
    num_prompt = sum(len(request.prompt_token_ids) for request in requests)
    sequences = [sequence for request in requests for sequence in request.sequences]
    num_completion = sum(len(sequence.tokens) for sequence in sequences)
    num_kept = sum(sequence.drafter.num_kept for sequence in sequences)
    thoughts = {} if num_reasoning_tokens is None else {"reasoning_tokens": num_reasoning_tokens}
    num_drafted = sum(sequence.drafter.num_drafted for sequence in sequences)
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_completion,
        "total_tokens": num_prompt + num_completion,
        "prompt_tokens_details": {"cached_tokens": sum(request.num_cached for request in requests)},
        "completion_tokens_details": {
            "accepted_prediction_tokens": num_kept,
            "rejected_prediction_tokens": num_drafted - num_kept,
            **thoughts,
        },
    }
