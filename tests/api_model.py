"""A tiny model of bytes with random weights, for tests of the public API."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nextword as nw
from tests.checkpoints.tiny_folder import TINY_LLAMA, tiny_weights, write_folder
from tests.data.byte_tokenizer import byte_tokenizer


def load_bytes_model(folder: Path, *, seed: int = 7) -> nw.LanguageModel:
    """Write the model to a folder and load it with the C++ core; skip the test where that was not built."""
    pytest.importorskip("nextword._native")
    embedding = np.random.default_rng(seed).standard_normal((257, TINY_LLAMA["hidden_size"])).astype(np.float32)
    weights = {**tiny_weights(), "model.embed_tokens.weight": embedding}
    config = {"vocab_size": 257, "max_position_embeddings": 64, "eos_token_id": 256}
    write_folder(folder, config=config, weights=weights)
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{% endfor %}"
    tokenizer.save(folder)
    return nw.load(folder)
