"""A client of the tests: plain HTTP by the standard library, so that nothing stands between a test and the server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.serving.openai_schema import check_answer


@dataclass(frozen=True)
class Answer:
    """A response that was read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """The error, which always has four fields."""
        error = self.json["error"]
        assert {"message", "type", "param", "code"} <= error.keys()
        return error


class Client:
    """Sends requests to one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = urlsplit(url).netloc

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection."""
        return http.client.HTTPConnection(self.address, timeout=60)

    def get(self, path: str, **headers: str) -> Answer:
        """Send a GET request."""
        return self.send("GET", path, None, headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """Send JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, data, {"content-type": "application/json", **headers})

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send a request and read the response."""
        connection = self.connect()
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            known = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, known, response.read())
        finally:
            connection.close()
        if method != "HEAD":
            check(path, answer)
        return answer

    def stream(self, path: str, body: Mapping[str, Any]) -> list[Any]:
        """Ask for a stream; return its chunks, which end with [DONE]."""
        answer = self.post(path, {**body, "stream": True})
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(events(answer.body, path))

    def complete(self, prompt: Any, **fields: Any) -> Any:
        """Ask for a completion; return the JSON."""
        answer = self.post("/v1/completions", {"prompt": prompt, **fields})
        assert answer.status == 200, answer.body
        return answer.json

    def chat(self, text: str, **fields: Any) -> Any:
        """Ask for the answer to a text; return the JSON."""
        messages = [{"role": "user", "content": text}]
        answer = self.post("/v1/chat/completions", {"messages": messages, **fields})
        assert answer.status == 200, answer.body
        return answer.json


def check(path: str, answer: Answer) -> None:
    """Check an answer's shape against OpenAI's schema."""
    kind = answer.headers.get("content-type", "")
    if kind.startswith("application/json"):
        check_answer(path, answer.json, status=answer.status)
    elif kind.startswith("text/event-stream"):
        for chunk in events(answer.body, path):
            check_answer(path, chunk, is_chunk=True)


def events(data: bytes, path: str = "/v1/completions") -> Iterator[Any]:
    """Yield the JSON of server-sent events: the last is [DONE], or each has a name, as OpenAI has them by the route."""
    lines = [line for line in data.decode().split("\n\n") if line and not line.startswith(":")]
    is_named = path == "/v1/responses"
    if not is_named:
        assert lines.pop() == "data: [DONE]"
    for line in lines:
        name, _, line = line.rpartition("\n")
        assert line.startswith("data: ")
        value = json.loads(line.removeprefix("data: "))
        assert name == (f"event: {value['type']}" if is_named else "")
        yield value
