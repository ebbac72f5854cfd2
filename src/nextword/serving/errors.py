"""`ApiError`: an error as an HTTP client gets it, in OpenAI's form: message, type, param and code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nextword.checks import shown
from nextword.errors import NextwordError, OutOfMemoryError, StepInterruptedError
from nextword.serving.encoding import to_json

INVALID = "invalid_request_error"
UNAVAILABLE = "unavailable_error"


class ApiError(NextwordError):
    """An answer that says what was wrong with a request, or that it cannot be served now."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe the error; `details`: further fields of its JSON, `headers`: of the response."""
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})
        self.details = dict(details or {})

    def body(self) -> dict[str, Any]:
        """Return the JSON of the response."""
        known = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return {"error": {**known, **self.details}}

    def response(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return the headers and the body of the response, in bytes."""
        body = to_json(self.body())
        headers = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()], body


def refusal(error: NextwordError, param: str | None = None) -> ApiError:
    """Return the answer to a request that the library refuses."""
    if isinstance(error, OutOfMemoryError):
        return overloaded(f"memory is lacking: {error}")
    if isinstance(error, StepInterruptedError):
        return interrupted()
    return error if isinstance(error, ApiError) else ApiError(str(error), param=param)


def model_not_found(name: str, known: Iterable[str]) -> ApiError:
    """Return the answer to a request for a model that is not served."""
    message = f"model = {shown(name)}: is not served here; the models are {', '.join(known)}"
    return ApiError(message, status=404, kind="not_found_error", param="model", code="model_not_found")


def context_exceeded(num_tokens: int, context: int, param: str) -> ApiError:
    """Return the answer to a prompt longer than the context; the figures are in the JSON, too."""
    return ApiError(
        f"{param}: has {num_tokens} tokens and the model's context is {context}: shorten it",
        param=param,
        code="context_length_exceeded",
        details={"n_prompt_tokens": num_tokens, "n_ctx": context},
    )


def queue_full(retry_after: int) -> ApiError:
    """Return the answer while too many requests wait; `retry_after`: seconds."""
    return ApiError(
        f"too many requests are waiting: try again in {retry_after} s",
        status=429,
        kind="rate_limit_error",
        code="queue_full",
        headers={"Retry-After": str(retry_after)},
    )


def too_much_at_once() -> ApiError:
    """Return the answer to a body beyond the memory that all bodies together may take."""
    return ApiError(
        "the bodies of the requests that are computed take all the memory there is for them: try again later",
        status=429,
        kind="rate_limit_error",
        code="bodies_too_large",
        headers={"Retry-After": "5"},
    )


def loading() -> ApiError:
    """Return the answer before the model is loaded."""
    message = "the model is being loaded: try again later"
    return ApiError(message, status=503, kind=UNAVAILABLE, code="model_loading", headers={"Retry-After": "2"})


def too_many_connections() -> ApiError:
    """Return the answer on a connection beyond the limit."""
    message = "too many connections are open: try again later"
    return ApiError(message, status=503, kind=UNAVAILABLE, code="too_many_connections", headers={"Retry-After": "5"})


def overloaded(message: str) -> ApiError:
    """Return the answer to a request that was ended because memory is lacking."""
    return ApiError(message, status=503, kind=UNAVAILABLE, code="server_overloaded", headers={"Retry-After": "5"})


def interrupted() -> ApiError:
    """Return the answer to a request whose step ended in a fault that is not its own."""
    message = "the step that computed this was interrupted: ask again"
    return ApiError(message, status=503, kind=UNAVAILABLE, code="step_interrupted", headers={"Retry-After": "1"})


def shutting_down() -> ApiError:
    """Return the answer while the server ends."""
    return ApiError(
        "the server is shutting down", status=503, kind=UNAVAILABLE, code="shutting_down", headers={"Retry-After": "5"}
    )


def cancelled() -> ApiError:
    """Return the answer to a request that someone else has ended."""
    message = "the request was cancelled: DELETE /v1/requests was called with its id"
    retry = {"x-should-retry": "false"}
    return ApiError(message, status=503, kind=UNAVAILABLE, code="request_cancelled", headers=retry)


def not_running() -> ApiError:
    """Return the answer while nothing can be computed."""
    return ApiError("the engine does not run", status=503, kind=UNAVAILABLE, code="engine_ended")


def too_late(seconds: float) -> ApiError:
    """Return the answer to a request that was not computed within its deadline."""
    message = f"the request was not computed within {seconds:g} s: ask for less"
    return ApiError(message, status=408, kind="timeout_error", code="deadline_exceeded")


def internal(request_id: str) -> ApiError:
    """Return the answer to a request that a fault of the server ended; its cause is in the log under the id."""
    return ApiError(
        f"the server failed to compute this; its log says why under {request_id}",
        status=500,
        kind="server_error",
        code="internal_error",
        headers={"x-should-retry": "false"},
    )
