"""The scripts for clusters do what they say; Slurm's own programs are played by two lines of shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nextword.training.metrics import read_metrics

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_slurm_script_starts_one_torchrun_on_each_node(tmp_path: Path) -> None:
    run = pytest.importorskip("torch.distributed.run")
    for name, does in (("scontrol", "echo node7; echo node8"), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2"}
    given = {**os.environ, **slurm, "SLURM_CPUS_PER_TASK": "16", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = ["bash", str(EXAMPLES / "slurm.sbatch"), "recipe.yaml", "-o", "a run"]
    done = subprocess.run(script, env=given, capture_output=True, text=True, check=True)
    program, *arguments = done.stdout.splitlines()
    assert program == "torchrun"
    parsed = run.parse_args(arguments)
    assert (parsed.nnodes, parsed.nproc_per_node, parsed.rdzv_endpoint) == ("2", "2", "node7:29400")
    assert [parsed.training_script, *parsed.training_script_args] == [
        "nextword",
        "pretrain",
        "recipe.yaml",
        "-o",
        "a run",
    ]


@pytest.mark.slow
def test_ray_trains_with_two_workers(tmp_path: Path) -> None:
    """Where the extra `scale` is installed."""
    pytest.importorskip("ray", reason="pip install 'nextword[scale]'")
    (tmp_path / "recipe.yaml").write_text((EXAMPLES / "small.yaml").read_text().replace("examples/", f"{EXAMPLES}/"))
    command = ["pretrain", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "run"), "--steps", "3"]
    given = {**os.environ, "HOME": str(tmp_path), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    program = [sys.executable, str(EXAMPLES / "ray_train.py"), "2", *command]
    done = subprocess.run(program, env=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([entry for entry in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in entry]) == 3
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert len(list(checkpoint.glob("*.safetensors"))) == 2  # a file of each
