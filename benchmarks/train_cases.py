"""Cases of `train`: models, data, and the batches that all sides are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nextword.adapters.spec import AdapterSpec
from nextword.checkpoints.catalogue import CATALOGUE, model_path
from nextword.checkpoints.open_directory import open_model_directory, open_tokenizer
from nextword.checkpoints.save_directory import save_model_directory
from nextword.data.batch import PADDING_DOCUMENT, Batch
from nextword.data.chats import read_chats
from nextword.data.supervised import ExamplesReport, SupervisedSource, encode_chats

GPT2_LAYERS, GPT2_HEADS, GPT2_WIDTH = 6, 6, 384
LORA = AdapterSpec(method="lora", rank=8, alpha=16, targets=("q_proj", "v_proj"))


@dataclass(frozen=True, kw_only=True)
class Case:
    """Model and shape of its batches."""

    title: str
    vocab_size: int
    rows: int
    length: int
    is_pretrained: bool = False
    """True for SmolLM2; False for GPT-2's architecture from random weights."""
    adapter: AdapterSpec | None = None
    """Adapter that is trained; None: all weights."""
    has_answers: bool = False
    """True for instructions with loss on the answers, in their real lengths; False for random tokens, all with loss."""
    wanted: float
    """Target of our speed over that of the fastest peer."""


_SMOLLM2: dict[str, Any] = {"vocab_size": 49_152, "rows": 4, "length": 512, "is_pretrained": True}
CASES = {
    "gpt2-50304": Case(
        title="GPT-2's architecture, 6 layers of 384, vocabulary 50,304",
        vocab_size=50_304,
        rows=16,
        length=256,
        wanted=1.7,
    ),
    "gpt2-65": Case(title="the same, vocabulary 65", vocab_size=65, rows=16, length=256, wanted=1.7),
    "smollm2": Case(title="SmolLM2-135M, all weights", wanted=1.5, **_SMOLLM2),
    "smollm2-lora": Case(title="SmolLM2-135M, LoRA of rank 8 on q and v", adapter=LORA, wanted=1.5, **_SMOLLM2),
    "instructions": Case(title="SmolLM2-135M, all weights, instructions", has_answers=True, wanted=3, **_SMOLLM2),
}


def write_model(case: Case, folder: Path) -> None:
    """The case's model as a Hugging Face folder: what all sides open, but LitGPT."""
    if case.is_pretrained:
        directory = open_model_directory(model_path(CATALOGUE["smollm2-135m"]))
        save_model_directory(folder, config=directory.config, tensors=directory.tensors, tokenizer=None)
        return
    import transformers

    config = transformers.GPT2Config(
        n_layer=GPT2_LAYERS,
        n_head=GPT2_HEADS,
        n_embd=GPT2_WIDTH,
        n_positions=case.length,
        vocab_size=case.vocab_size,
        bos_token_id=None,
        eos_token_id=None,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    )
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)


def draw_batches(case: Case, number: int, instructions: Path | None) -> list[Batch]:
    """Draw the first batches, the same for every side."""
    if case.has_answers:
        assert instructions is not None
        return _instruction_batches(case, number, instructions)
    random = np.random.default_rng(0)
    positions = np.broadcast_to(np.arange(case.length), (case.rows, case.length)).copy()
    batches = []
    for _ in range(number):
        tokens = random.integers(0, case.vocab_size, (case.rows, case.length + 1))
        batches.append(Batch(tokens[:, :-1].copy(), tokens[:, 1:].copy(), positions, np.zeros_like(positions)))
    return batches


def _instruction_batches(case: Case, number: int, file: Path) -> list[Batch]:
    tokenizer = open_tokenizer(model_path(CATALOGUE["smollm2-135m"]))
    examples = list(encode_chats(read_chats([file]), tokenizer, seq_len=case.length, report=ExamplesReport()))
    source = SupervisedSource(examples, batch_size=case.rows, seq_len=case.length, seed=0)
    return [source.next_batch() for _ in range(number)]


def documents_of(batch: Batch) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Token ids and targets of each document that is packed in a batch."""
    rows = zip(batch.token_ids, batch.targets, batch.document_ids, strict=True)
    return [
        (token_ids[ids == document], targets[ids == document])
        for token_ids, targets, ids in rows
        for document in range(ids.max() + 1)
    ]


def num_tokens(batch: Batch) -> int:
    """Count the tokens of a batch, without padding."""
    return int(np.count_nonzero(batch.document_ids != PADDING_DOCUMENT))


class GivenBatches:
    """Source of given batches."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches, self._next = batches, 0

    def next_batch(self) -> Batch:
        self._next += 1
        return self._batches[self._next - 1]

    def state(self) -> dict[str, object]:
        return {"next": self._next}

    def resume(self, state: Mapping[str, Any]) -> None:
        self._next = state["next"]
