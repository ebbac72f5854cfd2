"""Clients that others wrote talk with the server as it is: openai, LangChain, llm, curl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

import nextword as nw
from tests.serving.client import Client

openai = pytest.importorskip("openai")
pydantic = pytest.importorskip("pydantic")

MESSAGES = [{"role": "user", "content": "ab"}]
ASKED: dict[str, Any] = {"model": "tiny", "max_tokens": 8, "seed": 3}
CHAT: dict[str, Any] = {**ASKED, "messages": MESSAGES}


class Verdict(pydantic.BaseModel):  # type: ignore[misc, name-defined, unused-ignore]
    """An answer with a form."""

    verdict: Literal["yes", "no"]


@pytest.fixture(scope="module")
def sync(client: Client) -> Iterator[Any]:
    """OpenAI's client, which checks the types of what it gets."""
    with openai.OpenAI(base_url=f"{client.url}/v1", api_key="none", _strict_response_validation=True) as found:
        yield found


def asynchronous(client: Client) -> Any:
    """OpenAI's asynchronous client, which checks types as well."""
    return openai.AsyncOpenAI(base_url=f"{client.url}/v1", api_key="none", _strict_response_validation=True)


def answer(lm: nw.LanguageModel, **params: Any) -> str:
    """Return the answer in process."""
    return lm.chat(MESSAGES, **{"max_tokens": 8, "seed": 3, **params}).text


def test_models(sync: Any) -> None:
    assert [model.id for model in sync.models.list()] == ["tiny"]
    assert sync.models.retrieve("tiny").owned_by == "nextword"
    with pytest.raises(openai.NotFoundError) as raised:
        sync.models.retrieve("gpt-4")
    assert raised.value.code == "model_not_found"


