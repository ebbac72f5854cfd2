"""GGUF vocabularies against the tokenizers they come from: SentencePiece itself, and transformers on the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

sentencepiece = pytest.importorskip("sentencepiece")
gguf = pytest.importorskip("gguf")

from nextword.checkpoints.catalogue import CATALOGUE, model_path  # noqa: E402
from nextword.checkpoints.gguf_metadata import GGUFMetadata  # noqa: E402
from nextword.checkpoints.gguf_reader import read_gguf  # noqa: E402
from nextword.checkpoints.gguf_tokenizer import build_gguf_tokenizer  # noqa: E402
from nextword.text.tokenizer import Tokenizer  # noqa: E402

pytestmark = pytest.mark.peer

DATA = Path(__file__).parents[3] / "shared" / "data"
HARD = (
    "",
    " ",
    "   three  spaces   and\ttabs\n\n\nlines \r\n",
    " a leading space",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 🇩🇪",
    "漢字かな交じり文 and 한국어",
    "שלום עולם, مرحبا بالعالم",
    "1234567 3.14159 1,000,000 ½ x² ⅷ",
    "def f(x):\n    return {'a': [x**2 for _ in range(10)]}  # note",
    "don't WE'LL they'RE 'tis",
    "<s> </s> <unk> <|im_start|>system<|im_end|> <|endoftext|> <0x41>",
    "e\u0301 \u00e9 \ufb01 \u200b\u00a0\ufeff\ufffd",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa________-----=====",
)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Tokenizer]:
    """A SentencePiece BPE trained here, and our tokenizer from the GGUF file of its vocabulary."""
    source = DATA / "tinyshakespeare.txt"
    if not source.exists():
        pytest.skip("../shared/data/tinyshakespeare.txt is not there")
    folder = tmp_path_factory.mktemp("spm")
    text = folder / "train.txt"
    text.write_text(source.read_text()[:200_000])
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "spm"),
        model_type="bpe",
        vocab_size=1000,
        byte_fallback=True,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    peer = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    path = folder / "spm.gguf"
    _write_vocabulary(path, peer)
    return peer, build_gguf_tokenizer(GGUFMetadata(read_gguf(path).metadata, path))


def _write_vocabulary(path: Path, peer: Any) -> None:
    count = peer.get_piece_size()
    kinds = [
        2 if peer.is_unknown(i) else 3 if peer.is_control(i) else 6 if peer.is_byte(i) else 1 for i in range(count)
    ]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([peer.id_to_piece(i) for i in range(count)])
    writer.add_token_scores([peer.get_score(i) for i in range(count)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(peer.bos_id())
    writer.add_eos_token_id(peer.eos_id())
    writer.add_unk_token_id(peer.unk_id())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_sentencepiece_gives_the_same_tokens(pieces: tuple[Any, Tokenizer]) -> None:
    peer, ours = pieces
    lines = (DATA / "tinyshakespeare.txt").read_text().splitlines()[:2000]
    for text in (*HARD, *lines):
        assert ours.encode(text, add_special_tokens=False) == peer.encode(text), text


def test_sentencepiece_texts_come_back(pieces: tuple[Any, Tokenizer]) -> None:
    _, ours = pieces
    for text in HARD:
        assert ours.decode(ours.encode(text)) == text


def test_texts_begin_with_bos_where_the_file_does_not_say(pieces: tuple[Any, Tokenizer]) -> None:
    peer, ours = pieces
    assert ours.encode("x")[0] == peer.bos_id()


@pytest.fixture(scope="module")
def real() -> tuple[Any, Tokenizer]:
    """SmolLM2's file opened by transformers, with the pre-tokenizer the model was published with, and by us.

    transformers does not read `tokenizer.ggml.pre = smollm`: it leaves digits joined to the space before them.
    """
    transformers = pytest.importorskip("transformers")
    from tokenizers import pre_tokenizers

    path = model_path(CATALOGUE["smollm2-135m"])
    if not path.exists():
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    peer = transformers.AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    return peer, build_gguf_tokenizer(GGUFMetadata(read_gguf(path).metadata, path))


@pytest.mark.model
@pytest.mark.slow
def test_the_real_vocabulary_gives_the_tokens_of_transformers(real: tuple[Any, Tokenizer]) -> None:
    peer, ours = real
    source = DATA / "wikitext2-valid.txt"
    lines = source.read_text().splitlines() if source.exists() else []
    for text in (*HARD, *lines):
        assert ours.encode(text) == peer.encode(text, add_special_tokens=False, split_special_tokens=True), text
    assert not {0, 1, 2} & set(ours.encode(HARD[10]))
