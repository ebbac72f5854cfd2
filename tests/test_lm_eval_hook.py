"""The line that Python runs at its start for lm-eval's command, in fresh processes of an environment made here.

pip and lm_eval are stand-ins that print what they see; the real command is run by tests/peers/test_lm_eval.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

import nextword
from nextword.lm_eval_hook import is_lm_eval

HOOK = Path(__file__).parents[1] / "nextword_lm_eval.pth"
REGISTRY = """
class Registry(dict):
    def register(self, name, *, target):
        self[name] = target

model_registry = Registry()
"""
SHOW = "from lm_eval.api.registry import model_registry; print(dict(model_registry))"
REGISTERED = "{'nextword': 'nextword.lm_eval_plugin:NextwordLM'}\n"


class Environment:
    """A virtual environment that has the hook, nextword's sources and a `pip` that does nothing."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.folder = folder
        self.python = folder / "bin" / "python"
        (self.packages,) = folder.glob("lib/python*/site-packages")
        shutil.copy(HOOK, self.packages)
        (self.packages / "_nextword_sources.pth").write_text(f"{Path(nextword.__file__).parents[1]}\n")
        self.write("pip/__init__.py", "")
        self.write("pip/__main__.py", "")

    def write(self, file: str, text: str) -> None:
        path = self.packages / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def script(self, name: str, text: str = "") -> str:
        path = self.folder / "bin" / name
        path.write_text(text)
        return str(path)

    def add_lm_eval(self) -> None:
        self.write("lm_eval/__init__.py", "")
        self.write("lm_eval/__main__.py", SHOW)
        self.write("lm_eval/models/__init__.py", "")
        self.write("lm_eval/api/__init__.py", "")
        self.write("lm_eval/api/registry.py", REGISTRY)

    def run(self, *arguments: str) -> tuple[str, str]:
        """Standard output and error of Python with these arguments."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run([self.python, *arguments], capture_output=True, text=True, timeout=60, env=clean)
        return done.stdout, done.stderr


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "env")


@pytest.mark.parametrize("has_lm_eval", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "pip", "install", "lm-eval", "--dry-run"),
        ("-m", "pip", "show", "lm-eval"),
        ("-m", "pip", "-m", "lm_eval"),
        ("-c", "pass", "lm_eval"),
    ],
)
def test_a_command_that_only_mentions_lm_eval_prints_nothing(
    environment: Environment, arguments: tuple[str, ...], has_lm_eval: bool
) -> None:
    if has_lm_eval:
        environment.add_lm_eval()
    assert environment.run(*arguments) == ("", "")


@pytest.mark.parametrize("name", ["my_lm_eval", "lm_eval_report.py", "lm_eval", "lm-eval"])
def test_without_lm_eval_a_script_of_any_name_prints_nothing(environment: Environment, name: str) -> None:
    assert environment.run(environment.script(name)) == ("", "")


def test_a_script_whose_name_ends_like_the_command_does_not_import_lm_eval(environment: Environment) -> None:
    environment.add_lm_eval()
    script = environment.script("my_lm_eval", "import sys; print('lm_eval' in sys.modules)")
    assert environment.run(script) == ("False\n", "")


@pytest.mark.parametrize("options", [(), ("-X", "utf8"), ("-u", "-W", "ignore")])
def test_lm_evals_module_knows_nextword(environment: Environment, options: tuple[str, ...]) -> None:
    environment.add_lm_eval()
    assert environment.run(*options, "-m", "lm_eval", "ls") == (REGISTERED, "")


@pytest.mark.parametrize("name", ["lm_eval", "lm-eval"])
def test_lm_evals_script_knows_nextword(environment: Environment, name: str) -> None:
    environment.add_lm_eval()
    assert environment.run(environment.script(name, SHOW), "--tasks", "x") == (REGISTERED, "")


def test_a_broken_lm_eval_reports_itself_once(environment: Environment) -> None:
    environment.add_lm_eval()
    environment.write("lm_eval/models/__init__.py", "raise RuntimeError('broken')")
    environment.write("lm_eval/__main__.py", "print('reached')")
    assert environment.run("-m", "lm_eval") == ("reached\n", "")


def test_without_nextword_the_left_over_line_prints_nothing(environment: Environment) -> None:
    environment.add_lm_eval()
    (environment.packages / "_nextword_sources.pth").unlink()
    assert environment.run("-m", "lm_eval") == ("{}\n", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "lm_eval"], True),
        (["bin/lm_eval", "run"], True),
        (["lm-eval.exe"], True),
        (["-m", "lm_eval_report"], False),
        (["-", "lm_eval"], False),
        (["-m"], False),
        ([], False),
    ],
)
def test_lm_eval_is_told_by_pythons_arguments(arguments: list[str], expected: bool) -> None:
    assert is_lm_eval(arguments) is expected
