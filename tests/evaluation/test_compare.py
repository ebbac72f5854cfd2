"""Two models on one text, held to sums written out over the logits of backends that hash the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from nextword.data.documents import Document
from nextword.errors import RequestError
from nextword.evaluation.compare import compare_models
from nextword.evaluation.scoring.pairs import paired_pieces
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.text.tokenizer import Tokenizer
from nextword.workflows.compare import FileComparison
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fakes import HashBackend

TEXT = "The river ran past the mill, über Stock und Stein, and on to the sea. " * 12


class Blurred(HashBackend):
    """Logits nearer to each other: less sure, and so better at predicting what is random to it."""

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        return np.asarray(super().logits_after(token_ids) / 3)


def word_tokenizer() -> Tokenizer:
    """Other tokens over the same bytes."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False)
    )
    return Tokenizer(backend, bos_token_id=None, eos_token_ids=(), chat_template=None, special_variables={})


A = Engine(HashBackend(vocab_size=300), byte_tokenizer())
B = Engine(Blurred(vocab_size=300), byte_tokenizer())
WORDS = Engine(HashBackend(vocab_size=300), word_tokenizer())


def documents(*texts: str) -> list[Document]:
    return [Document(text, Path("text"), line) for line, text in enumerate(texts, 1)]


def log_probs(model: Engine, context: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    assert isinstance(model.backend, HashBackend)
    logits = model.backend.logits_after(context).astype(np.float64)
    return np.asarray(logits - logits.max() - math.log(np.exp(logits - logits.max()).sum()))


def test_sums_divergence_and_agreement_are_those_written_out() -> None:
    tokens = A.tokenizer.encode(TEXT[:60])
    sums = np.zeros(4)
    for at in range(1, len(tokens)):
        a, b = log_probs(A, tokens[:at]), log_probs(B, tokens[:at])
        sums += (-a[tokens[at]], -b[tokens[at]], (np.exp(a) * (a - b)).sum(), a.argmax() == b.argmax())
    found = compare_models(A, B, documents(TEXT[:60]))
    count = len(tokens) - 1
    assert (found.num_pieces, found.num_bytes) == (count, count)
    assert found.bits_per_byte_a == pytest.approx(sums[0] / count / math.log(2), rel=1e-6)
    assert found.bits_per_byte_b == pytest.approx(sums[1] / count / math.log(2), rel=1e-6)
    assert found.mean_divergence == pytest.approx(sums[2] / count, rel=1e-5)
    assert found.agreement == pytest.approx(sums[3] / count)


def test_the_better_model_is_named_whichever_comes_first() -> None:
    found, turned = compare_models(A, B, documents(TEXT)), compare_models(B, A, documents(TEXT))
    assert found.verdict == "B predicts the text better than A"
    assert turned.verdict == "A predicts the text better than B"
    assert found.interval is not None
    assert found.interval.low < found.difference < found.interval.high < 0
    assert turned.difference == pytest.approx(-found.difference)
    assert found.has_same_vocabulary


def test_a_model_is_no_better_than_itself() -> None:
    found = compare_models(A, A, documents(TEXT))
    assert found.verdict == "B predicts the text exactly as well as A"
    assert (found.difference, found.mean_divergence, found.agreement, found.differences) == (0.0, 0.0, 1.0, [])


def test_where_they_differ_most_comes_first_with_what_stands_before() -> None:
    found = compare_models(A, B, documents(TEXT))
    sizes = [abs(one.nats_b - one.nats_a) for one in found.differences]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 20
    assert all(
        one.before + one.text in "\N{REPLACEMENT CHARACTER}" + TEXT or "ü" in one.before for one in found.differences
    )


def test_with_two_vocabularies_pieces_end_where_tokens_of_both_end() -> None:
    pieces = list(paired_pieces(A, WORDS, [TEXT], context=64))
    assert b"".join(piece.data for piece in pieces) == TEXT.encode()
    assert [piece.data for piece in pieces if piece.nats_b is not None] == [
        WORDS.tokenizer.token_bytes(token_id) for token_id in WORDS.tokenizer.encode(TEXT)[1:]
    ]
    whole = sum(-log_probs(A, A.tokenizer.encode(TEXT)[:at])[A.tokenizer.encode(TEXT)[at]] for at in range(1, 60))
    found = 0.0
    num_bytes = len(pieces[0].data)
    first = num_bytes
    for piece in pieces[1:]:
        if num_bytes + len(piece.data) > 60:
            break
        assert piece.nats_a is not None
        found += piece.nats_a
        num_bytes += len(piece.data)
    skipped = sum(
        -log_probs(A, A.tokenizer.encode(TEXT)[:at])[A.tokenizer.encode(TEXT)[at]] for at in range(1, first)
    ) + sum(-log_probs(A, A.tokenizer.encode(TEXT)[:at])[A.tokenizer.encode(TEXT)[at]] for at in range(num_bytes, 60))
    assert found == pytest.approx(whole - skipped, rel=1e-6)


def test_with_two_vocabularies_only_bits_are_compared() -> None:
    found = compare_models(A, WORDS, documents(TEXT))
    assert (found.mean_divergence, found.agreement) == (None, None)
    assert found.num_bytes == len(TEXT.encode()) - len(WORDS.tokenizer.token_bytes(WORDS.tokenizer.encode(TEXT)[0]))
    assert found.interval is not None


def test_many_documents_are_the_units_of_the_interval() -> None:
    found = compare_models(A, B, documents(*[TEXT[start : start + 40] for start in range(0, 800, 40)]))
    assert (found.units[0], found.num_documents) == ("documents", 20)


class Broken(HashBackend):
    """One logit in three positions is NaN."""

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        logits = super().logits_after(token_ids)
        if len(token_ids) % 3 == 0:
            logits[5] = np.nan
        return logits


@pytest.mark.parametrize("tokenizer", [byte_tokenizer, word_tokenizer])
def test_logits_that_are_no_numbers_are_refused(tokenizer: Callable[[], Tokenizer]) -> None:
    broken = Engine(Broken(vocab_size=300), tokenizer())
    with pytest.raises(RequestError, match="the model's logits are no numbers"):
        compare_models(A, broken, documents(TEXT))


def unknown_words() -> Tokenizer:
    """All that it does not know, which is all, is one token for no bytes; a space separates them."""
    backend = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "the": 1}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<unk>"])
    return Tokenizer(backend, bos_token_id=None, eos_token_ids=(), chat_template=None, special_variables={})


