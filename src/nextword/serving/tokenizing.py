"""The routes of the tokenizer: text to token ids and back, its special tokens, conversations as the model sees them.

They take the fields of llama.cpp's server and of vLLM's, and answer with those of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextword.errors import NextwordError
from nextword.serving.errors import ApiError, refusal
from nextword.serving.fields import Fields
from nextword.serving.handlers import JsonResponse, ignored_by, read_request
from nextword.serving.preparing import encode_messages
from nextword.serving.service import Service
from nextword.text.tokenizer import Tokenizer

_CHAT = (
    *("messages", "add_generation_prompt", "continue_final_message", "chat_template_kwargs"),
    *("tools", "tool_choice"),
)
TOKENIZE_FIELDS = (
    *("model", "content", "prompt", "add_special", "add_special_tokens", "parse_special", "with_pieces"),
    *("return_token_strs", *_CHAT),
)
DETOKENIZE_FIELDS = ("model", "tokens")
TEMPLATE_FIELDS = ("model", *_CHAT)


async def tokenize(request: Request) -> Response:
    """Answer `POST /tokenize`."""

    ignored = ignored_by(request)

    def work(service: Service, body: Mapping[str, Any]) -> dict[str, Any]:
        fields = Fields(body, TOKENIZE_FIELDS, ignored=ignored)
        tokenizer = service.lm.tokenizer
        name = _what(fields)
        token_ids = _chat_ids(service, body) if name == "messages" else _text_ids(fields, name, tokenizer)
        tokens: list[Any] = list(token_ids)
        if fields.take("with_pieces", bool, False):
            tokens = [{"id": token_id, "piece": _piece(tokenizer, token_id)} for token_id in token_ids]
        strings = fields.take("return_token_strs", bool, False)
        return {
            "tokens": tokens,
            "count": len(tokens),
            "max_model_len": service.lm.engine.backend.max_seq_len,
            "token_strs": [tokenizer.token_text(token_id) for token_id in token_ids] if strings else None,
        }

    return await _answered(request, work, param="prompt")


async def detokenize(request: Request) -> Response:
    """Answer `POST /detokenize`; control tokens are shown as they are written."""

    ignored = ignored_by(request)

    def work(service: Service, body: Mapping[str, Any]) -> dict[str, Any]:
        fields = Fields(body, DETOKENIZE_FIELDS, ignored=ignored)
        tokens = fields.take("tokens", Sequence[int])
        if tokens is None:
            raise ApiError("tokens: must be given, a list of token ids", param="tokens")
        text = service.lm.tokenizer.decode(tokens, skip_special_tokens=False)
        return {"content": text, "prompt": text}

    return await _answered(request, work, param="tokens")


async def apply_template(request: Request) -> Response:
    """Answer `POST /apply-template`: a conversation as the text that the model sees."""

    ignored = ignored_by(request)

    def work(service: Service, body: Mapping[str, Any]) -> dict[str, Any]:
        Fields(body, TEMPLATE_FIELDS, ignored=ignored)
        asked = service.reader.chat(_of_chat(body))
        begins = asked.add_generation_prompt
        tokenizer = service.lm.tokenizer
        return {"prompt": tokenizer.render_chat(asked.messages, add_generation_prompt=begins, **asked.rendering)}

    return await _answered(request, work, param="messages")


async def tokenizer_info(request: Request) -> Response:
    """Answer `GET /tokenizer_info`."""
    service: Service = request.app.state.service
    tokenizer = service.lm.tokenizer
    named = {role: tokenizer.special_variables.get(role) for role in ("bos_token", "eos_token", "pad_token")}
    known = {"vocab_size": tokenizer.vocab_size, "chat_template": tokenizer.chat_template}
    return JsonResponse({"tokenizer_class": "PreTrainedTokenizerFast", **named, **known})


async def _answered(
    request: Request, work: Callable[[Service, Mapping[str, Any]], dict[str, Any]], *, param: str | None = None
) -> Response:
    """Do the work for a body in a thread."""
    service, body = await read_request(request)

    def answer() -> dict[str, Any]:
        try:
            return work(service, body)
        except NextwordError as error:
            raise refusal(error, "messages" if body.get("messages") is not None else param) from None

    return await service.in_thread(lambda: JsonResponse(answer()), num_bytes=request.state.num_body_bytes)


def _what(fields: Fields) -> str:
    """Return the name of the one field that holds what is encoded. Raises ApiError for none, or several."""
    given = [name for name in ("messages", "content", "prompt") if fields.has(name)]
    for name in ("content", "prompt"):
        fields.take(name, str)
    if len(given) != 1:
        message = f"{' and '.join(given) or 'prompt'}: must be one of prompt, content and messages"
        raise ApiError(message, param=given[0] if given else "prompt")
    of_chat = next((name for name in _CHAT if fields.has(name)), None)
    if of_chat is not None and given != ["messages"]:
        raise ApiError(f"{of_chat}: may be given with messages alone", param=of_chat)
    return given[0]


def _text_ids(fields: Fields, name: str, tokenizer: Tokenizer) -> list[int]:
    """Encode `content` as llama.cpp, without tokens around it unless asked for; `prompt` as vLLM, with them."""
    flag = "add_special" if fields.has("add_special") else "add_special_tokens"
    adds = fields.take(flag, bool, name == "prompt")
    special = fields.take("parse_special", bool, True)
    return tokenizer.encode(fields.take(name, str), add_special_tokens=adds, parse_special=special)


def _chat_ids(service: Service, body: Mapping[str, Any]) -> list[int]:
    return encode_messages(service.lm.engine, service.reader.chat(_of_chat(body)))


def _of_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in TEMPLATE_FIELDS}


def _piece(tokenizer: Tokenizer, token_id: int) -> str | list[int]:
    """Return a token's text; its bytes where they are no text of their own."""
    data = tokenizer.token_bytes(token_id)
    try:
        return data.decode() or tokenizer.token_text(token_id)
    except UnicodeDecodeError:
        return list(data)
