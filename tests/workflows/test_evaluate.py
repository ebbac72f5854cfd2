"""`evaluate` on a task of a local file: from Python and by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nextword as nw
from tests.cli.conftest import Command

pytest.importorskip("lm_eval")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A choice between two words."""
    lines = [{"text": text, "answer": number % 2} for number, text in enumerate(["a", "river", "ran", "by"])]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "choice.yaml").write_text(
        "task: choice\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {tmp_path / 'data.jsonl'}}}\n"
        "test_split: train\noutput_type: multiple_choice\ndoc_to_text: '{{text}} ='\n"
        "doc_to_choice: [yes indeed, 'no']\ndoc_to_target: answer\nmetric_list: [{metric: acc}]\n"
    )
    return tmp_path / "choice.yaml"


def test_python_and_the_command_come_to_the_same_metrics(command: Command, tiny: Path, task: Path) -> None:
    report = nw.evaluate(tiny, [str(task)], limit=2)
    (metric,) = report.metrics
    assert (metric.task, metric.metric, metric.num_examples) == ("choice", "acc", 2)
    assert str(report).splitlines()[1].split()[:4] == ["choice", "2", "0", "acc"]
    done = command("evaluate", tiny, "--tasks", task, "--limit", "2", "--json")
    assert json.loads(done.out) == report.to_json()


def test_no_task_is_refused(tiny: Path) -> None:
    with pytest.raises(nw.RequestError, match="name at least one task"):
        nw.evaluate(tiny, " , ")
