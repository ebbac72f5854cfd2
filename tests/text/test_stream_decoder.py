"""Text that arrives a token at a time: the whole in the end, whole characters at any time, at the same cost always."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from nextword.errors import TokenizerError
from nextword.text.tokenizer import Tokenizer
from tests.text.vocabularies import BYTE_TOKENS, PIECES, SPACE, as_tokenizer, byte_level_backend, piece_backend

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
BYTE_LEVEL = byte_level_backend()
PIECE = piece_backend()
GEMMA_LIKE = piece_backend(strips_space=False)
TOKENIZERS = {
    "byte-level": as_tokenizer(BYTE_LEVEL),
    "pieces": as_tokenizer(PIECE),
    "pieces, no space taken": as_tokenizer(GEMMA_LIKE),
}
BYTE_IDS = {
    byte: token_id
    for token_id in range(256)
    for byte in range(256)
    if TOKENIZERS["byte-level"].token_text(token_id) in (bytes([byte]).decode("ascii", "ignore"), f"<0x{byte:02X}>")
}
"""The ids of single bytes, byte-level."""
FIRST_BYTE = 3
"""Id of <0x00> among the pieces."""
beginnings = st.sampled_from([0x41, 0x20, 0x80, 0xA2, 0xBC, 0xC0, 0xC3, 0xE2, 0xE6, 0xED, 0xF0, 0xF4, 0xF5, 0xFF])
any_bytes = beginnings | st.integers(0, 255)
byte_level_ids = st.lists(
    st.integers(0, BYTE_LEVEL.get_vocab_size() + 2) | any_bytes.map(lambda byte: BYTE_IDS[byte]),
    max_size=40,
)
piece_ids = st.lists(
    st.integers(0, PIECE.get_vocab_size() + 2) | any_bytes.map(lambda byte: FIRST_BYTE + byte), max_size=40
)


def id_of(backend: tokenizers.Tokenizer, token: str) -> int:
    token_id = backend.token_to_id(token)
    assert token_id is not None
    return token_id


def streamed(tokenizer: Tokenizer, token_ids: list[int]) -> list[str]:
    stream = tokenizer.stream_decoder()
    return [*(stream.push(token_id) for token_id in token_ids), stream.flush()]


@settings(max_examples=500, deadline=None)
@given(byte_level_ids)
def test_byte_level_pieces_add_up_to_what_the_library_decodes(token_ids: list[int]) -> None:
    tokenizer = TOKENIZERS["byte-level"]
    expected = BYTE_LEVEL.decode(token_ids, skip_special_tokens=True)
    assert "".join(streamed(tokenizer, token_ids)) == tokenizer.decode(token_ids) == expected
    with_specials = BYTE_LEVEL.decode(token_ids, skip_special_tokens=False)
    assert tokenizer.decode(token_ids, skip_special_tokens=False) == with_specials


@settings(max_examples=500, deadline=None)
@given(piece_ids, st.booleans())
def test_piece_pieces_add_up_to_what_the_library_decodes(token_ids: list[int], strips_space: bool) -> None:
    backend = PIECE if strips_space else GEMMA_LIKE
    tokenizer = TOKENIZERS["pieces" if strips_space else "pieces, no space taken"]
    text = tokenizer.decode(token_ids)
    assert "".join(streamed(tokenizer, token_ids)) == text
    expected = backend.decode(token_ids, skip_special_tokens=True)
    if REPLACEMENT not in expected:
        assert text == expected
    else:  # the library gives up a whole run of bytes for one that is wrong; the rest is the same
        assert is_subsequence(expected.replace(REPLACEMENT, ""), text)


def is_subsequence(part: str, whole: str) -> bool:
    characters = iter(whole)
    return all(character in characters for character in part)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(TOKENIZERS)), st.text(max_size=30))
def test_no_piece_ends_in_half_a_character(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    *pieces, rest = streamed(tokenizer, tokenizer.encode(text))
    assert REPLACEMENT not in "".join(pieces).replace(REPLACEMENT, "", text.count(REPLACEMENT))
    assert rest == ""


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_a_character_is_given_out_with_its_last_byte(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    token_ids = [next(i for i in range(tokenizer.vocab_size) if shows(tokenizer, i, byte)) for byte in "😀".encode()]
    assert streamed(tokenizer, token_ids) == ["", "", "", "😀", ""]


def shows(tokenizer: Tokenizer, token_id: int, byte: int) -> bool:
    return tokenizer.token_text(token_id) == f"<0x{byte:02X}>"


def test_a_whole_character_in_a_run_of_wrong_bytes_is_kept_as_sentencepiece_keeps_it() -> None:
    token_ids = [FIRST_BYTE + byte for byte in b"\xe6\xbc\xa2\xff\xf0\x9f"]
    assert TOKENIZERS["pieces"].decode(token_ids) == f"漢{REPLACEMENT * 3}"


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_an_endless_run_of_wrong_bytes_is_never_held_back(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    wrong = next(token_id for token_id in range(tokenizer.vocab_size) if shows(tokenizer, token_id, 0xFF))
    stream = tokenizer.stream_decoder()
    assert all(stream.push(wrong) == REPLACEMENT for _ in range(10_000))
    assert stream.flush() == ""


def test_a_special_token_inside_a_character_is_left_out_of_it() -> None:
    token_ids = [FIRST_BYTE + 0xC3, 1, FIRST_BYTE + 0xA9]
    assert streamed(TOKENIZERS["pieces"], token_ids) == ["", "", "é", ""]
    assert PIECE.decode(token_ids) == "é"


def test_only_the_first_space_of_the_text_is_taken() -> None:
    tokenizer = TOKENIZERS["pieces"]
    the = id_of(PIECE, f"{SPACE}the")
    assert streamed(tokenizer, [1, the, 2, the]) == ["", "the", "", " the", ""]
    assert streamed(tokenizer, [id_of(PIECE, SPACE), the]) == ["", " the", ""]
    assert tokenizer.decode([1, the], skip_special_tokens=False) == "<s> the"


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_a_padded_row_decodes_to_nothing(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    row = tokenizer.vocab_size + 7
    token_ids = tokenizer.encode("the the")
    assert tokenizer.decode([row, *token_ids, row]) == tokenizer.decode(token_ids)
    assert streamed(tokenizer, [row, *token_ids[:1], row]) == ["", *streamed(tokenizer, token_ids[:1])[:1], "", ""]
    assert tokenizer.token_text(row) == f"<unused {row}>"


def test_token_text_shows_the_bytes_of_half_characters() -> None:
    byte_level, pieces = TOKENIZERS["byte-level"], TOKENIZERS["pieces"]
    half = id_of(BYTE_LEVEL, "ãĢ")
    assert byte_level.token_text(half) == "<0xE3><0x80>"
    assert byte_level.token_text(id_of(BYTE_LEVEL, "Ġthe")) == " the"
    assert byte_level.token_text(id_of(BYTE_LEVEL, "<|end|>")) == "<|end|>"
    assert pieces.token_text(FIRST_BYTE + 0xE2) == "<0xE2>"
    assert pieces.token_text(FIRST_BYTE + 0x41) == "A"
    assert pieces.token_text(id_of(PIECE, f"{SPACE}the")) == " the"


@pytest.mark.parametrize(
    "decoder",
    [None, decoders.Metaspace(), decoders.Metaspace(prepend_scheme="never"), decoders.Sequence([decoders.ByteLevel()])],
    ids=["none", "metaspace", "metaspace without prefix", "byte-level in a sequence"],
)
@settings(max_examples=50, deadline=None)
@given(token_ids=st.lists(st.integers(0, 3), max_size=8))
def test_other_decoders_are_followed(decoder: Any, token_ids: list[int]) -> None:
    vocabulary = {
        "the": 0,
        "river": 1,
        "ran": 2,
        f"{SPACE}sea" if isinstance(decoder, decoders.Metaspace) else "sea": 3,
    }
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="the"))
    if decoder is not None:
        backend.decoder = decoder
    tokenizer = as_tokenizer(backend)
    assert "".join(streamed(tokenizer, token_ids)) == tokenizer.decode(token_ids) == backend.decode(token_ids)


@pytest.mark.parametrize(
    "decoder",
    [decoders.CTC(), decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 0, 1)])],
    ids=["CTC", "Strip at the end"],
)
def test_a_decoder_that_looks_at_neighbours_is_refused(decoder: Any) -> None:
    backend = byte_level_backend()
    backend.decoder = decoder
    with pytest.raises(TokenizerError, match=r"decoder .* is unknown; known are"):
        as_tokenizer(backend)


@pytest.mark.parametrize("token_id", [-1, 2**32])
def test_a_number_that_is_no_token_id_is_refused(token_id: int) -> None:
    with pytest.raises(TokenizerError, match=f"token id {token_id}"):
        TOKENIZERS["pieces"].decode([token_id])
    with pytest.raises(TokenizerError, match=f"token id {token_id}"):
        TOKENIZERS["pieces"].token_text(token_id)


@pytest.mark.peer
def test_bytes_and_pieces_decode_as_in_sentencepiece(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()
    kinds = {"<unk>": 2, "<s>": 3, "</s>": 3, **dict.fromkeys(BYTE_TOKENS, 6), **dict.fromkeys(PIECES, 1)}
    for token, kind in kinds.items():
        model.pieces.add(piece=token, score=0.0, type=kind)
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback = 2, True
    peer = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    # It does not take a space from the beginning that is a byte: so another piece begins the text.
    x = FIRST_BYTE + 256 + PIECES.index("x")

    @settings(max_examples=500, deadline=None)
    @given(
        st.lists(st.integers(FIRST_BYTE, len(kinds) - 1) | any_bytes.map(lambda byte: FIRST_BYTE + byte), max_size=40)
    )
    def decodes_the_same(token_ids: list[int]) -> None:
        assert TOKENIZERS["pieces"].decode([x, *token_ids]) == peer.decode([x, *token_ids])

    decodes_the_same()
