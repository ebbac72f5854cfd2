"""Hold the structure of the package: short functions, full types, no import cycles, a drawing of the real imports."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from benchmarks.house import (
    cycles,
    drawing,
    function_lines,
    levels,
    module_graph,
    native_functions,
    read_modules,
    room_graph,
)

ROOT = Path(__file__).parents[2]
MODULES = read_modules()
LONGEST_FUNCTION = 40


def test_no_function_is_longer_than_a_screen() -> None:
    functions = [
        (function_lines(function), module.name, function.name) for module in MODULES for function in module.functions
    ]
    assert not [entry for entry in functions if entry[0] > LONGEST_FUNCTION]


def test_no_function_of_the_core_is_longer_than_a_screen() -> None:
    functions = list(native_functions())
    assert len(functions) > 300
    assert not [entry for entry in functions if entry[0] > LONGEST_FUNCTION]


def test_functions_of_the_core_are_counted_from_head_to_end(tmp_path: Path) -> None:
    (tmp_path / "two.cpp").write_text("int one() {\n    return 1;\n}\n\nint two(int a,\n        int b) {\n}\n")
    assert list(native_functions(tmp_path)) == [(3, "two.cpp:1"), (3, "two.cpp:5")]


def test_every_function_says_what_it_returns() -> None:
    untyped = [
        f"{module.name}.{function.name}" for module in MODULES for function in module.functions if not function.returns
    ]
    assert not untyped


@pytest.mark.parametrize("in_functions", [False, True], ids=["when imported", "in functions too"])
def test_no_modules_import_each_other_in_a_circle(in_functions: bool) -> None:
    assert cycles(module_graph(MODULES, in_functions=in_functions)) == []


def test_a_circle_is_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_a_room_is_drawn_above_all_that_it_imports() -> None:
    graph = room_graph(MODULES)
    line = {room: number for number, rooms in enumerate(levels(graph)) for room in rooms}
    assert all(line[room] < line[other] for room, others in graph.items() for other in others)


def test_the_drawing_is_that_of_the_imports() -> None:
    drawn = (ROOT / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8")
    assert drawn == drawing(MODULES), "python -m benchmarks.house --draw docs/images/architecture.svg draws it anew"


def test_every_function_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    python_names = re.findall(r"`nextword((?:\.\w+)+)`", page)
    native_names = re.findall(r"`native/([\w.]+)`:\s+`([\w:]+)`", page)
    assert len(python_names) > 20
    assert len(native_names) > 3
    missing = [f"nextword{name}" for name in python_names if not _exists(name)]
    missing += [name for file, name in native_names if not _is_in_native(file, name)]
    assert not missing


def _exists(dotted: str) -> bool:
    """Tell whether a dotted name below the package is a module, or leads to a function, class or method of one."""
    parts = dotted.strip(".").split(".")
    for split in range(len(parts), 0, -1):
        path = ROOT / "src" / "nextword" / Path(*parts[:split])
        if not path.with_suffix(".py").exists() and not (path / "__init__.py").exists():
            continue
        found: object = importlib.import_module(".".join(["nextword", *parts[:split]]))
        for name in parts[split:]:
            found = getattr(found, name, None)
        return found is not None
    return False


def _is_in_native(file: str, name: str) -> bool:
    path = ROOT / "native" / file
    last = name.rpartition("::")[2]
    return path.exists() and re.search(rf"\b{last}\(", path.read_text(encoding="utf-8")) is not None


def test_functions_are_counted_with_their_docstrings() -> None:
    (function,) = ast.parse('def f() -> None:\n    """Do nothing."""\n    return\n').body
    assert isinstance(function, ast.FunctionDef)
    assert function_lines(function) == 3
