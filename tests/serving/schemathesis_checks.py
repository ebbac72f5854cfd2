"""A check that schemathesis loads: each answer has the shape of its route, and each error says what it is about."""

from __future__ import annotations

from typing import Any

import schemathesis

from tests.serving.client import Answer, check

_OF_NO_FIELD = ("the body ", "every token is forbidden ")
"""Beginnings of messages about a whole request, or about fields that together leave nothing."""


@schemathesis.check
def is_in_form(_: Any, response: Any, case: Any) -> None:
    """Chunks of streams are looked at as well; an error is short, one line, and names a field or the body."""
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    answer = Answer(response.status_code, headers, response.content)
    if case.method == "HEAD":
        return
    check(case.path, answer)
    if answer.status >= 400:
        assert len(answer.body) < 2000
        assert answer.error["message"].isprintable()
    if answer.status == 400:
        assert answer.error["type"] == "invalid_request_error"
        assert answer.error["param"] is not None or answer.error["message"].startswith(_OF_NO_FIELD)
