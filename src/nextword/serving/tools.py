"""Tools in requests: `tool_options` reads the fields that are about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nextword.errors import RequestError
from nextword.inference.engine import SubmitOptions
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields
from nextword.serving.limits import Limits
from nextword.text.chat_options import ChatOptions
from nextword.text.tool_use import read_tool_choice


def tool_options(fields: Fields, limits: Limits) -> ChatOptions:
    """Return `tools`, `tool_choice` and `parallel_tool_calls` as keywords of a chat. Raises ApiError naming one."""
    tools = fields.take("tools", list[Mapping[str, Any]], [])
    if len(tools) > limits.max_tools:
        most = limits.max_tools
        raise ApiError(f"tools: has {len(tools)}, and at most {most} are allowed", param="tools")
    options: ChatOptions = {
        "tools": tools or None,
        "tool_choice": fields.body.get("tool_choice"),
        "parallel_tool_calls": fields.take("parallel_tool_calls", bool, True),
    }
    try:
        read_tool_choice(options)
    except RequestError as error:
        param = "tool_choice" if str(error).startswith("tool_choice") else "tools"
        raise ApiError(str(error), param=param) from None
    return options


def check_calls_are_found(rendering: ChatOptions, how: SubmitOptions) -> None:
    """Raise ApiError for tools whose calls the model would write in a form that is not known here."""
    if how["tool_use"] is None and read_tool_choice(rendering) is not None:
        message = "tools: the model's chat template writes calls in no form that is known here; leave them out"
        raise ApiError(message, param="tools")
