"""`dry_breakers`: the tokens across which DRY sees no repetition."""

from __future__ import annotations

from collections.abc import Collection

from nextword.decoding.params import SamplingParams
from nextword.text.tokenizer import Tokenizer


def dry_breakers(tokenizer: Tokenizer, params: SamplingParams) -> Collection[int]:
    """Return the ids of the tokens with one of the breakers in their text; none where DRY is off."""
    return tokenizer.tokens_with(params.dry_sequence_breakers) if params.dry_multiplier > 0.0 else ()
