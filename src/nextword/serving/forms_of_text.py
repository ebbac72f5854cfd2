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
_FORMS = {"json": "schema", "regex": "regex", "choice": "choice", "grammar": "grammar"}
"""Keys of vLLM's structured_outputs -> our names."""


def form_overrides(fields: Fields) -> dict[str, Any]:
    """Return the form that a request asks for. Raises ApiError naming the field."""
    found: dict[str, Any] = {}
    if (wanted := fields.take("response_format", Mapping[str, Any])) is not None:
        found |= _response_format(wanted)
    if (wanted := fields.take("structured_outputs", Mapping[str, Any])) is not None:
        found |= _structured_outputs(wanted)
    return found


def _response_format(wanted: Mapping[str, Any]) -> dict[str, Any]:
    name, kind = "response_format", wanted.get("type")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"schema": with_param(name, checked, "schema", wanted.get("schema", _ANY_OBJECT))}
    if kind != "json_schema":
        raise ApiError(f"{name}.type = {shown(kind)}: must be one of text, json_object, json_schema", param=name)
    holder = wanted.get("json_schema")
    schema = holder.get("schema") if isinstance(holder, Mapping) else None
    if not isinstance(schema, Mapping):
        raise ApiError(f"{name}.json_schema.schema = {shown(schema)}: must be a JSON schema", param=name)
    return {"schema": with_param(name, checked, "schema", schema)}


def _structured_outputs(wanted: Mapping[str, Any]) -> dict[str, Any]:
    name = "structured_outputs"
    given = Fields(wanted, _FORMS)
    found = {_FORMS[key]: value for key, value in given.body.items() if value is not None}
    if len(found) != 1:
        raise ApiError(f"{name} = {shown(wanted)}: must have one of {', '.join(_FORMS)}", param=name)
    return {form: with_param(name, checked, form, value) for form, value in found.items()}
