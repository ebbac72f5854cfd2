"""The table of GGUF encodings against the gguf package."""

from __future__ import annotations

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from nextword.checkpoints.gguf.types import BLOCK_TYPES


def test_block_types_are_those_of_the_gguf_package() -> None:
    theirs = {int(kind): (kind.name, *GGML_QUANT_SIZES[kind]) for kind in GGMLQuantizationType}
    known = {number: tuple(block_type) for number, block_type in BLOCK_TYPES.items()}
    newest = {42: ("Q2_0", 64, 18)}  # by ggml-common.h
    assert known == {number: (newest | theirs)[number] for number in known}
