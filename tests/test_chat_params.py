"""Settings for chat: the call's, else the publisher's from the catalogue, else the checkpoint's, else the built-in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from nextword.adapters.open import open_adapted
from nextword.checkpoints import catalogue
from nextword.checkpoints.catalogue import CATALOGUE, chat_defaults
from nextword.decoding.params import SamplingOptions, SamplingParams, sampling_params
from nextword.errors import RequestError
from nextword.inference.engine import Engine
from nextword.inference.generation import collect
from nextword.language_model import LanguageModel
from tests.checkpoints.tiny_folder import write_folder
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TOKENIZER


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    """A small model in the place of the catalogue's SmolLM2, whose own files ask for top-k 7 and top-p 0.5."""
    folder = write_folder(tmp_path / "tiny")
    (folder / "generation_config.json").write_text(json.dumps({"top_k": 7, "top_p": 0.5}))
    monkeypatch.setattr(catalogue, "model_path", lambda entry: folder)
    engine = Engine(HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=100), TOKENIZER)
    return LanguageModel(open_adapted(str(folder)), engine)


def test_the_catalogues_settings_are_sampling_parameters() -> None:
    for entry in CATALOGUE.values():
        settings = dict(entry.chat_defaults)
        assert dataclasses.asdict(sampling_params({}, **settings)).items() >= settings.items()


def test_chat_takes_the_publishers_settings_before_the_checkpoints(model: LanguageModel) -> None:
    assert model.chat_params(seed=1) == SamplingParams(temperature=0.2, top_p=0.9, top_k=7, seed=1)


def test_the_calls_own_settings_come_first(model: LanguageModel) -> None:
    not_said: Any = None
    assert model.chat_params(temperature=1.0, top_p=not_said) == SamplingParams(temperature=1.0, top_p=0.9, top_k=7)


def test_generate_does_not_take_them(model: LanguageModel) -> None:
    assert model.params() == SamplingParams(top_k=7, top_p=0.5)


def test_chat_and_conversation_sample_by_them(model: LanguageModel) -> None:
    question = [{"role": "user", "content": "a"}]
    said: SamplingOptions = {"temperature": 0.2, "top_p": 0.9, "seed": 3, "max_tokens": 8}
    expected = model.chat(question, **said).text
    assert model.chat(question, seed=3, max_tokens=8).text == expected
    assert "".join(model.stream_chat(question, seed=3, max_tokens=8)) == expected
    assert "".join(model.conversation(seed=3, max_tokens=8).ask("a")) == expected
    assert model.chat(question, temperature=1.0, top_p=1.0, seed=3, max_tokens=8).text != expected


def test_an_answer_moves_away_from_a_conversation(model: LanguageModel) -> None:
    question = {"role": "user", "content": "a"}
    negative = [{"role": "system", "content": "no"}, question]
    said: SamplingOptions = {"guidance_scale": 2.0, "seed": 3, "max_tokens": 8}
    expected = model.chat([question], negative_messages=negative, **said).text
    assert "".join(model.stream_chat([question], negative_messages=negative, **said)) == expected
    conversation = model.conversation(negative_system="no", **said)
    assert "".join(conversation.ask("a")) == expected
    prompts = [model.tokenizer.encode_chat(messages) for messages in ([question], negative)]
    ends = model.tokenizer.turn_end_ids(None)
    request = model.engine.submit(
        prompts[0], model.chat_params(**said), negative_prompt=prompts[1], continues_text=False, end_token_ids=ends
    )
    model.engine.run([request])
    assert collect(request, model.tokenizer).text == expected
    with pytest.raises(RequestError, match="negative_system has no effect"):
        conversation.params = model.chat_params()
    with pytest.raises(RequestError, match="negative_prompt has no effect"):
        model.chat([question], negative_messages=negative)


def test_other_models_have_none(tmp_path: Path) -> None:
    assert chat_defaults(tmp_path) == {}
