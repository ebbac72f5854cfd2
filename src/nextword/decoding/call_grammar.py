"""`call_constraint`: calls of tools as a form of text: the model's own syntax, the tools' names, and their schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator

from nextword.decoding.constraint import Constraint, check_schema
from nextword.decoding.lark_text import json_symbol
from nextword.decoding.tagged_calls import literal, tagged_call
from nextword.errors import RequestError
from nextword.text.tool_syntax import CALL_ID
from nextword.text.tool_use import ToolUse


def call_constraint(use: ToolUse, answer: Constraint | None) -> Constraint | None:
    """Return the form of an answer that may, or must, call tools; None if it has none.

    `answer`: form of the text where it calls none. Raises RequestError for one that is no JSON schema.
    """
    if answer is not None and answer.kind != "schema":
        raise RequestError(
            f"{answer.kind} with tools: an answer that may call tools can have the form of a schema alone"
        )
    if not use.has_form and answer is None:
        return None
    if use.syntax.quote != '"':
        raise RequestError(
            "tools: this model's calls are no JSON, and are held to no form: leave out tool_choice, strict, a schema"
            " and parallel_tool_calls"
        )
    schemas = [Constraint("schema", str(check_schema(one.place, one.parameters))) for one in use.functions]
    if answer is not None and not use.is_required:
        schemas.append(answer)
    return Constraint("tools", "\n".join(_rules(use, schemas)), tuple(schemas))


def _rules(use: ToolUse, schemas: list[Constraint]) -> Iterator[str]:
    """Yield the rules in Lark's language; the schema behind those of the functions is that of the text."""
    syntax, count = use.syntax, len(use.functions)
    again = f" ({literal(syntax.again)} call)*" if use.is_parallel and syntax.again else ""
    rest = f"call{again} {literal(syntax.end)}"
    if use.is_required:
        yield f"start: {literal(syntax.begin)} {rest}"
    elif len(schemas) > count:
        yield f"start: {json_symbol(schemas[-1])} | {literal(syntax.begin)} {rest}"
    elif syntax.mark:
        yield f"start: TEXT | called {literal(syntax.begin.removeprefix(syntax.mark))} {rest}"
        yield f"called[lazy]: TEXT {json.dumps(syntax.mark, ensure_ascii=False)}"
        yield r"TEXT: /(.|\n)*/"
    else:
        yield f"start: TEXT | {literal(syntax.begin)} {rest}"
        yield r"TEXT: /([ \t\r\n]*[^ \t\r\n{](.|\n)*)?/"
    yield "call: " + " | ".join(f"call_{index}" for index in range(count))
    for index, (function, schema) in enumerate(zip(use.functions, schemas, strict=False)):
        named = literal(function.name + syntax.between)
        if syntax.tags is None:
            yield f"call_{index}: {named} {json_symbol(schema, syntax.separators)}"
        else:
            yield from tagged_call(f"call_{index}", named, syntax.tags, function)
    yield f"CALL_ID: /[a-zA-Z0-9]{{{len(CALL_ID)}}}/"
    yield "CALL_NUMBER: /[0-9]{1,3}/"
