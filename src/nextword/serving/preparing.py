"""`prepare`: what a request asks for becomes requests of the engine: prompts encoded, forms compiled, sizes checked.

It takes long for long prompts, so the server calls it in a thread beside the event loop; it needs no lock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nextword.errors import NextwordError
from nextword.inference.answering import answer_options
from nextword.inference.engine import Engine, SubmitOptions
from nextword.inference.sequence import Request
from nextword.inference.stop_strings import StopStrings
from nextword.serving.asked import Asked, ChatAsked, CompletionAsked
from nextword.serving.errors import ApiError, context_exceeded, refusal
from nextword.serving.forms_of_text import FORMS
from nextword.serving.sampling_fields import param_of
from nextword.serving.tools import check_calls_are_found
from nextword.text.tokenizer import Tokenizer


def prepare(engine: Engine, asked: CompletionAsked | ChatAsked) -> list[Request]:
    """Return a request for each prompt. Raises ApiError for one that the model cannot take."""
    if isinstance(asked, ChatAsked):
        return [prepare_chat(engine, asked)]
    how: SubmitOptions = {}
    if asked.negative_prompt is not None:
        how["negative_prompt"] = encode_prompt(engine, asked, asked.negative_prompt)
    return [_prepare(engine, asked, encode_prompt(engine, asked, one), "prompt", how) for one in asked.prompts]


def prepare_chat(engine: Engine, asked: ChatAsked) -> Request:
    """Return the request for a conversation's next message."""
    try:
        prompt = encode_messages(engine, asked)
        how = answer_options(engine.tokenizer, asked.rendering)
    except NextwordError as error:
        raise _of_conversation(error) from None
    check_calls_are_found(asked.rendering, how)
    return _prepare(engine, asked, prompt, "messages", how)


def _of_conversation(error: NextwordError) -> ApiError:
    """Return the answer to a conversation that is refused; it names the field as a request has it."""
    message = str(error)
    if message.startswith("template_variables"):
        message = message.replace("template_variables", "chat_template_kwargs", 1)
        return ApiError(message, param="chat_template_kwargs")
    return refusal(error, next((name for name in ("tool_choice", "tools") if f"{name}:" in message), "messages"))


def encode_messages(engine: Engine, asked: ChatAsked) -> list[int]:
    """Return a conversation's token ids."""
    begins = asked.add_generation_prompt
    return engine.tokenizer.encode_chat(asked.messages, add_generation_prompt=begins, **asked.rendering)


def encode_prompt(engine: Engine, asked: CompletionAsked, prompt: str | Sequence[int | str]) -> list[int]:
    """Return the token ids of a prompt: of a text as `generate` encodes it, of texts among ids as they stand there."""
    tokenizer = engine.tokenizer
    special = asked.parse_special
    try:
        if isinstance(prompt, str) and asked.add_special_tokens:
            return tokenizer.encode_prompt(prompt, parse_special=special)
        if isinstance(prompt, str):
            return tokenizer.encode(prompt, add_special_tokens=False, parse_special=special)
        token_ids: list[int] = []
        for part in prompt:
            if isinstance(part, int):
                token_ids.append(part)
            elif token_ids:
                token_ids += tokenizer.encode_continuation(part)
            else:
                token_ids += tokenizer.encode_prompt(part, parse_special=special)
        return token_ids
    except NextwordError as error:
        raise refusal(error, "prompt") from None


def _prepare(engine: Engine, asked: Asked, prompt: list[int], name: str, how: SubmitOptions) -> Request:
    """Check a prompt's length, which has an error of its own, and let the engine prepare the request."""
    context = engine.backend.max_seq_len
    if len(prompt) + (0 if asked.params.max_tokens == 0 else 1) > context:
        raise context_exceeded(len(prompt), context, name)
    predicted = engine.tokenizer.encode(asked.prediction, add_special_tokens=False) if asked.prediction else []
    options: SubmitOptions = {**how, "adapter": asked.adapter, "prediction": predicted}
    params = asked.params
    if asked.prompt_logprobs is not None:
        params = dataclasses.replace(params, logprobs=max(asked.prompt_logprobs, params.logprobs or 0))
    if asked.ignore_eos:
        options["end_token_ids"] = ()
        params = dataclasses.replace(params, stop_token_ids=())
    try:
        return _reporting(engine.prepare(prompt, params, **options), asked, engine.tokenizer)
    except NextwordError as error:
        param = param_of(error)
        is_about_form = param in FORMS or str(error).startswith("tools")
        raise refusal(error, (is_about_form and asked.form_param) or param or name) from None


def _reporting(request: Request, asked: Asked, tokenizer: Tokenizer) -> Request:
    """Let a request that has not begun show what an answer of its own would not."""
    request.reports_prompt = asked.prompt_logprobs is not None
    if not asked.skip_special_tokens:
        request.shown_control_ids = tokenizer.special_ids
    if asked.include_stop_str_in_output:
        request.stop = StopStrings(asked.params.stop, tokenizer, are_shown=True)
    return request
