"""The sides of `train`: nextword, and others in the plain loop that their users write, on the same batches."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.train_cases import GPT2_HEADS, GPT2_LAYERS, GPT2_WIDTH, Case, GivenBatches, documents_of
from nextword.adapters.attach import attach
from nextword.checkpoints.open_directory import open_model_directory
from nextword.data.batch import IGNORED, Batch
from nextword.models.build import build_transformer
from nextword.training.callbacks import Callbacks, StepReport
from nextword.training.choose_precision import FAR_SLOWER, bfloat16_ratio
from nextword.training.machine import DTYPES
from nextword.training.processes import Processes
from nextword.training.recipe import ComputeRecipe, OptimizerRecipe, Precision, Recipe, ScheduleRecipe
from nextword.training.trainer import Trainer

LR = 1e-4
BETAS = 0.9, 0.95
WEIGHT_DECAY = 0.1
Loss = Callable[[Tensor, Tensor], Tensor]
"""Token ids and targets in, mean loss out."""
_OPTIONAL = {"LitGPT": "litgpt", "nanoGPT": "nanoGPT"}
"""Sides that take part where their package is found."""


@dataclass(frozen=True)
class Timings:
    """Seconds of each step."""

    seconds: list[float]
    losses: list[float]


def run_side(side: str, case: Case, folder: Path, batches: Sequence[Batch]) -> Timings:
    """Train on the batches, with the library and number type of the side's name."""
    library, _, precision = side.partition(" ")
    return _LIBRARIES[library](case, folder, batches, precision)


def measured_precisions() -> tuple[str, ...]:
    """Return the precisions to measure: in bfloat16 by far slower than float32, some steps would take many minutes."""
    return ("float32",) if bfloat16_ratio(Processes()) > FAR_SLOWER else tuple(reversed(DTYPES))


def sides_of(case: Case, precisions: Sequence[str]) -> tuple[str, ...]:
    """Return the sides at hand, ours first, and of ours the default before the others."""
    libraries = (
        ["nextword", "transformers"] if case.is_pretrained else ["nextword", "transformers", "LitGPT", "nanoGPT"]
    )
    present = [name for name in libraries if name not in _OPTIONAL or importlib.util.find_spec(_OPTIONAL[name])]
    return "nextword auto", *(f"{name} {precision}" for name in present for precision in precisions)


def _run_nextword(case: Case, folder: Path, batches: Sequence[Batch], precision: Precision) -> Timings:
    directory = open_model_directory(folder)
    recipe = Recipe(
        steps=len(batches),
        optimization=OptimizerRecipe(lr=LR, beta1=BETAS[0], beta2=BETAS[1], weight_decay=WEIGHT_DECAY),
        scheduling=ScheduleRecipe(schedule="constant", warmup=0.0),
        compute=ComputeRecipe(precision=precision),
    )
    reports: list[StepReport] = []
    with tempfile.TemporaryDirectory() as run_folder:
        model = build_transformer(directory.config, directory.tensors)
        if case.adapter is not None:
            attach(model, case.adapter)
        callbacks = Callbacks(on_step=reports.append)
        Trainer(model, GivenBatches(batches), recipe, folder=Path(run_folder), callbacks=callbacks).run()
    return Timings([report.seconds for report in reports], [report.loss for report in reports])


def _run_transformers(case: Case, folder: Path, batches: Sequence[Batch], precision: str) -> Timings:
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if case.has_answers:
        return _run_transformers_trainer(model, batches, precision)
    if case.adapter is not None:
        model = _with_lora(model, case)
    return _plain_loop(model, _loss_of(lambda token_ids: model(token_ids).logits), batches, precision)


def _with_lora(model: Any, case: Case) -> Any:
    import peft

    assert case.adapter is not None
    return peft.get_peft_model(
        model,
        peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=case.adapter.rank,
            lora_alpha=case.adapter.alpha,
            target_modules=list(case.adapter.targets),
        ),
    )


