"""`run_tasks`: tasks of lm-eval by name or file in, their metrics out as values. Needs lm-eval."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextword.errors import NextwordError, RequestError

if TYPE_CHECKING:
    from nextword.evaluation.lm_eval_model import EngineLM

_TASK_FILE = ".yaml"


@dataclass(frozen=True)
class TaskMetric:
    """Value of one metric of a task."""

    task: str
    """Name of the task."""
    metric: str
    """Name of the metric, such as acc."""
    filter: str
    """Name of the filter that lm-eval applied to the answers; "none" without one."""
    num_fewshot: int
    """Examples shown before each question."""
    num_examples: int | None
    """Number of examples; None for a group of tasks."""
    value: float
    """Value of the metric."""
    error: float | None
    """Standard error of the value, if lm-eval gives one."""
    is_higher_better: bool | None
    """True if a higher value is better; None if lm-eval does not say."""


def run_tasks(
    lm: EngineLM,
    tasks: Sequence[str],
    *,
    include_path: Sequence[str] = (),
    num_fewshot: int | None = None,
    limit: int | None = None,
    use_chat_template: bool = False,
) -> list[TaskMetric]:
    """Run tasks, named or as .yaml files. `include_path`: folders with tasks of one's own.

    `num_fewshot`: None for each task's own number. `limit`: most examples of each task. Raises RequestError for a task
    that is unknown, cannot be read, or whose data cannot be fetched.
    """
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    files = _task_files(tasks)
    try:
        # The index of lm-eval's own tasks takes seconds to read.
        manager = TaskManager(include_path=list(include_path), include_defaults=len(files) < len(tasks))
        missing = [task for task in tasks if task not in files and not manager.match_tasks([task])]
        if missing:
            raise RequestError(f"no task is called {missing[0]!r}: lm_eval ls tasks lists those of lm-eval")
        results = simple_evaluate(
            lm,
            tasks=list(tasks),
            task_manager=manager,
            num_fewshot=num_fewshot,
            limit=limit,
            apply_chat_template=use_chat_template,
            log_samples=False,
            bootstrap_iters=1000,
        )
    except NextwordError:
        raise
    except Exception as error:  # lm-eval and datasets pass on any exception of their dependencies
        raise RequestError(f"tasks {', '.join(tasks)}: {type(error).__name__}: {error}") from error
    return list(_metrics(results)) if results else []


def _task_files(tasks: Sequence[str]) -> list[str]:
    """Return the tasks that are files. Raises RequestError for one that does not exist."""
    files = [task for task in tasks if task.endswith(_TASK_FILE)]
    for file in files:
        if not Path(file).is_file():
            raise RequestError(f"{file}: no such task file")
    return files


def _metrics(results: Mapping[str, Any]) -> list[TaskMetric]:
    return [
        _metric(results, task, key, value)
        for task, values in results["results"].items()
        for key, value in values.items()
        if "," in key and "_stderr," not in key and isinstance(value, (int, float))
    ]


def _metric(results: Mapping[str, Any], task: str, key: str, value: float) -> TaskMetric:
    metric, _, filter_name = key.partition(",")
    error = results["results"][task].get(f"{metric}_stderr,{filter_name}")
    samples = results.get("n-samples", {}).get(task)
    return TaskMetric(
        task=task,
        metric=metric,
        filter=filter_name,
        num_fewshot=int(results.get("n-shot", {}).get(task) or 0),
        num_examples=None if samples is None else int(samples["effective"]),
        value=float(value),
        error=error if isinstance(error, float) else None,
        is_higher_better=results.get("higher_is_better", {}).get(task, {}).get(metric),
    )
