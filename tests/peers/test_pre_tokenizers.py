"""Every pre-tokenizer that a GGUF file can name, on characters of all of Unicode, against llama.cpp.

In the vocabulary any two bytes form a token, so that the tokens show which characters share a word.
"""

from __future__ import annotations

import ctypes
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers.pre_tokenizers import ByteLevel

gguf = pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

from nextword.checkpoints.gguf.metadata import GGUFMetadata  # noqa: E402
from nextword.checkpoints.gguf.reader import read_gguf  # noqa: E402
from nextword.checkpoints.gguf.tokenizer import build_gguf_tokenizer  # noqa: E402
from nextword.text.pre_tokenizers import RULES_BY_NAME  # noqa: E402
from tests.peers.run_llama_cpp import library  # noqa: E402

pytestmark = [pytest.mark.peer, pytest.mark.slow]

NAMES = {rules: name for name, rules in reversed(RULES_BY_NAME.items()) if name != "default"}.values()
BYTES = sorted(ByteLevel.alphabet())
PAIRS = [(left, right) for left in BYTES for right in BYTES if left in " Ġab1A!" or right in "Ġab1A!" or left > "\x7f"]
TENSORS = {
    "token_embd": (257 + len(PAIRS), 32),
    "output_norm": (32,),
    **{f"blk.0.{name}_norm": (32,) for name in ("attn", "ffn")},
    **{f"blk.0.attn_{name}": (16 if name in "kv" else 32, 32) for name in ("q", "k", "v", "output")},
    "blk.0.ffn_gate": (48, 32),
    "blk.0.ffn_up": (48, 32),
    "blk.0.ffn_down": (32, 48),
}


def is_space(character: str) -> bool:
    return character.isspace() and not character.isascii()


def is_case(character: str) -> bool:
    """True for what llama.cpp's rules for capitals and small letters, simpler than the published ones, leave out."""
    return unicodedata.category(character) in ("Lu", "Lt", "Mn", "Mc", "Me") and not character.isascii()


READ_OTHERWISE: dict[str, Callable[[str], bool]] = {
    "deepseek-llm": is_space,
    "deepseek-coder": is_space,
    "tekken": is_case,
    "gpt-4o": is_case,
    "superbpe": lambda character: unicodedata.category(character) == "Nd" and not character.isascii(),
}
"""Characters that llama.cpp reads otherwise than the published patterns, which we follow."""


def write_model(path: Path, name: str) -> None:
    """A model without sense around the vocabulary: llama.cpp opens no vocabulary alone by its default settings."""
    writer = gguf.GGUFWriter(str(path), "llama")
    sizes = {"context_length": 64, "embedding_length": 32, "block_count": 1, "feed_forward_length": 48}
    for key, value in {**sizes, "attention.head_count": 4, "attention.head_count_kv": 2}.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list([*BYTES, "<|end|>", *(left + right for left, right in PAIRS)])
    writer.add_token_types([1] * 256 + [3] + [1] * len(PAIRS))
    writer.add_token_merges([f"{left} {right}" for left, right in PAIRS])
    writer.add_eos_token_id(256)
    writer.add_bos_token_id(256)
    for tensor, shape in TENSORS.items():
        writer.add_tensor(f"{tensor}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_cpp(path: Path) -> Callable[[str], list[int]]:
    """llama.cpp's tokens of a text."""
    llama: Any = library()
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    vocabulary = llama.llama_model_get_vocab(model)
    room = (ctypes.c_int32 * 256)()

    def tokenize(text: str) -> list[int]:
        data = text.encode()
        return list(room[: llama.llama_tokenize(vocabulary, data, len(data), room, len(room), False, False)])

    return tokenize


def characters(name: str) -> list[str]:
    """Assigned characters: all letters with case, which one rule lists one by one, and every 32nd of the others."""
    assigned = [
        chr(point) for point in range(0x20, 0x110000) if unicodedata.category(chr(point)) not in ("Cs", "Co", "Cn")
    ]
    cased = [one for one in assigned if unicodedata.category(one) in ("Lu", "Ll", "Lt")]
    others = [one for one in assigned if is_space(one)] + assigned[::32]
    skipped: Callable[[str], bool] = READ_OTHERWISE.get(name, lambda character: False)
    return [one for one in (cased if name == "deepseek-llm" else []) + others if not skipped(one)]


@pytest.mark.parametrize("name", list(NAMES))
def test_words_are_cut_as_llama_cpp_cuts_them(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_model(path, name)
    ours, peer = build_gguf_tokenizer(GGUFMetadata(read_gguf(path).metadata, path)), llama_cpp(path)
    texts = [f"a{one}b {one}{one}1{one} !{one}A{one}" for one in characters(name)]
    if RULES_BY_NAME[name].is_nfc:  # which llama.cpp leaves out
        texts = [text for text in texts if unicodedata.is_normalized("NFC", text)]
    found = ours.encode_batch(texts, add_special_tokens=False)
    assert [text for text, ids in zip(texts, found, strict=True) if ids != peer(text)] == []
