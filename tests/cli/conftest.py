"""A tiny random model that speaks bytes, and the command run in this process or as a program of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from nextword.cli import run
from tests.checkpoints.tiny_folder import tiny_weights, write_folder

NEXTWORD = [sys.executable, "-c", "from nextword.cli import main; main()"]
"""The installed command, without its search on the PATH."""

TEMPLATE = "{% for message in messages %}{{ message['role'][0] }}:{{ message['content'] }};{% endfor %}a:"
VOCAB_SIZE = 257


@dataclass(frozen=True)
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers over bytes, with a chat template, and temperature 0.2 in its generation_config.json."""
    weights = tiny_weights()
    weights["model.embed_tokens.weight"] = np.random.default_rng(6).standard_normal((VOCAB_SIZE, 8)).astype(np.float32)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_folder(folder, config={"vocab_size": VOCAB_SIZE, "max_position_embeddings": 50_000}, weights=weights)
    (folder / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.2}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    return folder


def byte_tokenizer() -> tokenizers.Tokenizer:
    """A token for each byte, and one control token that ends nothing."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({token: token_id for token_id, token in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|pad|>"])
    return backend


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command line in this process."""

    def run_here(*arguments: str | Path, given: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode()), "utf-8"))
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run_here


def run_program(*arguments: str | Path, given: bytes = b"") -> Outcome:
    """Run a command line as a program of its own."""
    done = subprocess.run([*NEXTWORD, *map(str, arguments)], input=given, capture_output=True, timeout=60)
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
