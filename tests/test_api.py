"""Public names of `import nextword`: they resolve, equal those that type checkers read, and are cheap to import."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import nextword as nw
from nextword import errors

SOURCE = Path(nw.__file__)
PATHS = f"import sys; sys.path.insert(0, {str(SOURCE.parents[1])!r})"


def names_for_type_checkers() -> dict[str, str]:
    """Name -> module, as the block under TYPE_CHECKING imports them."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert all(alias.name == alias.asname for node in imports for alias in node.names), "a re-export is `X as X`"
    return {alias.name: node.module or "" for node in imports for alias in node.names}


@pytest.mark.parametrize("name", nw.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(nw, name)
    assert inspect.getdoc(value), f"{name} has no docstring"
    assert value.__name__ == name


@pytest.mark.parametrize("name", [name for name in nw.__all__ if dataclasses.is_dataclass(getattr(nw, name))])
def test_every_field_of_a_result_is_documented(name: str) -> None:
    tree = ast.parse(Path(inspect.getfile(getattr(nw, name))).read_text(encoding="utf-8"))
    (node,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name)
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            is_documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            assert is_documented, ast.unparse(field.target)


@pytest.mark.parametrize("name", [name for name in nw.__all__ if hasattr(getattr(nw, name), "_repr_html_")])
def test_what_shows_itself_in_a_notebook_has_a_repr_of_its_own(name: str) -> None:
    """A list of results shows a short line for each; the generated repr of a dataclass holds all figures."""
    made_by_dataclass = hasattr(getattr(nw, name).__repr__, "__wrapped__")
    assert not made_by_dataclass


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    assert names_for_type_checkers() == nw._HOMES
    assert sorted(nw._HOMES) == nw.__all__


def test_dir_lists_the_public_names_and_no_others() -> None:
    assert dir(nw) == sorted([*nw.__all__, "__version__"])


def test_the_whole_tree_of_errors_is_public() -> None:
    tree = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert all(issubclass(error, nw.NextwordError) for error in tree)
    assert {error.__name__ for error in tree} <= set(nw.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "laod"
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        getattr(nw, name)


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from nextword import *", names)
    assert set(nw.__all__) <= names.keys()


def test_every_name_resolves_without_the_extras() -> None:
    """A star import and a type in an annotation need no PyTorch and no lm-eval."""
    extras = ("torch", "nltk", "lm_eval", "rouge_score", "matplotlib", "pyarrow", "datasets", "tensorboard")
    script = f"import sys; sys.modules.update(dict.fromkeys({extras})); from nextword import *"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_nextword_imports_the_standard_library_alone() -> None:
    """The import takes milliseconds; `python -m benchmarks.start_time` measures them."""
    script = """
import sys
import_before = set(sys.modules)
import nextword
roots = {name.partition(".")[0] for name in set(sys.modules) - import_before}
print(sorted(roots - sys.stdlib_module_names), len(sys.modules) - len(import_before) < 60)
print([name for name in sys.modules if name.startswith("nextword")])
"""
    shown = subprocess.run([sys.executable, "-S", "-c", PATHS + script], check=True, capture_output=True, text=True)
    assert shown.stdout.splitlines() == ["['nextword'] True", "['nextword']"]


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE.parent / "py.typed").exists()
