"""`BoundedSandbox`: jinja2's immutable sandbox with a bound on the work of a template.

jinja2's sandbox keeps a template away from Python, but does not bound its time or memory. Here every
iteration, every call and every string that is built is charged to a budget before memory is allocated.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

_WORK = 20_000_000
"""Budget of one rendering, in characters built, besides that of the conversation's size."""
_WORK_PER_CHARACTER = 64
"""Budget for each character of a conversation: templates handle each a few times."""
_ENTRY = 8
"""Cost of a list item, in characters."""
_STEP = 400
"""Cost of an iteration or a call, in characters: fifty thousand of them take up to a second."""
_SECONDS = 10.0
"""Time limit, for work that is slow without building anything, such as searches in long texts."""
_FORMAT_WIDTH = re.compile(r"[%:.][^\s%{}]*?(\d+)")
_COMPUTED_WIDTH = re.compile(r"\*|:[^}]*\{")
_THRIFTY = """
    capitalize casefold count d default dictsort endswith find first float get groupby index int isalnum isalpha
    isdigit isspace items keys last length lower lstrip map max min partition reject rejectattr removeprefix
    removesuffix reverse rfind rindex round rpartition rsplit rstrip safe select selectattr sort split splitlines
    startswith string strip swapcase title tojson trim truncate unique upper values
"""
_NEVER_GROW = frozenset(_THRIFTY.split())
"""Methods and filters whose result is never larger than their operand, for any arguments."""


class _Budget:
    """Remaining budget of one rendering."""

    def __init__(self, num_characters: int) -> None:
        self._left = float(_WORK + _WORK_PER_CHARACTER * num_characters)
        self._deadline = time.monotonic() + _SECONDS

    def charge(self, amount: float) -> None:
        self._left -= amount
        if self._left < 0 or time.monotonic() > self._deadline:
            raise jinja2.TemplateError("it does more work than any conversation needs; it may loop without end")


_budget: ContextVar[_Budget] = ContextVar("_budget")


@contextmanager
def bounded_work(num_characters: int) -> Iterator[None]:
    """Give renderings inside the block a budget for a conversation of `num_characters`; without one none can run."""
    token = _budget.set(_Budget(num_characters))
    try:
        yield
    finally:
        _budget.reset(token)


def charge(amount: float) -> None:
    """Charge an amount to the budget of this rendering. Raises jinja2.TemplateError once it is used up."""
    _budget.get().charge(amount)


class BoundedSandbox(ImmutableSandboxedEnvironment):
    """Environment of chat templates: settings and tags of transformers, with the budget of `bounded_work`."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols])
        for name, function in self.filters.items():
            self.filters[name] = _bounded_filter(name, function)
        self.filters[_JOINED] = self._joined
        del self.globals["lipsum"]

    def compile_bounded(self, source: str) -> jinja2.Template:
        """Compile a template so that every iteration and every `~` is charged."""
        tree = self.parse(source)
        for loop in tree.find_all(nodes.For):
            # Any call is charged as a step.
            step = nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None)
            loop.body.insert(0, nodes.ExprStmt(step))
        _ChargedJoins().visit(tree)
        tree.set_environment(self)
        return jinja2.Template.from_code(self, self.compile(tree), self.make_globals(None))

    def step(self) -> None:
        """Do nothing; compiled templates call it in each iteration, and a call is charged."""

    def concat(self, parts: Iterable[str]) -> str:
        """Join the output of a template, a macro or a block, charging each part."""
        written = []
        for part in parts:
            charge(len(part))
            written.append(part)
        return "".join(written)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function for a template; charge one step and the size of the result."""
        charge(_STEP)
        function = getattr(__obj, "__wrapped__", __obj)
        owner = getattr(function, "__self__", None)
        if isinstance(owner, str | bytes | int | float | list | tuple | dict):
            charge(_growth(function.__name__, owner, (*args, *kwargs.values())))
            if function.__name__ == "join" and args:
                args = (_charged(args[0], separator=owner), *args[1:])
        result = super().call(__context, __obj, *args, **kwargs)
        charge(_size(result))
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operation for a template, after charging the size of its result."""
        charge(_size_of_operation(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def _joined(self, parts: Iterable[object]) -> str:
        return self.concat(map(str, parts))


class GenerationTag(jinja2.ext.Extension):
    """Tag `{% generation %}`, which marks the assistant's text for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the content, in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


_JOINED = "joined without end"
"""Name of the filter that replaces `~`; no template can write it."""


class _ChargedJoins(NodeTransformer):
    """Replacement of each `a ~ b` by a filter: the environment has no hook for this operator."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return nodes.Filter(nodes.List(node.nodes), _JOINED, [], [], None, None, lineno=node.lineno)


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0  # jinja2 gives some filters its context first

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        before, operand, arguments = args[:passed], args[passed], args[passed + 1 :]
        given = (*arguments, *kwargs.values())
        charge(_STEP + _growth(name, operand, given))
        if name in ("join", "sum"):  # sum also joins lists
            operand = _charged(operand, separator=given[0] if given and name == "join" else "")
        result = function(*before, operand, *arguments, **kwargs)
        charge(_size(result))
        return result

    return bounded


def _charged(parts: Iterable[Any], *, separator: object) -> Iterator[Any]:
    """Yield the parts, each charged before it is joined to the others."""
    for part in parts:
        charge(_size(part) + _size(separator))
        yield part


def _size(value: object) -> int:
    """Return the size of a value, in characters."""
    if isinstance(value, str | bytes):
        return len(value)
    return _ENTRY * len(value) if isinstance(value, Sized) else _ENTRY


def _growth(name: str, operand: Any, arguments: tuple[Any, ...]) -> float:
    """Bound the size of a method's or filter's result; a number may be a width, so it counts as its value."""
    if name in _NEVER_GROW or name in ("join", "sum"):  # these two are charged part by part
        return 0
    if name == "list":
        return float(_ENTRY) * _size(operand)
    if name == "replace" and len(arguments) >= 2:
        return _size(operand) + float(str(operand).count(str(arguments[0]))) * _size(arguments[1])
    if name in ("format", "format_map"):
        return _format_growth(str(operand), arguments)
    return (1.0 + _size(operand)) * sum(max(0, x) if isinstance(x, int | float) else _size(x) for x in arguments)


def _format_growth(pattern: str, arguments: tuple[Any, ...]) -> float:
    widths = float(sum(int(digits[:12]) for digits in _FORMAT_WIDTH.findall(pattern)))
    if _COMPUTED_WIDTH.search(pattern):
        widths += sum(abs(x) for x in arguments if isinstance(x, int))
    return widths + float(len(pattern)) * sum(_size(x) for x in arguments)


def _size_of_operation(operator: str, left: Any, right: Any) -> float:
    if operator == "%":
        values = right if isinstance(right, tuple) else (right,)
        return _format_growth(str(left), values) if isinstance(left, str | bytes) else 0
    if operator == "+":
        return _size(left) + _size(right)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
        return float(min(bits, _WORK)) ** 2 / 64  # long multiplication
    if operator == "*":
        times = next((x for x in (left, right) if isinstance(x, int)), 1)
        return float(max(times, 0)) * max(_size(left), _size(right))
    return 0
