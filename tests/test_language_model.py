"""A model's methods that join it with other rooms: each gives what those rooms give."""

from __future__ import annotations

from pathlib import Path

import pytest

import nextword as nw
from tests.api_model import load_bytes_model

TEXT = "Hello there, and good morning to all of you."


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    return load_bytes_model(tmp_path_factory.mktemp("models") / "bytes")


def test_a_model_compared_with_itself_shows_no_difference(lm: nw.LanguageModel) -> None:
    comparison = lm.compare(lm, [TEXT, "Another text."])
    assert comparison.difference == 0.0
    assert comparison.num_documents == 2
    assert comparison.agreement == 1.0


def test_the_first_model_is_a_and_the_other_b(lm: nw.LanguageModel, tmp_path: Path) -> None:
    other = load_bytes_model(tmp_path / "other", seed=8)
    comparison = lm.compare(other, TEXT, context=16)
    assert comparison.bits_per_byte_a == pytest.approx(lm.compare(lm, TEXT, context=16).bits_per_byte_a)
    assert comparison.difference == pytest.approx(-other.compare(lm, TEXT, context=16).difference)


def test_the_surprise_of_a_text_is_the_sum_of_its_negative_log_probabilities(lm: nw.LanguageModel) -> None:
    report = lm.surprise(TEXT)
    assert report.text == TEXT
    assert report.nats_per_token * (len(TEXT) - 1) == pytest.approx(-lm.score(TEXT).log_prob, rel=1e-5)


def test_a_model_shows_itself_in_one_line(lm: nw.LanguageModel) -> None:
    name = str(lm.directory.path)
    assert repr(lm) == f"LanguageModel({name!r}, llama, 3,056 parameters, backend native, weights F32)"
    assert "weights q8" in repr(nw.load(name, weights="q8"))