def test_completions_whole_raw_and_streamed(sync: Any, lm: nw.LanguageModel) -> None:
    expected = lm.generate("ab", max_tokens=8, seed=3).completions[0].text
    asked = {**ASKED, "prompt": "ab", "logprobs": 2, "user": "x", "top_p": 1, "frequency_penalty": 0}
    assert sync.completions.create(**asked).choices[0].text == expected
    assert sync.completions.create(**{**asked, "logprobs": None}, echo=True).choices[0].text == "ab" + expected
    raw = sync.completions.with_raw_response.create(**asked)
    assert raw.parse().choices[0].text == expected
    assert raw.headers["x-request-id"]
    with openai.OpenAI(base_url=sync.base_url, api_key="none") as lenient:  # its type has no null before the end
        chunks = list(lenient.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == expected
    assert chunks[-1].usage.prompt_tokens == 2


def test_chat_whole_and_streamed_by_events(sync: Any, lm: nw.LanguageModel) -> None:
    form = {"regex": "[abc]{4}"}  # the client raises an error for a stream that ends by its length
    expected = answer(lm, **form)
    whole = sync.chat.completions.create(**CHAT, logprobs=True, top_logprobs=3, extra_body=form)
    assert whole.choices[0].message.content == expected
    asked = {**CHAT, "logprobs": True, "stream_options": {"include_usage": True}, "extra_body": form}
    with sync.chat.completions.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done", "logprobs.content.delta", "logprobs.content.done"} == set(kinds)
    assert final.choices[0].message.content == expected
    assert final.usage.total_tokens == whole.usage.total_tokens
    assert final.choices[0].logprobs.content[0].logprob == whole.choices[0].logprobs.content[0].logprob


def test_a_stream_may_be_left(sync: Any, client: Client) -> None:
    for _ in range(5):
        stream = sync.chat.completions.create(**{**CHAT, "max_tokens": None}, stream=True)
        next(iter(stream))
        stream.close()
    assert client.get("/health").status == 200


@pytest.mark.parametrize("is_streamed", [False, True])
def test_structured_outputs_are_parsed(sync: Any, is_streamed: bool) -> None:
    asked = {**CHAT, "max_tokens": 40, "response_format": Verdict}
    if is_streamed:
        with sync.chat.completions.stream(**asked) as stream:
            parsed = stream.get_final_completion().choices[0].message.parsed
    else:
        parsed = sync.chat.completions.parse(**asked).choices[0].message.parsed
    assert isinstance(parsed, Verdict)


def test_errors_have_the_classes_of_the_client(sync: Any) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        sync.chat.completions.create(**CHAT, top_logprobs=2)
    assert (raised.value.param, raised.value.type) == ("top_logprobs", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as raised:
        sync.chat.completions.create(**{**CHAT, "messages": [{"role": "user", "content": "a" * 99}]}, stream=True)
    assert raised.value.code == "context_length_exceeded"
    with pytest.raises(openai.LengthFinishReasonError):
        sync.chat.completions.parse(**{**CHAT, "max_tokens": 1}, response_format=Verdict)


def test_many_requests_of_one_asynchronous_client(client: Client, lm: nw.LanguageModel) -> None:
    async def ask(chat: Any, seed: int) -> str:
        if seed % 2:
            return str((await chat.create(**{**CHAT, "seed": seed})).choices[0].message.content)
        chunks: AsyncIterator[Any] = await chat.create(**{**CHAT, "seed": seed}, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    async def ask_all() -> list[str]:
        async with asynchronous(client) as found:
            return await asyncio.gather(*(ask(found.chat.completions, seed) for seed in range(16)))

    assert asyncio.run(ask_all()) == [answer(lm, seed=seed) for seed in range(16)]


def test_asynchronous_events_and_parsing(client: Client) -> None:
    async def ask() -> Any:
        async with asynchronous(client) as found:
            asked = {**CHAT, "max_tokens": 40, "response_format": Verdict}
            async with found.chat.completions.stream(**asked) as stream:
                streamed = await stream.get_final_completion()
            return streamed, await found.chat.completions.parse(**asked)

    streamed, whole = asyncio.run(ask())
    assert streamed.choices[0].message.parsed == whole.choices[0].message.parsed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(client: Client, lm: nw.LanguageModel) -> None:
    command = ["curl", "-sS", "--fail-with-body", f"{client.url}/v1/chat/completions"]
    command += ["-H", "Content-Type: application/json", "-d", json.dumps(CHAT)]
    whole = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    assert json.loads(whole)["choices"][0]["message"]["content"] == answer(lm)
    command = [*command[:-1], json.dumps({**CHAT, "stream": True}), "-N"]
    streamed = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout.decode()
    assert streamed.endswith("data: [DONE]\n\n")


@pytest.mark.peer
def test_langchain(client: Client, lm: nw.LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    langchain = pytest.importorskip("langchain_openai")
    model = langchain.ChatOpenAI(
        base_url=f"{client.url}/v1", api_key="none", model="tiny", max_tokens=8, seed=3, stream_usage=True
    )
    assert model.invoke("ab").content == answer(lm)
    chunks = list(model.stream("ab"))
    assert "".join(chunk.content for chunk in chunks) == answer(lm)
    assert any(chunk.usage_metadata for chunk in chunks)


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_llm(client: Client, lm: nw.LanguageModel, tmp_path: Path, kind: str) -> None:
    """The command `llm`, told of the server as its documentation says, whole and streamed."""
    pytest.importorskip("llm")
    model = {"model_id": "served", "model_name": "tiny", "api_base": f"{client.url}/v1", "api_key_name": "none"}
    extra = {"completion": True} if kind == "completion" else {}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([{**model, **extra}]))
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none"}
    expected = answer(lm) if kind == "chat" else lm.generate("ab", max_tokens=8, seed=3).text
    for flag in (["--no-stream"], []):
        command = [sys.executable, "-m", "llm", "-m", "served", *flag, "-n", "--key", "none", "ab"]
        command += ["-o", "max_tokens", "8", "-o", "seed", "3"]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode().strip() == expected.strip()
