"""`GET /lab/info`: what the page needs to know once: the models, the controls, the limits."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from nextword import __version__
from nextword.extras import has_torch
from nextword.lab.controls import PRESETS, controls
from nextword.lab.inside import MOST_TOKENS, why_not
from nextword.language_model import LanguageModel
from nextword.serving.handlers import JsonResponse
from nextword.serving.service import Service

_SHAPE = ("hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "intermediate_size")


async def info(request: Request) -> Response:
    """Answer `GET /lab/info`, for the model that `?model=` names."""
    first: Service = request.app.state.service
    name = request.query_params.get("model", first.model)
    service = first.of({"model": name})
    backend, tokenizer, reason = service.lm.engine.backend, service.lm.tokenizer, why_not(service.lm)
    return JsonResponse(
        {
            "model": name,
            "models": first.names,
            "vocab_size": backend.vocab_size,
            "tokenizer": tokenizer.fingerprint,
            "weight_bytes": backend.weight_bytes,
            "shape": _shape(service.lm),
            "context": backend.max_seq_len,
            "has_chat": tokenizer.chat_template is not None,
            "end_token_ids": list(tokenizer.eos_token_ids),
            "parameters": controls(service.lm.params(max_tokens=16)),
            "presets": list(PRESETS),
            "version": __version__,
            "limits": {"inside_tokens": MOST_TOKENS, "max_n": service.limits.max_n},
            "can_train": has_torch(),
            "can_look_inside": reason is None,
            "why_not_inside": reason,
        }
    )


def _shape(lm: LanguageModel) -> dict[str, int]:
    """Return the sizes of the model's matrices."""
    config = lm.directory.config
    return {**{name: getattr(config, name) for name in _SHAPE}, "num_parameters": lm.directory.num_parameters}
