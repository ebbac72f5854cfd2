"""Fields of other servers that have no effect here, those that are refused, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FORMS = "give structured_outputs"
_TEMPLATE = "the model's own chat template is rendered; chat_template_kwargs holds its variables"
_SHORTEN = "shorten the prompt: it is never cut in silence"
_TEXT_ALONE = "texts are read and written alone; leave it out"
_STATE = "nothing is stored; send the whole conversation in input"

ROUTES = (
    *(f"/v1/{name}" for name in ("embeddings", "moderations", "images", "audio", "videos", "realtime", "files")),
    *(f"/v1/{name}" for name in ("uploads", "batches", "fine_tuning", "vector_stores", "assistants", "threads")),
    *(f"/v1/{name}" for name in ("conversations", "containers", "evals", "messages", "rerank", "engines", "edits")),
    *("/v1/chat/completions", "/v1/responses", "/v1/completions", "/completion", "/embedding", "/embeddings"),
    *("/infill", "/rerank", "/slots", "/lora-adapters", "/api", "/pooling", "/classify", "/load", "/ping"),
)
"""Beginnings of the addresses of other servers, and of what is stored there under ours: their 404 names them."""
IGNORED: Mapping[str, Any] = {
    **dict.fromkeys(("user", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"), str),
    **dict.fromkeys(("reasoning_effort", "verbosity"), str),
    **dict.fromkeys(("metadata", "prompt_cache_options"), Mapping[str, Any]),
    **dict.fromkeys(("store", "cache_prompt"), bool),
    "id_slot": int,
}
"""Type by name of the fields that change nothing here: about accounts, other models, or what is always so."""
NOT_SERVED: Mapping[str, Sequence[Any]] = {
    "audio": (),
    "web_search_options": (),
    "moderation": (),
    "functions": ([],),
    "function_call": ("none",),
    "suffix": ("",),
    "modalities": (["text"],),
    "use_beam_search": (False,),
    "spaces_between_special_tokens": (True,),
    "priority": (0,),
    "cache_salt": (),
}
"""Fields that would change the text and are not served, with the values that change nothing."""
INSTEAD: Mapping[str, str] = {
    "functions": "give tools",
    "function_call": "give tool_choice",
    "audio": _TEXT_ALONE,
    "modalities": _TEXT_ALONE,
    "image": _TEXT_ALONE,
    "web_search_options": "nothing is searched; leave it out, or give a tool",
    "moderation": "texts are not judged; leave it out, and judge the answer",
    "prompt_token_ids": "give prompt, which takes token ids",
    "prompt_embeds": "give prompt, a text or token ids",
    "suffix": "no text is filled in; leave it out",
    "use_beam_search": "give num_beams",
    "continuous_usage_stats": "give include_usage",
    "previous_response_id": _STATE,
    "conversation": _STATE,
    **dict.fromkeys(("background", "background_options"), "wait for the answer, or stream it; leave it out"),
    **dict.fromkeys(("prewarm", "comparison_response_id"), "prompts are cached by themselves; leave it out"),
    "truncation": _SHORTEN,
    "truncate_prompt_tokens": _SHORTEN,
    "guided_json": _FORMS,
    "guided_regex": _FORMS,
    "guided_choice": _FORMS,
    "guided_grammar": _FORMS,
    "chat_template": _TEMPLATE,
    "template": _TEMPLATE,
    "enable_thinking": "give chat_template_kwargs",
    "think": "give chat_template_kwargs",
    "documents": "give chat_template_kwargs",
    "n_predict": "give max_tokens",
    "num_predict": "give max_tokens",
    "max_new_tokens": "give max_tokens",
    "n_probs": "give logprobs",
    "options": "its fields stand in the request itself",
    "lora": "give an adapter's name as model",
    "messages": "/v1/chat/completions takes it",
    "prompt": "/v1/completions takes it",
    "input": "/v1/responses takes it",
    "tools": "/v1/chat/completions takes it",
    "tool_choice": "/v1/chat/completions takes it",
    "parallel_tool_calls": "/v1/chat/completions takes it",
    "top_logprobs": "give logprobs, a number",
    "best_of": "give n",
    "echo": "/v1/completions takes it",
    "max_output_tokens": "give max_tokens",
    "instructions": "give a message of the role system",
    "bad_words": "give logit_bias",
}
"""By the name of the field. A name that is served at one route may be refused at another."""
