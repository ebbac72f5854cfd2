"""A tokenizer of bytes, whose token ids can be written down by hand."""

from __future__ import annotations

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from nextword.text.post_processor import put_around
from nextword.text.tokenizer import Tokenizer

END = 256
"""The end-of-text token."""


def byte_tokenizer(*, has_end: bool = True, add_bos: bool = False) -> Tokenizer:
    """Token id = byte; 256 ends a text, and begins it if asked for."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    alphabet = {chr(byte): byte for byte in visible} | {chr(0x100 + rank): byte for rank, byte in enumerate(hidden)}
    backend = tokenizers.Tokenizer(models.BPE(alphabet, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|end|>"])
    put_around(backend, prefix=[END] if add_bos else [])
    return Tokenizer(
        backend,
        bos_token_id=END if add_bos else None,
        eos_token_ids=(END,) if has_end else (),
        chat_template=None,
        special_variables={"eos_token": "<|end|>"},
    )
