"""`encode_pieces`: encode a text of any length in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nextword.text.borders import cut_at_borders
from nextword.text.tokenizer import Tokenizer


def encode_pieces(
    tokenizer: Tokenizer, pieces: Iterable[str], *, add_special_tokens: bool = True
) -> Iterator[list[int]]:
    """Yield the token ids of the joined pieces, a part at a time: together those of `Tokenizer.encode_prompt`.

    Raises TokenizerError for a text that has to be encoded whole and is too long for it.
    """
    parts = cut_at_borders(pieces, tokenizer.is_border)
    first = next(parts)
    yield tokenizer.encode_prompt(first) if add_special_tokens else tokenizer.encode(first, add_special_tokens=False)
    yield from map(tokenizer.encode_continuation, parts)