def test_a_text_of_no_bytes_has_no_bits_per_byte() -> None:
    a = Engine(HashBackend(vocab_size=2), unknown_words())
    b = Engine(Blurred(vocab_size=2), unknown_words())
    found = compare_models(a, b, documents("x y z " * 40))
    assert (found.num_bytes, found.interval) == (0, None)
    assert math.isnan(found.bits_per_byte_a)
    assert math.isnan(found.difference)
    assert found.verdict == "the tokens stand for no bytes, by which models are compared"
    assert repr(found) == "Comparison(B - A = nan bits per byte, 0 bytes)"
    file = FileComparison(models=("a", "b"), comparison=found)
    assert file.to_text().startswith(
        "A          nan bits/byte  a\nB          nan bits/byte  b\nB - A      nan bits/byte\n"
    )
    assert (file.to_json()["bits_per_byte"], file.to_json()["difference"]) == ([None, None], None)


@pytest.mark.parametrize("texts", [[], [""], ["a"]])
def test_texts_with_nothing_to_score_are_refused(texts: list[str]) -> None:
    with pytest.raises(RequestError, match="at least two are needed"):
        compare_models(A, B, documents(*texts))


def test_a_context_beyond_either_model_is_refused() -> None:
    short = Engine(HashBackend(vocab_size=300, max_seq_len=32), byte_tokenizer())
    with pytest.raises(RequestError, match="context = 33: from 3 to the 32 tokens that both models attend to"):
        compare_models(A, short, documents(TEXT), context=33)
