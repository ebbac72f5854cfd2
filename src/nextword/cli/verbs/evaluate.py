"""`nextword evaluate`: tasks of lm-eval in, their figures out."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, ComputeArguments, ModelArgument, load_model
from nextword.cli.console import note, text_table
from nextword.errors import RequestError
from nextword.extras import needs_extra
from nextword.html.plots import require_page

if TYPE_CHECKING:
    from nextword.evaluation.lm_eval_run import TaskMetric


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure a model on tasks of lm-eval (EleutherAI's Language Model Evaluation Harness)."""

    model: ModelArgument
    tasks: Annotated[str, tyro.conf.arg(metavar="TASK,TASK")]
    """Names of tasks or groups, or .yaml files of tasks, with commas between them."""
    include_path: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR"), tyro.conf.UseAppendAction] = ()
    """A folder with tasks of one's own, which can then be named."""
    num_fewshot: int | None = None
    """Examples to show before each question; None: what the task says."""
    limit: int | None = None
    """Use so many examples of each task."""
    chat: bool = False
    """Ask in the model's chat template."""
    json: bool = False
    """Print one JSON object: every metric with its standard error."""
    html: Annotated[str | None, tyro.conf.arg(metavar="PAGE")] = None
    """Also write a page with a plot of the figures."""
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a line for each metric of each task."""
    from nextword.cli.json_output import print_json

    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's own bars; read when it is imported
    with needs_extra("eval"):
        from nextword.evaluation.lm_eval_model import EngineLM
        from nextword.evaluation.lm_eval_run import run_tasks
    require_page(options.html)
    tasks = [task.strip() for task in options.tasks.split(",") if task.strip()]
    if not tasks:
        raise RequestError("--tasks names no task")
    model = load_model(options.model, options.compute)
    start = time.perf_counter()
    metrics = run_tasks(
        EngineLM(model.engine, name=options.model),
        tasks,
        include_path=options.include_path,
        num_fewshot=options.num_fewshot,
        limit=options.limit,
        use_chat_template=options.chat,
    )
    if options.html is not None:
        _write_page(options.html, options.model, metrics)
    if options.json:
        print_json({"model": options.model, "metrics": [dataclasses.asdict(metric) for metric in metrics]})
    else:
        print(text_table(_COLUMNS, _rows(metrics), left=range(len(_COLUMNS))))
    note(f"{options.model}: {time.perf_counter() - start:.1f} s")


_COLUMNS = ("task", "examples", "few-shot", "metric", "value", "stderr")


def _rows(metrics: Sequence[TaskMetric]) -> list[tuple[str, ...]]:
    return [
        (
            metric.task,
            "" if metric.num_examples is None else str(metric.num_examples),
            str(metric.num_fewshot),
            metric.metric if metric.filter == "none" else f"{metric.metric} ({metric.filter})",
            f"{metric.value:.4f}",
            "" if metric.error is None else f"{metric.error:.4f}",
        )
        for metric in metrics
    ]


def _write_page(path: str, model: str, metrics: Sequence[TaskMetric]) -> None:
    from nextword.html.page import table, write_page
    from nextword.html.plots import plot

    shares = [metric for metric in metrics if metric.is_higher_better and 0 <= metric.value <= 1]
    names = [f"{metric.task}: {metric.metric}" for metric in shares]
    figure = plot(
        lambda axes: axes.barh(
            names, [metric.value for metric in shares], xerr=[1.96 * (metric.error or 0.0) for metric in shares]
        ),
        caption="Metrics from 0 to 1, higher is better, with 95 % intervals.",
        height=1.0 + 0.4 * len(shares),
    )
    write_page(path, f"{model} on tasks of lm-eval", [table(_COLUMNS, _rows(metrics)), *([figure] if shares else [])])
    note(f"wrote {path}")
