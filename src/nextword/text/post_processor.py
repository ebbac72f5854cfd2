"""The token ids that a tokenizer puts around each text: those of its post-processor, whatever their names.

Many vocabularies put BOS before a text; some put two tokens there, such as [gMASK] and <sop>, or one after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers
from tokenizers import models, processors

from nextword.errors import TokenizerError

_LARGEST = 64
"""Most tokens around a text; published vocabularies have at most two, and each is paid for in every text."""
_TEXT = 2**32 - 1
"""Id that stands for the text when the post-processor is tried; no vocabulary is so large."""


def tokens_around(backend: tokenizers.Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids before and after each text. Raises TokenizerError if they are too many, or do not surround it."""
    if backend.post_processor is None:
        return (), ()
    probe = tokenizers.Tokenizer(models.WordLevel({"text": _TEXT}, unk_token="text"))
    probe.post_processor = backend.post_processor
    token_ids = probe.encode("text").ids
    if token_ids.count(_TEXT) != 1:
        raise TokenizerError(f"post_processor: repeats a text {token_ids.count(_TEXT)} times; expected once")
    if len(token_ids) - 1 > _LARGEST:
        raise TokenizerError(
            f"post_processor: puts {len(token_ids) - 1} tokens around each text; at most {_LARGEST} are read"
        )
    place = token_ids.index(_TEXT)
    return tuple(token_ids[:place]), tuple(token_ids[place + 1 :])


def put_around(backend: tokenizers.Tokenizer, *, prefix: Sequence[int] = (), suffix: Sequence[int] = ()) -> None:
    """Make a tokenizer put these ids before and after each text; each must be a token of its vocabulary."""
    pieces = {"prefix": prefix, "suffix": suffix}
    first, last = (["prefix"] if prefix else []), (["suffix"] if suffix else [])
    single, second = [*first, "$A", *last], [*(f"{name}:1" for name in first), "$B:1", *(f"{name}:1" for name in last)]
    backend.post_processor = processors.TemplateProcessing(
        single=single,
        pair=[*single, *second],
        special_tokens=[  # by names of our own: the template cannot write a token that holds a colon
            {
                "id": name,
                "ids": list(ids),
                "tokens": [backend.id_to_token(token_id) or str(token_id) for token_id in ids],
            }
            for name, ids in pieces.items()
            if ids
        ],
    )
