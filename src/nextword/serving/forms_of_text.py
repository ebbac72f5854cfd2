"""`form_overrides`: the form that a text must have, as OpenAI and vLLM say it, as keywords of `SamplingParams`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.checks import shown
from nextword.decoding.params import checked
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields, with_param

FORM_NAMES = ("response_format", "structured_outputs")
"""Fields that `form_overrides` reads."""
FORMS = ("schema", "json_schema", "regex", "grammar", "choice")
"""Fields that give a form by the names of `SamplingParams`, or another of these."""
_ANY_OBJECT = {"type": "object"}
NAMED: Mapping[str, Any] = {"name": str, "description": str, "strict": bool, "schema": Any, "type": str}
"""Fields of response_format.json_schema, and their types; text.format of `/v1/responses` has its type there, too."""
STRUCTURED = {"json": "schema", "regex": "regex", "choice": "choice", "grammar": "grammar"}
"""Keys of vLLM's structured_outputs -> our names."""


def form_overrides(fields: Fields) -> dict[str, Any]:
    """Return the form that a request asks for. Raises ApiError naming the field."""
    found: dict[str, Any] = {}
    if fields.has("response_format"):
        found |= _response_format(fields)
    if fields.has("structured_outputs"):
        found |= _structured_outputs(fields)
    return found


def _response_format(fields: Fields) -> dict[str, Any]:
    name = "response_format"
    kind = fields.take(name, Mapping[str, Any]).get("type")
    known = {"text": ("type",), "json_object": ("type", "schema"), "json_schema": ("type", "json_schema")}
    if not isinstance(kind, str) or kind not in known:
        raise ApiError(f"{name}.type = {shown(kind)}: must be one of {', '.join(known)}", param=name)
    form = fields.inner(name, known[kind])
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"schema": with_param(name, checked, "schema", form.body.get("schema", _ANY_OBJECT))}
    within, holder = f"{name}.json_schema", form.inner("json_schema", NAMED)
    for field, hint in NAMED.items():
        holder.take(field, hint)
    schema = holder.body.get("schema")
    if not isinstance(schema, Mapping):
        raise ApiError(f"{within}.schema = {shown(schema)}: must be a JSON schema", param=f"{within}.schema")
    return {"schema": with_param(name, checked, "schema", schema)}


def _structured_outputs(fields: Fields) -> dict[str, Any]:
    name = "structured_outputs"
    given = fields.inner(name, STRUCTURED)
    found = {own: given.body[key] for key, own in STRUCTURED.items() if given.has(key)}
    if len(found) != 1:
        raise ApiError(f"{name} = {shown(given.body)}: must have one of {', '.join(STRUCTURED)}", param=name)
    return {form: with_param(name, checked, form, value) for form, value in found.items()}
