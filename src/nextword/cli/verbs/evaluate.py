"""`nextword evaluate`: tasks of lm-eval in, their figures out."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from typing import Annotated

import tyro

from nextword.cli.arguments import DEFAULT_COMPUTE, ComputeArguments, HtmlArgument, ModelArgument, load_options
from nextword.cli.console import ProgressLine, note
from nextword.cli.json_output import print_result


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure a model on tasks of lm-eval (EleutherAI's Language Model Evaluation Harness)."""

    model: ModelArgument
    tasks: Annotated[str, tyro.conf.arg(metavar="TASK,TASK")]
    """Names of tasks or groups, or .yaml files of tasks, with commas between them."""
    include_path: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DIR"), tyro.conf.UseAppendAction] = ()
    """A folder with further tasks, which can then be named."""
    num_fewshot: int | None = None
    """Examples to show before each question; None: as the task says."""
    limit: int | None = None
    """Maximum number of examples of each task."""
    chat: bool = False
    """Ask in the model's chat template."""
    json: bool = False
    """Print one JSON object: every metric with its standard error."""
    html: HtmlArgument = None
    compute: ComputeArguments = DEFAULT_COMPUTE


def run(options: Options) -> None:
    """Print a line for each metric of each task."""
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's own bars; read when it is imported
    from nextword.workflows.evaluate import evaluate

    start = time.perf_counter()
    with ProgressLine() as line:
        report = evaluate(
            options.model,
            options.tasks,
            include_path=options.include_path,
            num_fewshot=options.num_fewshot,
            limit=options.limit,
            chat=options.chat,
            html=options.html,
            on_progress=line.update,
            **load_options(options.compute),
        )
    print_result(report, as_json=options.json, page=options.html)
    note(f"{options.model}: {time.perf_counter() - start:.1f} s")
