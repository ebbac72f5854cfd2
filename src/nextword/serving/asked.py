"""`CompletionAsked`, `ChatAsked`: the bodies of the two endpoints that generate text, as checked dataclasses.

One validation for the server and for whoever else has bodies in OpenAI's form. The sampling parameters are those of
`SamplingParams`, with the checkpoint's defaults.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nextword.checks import is_unicode, shown
from nextword.decoding.params import SamplingParams
from nextword.errors import NextwordError, TokenizerError
from nextword.language_model import LanguageModel
from nextword.serving.elsewhere import IGNORED, NOT_SERVED
from nextword.serving.errors import ApiError, model_not_found, refusal
from nextword.serving.fields import Fields, Ignored
from nextword.serving.forms_of_text import FORM_NAMES, FORMS, form_overrides
from nextword.serving.limits import Limits
from nextword.serving.reports import REPORT_FIELDS, Reports, num_alternatives, read_reports
from nextword.serving.sampling_fields import NAMES, biases_of_allowed, param_of, sampling_overrides
from nextword.serving.tools import tool_options
from nextword.text.chat_options import ChatOptions
from nextword.text.chat_template import template_variables

TextPrompt = str | Sequence[int]
"""A prompt as text, or as token ids."""

_COMMON = (
    *("model", "logprobs", "prediction", "ignore_eos", "add_special_tokens", "allowed_token_ids"),
    *("include_stop_str_in_output", "skip_special_tokens"),
    *(*REPORT_FIELDS, *NAMES, *FORM_NAMES, *IGNORED, *NOT_SERVED),
)
COMPLETION_FIELDS = (*_COMMON, "prompt", "echo", "best_of", "parse_special", "negative_prompt")
CHAT_FIELDS = (
    *(*_COMMON, "messages", "top_logprobs", "chat_template_kwargs", "continue_final_message"),
    *("add_generation_prompt", "tools", "tool_choice", "parallel_tool_calls"),
)


@dataclass(frozen=True, kw_only=True)
class Asked(Reports):
    """Fields of both endpoints."""

    model: str
    """Name of the model, or of an adapter."""
    adapter: str | None
    params: SamplingParams
    form_param: str | None = None
    """Field that gives the text a form, for messages."""
    prediction: str | None = None
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    skip_special_tokens: bool = True


@dataclass(frozen=True, kw_only=True)
class CompletionAsked(Asked):
    """The body of `/v1/completions`."""

    prompts: tuple[TextPrompt | Sequence[str | int], ...]
    """Prompts as text, token ids, or both."""
    parse_special: bool = False
    add_special_tokens: bool = True
    negative_prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChatAsked(Asked):
    """The body of `/v1/chat/completions`."""

    messages: Sequence[Mapping[str, Any]]
    rendering: ChatOptions = field(default_factory=lambda: ChatOptions())
    add_generation_prompt: bool = True


class Reader:
    """Reads bodies for one model."""

    def __init__(self, lm: LanguageModel, models: Mapping[str, str | None], limits: Limits) -> None:
        """`models`: adapter by name of a served model, None for the base; the first is the one without a name."""
        self._lm, self._models, self._limits = lm, models, limits
        self._variables = frozenset[str]()
        for template in (lm.tokenizer.chat_template, *lm.tokenizer.named_templates.values()):
            with contextlib.suppress(TokenizerError):  # of a damaged one, which each chat tells
                self._variables |= template_variables(template or "")

    def completion(self, body: Mapping[str, Any], ignored: Ignored = None) -> CompletionAsked:
        """Read the body of `/v1/completions`. Raises ApiError naming the field."""
        fields = Fields(body, COMPLETION_FIELDS, ignored=ignored)
        overrides = {"max_tokens": 16, **self._overrides(fields)}
        overrides["echo"] = fields.take("echo", bool, False)
        overrides["logprobs"] = num_alternatives(fields, "logprobs", self._limits)
        best_of, n = fields.take("best_of", int), overrides.get("n", 1)
        if best_of not in (None, n):
            raise ApiError(f"best_of = {shown(best_of)}: must be n = {n}, or left out", param="best_of")
        params = _params(self._lm.params, overrides)
        if params.max_tokens == 0 and not params.echo:
            raise _nothing(fields, "without echo it must be at least 1")
        return CompletionAsked(
            **self._common(fields),
            params=params,
            prompts=self._prompts(body.get("prompt")),
            parse_special=fields.take("parse_special", bool, False),
            add_special_tokens=fields.take("add_special_tokens", bool, True),
            negative_prompt=fields.take("negative_prompt", str),
        )

    def chat(self, body: Mapping[str, Any], ignored: Ignored = None) -> ChatAsked:
        """Read the body of `/v1/chat/completions`. Raises ApiError naming the field."""
        fields = Fields(body, CHAT_FIELDS, ignored=ignored)
        fields.refuse({"add_special_tokens": (False,)})  # the template says which there are
        overrides = {"max_tokens": None, **self._overrides(fields)}
        overrides["logprobs"] = self._chat_alternatives(fields)
        continues = fields.take("continue_final_message", bool, False)
        begins = fields.take("add_generation_prompt", bool, not continues)
        if begins and continues:
            message = "continue_final_message and add_generation_prompt: the last message is continued, or answered"
            raise ApiError(message, param="continue_final_message")
        params = _params(self._lm.chat_params, overrides)
        if params.max_tokens == 0:
            raise _nothing(fields, "it must be at least 1")
        return ChatAsked(
            **self._common(fields),
            params=params,
            messages=self._messages(fields),
            rendering=self._rendering(fields, continues),
            add_generation_prompt=begins,
        )

    def _overrides(self, fields: Fields) -> dict[str, Any]:
        fields.refuse(NOT_SERVED)
        for name, hint in IGNORED.items():
            fields.take(name, hint)
        found = {**sampling_overrides(fields, self._limits), **form_overrides(fields)}
        if (allowed := fields.take("allowed_token_ids", list[int])) is not None:
            size = self._lm.engine.backend.vocab_size
            found["logit_bias"] = biases_of_allowed(allowed, found.get("logit_bias", {}), size)
        return found

    def _common(self, fields: Fields) -> dict[str, Any]:
        model = fields.take("model", str, next(iter(self._models)))
        return {
            "model": model,
            "adapter": self.adapter(model),
            **read_reports(fields, self._limits),
            "prediction": _prediction(fields),
            "form_param": next((name for name in (*FORM_NAMES, *FORMS, "tools") if fields.body.get(name)), None),
            "ignore_eos": fields.take("ignore_eos", bool, False),
            "include_stop_str_in_output": fields.take("include_stop_str_in_output", bool, False),
            "skip_special_tokens": fields.take("skip_special_tokens", bool, True),
        }

    def adapter(self, model: str) -> str | None:
        """Return the adapter that a model's name stands for. Raises ApiError with status 404 for an unknown name."""
        if model not in self._models:
            raise model_not_found(model, self._models)
        return self._models[model]

    def _chat_alternatives(self, fields: Fields) -> int | None:
        is_wanted = fields.take("logprobs", bool, False)
        count = num_alternatives(fields, "top_logprobs", self._limits)
        if count and not is_wanted:
            raise ApiError("top_logprobs: may be given with logprobs = true alone", param="top_logprobs")
        return (count or 0) if is_wanted else None

    def _prompts(self, prompt: Any) -> tuple[Any, ...]:
        """Return the prompts: of a list of numbers, or of numbers and texts, one; of other lists each item."""
        allowed = "a string, a list of strings, a list of token ids, or a list of such lists"
        if isinstance(prompt, str):
            return (prompt,)
        if not isinstance(prompt, list) or not prompt:
            raise ApiError(f"prompt = {shown(prompt)}: must be {allowed}", param="prompt")
        is_one = any(_is_id(item) for item in prompt)
        prompts = (prompt,) if is_one else tuple(prompt)
        if len(prompts) > self._limits.max_prompts:
            most = self._limits.max_prompts
            raise ApiError(f"prompt: has {len(prompts)} prompts, and at most {most} are allowed", param="prompt")
        for one in prompts:
            is_mixed = isinstance(one, list) and one and all(_is_id(item) or isinstance(item, str) for item in one)
            if not (isinstance(one, str) or is_mixed):
                raise ApiError(f"prompt = {shown(one)}: must be {allowed}", param="prompt")
        return prompts

    def _messages(self, fields: Fields) -> Sequence[Mapping[str, Any]]:
        messages: Sequence[Mapping[str, Any]] = fields.take("messages", Sequence[Mapping[str, Any]], [])
        if not messages:
            raise ApiError("messages: must hold at least one message", param="messages")
        if len(messages) > self._limits.max_messages:
            most = self._limits.max_messages
            raise ApiError(f"messages: has {len(messages)}, and at most {most} are allowed", param="messages")
        return messages

    def _rendering(self, fields: Fields, continues: bool) -> ChatOptions:
        rendering: ChatOptions = {"continue_final_message": continues, **tool_options(fields, self._limits)}
        given = fields.take("chat_template_kwargs", Mapping[str, Any], {})
        # What the template does not read changes no text; naming it in a warning would put text of clients in a log.
        rendering["template_variables"] = {name: given[name] for name in given if name in self._variables}
        return rendering


def _params(make: Any, overrides: Mapping[str, Any]) -> SamplingParams:
    try:
        params: SamplingParams = make(**overrides)
    except NextwordError as error:
        raise refusal(error, param_of(error)) from None
    return params


def _nothing(fields: Fields, allowed: str) -> ApiError:
    """Return the answer to a request for no token; the newer name of the limit wins."""
    name = "max_completion_tokens" if fields.has("max_completion_tokens") else "max_tokens"
    return ApiError(f"{name} = 0: generates nothing; {allowed}", param=name)


def _prediction(fields: Fields) -> str | None:
    """Return the text of OpenAI's `prediction`: {"type": "content", "content": text or parts}."""
    given = fields.take("prediction", Mapping[str, Any])
    if given is None:
        return None
    content = given.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if given.get("type", "content") != "content" or not all(is_unicode(text) for text in texts):
        example = '{"type": "content", "content": "a text"}'
        raise ApiError(f"prediction = {shown(given)}: must be such as {example}", param="prediction")
    return "".join(map(str, texts))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
