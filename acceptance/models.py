"""A model for the suites: a tiny Llama with random weights and SmolLM2's tokenizer, as a GGUF file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from benchmarks.random_models import Shape, write_random

from acceptance.sources import FOLDER


def tiny_model(context: int = 512, chat_template: str | None = None) -> Path:
    """Return the path of the model with a context of that many tokens; write it unless it is there.

    Its texts are noise, so they hardly ever end by themselves, and hold every kind of broken character.
    """
    mark = hashlib.sha256((chat_template or "").encode()).hexdigest()[:8]
    path = FOLDER / "models" / f"tiny-{context}-{mark}.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = Shape(num_layers=2, hidden=64, wide=128, num_heads=2, num_kv_heads=1, head_dim=32, context=context)
        partial = path.with_suffix(f".{os.getpid()}")
        write_random(partial, shape, "tiny", chat_template)
        partial.rename(path)
    return path
