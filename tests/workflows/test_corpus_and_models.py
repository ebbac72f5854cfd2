"""Tokenizers, prepared tokens, examples, merged and exported models from Python, as typed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nextword as nw
from nextword.text.tokenizer_folder import load_tokenizer_folder


@pytest.fixture(scope="module")
def trained(corpus: Path) -> nw.TrainedTokenizer:
    return nw.train_tokenizer(corpus, output=corpus.parent / "tokenizer", vocab_size=300)


def test_a_tokenizer_is_trained_and_written(trained: nw.TrainedTokenizer) -> None:
    assert trained.tokenizer.decode(trained.tokenizer.encode("the cat")) == "the cat"
    assert load_tokenizer_folder(trained.folder).encode("the cat") == trained.tokenizer.encode("the cat")
    assert str(trained).endswith(" bytes/token; for example:\n" + " ".join(map(repr, trained.example)))


def test_a_corpus_is_prepared_and_trained_on(corpus: Path, trained: nw.TrainedTokenizer, tmp_path: Path) -> None:
    prepared = nw.prepare([corpus], tokenizer=trained.folder, output=tmp_path / "tokens", min_letters=0.5)
    assert str(prepared) == f"{prepared.num_tokens:,} tokens of 1 document"
    shape: dict[str, Any] = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "context": 16, "batch_size": 4}
    run = nw.pretrain(prepared.folder, output=tmp_path / "run", steps=1, **shape).train()
    exported = nw.export(run.model_folder, output=tmp_path / "half", to="hf", weights="f16")
    assert str(exported) == f"{tmp_path / 'half'}: {exported.size_bytes:,} bytes, weights in F16"
    assert nw.load(exported.path).next("the").entropy > 0


def test_an_adapter_is_merged(corpus: Path, tmp_path: Path) -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "context": 16, "vocab_size": 300}
    base = nw.pretrain(corpus, output=tmp_path / "run", steps=1, batch_size=4, **shape).train()
    tuned = nw.finetune(
        base.model_folder, corpus, output=tmp_path / "tuned", on="text", method="lora", rank=2, steps=2, lr=0.1
    ).train()
    merged = nw.merge(base.model_folder, tuned.model_folder, output=tmp_path / "merged")
    assert merged.weights == "F32"
    given = nw.load(merged.path).next("the").probabilities().tolist()
    assert given == pytest.approx(tuned.load().next("the").probabilities().tolist(), abs=1e-6)
    again = nw.merge(base.load(), tuned.model_folder, output=tmp_path / "again")
    assert (again.path / "model.safetensors").read_bytes() == (merged.path / "model.safetensors").read_bytes()
    with pytest.raises(nw.CheckpointError, match="has an adapter already"):
        nw.merge(tuned.load(), tuned.model_folder, output=tmp_path / "twice")


def test_a_loaded_model_is_exported_as_its_files_are(corpus: Path, tmp_path: Path) -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "context": 16, "vocab_size": 300}
    run = nw.pretrain(corpus, output=tmp_path / "run", steps=1, batch_size=4, **shape).train()
    nw.export(run.load(), output=tmp_path / "loaded" / "x.gguf")
    nw.export(run.model_folder, output=tmp_path / "named" / "x.gguf")
    assert (tmp_path / "loaded" / "x.gguf").read_bytes() == (tmp_path / "named" / "x.gguf").read_bytes()
    with pytest.raises(nw.RequestError, match="model must be a name, a path or a LanguageModel, not int"):
        nw.export(3, output=tmp_path / "no.gguf")  # type: ignore[arg-type]


def test_an_example_shows_which_tokens_carry_loss(trained: nw.TrainedTokenizer, tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text('{"prompt": "say <it>", "completion": "cat"}')
    example = nw.training_example(trained.folder, chats)
    assert "⟦cat<|endoftext|>⟧" in str(example)
    assert example.num_targets == sum(token.carries_loss for token in example.tokens) == 2
    assert "say &lt;it&gt;" in example._repr_html_()
    assert "#c8e6c9" in example._repr_html_()


@pytest.mark.parametrize(
    ("call", "wrong", "said"),
    [
        ("train_tokenizer", {"kind": "words"}, "kind = 'words': must be one of bpe, characters"),
        ("train_tokenizer", {"vocab_size": 10}, "a vocabulary of 10 tokens is too small"),
        ("prepare", {"tokenizer": "x", "deduplicate": "most"}, "deduplicate = 'most': must be one of none, exact"),
        ("export", {"to": "onnx"}, "to = 'onnx': must be one of gguf, hf"),
        ("export", {"weights": "q5"}, "weights = 'q5': must be one of auto, f32"),
        ("training_example", {"file": None}, "file = None: must be a string or a path"),
    ],
)
def test_wrong_values_are_errors_that_say_what_is_allowed(
    call: str, wrong: dict[str, Any], said: str, corpus: Path, trained: nw.TrainedTokenizer, tmp_path: Path
) -> None:
    first = corpus if call in ("train_tokenizer", "prepare") else trained.folder
    asked = {} if call == "training_example" else {"output": tmp_path / "out"}
    with pytest.raises(nw.NextwordError) as caught:
        getattr(nw, call)(first, **asked, **wrong)
    assert str(caught.value).startswith(said)
