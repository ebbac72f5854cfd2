"""`torchrun -m nextword pretrain recipe.yaml`: one program that two processes run, stopped, and gone on with by one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nextword.training.metrics import read_metrics
from tests.cli.conftest import Command

RECIPE = """
files: [cats.txt]
model: {hidden_size: 16, num_layers: 1, num_heads: 2}
data: {context: 16, batch_size: 4, vocab_size: 300}
precision: float32
threads: 1
steps: 200
validate_every: 0
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cats.txt").write_text("the cat sat on the mat and the dog sat on the cat\n" * 40)
    Path("recipe.yaml").write_text(RECIPE)


def losses(folder: str) -> list[float]:
    entries = read_metrics(Path(folder) / "metrics.jsonl")
    return [float(str(entry["loss"])) for entry in entries if "loss" in entry]


@pytest.mark.slow
def test_ctrl_c_reaches_torchrun_and_all_processes_and_one_process_goes_on(command: Command) -> None:
    program = [*TORCHRUN, "-m", "nextword", "pretrain", "recipe.yaml", "-o", "two"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0) as running:
        wait_for_steps(10, running)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does; torchrun passes it on
        out, err = (stream.decode() for stream in running.communicate(timeout=60))
    num_steps = len(losses("two"))
    assert 10 <= num_steps < 200, err
    assert [path.name for path in Path("two/checkpoints").iterdir()] == [f"step-{num_steps:08d}"]
    assert err.count(" held out; ") == 1  # the first process speaks for both
    assert out == ""
    done = command("pretrain", "recipe.yaml", "-o", "two")
    assert f"[resuming after step {num_steps}]" in done.err
    assert command("pretrain", "recipe.yaml", "-o", "one").code == 0
    assert losses("two") == pytest.approx(losses("one"), rel=1e-4)


def wait_for_steps(count: int, running: subprocess.Popen[bytes]) -> None:
    while running.poll() is None and len(losses("two")) < count:
        time.sleep(0.01)


def test_processes_that_cannot_meet_are_told_how(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    done = command("pretrain", "recipe.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "WORLD_SIZE says 2 processes, which cannot meet (" in done.err


def test_the_program_is_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "nextword", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("nextword ")
