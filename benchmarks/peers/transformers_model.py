"""transformers, its forward pass called directly, which costs less than generate()."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from benchmarks.peers.side import Prompts, Scored, Scoring, Stepwise


class TransformersModel(Stepwise, Scoring):
    """A model with the cache that generate() would choose."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def prepare(self, num_sequences: int, num_positions: int) -> None:
        """Begin with an empty cache, which grows."""
        self._cache = DynamicCache(config=self._model.config)

    def prefill(self, prompts: Prompts) -> list[int]:
        """Prefill all prompts in one batch."""
        return self._forward(torch.tensor(prompts))

    def step(self, token_ids: Sequence[int]) -> list[int]:
        """Run all sequences in one batch."""
        return self._forward(torch.tensor(token_ids)[:, None])

    def score(self, token_ids: Sequence[int]) -> Scored:
        """Score a window by its loss, as the documentation of transformers computes perplexity."""
        start = time.perf_counter()
        window = torch.tensor([token_ids])
        with torch.inference_mode():
            loss = float(self._model(window, labels=window, use_cache=False).loss)
        return Scored(time.perf_counter() - start, loss * (len(token_ids) - 1))

    def _forward(self, token_ids: torch.Tensor) -> list[int]:
        with torch.inference_mode():
            output = self._model(token_ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            found: list[int] = output.logits[:, -1].argmax(dim=-1).tolist()
        return found


def load(path: str, threads: int, dtype: str = "bfloat16") -> TransformersModel:
    """A Hugging Face folder, computed in `dtype`; its tokenizer is loaded, too, as the other libraries do."""
    torch.set_num_threads(threads)
    AutoTokenizer.from_pretrained(path)
    return TransformersModel(AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).eval())
