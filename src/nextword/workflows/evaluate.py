"""`evaluate`: measure a model on tasks of lm-eval (EleutherAI's Language Model Evaluation Harness)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from nextword.checks import checked_arguments
from nextword.errors import RequestError
from nextword.extras import needs_extra
from nextword.html.page import table, write_page
from nextword.html.plots import plot, require_page
from nextword.plain_text import text_table
from nextword.workflows.loading import LoadOptions
from nextword.workflows.opening import ModelSource, name_of, open_model
from nextword.workflows.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    from nextword.evaluation.lm_eval_run import TaskMetric

_COLUMNS = ("task", "examples", "few-shot", "metric", "value", "stderr")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskReport:
    """Metrics of a model on tasks; `print` shows a table."""

    model: str
    """Name or path of the model."""
    metrics: tuple[TaskMetric, ...]
    """Every metric of every task, with its standard error."""

    def __repr__(self) -> str:
        tasks = dict.fromkeys(metric.task for metric in self.metrics)
        return f"TaskReport({self.model!r}, {', '.join(tasks)})"

    def __str__(self) -> str:
        return text_table(_COLUMNS, self._rows(), left=range(len(_COLUMNS)))

    def _repr_html_(self) -> str:
        from nextword.html.notebook import table_block

        return table_block(_COLUMNS, self._rows(), left=range(len(_COLUMNS)))

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return {"model": self.model, "metrics": [dataclasses.asdict(metric) for metric in self.metrics]}

    def write_page(self, path: Path | str) -> None:
        """Write a page with the table and a plot. Raises DataError, MissingExtraError without matplotlib."""
        shares = [metric for metric in self.metrics if metric.is_higher_better and 0 <= metric.value <= 1]
        names = [f"{metric.task}: {metric.metric}" for metric in shares]
        figure = plot(
            lambda axes: axes.barh(
                names, [metric.value for metric in shares], xerr=[1.96 * (metric.error or 0.0) for metric in shares]
            ),
            caption="Metrics from 0 to 1, higher is better, with 95 % intervals.",
            height=1.0 + 0.4 * len(shares),
        )
        parts = [table(_COLUMNS, self._rows()), *([figure] if shares else [])]
        write_page(path, f"{self.model} on tasks of lm-eval", parts)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                metric.task,
                "" if metric.num_examples is None else str(metric.num_examples),
                str(metric.num_fewshot),
                metric.metric if metric.filter == "none" else f"{metric.metric} ({metric.filter})",
                f"{metric.value:.4f}",
                "" if metric.error is None else f"{metric.error:.4f}",
            )
            for metric in self.metrics
        ]


@checked_arguments
def evaluate(
    model: ModelSource,
    tasks: str | Sequence[str],
    *,
    include_path: Sequence[str] = (),
    num_fewshot: int | None = None,
    limit: int | None = None,
    chat: bool = False,
    html: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
    **loading: Unpack[LoadOptions],
) -> TaskReport:
    """Run tasks of lm-eval on a model.

    `model`: name, path or loaded model; further keywords are those of `load`. `tasks`: names of tasks or groups, or
    .yaml files of tasks; in a string, with commas between them. `include_path`: folders with further tasks, which can
    then be named. `num_fewshot`: examples to show before each question; None: as the task says. `limit`: most examples
    of each task. `chat`: ask in the model's chat template. `html`: file for a page with a plot. lm-eval draws its own
    bars. Raises RequestError for a task that cannot be run, MissingExtraError without lm-eval, and as `load`.
    """
    with needs_extra("eval"):
        from nextword.evaluation.lm_eval_model import EngineLM
        from nextword.evaluation.lm_eval_run import run_tasks
    require_page(html)
    names = [task.strip() for task in (tasks.split(",") if isinstance(tasks, str) else tasks) if task.strip()]
    if not names:
        raise RequestError(f"tasks = {tasks!r}: name at least one task")
    engine = open_model(model, on_progress, **loading).engine
    metrics = run_tasks(
        EngineLM(engine, name=name_of(model)),
        names,
        include_path=include_path,
        num_fewshot=num_fewshot,
        limit=limit,
        use_chat_template=chat,
    )
    report = TaskReport(model=name_of(model), metrics=tuple(metrics))
    if html is not None:
        report.write_page(html)
    return report
