"""Small vocabularies made by hand: byte-level, and of pieces with bytes for what they lack, as Llama's."""

from __future__ import annotations

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from nextword.text.tokenizer import Tokenizer

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
PIECES = [SPACE, f"{SPACE}the", f"{SPACE}{SPACE}", "th", "the", "t", "h", "e", "é", "漢", "x"]
PIECE_MERGES = [("t", "h"), ("th", "e"), (SPACE, "the"), (SPACE, SPACE)]
WORDS_OF_BYTES = ["t h", "th e", "Ġ the", "ã Ģ", "Ð »"]


def piece_backend(*, strips_space: bool = True, specials: tuple[AddedToken, ...] = ()) -> tokenizers.Tokenizer:
    """Control tokens 0 to 2, bytes, pieces: decoded as Llama's (a space taken from the beginning) or Gemma's."""
    controls = ["<unk>", "<s>", "</s>"]
    vocabulary = {token: token_id for token_id, token in enumerate([*controls, *BYTE_TOKENS, *PIECES])}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, PIECE_MERGES, unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strips_space else steps)
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in controls])
    backend.add_special_tokens(list(specials))
    return backend


def byte_level_backend(*specials: AddedToken) -> tokenizers.Tokenizer:
    """All bytes, a few words, and tokens of half characters; `<|begin|>`, `<|end|>` and what is given are special."""
    merges = [tuple(merge.split(" ")) for merge in WORDS_OF_BYTES]
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(models.BPE(vocabulary, [(left, right) for left, right in merges]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|begin|>", "<|end|>"])
    backend.add_special_tokens(list(specials))
    backend.add_tokens(["<two words>", "漢字"])
    return backend


def as_tokenizer(backend: tokenizers.Tokenizer, *, chat_template: str | None = None) -> Tokenizer:
    return Tokenizer(backend, bos_token_id=None, eos_token_ids=(), chat_template=chat_template, special_variables={})
