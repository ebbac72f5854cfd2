"""Measure how the package is built, and draw its rooms: `python -m benchmarks.house [--draw FILE.svg]`.

In: the source files. Out: one row of sizes (files, lines, functions, docstrings, types, import cycles) and a drawing of
the rooms, made of the imports alone. Nothing is imported or run.
"""

from __future__ import annotations

import argparse
import ast
import html
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "nextword"
NATIVE = Path(__file__).parent.parent / "native"
PACKAGE = "nextword"

Function = ast.FunctionDef | ast.AsyncFunctionDef
Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    """Dotted, without the package: "training.trainer"; "" for the package's own __init__."""
    tree: ast.Module
    num_lines: int

    @property
    def room(self) -> str:
        """First part of the name: a folder of the package, or a file beside them."""
        return self.name.partition(".")[0]

    @property
    def functions(self) -> list[Function]:
        """All functions and methods, nested ones included."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    def imports(self, *, in_functions: bool) -> set[str]:
        """Modules of the package that this file imports when it runs, not for type checking."""
        return set(_imported(self.tree, in_functions=in_functions))


def read_modules(source: Path = SOURCE) -> list[Module]:
    """Parse every file below a package's folder, sorted by name."""
    modules = []
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        text = path.read_text(encoding="utf-8")
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules.append(Module(name, ast.parse(text), len(text.splitlines())))
    return modules


def _imported(node: ast.AST, *, in_functions: bool) -> Iterator[str]:
    """Names of imported modules and of what is imported from them, the package's own only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, Function) and not in_functions:
            continue
        if isinstance(child, ast.ImportFrom) and (child.module or "").partition(".")[0] == PACKAGE:
            base = (child.module or "").partition(".")[2]
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in child.names)
        elif isinstance(child, ast.Import):
            names = (alias.name for alias in child.names)
            yield from (name.partition(".")[2] for name in names if name.startswith(f"{PACKAGE}."))
        yield from _imported(child, in_functions=in_functions)


def module_graph(modules: Sequence[Module], *, in_functions: bool) -> dict[str, set[str]]:
    """Map each module to the modules that it imports."""
    known = {module.name for module in modules} - {""}
    return {
        module.name: {_nearest(name, known) for name in module.imports(in_functions=in_functions)} - {module.name, ""}
        for module in modules
        if module.name
    }


def _nearest(name: str, known: set[str]) -> str:
    """Find the module that an imported name is or stands in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def room_graph(modules: Sequence[Module]) -> dict[str, set[str]]:
    """Map each room to the rooms that it imports, anywhere in its files."""
    graph: dict[str, set[str]] = {module.room: set() for module in modules if module.room}
    for module in modules:
        if module.room:
            rooms = {name.partition(".")[0] for name in module.imports(in_functions=True)}
            graph[module.room] |= (rooms & graph.keys()) - {module.room}
    return graph


def cycles(graph: Graph) -> list[set[str]]:
    """Find the strongly connected components of more than one node."""
    reachable = {node: _reachable(graph, node) for node in graph}
    found: list[set[str]] = []
    for node in graph:
        circle = {other for other in reachable[node] if node in reachable[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += graph[node]
    return found


# ---- the row of sizes ----


def measured_row(modules: Sequence[Module]) -> str:
    """Format the sizes as a row of a Markdown table, with its head."""
    lines = [module.num_lines for module in modules]
    functions = [function for module in modules for function in module.functions]
    lengths = [function_lines(function) for function in functions]
    documented = sum(ast.get_docstring(function) is not None for function in functions)
    typed = sum(function.returns is not None for function in functions)
    num_cycles = [len(cycles(module_graph(modules, in_functions=inside))) for inside in (False, True)]
    cells = [
        f"{PACKAGE} (src)",
        f"{len(modules)}",
        f"{sum(lines):,}",
        _spread(lines),
        _spread(lengths),
        f"{documented / len(functions):.0%}",
        f"{typed / len(functions):.0%}",
        f"{num_cycles[0]} / {num_cycles[1]}",
    ]
    head = ["package", "files", "lines", "file median/p90/max", "fn median/p90/max", "fn with docstring"]
    head += ["return typed", "cycles"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), cells))


def function_lines(function: Function) -> int:
    """Count the lines of a function, from `def` to its end, docstring included."""
    return (function.end_lineno or 0) - function.lineno + 1


_OPENS_FUNCTION = re.compile(
    r" *(?!namespace|struct|class|enum|union|switch|for|if|while|else|do|try|catch|return)"
    r"\S.*[)\w]\s*(const|noexcept|override|\s|->.*)*\{"
)
"""A line of C++ that opens the body of a function, as clang-format leaves it."""
_BEFORE_FUNCTION = re.compile(r"\s*|.*[;{}:]|\s*//.*|#.*")
"""A line that does not belong to the head of the function below it."""


