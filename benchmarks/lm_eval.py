"""How fast are tasks of lm-eval? Our model class beside lm-eval's own `hf`, and whether both find the same.

    python -m benchmarks.lm_eval [TASK.yaml ...] [--limit N] [--repeats 3] [--threads N] [--json FILE]

TASK is a file or a name; without any, those of examples/tasks. Each side is loaded once and answers all requests of a
task in turn with the others. Timed are its answers alone, not what lm-eval does before and after. `hf` runs in bfloat16
and in float32, each with batches of 1 and of 16; ours computes with the same bfloat16 weights, with these as floats of
32 bits, and with the 4-bit file that they come from.
"""

from __future__ import annotations

import json as json_format
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TQDM_DISABLE", "1")  # read when lm-eval is imported

import torch
import tyro
from lm_eval.models.huggingface import HFLM

from benchmarks.inference import machine
from benchmarks.model_files import model_files
from nextword.checkpoints.catalogue import resolve
from nextword.evaluation.lm_eval_model import EngineLM
from nextword.evaluation.lm_eval_run import TaskMetric, run_tasks
from nextword.inference.native_backend import num_cores
from nextword.loading import load

TASKS = Path(__file__).parents[1] / "examples" / "tasks"
ANSWERS = ("loglikelihood", "loglikelihood_rolling", "generate_until")
OURS = "nextword"


class Side:
    """Model of lm-eval whose answers are timed."""

    def __init__(self, lm: Any) -> None:
        self._lm = lm
        self._seconds = 0.0
        for name in ANSWERS:
            setattr(lm, name, self._timed(getattr(lm, name)))

    def run(self, task: str, limit: int | None) -> tuple[float, list[TaskMetric]]:
        """Return the seconds of a side's answers, and its metrics."""
        self._seconds = 0.0
        metrics = run_tasks(self._lm, [task], limit=limit)
        return self._seconds, metrics

    def _timed(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: object, **options: object) -> object:
            start = time.perf_counter()
            answers = answer(*arguments, **options)
            self._seconds += time.perf_counter() - start
            return answers

        return timed


def main(
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    model: str = "smollm2-135m",
    limit: int | None = None,
    repeats: int = 3,
    threads: int = num_cores(),
    json: Path | None = None,
) -> None:
    """Time tasks, with our model class and theirs.

    Args:
        tasks: files or names; those of examples/tasks where none is named.
        model: a catalogue name or a GGUF file, in Q4_1.
        limit: examples of each task.
        repeats: medians are taken over so many, after one that is not measured.
        threads: of every side.
        json: also write the figures here.
    """
    tasks = tasks or tuple(str(path) for path in sorted(TASKS.glob("*.yaml")))
    sides = open_sides(model_files(resolve(model)), threads)
    seconds: dict[str, dict[str, float]] = {name: {} for name in sides}
    metrics: dict[str, dict[str, float]] = {name: {} for name in sides}
    for task in tasks:
        runs: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(repeats + 1):
            for name, side in sides.items():
                elapsed, found = side.run(task, limit)
                runs[name] += [elapsed] if number else []
                metrics[name] |= {f"{metric.task} {metric.metric}": metric.value for metric in found}
        for name, of_side in runs.items():
            seconds[name][Path(task).stem] = statistics.median(of_side)
        print(f"{task} done", file=sys.stderr)
    print_table("seconds", seconds, "{:.3f}")
    print()
    print_table("found", metrics, "{:.4f}")
    if json is not None:
        figures = {"machine": machine(), "seconds": seconds, "metrics": metrics}
        json.write_text(json_format.dumps(figures, indent=2) + "\n")


def open_sides(files: dict[str, Path], threads: int) -> dict[str, Side]:
    """Open every side, by the name of its line."""
    torch.set_num_threads(threads)
    weights = {"Q4_1": (files["Q4_1"], "auto"), "bf16": (files["bf16"], "auto"), "float32": (files["bf16"], "f32")}
    sides = {
        f"{OURS} {name}": Side(EngineLM(load(path, weights=kind, num_threads=threads).engine, name=name))  # type: ignore[arg-type]
        for name, (path, kind) in weights.items()
    }
    for dtype in ("bfloat16", "float32"):
        for batch_size in (1, 16):
            theirs = HFLM(pretrained=str(files["bf16"]), device="cpu", dtype=dtype, batch_size=batch_size)
            sides[f"hf {dtype}, batch {batch_size}"] = Side(theirs)
    return sides


def print_table(title: str, figures: dict[str, dict[str, float]], form: str) -> None:
    """Print a line for each side, with a column for each task or metric."""
    columns = list(next(iter(figures.values())))
    widths = [max(len(column), 9) + 2 for column in columns]
    print(f"{title:24}" + "".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True)))
    for name, of_side in figures.items():
        cells = (form.format(of_side[column]) for column in columns)
        print(f"{name:24}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))


if __name__ == "__main__":
    tyro.cli(main)
