"""GGUF vocabularies against the tokenizers they come from: SentencePiece itself, and transformers on the same file."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

sentencepiece = pytest.importorskip("sentencepiece")
gguf = pytest.importorskip("gguf")

from nextword.checkpoints.catalogue import CATALOGUE, model_path  # noqa: E402
from nextword.checkpoints.gguf.metadata import GGUFMetadata  # noqa: E402
from nextword.checkpoints.gguf.reader import read_gguf  # noqa: E402
from nextword.checkpoints.gguf.tokenizer import build_gguf_tokenizer  # noqa: E402
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


RUN_LLAMA_CPP = """
import json, sys
from ik_llama_cpp._internals import IkModel
path, lines = json.load(sys.stdin)
model = IkModel(path)
print("TOKENS", json.dumps([model.tokenize(line, add_bos=False) for line in lines]))
"""
LINES_READ_OTHERWISE = (2634, 2646, 2647, 3167)
"""Lines of wikitext2-valid.txt, counted from 0, that transformers cuts in another way: the number signs in them."""


@pytest.fixture(scope="module")
def smollm2() -> Path:
    path = model_path(CATALOGUE["smollm2-135m"])
    if not path.exists():
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    return path


@pytest.fixture(scope="module")
def ours(smollm2: Path) -> Tokenizer:
    return build_gguf_tokenizer(GGUFMetadata(read_gguf(smollm2).metadata, smollm2))


@pytest.fixture(scope="module")
def wikitext() -> list[str]:
    source = DATA / "wikitext2-valid.txt"
    if not source.exists():
        pytest.skip("../shared/data/wikitext2-valid.txt is not there")
    return source.read_text().splitlines()


@pytest.fixture
def transformers_reading(smollm2: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(str(smollm2.parent), gguf_file=smollm2.name)


def tokens_of(peer: Any, text: str) -> list[int]:
    token_ids: list[int] = peer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return token_ids


@pytest.mark.model
@pytest.mark.slow
def test_smollm2_has_the_tokens_of_its_published_tokenizer(
    ours: Tokenizer, transformers_reading: Any, wikitext: list[str]
) -> None:
    """tokenizer.json of SmolLM2 puts every digit apart before it cuts words; the rest of it is as in the GGUF file."""
    from tokenizers import pre_tokenizers

    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    transformers_reading.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    for text in (*HARD, *wikitext):
        assert ours.encode(text) == tokens_of(transformers_reading, text), text
    assert not {0, 1, 2} & set(ours.encode(HARD[10]))


@pytest.mark.model
@pytest.mark.slow
def test_smollm2_has_the_tokens_of_llama_cpp(ours: Tokenizer, smollm2: Path, wikitext: list[str]) -> None:
    pytest.importorskip("ik_llama_cpp")
    request = json.dumps([str(smollm2), wikitext])
    command = [sys.executable, "-c", RUN_LLAMA_CPP]
    process = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
    found = next(line for line in process.stdout.splitlines() if line.startswith("TOKENS "))
    for line, expected in zip(wikitext, json.loads(found.removeprefix("TOKENS ")), strict=True):
        assert ours.encode(line) == expected, line


@pytest.mark.model
@pytest.mark.slow
def test_transformers_reads_smollm2_otherwise_only_where_a_space_stands_before_a_number_sign(
    ours: Tokenizer, transformers_reading: Any, wikitext: list[str]
) -> None:
    """It does not know the name `smollm`, and leaves the space before a number in the number's word.

    No token joins a space to a digit, so digits come out the same; signs such as ½ are two
    bytes, and there is a token of a space and the first.
    """
    differing = {n for n, line in enumerate(wikitext) if ours.encode(line) != tokens_of(transformers_reading, line)}
    assert differing == set(LINES_READ_OTHERWISE)
    assert differing == {n for n, line in enumerate(wikitext) if has_number_sign_after_space(line)}


def has_number_sign_after_space(line: str) -> bool:
    """Whether there is a character that counts as a number, but is no ASCII digit, after a space."""
    after_space = (right for left, right in itertools.pairwise(line) if left == " ")
    return any(unicodedata.category(sign)[0] == "N" and not sign.isascii() for sign in after_space)
