"""The notebooks are kept without output, use the public API alone, and run from top to bottom."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
PUBLIC_MODULES = {"json", "math", "pathlib", "tempfile", "time", "matplotlib.pyplot", "numpy", "nextword"}
SECONDS = 120

RUN = """
import sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbformat.validate(notebook)
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=sys.argv[2])
nbformat.write(notebook, sys.argv[1])
"""
"""In a process of its own, since the libraries of notebooks warn of what is none of ours."""


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in read(path)["cells"] if cell["cell_type"] == "code"]


def sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in code_cells(path)]


def named(path: Path) -> str:
    return path.stem


def test_each_chapter_of_the_textbook_has_its_notebook() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_is_kept_without_output(path: Path) -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_every_cell_has_an_id_of_its_own(path: Path) -> None:
    ids = [cell["id"] for cell in read(path)["cells"]]
    assert len(set(ids)) == len(ids)
    assert (read(path)["nbformat"], read(path)["nbformat_minor"]) == (4, 5)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_imports_public_modules_alone(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse("\n".join(sources(path)))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert imported <= PUBLIC_MODULES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_ends_with_exercises_and_their_solutions(path: Path) -> None:
    headings = [line for cell in read(path)["cells"] for line in cell["source"] if line.startswith("## ")]
    assert [heading.strip() for heading in headings[-2:]] == ["## Exercises", "## Solutions"]


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    if any(importlib.util.find_spec(name) is None for name in ("nbclient", "nbformat", "ipykernel", "matplotlib")):
        pytest.skip("notebooks are run with nbclient: pip install 'nextword[dev]'")
    run = Path(shutil.copy(path, tmp_path))
    program = [sys.executable, "-c", RUN, str(run), str(path.parent)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=5 * SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [output for cell in code_cells(run) for output in cell["outputs"]]
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert any("image/png" in output.get("data", {}) for output in outputs), "a notebook has plots"
