"""`BoundedSandbox`: jinja2's immutable sandbox with a bound on the work of a template.

jinja2's sandbox keeps a template away from Python, but does not bound its time or memory. Here every iteration, every
call and every text that is built is charged to a budget before memory is allocated, and every list is admitted to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from nextword.text.template_budget import STEP, admit, charge, full_size
from nextword.text.template_costs import FILTERS, Cost, method_cost, operation_cost

_MOST_CHARACTERS = 200_000
"""Bound of a template's source; published ones have up to 20,000."""
_MOST_NODES = 20_000
"""Bound of the parts of a template, which compiles in a few seconds with so many; published ones have up to 1,300."""
_PLAIN = (str, bytes, int, float, list, tuple, dict)


class BoundedSandbox(ImmutableSandboxedEnvironment):
    """Environment of chat templates: settings and tags of transformers, with the budget of `bounded_work`."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # else constants are computed before there is a budget
            finalize=_printed,
            extensions=[GenerationTag, jinja2.ext.loopcontrols],
        )
        self.filters = {name: _bounded_filter(self.filters[name], cost) for name, cost in FILTERS.items()}
        self.filters |= {_JOINED: self._joined, _ADMITTED: admit, _BUILT: _built}
        self.globals |= {"dict": _dictionary, "namespace": _Namespace}
        del self.globals["lipsum"]

    def compile_bounded(self, source: str) -> jinja2.Template:
        """Compile a template so that every iteration, and every value that is built, is charged.

        Raises jinja2.TemplateError for a template that is too long to be one.
        """
        if len(source) > _MOST_CHARACTERS:
            raise jinja2.TemplateError(f"it has {len(source)} characters, and a template at most {_MOST_CHARACTERS}")
        tree = self.parse(source)
        if sum(1 for _ in tree.find_all(nodes.Node)) > _MOST_NODES:
            raise jinja2.TemplateError(f"it has more than {_MOST_NODES} parts")
        _ChargedNodes().visit(tree)
        tree.set_environment(self)
        return jinja2.Template.from_code(self, self.compile(tree), self.make_globals(None))

    def step(self) -> bool:
        """Do nothing; compiled templates call it in each iteration, and a call is charged."""
        return True

    def concat(self, parts: Iterable[str]) -> str:
        """Join the output of a template, a macro or a block, charging each part."""
        written = []
        for part in parts:
            charge(len(part))
            written.append(part)
        return "".join(written)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a function for a template; charge one step, and what it builds."""
        charge(STEP)
        function = getattr(__obj, "__wrapped__", __obj)
        owner = getattr(function, "__self__", None)
        given = (*args, *kwargs.values())
        if isinstance(owner, type) and issubclass(owner, _PLAIN):
            raise jinja2.exceptions.SecurityError(f"the method {function.__name__!r} is not for templates")
        if isinstance(owner, _PLAIN):
            charge(method_cost(owner, function.__name__, given))
            if function.__name__ == "join" and args:
                args = (_charged(args[0], separator=owner), *args[1:])
        elif not isinstance(__obj, Macro):
            charge(sum(map(full_size, given)))
        admit([*given])  # a macro's varargs and a cycler's items are lists of them
        return _built(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operation for a template, after charging the size of its result."""
        charge(operation_cost(operator, left, right))
        return admit(super().call_binop(context, operator, left, right))

    def _joined(self, parts: Iterable[object]) -> str:
        return self.concat(map(str, map(_printed_size, parts)))


class GenerationTag(jinja2.ext.Extension):
    """Tag `{% generation %}`, which marks the assistant's text for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the content, in a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Namespace(Namespace):
    """Namespace that shows nothing of its values, which can be changed after they were admitted."""

    def __repr__(self) -> str:
        return "<Namespace>"


def _dictionary(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)


_JOINED, _ADMITTED, _BUILT = "joined without end", "admitted to the budget", "built by a slice"
"""Names of filters that stand in the place of what the environment has no hook for; no template can write them."""


class _ChargedNodes(NodeTransformer):
    """Puts charges around iterations, comparisons, slices, and lists and dictionaries that are written out."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_step()))
        if node.test is not None:
            node.test = nodes.And(_step(), node.test, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), _JOINED, node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, _ADMITTED, node.lineno)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, _BUILT, node.lineno) if isinstance(node.arg, nodes.Slice) else node

    def _visit_display(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        is_target = getattr(node, "ctx", "load") != "load"
        return node if is_target else _filtered(node, _ADMITTED, node.lineno)

    visit_List = visit_Tuple = visit_Dict = _visit_display  # noqa: N815


def _step() -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None)


def _filtered(node: nodes.Expr, name: str, line: int) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=line)


def _bounded_filter(function: Callable[..., Any], cost: Cost) -> Callable[..., Any]:
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0  # jinja2 gives some filters its context first

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        before, operand, arguments = args[:passed], args[passed], args[passed + 1 :]
        given = (*arguments, *kwargs.values())
        charge(STEP + cost(operand, given))
        if not isinstance(operand, str | Mapping) and isinstance(operand, Iterator):
            operand = _charged(operand, separator="")
        if function.__name__ in ("do_join", "sync_do_join", "do_sum", "sync_do_sum"):  # sum also joins lists
            operand = _charged(operand, separator=given[0] if given and "join" in function.__name__ else "")
        return _built(function(*before, operand, *arguments, **kwargs))

    return bounded


def _charged(parts: Iterable[Any], *, separator: object) -> Iterator[Any]:
    """Yield the parts, each charged before it is joined to the others."""
    for part in parts:
        charge(full_size(part) + full_size(separator))
        yield part


def _built(value: Any) -> Any:
    """Return a value that a call or a filter built, after charging its size; a generator charges its items."""
    if isinstance(value, Iterator) and not isinstance(value, _PLAIN):
        return _charged(value, separator="")
    if isinstance(value, str | bytes | list | tuple | dict):
        charge(len(value))
    return admit(value)


@pass_context
def _printed(context: Context, value: Any) -> Any:
    return _printed_size(value)


def _printed_size(value: Any) -> Any:
    """Return a value that is to be printed, after charging the size of its text."""
    charge(full_size(value))
    return value
