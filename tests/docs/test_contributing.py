"""The worked examples of CONTRIBUTING.md are whole: applied to a copy of the package, each does what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nextword
from tests.checkpoints.tiny_folder import tiny_weights, write_folder

ROOT = Path(__file__).parents[2]

START = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, "src")
import nextword as nw
"""
"""An editable installation finds the package before any path does."""


def examples() -> list[str]:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(r"^```diff\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


def run_with(change: str, script: str, folder: Path) -> str:
    """Apply a change to a copy of the package, and run a script with it."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    source = Path(nextword.__file__).parent
    shutil.copytree(source, folder / "src" / "nextword", ignore=shutil.ignore_patterns("__pycache__"))
    applied = subprocess.run([git, "apply", "-"], input=change, text=True, cwd=folder, capture_output=True, check=False)
    assert applied.returncode == 0, f"the code around an example of CONTRIBUTING.md has changed: {applied.stderr}"
    command = [sys.executable, "-c", START + script]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_sampler_keeps_what_it_says(tmp_path: Path) -> None:
    script = """
import numpy as np
distribution = nw.Distribution.from_logits(np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32)))
print(len(distribution.top_a(0.4)), len(distribution.top_a(0.59)), len(distribution.top_a(0.61)))
print(nw.SamplingParams(top_a=0.2).top_a)
try:
    nw.SamplingParams(top_a=2)
except nw.RequestError as error:
    print(error)
"""
    counts, value, refusal = run_with(examples()[0], script, tmp_path).splitlines()
    assert counts == "3 3 2"  # the bounds are 0.1, 0.1475 and 0.1525
    assert value == "0.2"
    assert "top_a" in refusal


def test_the_family_is_read(tmp_path: Path) -> None:
    script = """
from pathlib import Path
from nextword.checkpoints.open_directory import open_model_directory
model = open_model_directory(Path("model"))
print(model.config.family, model.tensors["layers.1.attention.q_proj.bias"].shape)
"""
    weights = tiny_weights()
    for layer in range(2):
        for name, size in {"q": 8, "k": 4, "v": 4}.items():
            weights[f"model.layers.{layer}.self_attn.{name}_proj.bias"] = np.zeros(size, np.float32)
    config = {"model_type": "acme", "architectures": ["AcmeForCausalLM"]}
    write_folder(tmp_path / "model", config=config, weights=weights)
    assert run_with(examples()[1], script, tmp_path) == "acme (8,)\n"


def test_the_verb_counts(tmp_path: Path, tiny: Path) -> None:
    script = f"""
print(nw.count_tokens({str(tiny)!r}, "text.txt").num_tokens)
from nextword.cli import run
sys.exit(run(["count", {str(tiny)!r}, "text.txt"]))
"""
    (tmp_path / "text.txt").write_text("four letters")
    assert run_with(examples()[2], script, tmp_path) == "12\n12 tokens of 12 characters\n"
