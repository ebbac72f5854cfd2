"""What comes back to a caller: `Generation`, the finished form of a request, as values."""

from __future__ import annotations

from dataclasses import dataclass

from nextword.decoding.sampler import ChosenToken
from nextword.inference.sequence import FINISH_REASONS, FinishDetail, FinishReason, Request
from nextword.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One completion of a prompt."""

    index: int
    text: str
    """Without the prompt, unless echo asked for it."""
    tokens: tuple[ChosenToken, ...]
    finish_reason: FinishReason
    finish_detail: FinishDetail


@dataclass(frozen=True, kw_only=True)
class Generation:
    """All that one request gave."""

    prompt_token_ids: tuple[int, ...]
    prompt_tokens: tuple[ChosenToken, ...]
    """Log-probabilities of the prompt from its second token on, where echo and logprobs asked for them."""
    completions: tuple[Completion, ...]
    seed: int
    """The seed used: give it again for the same text."""

    @property
    def text(self) -> str:
        """The text of the first completion."""
        return self.completions[0].text


def collect(request: Request, tokenizer: Tokenizer) -> Generation:
    """The values of a finished request."""
    prompt = tokenizer.decode(request.prompt_token_ids) if request.params.echo else ""
    completions = []
    for sequence in request.sequences:
        assert sequence.finish_detail is not None, "collected before the request was finished"
        completions.append(
            Completion(
                index=sequence.index,
                text=prompt + sequence.stream.text,
                tokens=tuple(sequence.tokens),
                finish_reason=FINISH_REASONS[sequence.finish_detail],
                finish_detail=sequence.finish_detail,
            )
        )
    return Generation(
        prompt_token_ids=tuple(request.prompt_token_ids),
        prompt_tokens=tuple(request.prompt_tokens),
        completions=tuple(completions),
        seed=request.seed,
    )