def _run_litgpt(case: Case, folder: Path, batches: Sequence[Batch], precision: str) -> Timings:
    from litgpt import GPT, Config

    config = Config(
        n_layer=GPT2_LAYERS,
        n_head=GPT2_HEADS,
        n_embd=GPT2_WIDTH,
        block_size=case.length,
        vocab_size=case.vocab_size,
        padded_vocab_size=case.vocab_size,
        parallel_residual=False,
    )
    torch.manual_seed(0)
    model = GPT(config)
    model.lm_head.weight = model.transformer.wte.weight  # GPT-2 has one table for both
    torch.nn.init.normal_(model.lm_head.weight, std=0.02)
    return _plain_loop(model, _loss_of(model), batches, precision)


def _run_nanogpt(case: Case, folder: Path, batches: Sequence[Batch], precision: str) -> Timings:
    from nanoGPT.model import GPT, GPTConfig

    torch.manual_seed(0)
    model = GPT(
        GPTConfig(
            n_layer=GPT2_LAYERS,
            n_head=GPT2_HEADS,
            n_embd=GPT2_WIDTH,
            block_size=case.length,
            vocab_size=case.vocab_size,
            dropout=0.0,
        )
    )
    return _plain_loop(model, lambda token_ids, targets: model(token_ids, targets)[1], batches, precision)


def _loss_of(logits_of: Callable[[Tensor], Tensor]) -> Loss:
    return lambda token_ids, targets: F.cross_entropy(logits_of(token_ids).float().flatten(0, 1), targets.flatten())


def _plain_loop(model: torch.nn.Module, loss_of: Loss, batches: Sequence[Batch], precision: str) -> Timings:
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)
    timings = Timings([], [])
    for batch in batches:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = loss_of(torch.from_numpy(batch.token_ids), torch.from_numpy(batch.targets))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        timings.seconds.append(time.perf_counter() - start)
        timings.losses.append(loss.item())
    return timings


def _run_transformers_trainer(model: Any, batches: Sequence[Batch], precision: str) -> Timings:
    """Train by transformers' Trainer on each batch's documents, padded to the longest."""
    import transformers

    groups = [documents_of(batch) for batch in batches]

    class Given(transformers.Trainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
            return torch.utils.data.DataLoader([_padded(group) for group in groups], batch_size=None)  # type: ignore[arg-type]

    timings, starts = Timings([], []), []

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            starts.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            timings.seconds.append(time.perf_counter() - starts[-1])

        def on_log(self, _: Any, __: Any, ___: Any, *, logs: dict[str, float], **____: Any) -> None:
            if "loss" in logs:
                timings.losses.append(logs["loss"])

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=precision == "bfloat16",
            max_steps=len(groups),
            learning_rate=LR,
            lr_scheduler_type="constant",
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            weight_decay=WEIGHT_DECAY,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Given(model, arguments, callbacks=[Clock()]).train()
    return timings


def _padded(documents: Sequence[tuple[Any, Any]]) -> dict[str, Tensor]:
    """Pad documents for transformers, whose labels are the tokens themselves."""
    longest = max(len(token_ids) for token_ids, _ in documents)
    columns = {"input_ids": 0, "labels": IGNORED, "attention_mask": 0}
    padded = {name: torch.full((len(documents), longest), value) for name, value in columns.items()}
    for row, (token_ids, targets) in enumerate(documents):
        padded["input_ids"][row, : len(token_ids)] = torch.from_numpy(token_ids)
        padded["labels"][row, 1 : len(targets)] = torch.from_numpy(targets[:-1])
        padded["attention_mask"][row, : len(token_ids)] = 1
    return padded


_LIBRARIES: dict[str, Callable[..., Timings]] = {
    "nextword": _run_nextword,
    "transformers": _run_transformers,
    "LitGPT": _run_litgpt,
    "nanoGPT": _run_nanogpt,
}
