"""Adapters on the command line: merged for one command, or into a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from nextword.adapters.attach import attach, save  # noqa: E402
from nextword.adapters.spec import AdapterSpec  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from tests.adapters.test_adapters import add_noise  # noqa: E402
from tests.cli.conftest import Command  # noqa: E402


@pytest.fixture
def adapter(tiny: Path, tmp_path: Path) -> Path:
    directory = open_model_directory(tiny)
    model = build_transformer(directory.config, directory.tensors)
    add_noise(attach(model, AdapterSpec(rank=2)), 1)
    save(model, tmp_path / "adapter", base=str(tiny))
    return tmp_path / "adapter"


def continuation(command: Command, *arguments: str | Path) -> str:
    first, *rest = arguments
    outcome = command("generate", first, "abc", *rest, "--max-tokens", 8, "--temperature", 0, "--json")
    assert outcome.code == 0, outcome.err
    text: str = json.loads(outcome.out)["completions"][0]["text"]
    return text


def test_an_adapter_counts_as_an_option_as_a_model_and_merged(
    command: Command, tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    outcome = command("merge", tiny, adapter, "-o", tmp_path / "merged")
    assert outcome.code == 0, outcome.err
    texts = [
        continuation(command, tiny, "--adapter", adapter),
        continuation(command, tiny, "--adapter", adapter, "--backend", "torch"),
        continuation(command, adapter),
        continuation(command, tmp_path / "merged"),
    ]
    assert set(texts) == {texts[0]}
    assert texts[0] != continuation(command, tiny)


def test_what_is_no_adapter_is_refused_in_one_line(command: Command, tiny: Path, tmp_path: Path) -> None:
    outcome = command("merge", tiny, tiny, "-o", tmp_path / "merged")
    assert outcome.code == 2
    assert outcome.err == f"nextword: {tiny}: no adapter_config.json, so no adapter\n"
    assert not (tmp_path / "merged").exists()
