"""How fast one training step is, beside transformers in a plain loop, on the same weights and the same batches.

    python -m benchmarks.train [--case smollm2] [--steps 5] [--out train.json]

Each side runs in a process of its own, one after the other and around again, so that what the machine does meanwhile
falls on all of them; the median step counts. Peak memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nextword.checkpoints.catalogue import CATALOGUE, model_path
from nextword.checkpoints.open_directory import open_model_directory
from nextword.checkpoints.save_directory import save_model_directory
from nextword.data.batch import Batch
from nextword.models.build import build_transformer
from nextword.training.machine import operations_per_token, peak_rate
from nextword.training.recipe import ComputeRecipe, OptimizerRecipe, Recipe, ScheduleRecipe
from nextword.training.trainer import Callbacks, StepReport, Trainer


@dataclass(frozen=True)
class Case:
    """A model and the shape of its batches."""

    vocab_size: int
    rows: int
    length: int


CASES = {
    "gpt2-50304": Case(50_304, 16, 256),
    "gpt2-65": Case(65, 16, 256),
    "smollm2": Case(49_152, 4, 512),
}
SIDES = ("nextword", "nextword bfloat16", "transformers bfloat16 autocast", "transformers float32")
LR = 1e-4
ROUNDS = 2


class RandomBatches:
    """Rows of random tokens, the same for every side."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._random = np.random.default_rng(0)

    def next_batch(self) -> Batch:
        case = self._case
        tokens = self._random.integers(0, case.vocab_size, (case.rows, case.length + 1))
        positions = np.broadcast_to(np.arange(case.length), (case.rows, case.length)).copy()
        return Batch(tokens[:, :-1].copy(), tokens[:, 1:].copy(), positions, np.zeros_like(positions))

    def state(self) -> dict[str, object]:
        return {}

    def resume(self, state: Any) -> None:
        raise NotImplementedError


def write_model(name: str, folder: Path) -> None:
    """The case's model as a Hugging Face folder: what both sides open."""
    if name == "smollm2":
        directory = open_model_directory(model_path(CATALOGUE["smollm2-135m"]))
        save_model_directory(folder, config=directory.config, tensors=directory.tensors, tokenizer=None)
        return
    import transformers

    config = transformers.GPT2Config(
        n_layer=6,
        n_head=6,
        n_embd=384,
        n_positions=CASES[name].length,
        vocab_size=CASES[name].vocab_size,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    )
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)


def run_nextword(side: str, case: Case, folder: Path, steps: int) -> tuple[list[float], list[float]]:
    """Seconds and loss of each step."""
    directory = open_model_directory(folder)
    recipe = Recipe(
        steps=steps,
        optimization=OptimizerRecipe(lr=LR),
        scheduling=ScheduleRecipe(schedule="constant", warmup=0.0),
        compute=ComputeRecipe(precision="bfloat16" if side.endswith("bfloat16") else "auto"),
    )
    reports: list[StepReport] = []
    with tempfile.TemporaryDirectory() as run_folder:
        model = build_transformer(directory.config, directory.tensors)
        callbacks = Callbacks(on_step=reports.append)
        Trainer(model, RandomBatches(case), recipe, folder=Path(run_folder), callbacks=callbacks).run()
    num_tokens = case.rows * case.length
    return [num_tokens / report.tokens_per_second for report in reports], [report.loss for report in reports]


def run_transformers(side: str, case: Case, folder: Path, steps: int) -> tuple[list[float], list[float]]:
    """The same by a plain loop."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.95), weight_decay=0.1)
    batches = RandomBatches(case)
    seconds, losses = [], []
    for _ in range(steps):
        batch = batches.next_batch()
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in side):
            logits = model(torch.from_numpy(batch.token_ids)).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), torch.from_numpy(batch.targets).flatten()
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        losses.append(float(loss))
    return seconds, losses


def run_side(name: str, side: str, folder: Path, steps: int) -> None:
    """Train and print what it took; the first step, which sets things up, is left out."""
    run: Callable[..., tuple[list[float], list[float]]]
    run = run_nextword if side.startswith("nextword") else run_transformers
    seconds, losses = run(side, CASES[name], folder, steps + 1)
    peak_megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds[1:], "losses": losses, "peak_megabytes": peak_megabytes}))


def measure(name: str, folder: Path, steps: int) -> dict[str, Any]:
    """All sides of a case."""
    results: dict[str, dict[str, Any]] = {side: {"seconds": [], "peak_megabytes": 0.0} for side in SIDES}
    for _ in range(ROUNDS):
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.train", "--case", name, "--steps", str(steps)]
            done = subprocess.run([*command, "--side", side, str(folder)], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            results[side]["seconds"] += found["seconds"]
            results[side]["peak_megabytes"] = max(results[side]["peak_megabytes"], found["peak_megabytes"])
            results[side]["last_loss"] = found["losses"][-1]
    return results


def print_table(name: str, results: dict[str, Any], config: Any) -> None:
    """Tokens a second, share of the peak, memory, and how much faster the first side is."""
    case = CASES[name]
    num_tokens = case.rows * case.length
    operations = num_tokens * operations_per_token(config, length=case.length)
    peaks = {dtype: peak_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    rates = ", ".join(f"{str(dtype).removeprefix('torch.')} {rate / 1e9:.0f}" for dtype, rate in peaks.items())
    print(f"\n{name}: {case.rows} x {case.length} tokens; products reach {rates} GFLOP/s")
    print(f"{'':32}{'tokens/s':>10}{'GFLOP/s':>9}{'MB':>8}{'last loss':>11}{'nextword is':>14}")
    ours = statistics.median(results[SIDES[0]]["seconds"])
    for side, result in results.items():
        seconds = statistics.median(result["seconds"])
        print(
            f"{side:32}{num_tokens / seconds:10,.0f}{operations / seconds / 1e9:9.0f}{result['peak_megabytes']:8,.0f}"
            f"{result['last_loss']:11.4f}{seconds / ours:12.2f} x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="one case; without it, all")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.case, options.side[0], Path(options.side[1]), options.steps)
        return
    everything = {}
    for name in [options.case] if options.case else CASES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / name
            write_model(name, folder)
            everything[name] = measure(name, folder, options.steps)
            print_table(name, everything[name], open_model_directory(folder).config)
    if options.out:
        options.out.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