def native_functions(folder: Path = NATIVE) -> Iterator[tuple[int, str]]:
    """Yield the number of lines and the place of each function in the C++ files of a folder, tests excluded."""
    for path in sorted(folder.glob("*.[ch]*")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if _OPENS_FUNCTION.fullmatch(line):
                head = number
                while head and not _BEFORE_FUNCTION.fullmatch(lines[head - 1]):
                    head -= 1
                closing = lines[head][: len(lines[head]) - len(lines[head].lstrip())] + "}"
                end = next(i for i in range(number + 1, len(lines)) if lines[i].startswith(closing))
                yield end - head + 1, f"{path.name}:{head + 1}"


def _spread(values: Sequence[int]) -> str:
    ninth = statistics.quantiles(values, n=10)[-1]
    return f"{statistics.median(values):g}/{ninth:.0f}/{max(values)}"


# ---- the drawing ----

_WIDTH, _ROW, _BOX_HEIGHT, _GAP, _MARGIN = 980, 84, 36, 70, 24
_CHARACTER = 9.5
"""Pixels of an average character at the size of the names."""


@dataclass(frozen=True)
class _Box:
    room: str
    left: float
    top: float
    width: float

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def drawing(modules: Sequence[Module]) -> str:
    """Draw the rooms as an SVG: each above all that it imports, arrows only where no longer way leads there too."""
    graph = room_graph(modules)
    boxes = {box.room: box for box in _boxes(graph)}
    height = max(box.top for box in boxes.values()) + _BOX_HEIGHT + _MARGIN
    arrows = [_arrow(boxes[room], boxes[other]) for room, others in _reduced(graph).items() for other in sorted(others)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-family="sans-serif">',
            "<title>The rooms of nextword, from the command down to the shared ground</title>",
            f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#fff"/>',
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
            'orient="auto"><path d="M0 0 8 4 0 8z" fill="#8aa"/></marker></defs>',
            *arrows,
            *(_drawn_box(box) for box in boxes.values()),
            "</svg>",
            "",
        ]
    )


def levels(graph: Graph) -> list[list[str]]:
    """Order rooms so that each stands above all that it imports, as low as it can; the top line first."""
    depth: dict[str, int] = {}

    def depth_of(room: str) -> int:
        if room not in depth:
            depth[room] = 1 + max((depth_of(other) for other in graph[room]), default=-1)
        return depth[room]

    deepest = max(depth_of(room) for room in graph)
    return [sorted(room for room in graph if depth[room] == level) for level in range(deepest, -1, -1)]


def _reduced(graph: Graph) -> dict[str, set[str]]:
    """Drop an edge where another path leads to the same room (transitive reduction)."""
    return {
        room: {other for other in others if not any(other in _reachable(graph, via) for via in others - {other})}
        for room, others in graph.items()
    }


def _boxes(graph: Graph) -> Iterator[_Box]:
    for row, rooms in enumerate(levels(graph)):
        widths = [_CHARACTER * len(room) + 28 for room in rooms]
        left = (_WIDTH - sum(widths) - _GAP * (len(rooms) - 1)) / 2
        for room, width in zip(rooms, widths, strict=True):
            yield _Box(room, left, _MARGIN + row * _ROW, width)
            left += width + _GAP


def _arrow(upper: _Box, lower: _Box) -> str:
    start, end = upper.top + _BOX_HEIGHT, lower.top - 2
    bend = (start + end) / 2
    path = f"M{upper.middle:.0f} {start:.0f} C{upper.middle:.0f} {bend:.0f} {lower.middle:.0f} {bend:.0f}"
    return f'<path d="{path} {lower.middle:.0f} {end:.0f}" fill="none" stroke="#8aa" marker-end="url(#head)"/>'


def _drawn_box(box: _Box) -> str:
    return (
        f'<rect x="{box.left:.0f}" y="{box.top:.0f}" width="{box.width:.0f}" height="{_BOX_HEIGHT}" rx="6" '
        f'fill="#eef4f4" stroke="#355"/>'
        f'<text x="{box.middle:.0f}" y="{box.top + 23:.0f}" text-anchor="middle" font-size="15" fill="#122">'
        f"{html.escape(box.room)}</text>"
    )


def main(arguments: Iterable[str] | None = None) -> None:
    """Print the row; draw where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", metavar="FILE.svg", type=Path, help="write the drawing of the rooms, too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    modules = read_modules()
    print(measured_row(modules))
    print(f"native: {_spread([lines for lines, _ in native_functions()])} lines in functions, median/p90/max")
    if options.draw is not None:
        options.draw.write_text(drawing(modules), encoding="utf-8")


if __name__ == "__main__":
    main()
