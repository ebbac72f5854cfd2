"""`append_token`: one more token of a completion in, its new text and the reason for which it ends here out."""

from __future__ import annotations

from nextword.decoding.sampler import ChosenToken
from nextword.inference.sequence import FinishDetail, Request, Sequence


def append_token(request: Request, sequence: Sequence, token: ChosenToken) -> tuple[str, FinishDetail | None]:
    """Append a token that the sequence's sampler has; return the text that it makes certain, and why it ends here.

    None: it goes on.
    """
    sequence.tokens.append(token)
    sequence.drafter.append(token.token_id)
    detail = _end_by_token(request, token.token_id)
    is_text = detail is None or sequence.stream.is_named(token.token_id)
    text = sequence.stream.push(token.token_id, is_text=is_text)
    if detail is None and sequence.sampler.is_complete:
        detail = "complete"
    return text, detail or _end_by_length(request, sequence)


def _end_by_token(request: Request, token_id: int) -> FinishDetail | None:
    if token_id in request.end_token_ids:
        return "end_of_sequence"
    return "stop_token" if token_id in request.params.stop_token_ids else None


def _end_by_length(request: Request, sequence: Sequence) -> FinishDetail | None:
    if sequence.stream.stopped:
        return "stop_string"
    if request.params.max_tokens is not None and len(sequence.tokens) >= request.params.max_tokens:
        return "max_tokens"
    return "context" if len(sequence.tokens) >= request.room else None
