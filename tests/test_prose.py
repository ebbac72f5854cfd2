"""Docstrings of the package: every public function has one, and its first sentence can be read alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nextword

SOURCE = Path(nextword.__file__).parent
NO_FIRST_WORDS = {"What", "Of", "Whether", "Where", "How", "So", "That", "Those", "Who", "As"}
"""First words of subordinate clauses: such a sentence says nothing without the name that it stands under."""

ROOMS = sorted({path.name.removesuffix(".py") for path in SOURCE.iterdir()} - {"__pycache__"})


def modules(room: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted([*SOURCE.glob(f"{room}.py"), *(SOURCE / room).rglob("*.py")]):
        yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring: of modules, classes, functions, and below fields and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text
        if isinstance(node, ast.Module | ast.ClassDef):
            for above, node_below in zip(node.body, node.body[1:], strict=False):
                if isinstance(above, ast.Assign | ast.AnnAssign) and (text := _string(node_below)):
                    yield node_below.lineno, text


def _string(node: ast.stmt) -> str | None:
    """The text of a statement that is nothing but a string."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None


def public_functions(node: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """Functions and methods whose names, and those of their classes, have no underscore in front; no setters."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child)
        if isinstance(child, ast.FunctionDef) and not child.name.startswith("_") and not _is_second(child):
            yield child


def _is_second(function: ast.FunctionDef) -> bool:
    """True of a setter or an overload: the function of the same name has the docstring."""
    marks = [one.attr if isinstance(one, ast.Attribute) else ast.unparse(one) for one in function.decorator_list]
    return "setter" in marks or "overload" in marks


@pytest.mark.parametrize("room", ROOMS)
def test_a_docstring_begins_with_a_sentence_that_stands_alone(room: str) -> None:
    found = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for path, tree in modules(room)
        for line, text in docstrings(tree)
        if text.split()[0].rstrip(",:;.") in NO_FIRST_WORDS
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_has_a_docstring(room: str) -> None:
    lacking = [
        f"{path}:{function.lineno}: {function.name}"
        for path, tree in modules(room)
        for function in public_functions(tree)
        if not ast.get_docstring(function)
    ]
    assert not lacking, "\n".join(lacking)
