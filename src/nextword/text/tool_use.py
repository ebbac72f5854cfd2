"""`ToolUse`: the tools that an answer may or must call, from the options of a chat, in the model's own syntax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nextword.checks import shown
from nextword.errors import RequestError
from nextword.text.chat_options import ChatOptions
from nextword.text.tool_calls import CallSplitter
from nextword.text.tool_syntax import CallSyntax

_CHOICES = '"none", "auto", "required", or {"type": "function", "function": {"name": ...}}'


@dataclass(frozen=True)
class Function:
    """A tool as far as its calls are concerned."""

    name: str
    place: str
    """Name of the place of its parameters, for messages."""
    parameters: Mapping[str, Any]
    """JSON schema of its arguments."""
    is_strict: bool = False
    """True if its calls must have the schema wherever they come."""


@dataclass(frozen=True)
class ToolUse:
    """Tools that one answer may call."""

    syntax: CallSyntax
    functions: tuple[Function, ...]
    is_required: bool
    """True if the answer must be calls."""
    is_parallel: bool
    """True if it may be several."""
    token_ids: frozenset[int]
    """Control tokens in the syntax: text of the answer, in which the calls are looked for."""

    def splitter(self) -> CallSplitter:
        """Return what tells the calls of one answer from its text."""
        return CallSplitter(self.syntax, {function.name: function.parameters for function in self.functions})

    @property
    def has_form(self) -> bool:
        """True if the calls are held to a form; otherwise they are what the model writes."""
        is_single = not self.is_parallel and bool(self.syntax.again)
        return self.is_required or is_single or any(function.is_strict for function in self.functions)


@dataclass(frozen=True)
class ToolChoice:
    """Which of the tools an answer may call, and whether it must."""

    functions: tuple[Function, ...]
    is_required: bool = False


def read_tool_choice(options: ChatOptions) -> ToolChoice | None:
    """Return what the options of a chat say about tools; None if none may be called.

    Raises RequestError for a tool without a name, two of one name, and for a choice that is none of them.
    """
    functions = _functions(options.get("tools") or ())
    choice = options.get("tool_choice")
    if choice is None or choice == "auto":
        return ToolChoice(functions) if functions else None
    if choice == "none":
        return None
    if not functions:
        raise RequestError(f"tool_choice = {shown(choice)}: there are no tools; give tools, or leave it out")
    if choice == "required":
        return ToolChoice(functions, is_required=True)
    names, is_required = _chosen(choice)
    known = [function.name for function in functions]
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise RequestError(f"tool_choice: {shown(unknown)} is none of the tools; they are {', '.join(known)}")
    return ToolChoice(tuple(one for one in functions if one.name in names), is_required)


def _functions(tools: Sequence[Mapping[str, Any]]) -> tuple[Function, ...]:
    found: dict[str, Function] = {}
    for index, tool in enumerate(tools):
        place = f"tools[{index}]"
        given = tool.get("function", tool)
        if tool.get("type", "function") != "function" or not isinstance(given, Mapping):
            raise RequestError(f'{place} = {shown(tool)}: must be such as {{"type": "function", "function": {{...}}}}')
        name, parameters = given.get("name"), given.get("parameters")
        if not isinstance(name, str) or not name.strip() or '"' in name or "\\" in name:
            raise RequestError(f"{place}: name = {shown(name)}: must be the name of a function")
        if name in found:
            raise RequestError(f"{place}: name = {shown(name)}: is that of another tool, too")
        if not isinstance(parameters, Mapping | None):
            raise RequestError(f"{place}: parameters = {shown(parameters)}: must be a JSON schema of an object")
        schema = {"type": "object", **(parameters or {"properties": {}, "additionalProperties": False})}
        found[name] = Function(name, f"{place}.function.parameters", schema, is_strict=given.get("strict") is True)
    return tuple(found.values())


def _chosen(choice: object) -> tuple[list[str], bool]:
    """Return the names of the functions that a choice allows, and whether it asks for a call of one of them."""
    given = choice if isinstance(choice, Mapping) else {}
    allowed = given.get("allowed_tools", given)
    try:
        if given.get("type") == "function":
            return [_name(given)], True
        if given.get("type") == "allowed_tools" and allowed["mode"] in ("auto", "required"):
            return [_name(tool) for tool in allowed["tools"]], allowed["mode"] == "required"
    except (KeyError, TypeError):
        pass
    raise RequestError(f"tool_choice = {shown(choice)}: must be {_CHOICES}")


def _name(tool: Mapping[str, Any]) -> str:
    return str(tool.get("function", tool)["name"])
