"""Values of the Python API as JSON for `--json`, under the same names, each token with its text beside its id."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from nextword.cli.console import note

if TYPE_CHECKING:
    from nextword.decoding.sampler import ChosenToken
    from nextword.inference.generation import Generation
    from nextword.text.tokenizer import Tokenizer


def print_json(value: object) -> None:
    """Print a value as one line of JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False))


class _Result(Protocol):
    def to_json(self) -> object: ...


def print_result(result: _Result, *, as_json: bool, page: str | None) -> None:
    """Print a result as JSON or as its own text, after a note on the page that was written with it, if any."""
    if page is not None:
        note(f"wrote {page}")
    if as_json:
        print_json(result.to_json())
    else:
        print(result)


def finite(number: float | None) -> float | None:
    """Return the number, None if it is infinite or NaN: JSON has no word for those."""
    return number if number is not None and math.isfinite(number) else None


def generation_json(generation: Generation, tokenizer: Tokenizer) -> dict[str, object]:
    """Return the fields of `Generation` and `Completion`, tokens as in `tokens_json`."""
    completions = [
        dataclasses.asdict(completion) | {"tokens": tokens_json(completion.tokens, tokenizer)}
        for completion in generation.completions
    ]
    return dataclasses.asdict(generation) | {
        "prompt_tokens": tokens_json(generation.prompt_tokens, tokenizer),
        "completions": completions,
    }


def tokens_json(tokens: Iterable[ChosenToken], tokenizer: Tokenizer) -> list[dict[str, object]]:
    """Return for each token its `token_id`, `text`, `log_prob` (None if not asked for), and `alternatives` of these."""
    return [
        {
            **_token(token.token_id, token.log_prob, tokenizer),
            "alternatives": [_token(*alternative, tokenizer) for alternative in token.alternatives],
        }
        for token in tokens
    ]


def _token(token_id: int, log_prob: float | None, tokenizer: Tokenizer) -> dict[str, object]:
    return {"token_id": token_id, "text": tokenizer.token_text(token_id), "log_prob": log_prob}
