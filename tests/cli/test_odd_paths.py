"""Folders whose names are no UTF-8, as old file systems have them, are read and written like any other."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import run_program

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "corpus.txt").write_text("the cat sat on the mat. " * 200)
    (folder / "chats.jsonl").write_text(
        "".join(json.dumps({"prompt": "a", "completion": "b"}) + "\n" for _ in range(9))
    )
    return folder


@pytest.mark.slow
def test_a_model_is_trained_resumed_measured_and_exported_in_such_a_folder(odd: Path) -> None:
    shape = ("--hidden-size", "16", "--num-layers", "1", "--num-heads", "2", "--context", "32", "--vocab-size", "300")
    run, model = odd / "run", odd / "run" / "model"
    commands: list[tuple[str | Path, ...]] = [
        ("tokenizer", "train", odd / "corpus.txt", "--vocab-size", "300", "-o", odd / "tokenizer"),
        ("prepare", odd / "corpus.txt", "--tokenizer", odd / "tokenizer", "-o", odd / "tokens"),
        ("pretrain", odd / "tokens", "-o", run, *shape, "--steps", "2"),
        ("pretrain", odd / "tokens", "-o", run, *shape, "--steps", "2"),
        ("finetune", model, "--data", odd / "chats.jsonl", "-o", odd / "tuned", "--steps", "1", "--method", "lora"),
        ("generate", odd / "tuned" / "model", "the", "--max-tokens", "2"),
        ("perplexity", model, odd / "corpus.txt", "--html", odd / "page.html"),
        ("export", model, "--to", "hf", "-o", odd / "exported"),
    ]
    for arguments in commands:
        done = run_program(*arguments)
        assert done.code == 0, f"{arguments[0]}: {done.err}"
    missing = run_program("generate", odd / "nothing", "the")
    assert missing.code == 2
    assert missing.err.count("\n") == 1
