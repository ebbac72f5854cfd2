"""What `import nextword` gives: names that resolve, agree with what type checkers read, and cost nothing to import."""

from __future__ import annotations

import ast
import inspect
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import nextword as nw
from nextword import errors

SOURCE = Path(nw.__file__)


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


def test_importing_nextword_is_cheap() -> None:
    """Under 0.05 s of processor time above Python's own start, in the median; no numpy, no torch."""

    def seconds(script: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    paired = [seconds("import nextword") - seconds("pass") for _ in range(7)]
    assert statistics.median(paired) < 0.05, paired
    script = "import sys, nextword; sys.exit(bool({'numpy', 'torch', 'tokenizers'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE.parent / "py.typed").exists()
