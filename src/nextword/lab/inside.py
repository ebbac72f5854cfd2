"""`POST /lab/inside`: where the heads look from one token, and what each layer would guess to be the next.

Computed by PyTorch on the model's weights as floats; the model that writes may hold them in fewer bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from nextword.checks import shown
from nextword.extras import has_torch, needs_extra
from nextword.lab.side_work import SideWork
from nextword.lab.texts import read_base_model, read_number, read_token_ids
from nextword.language_model import LanguageModel
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields
from nextword.serving.handlers import JsonResponse, read_request
from nextword.serving.service import Service

if TYPE_CHECKING:
    from nextword.models.look_inside import Insight
    from nextword.models.transformer import Transformer

INSIDE_FIELDS = ("model", "token_ids", "position")
MOST_TOKENS = 256
"""Tokens of a text."""
_MOST_PARAMETERS = 2_000_000_000
"""Parameters of a model, of four bytes each."""
_NUM_GUESSES = 8
_DIGITS = 6


def why_not(lm: LanguageModel) -> str | None:
    """Return why the inside of a model cannot be shown; None if it can."""
    if not has_torch():
        return "PyTorch is not installed: pip install 'nextword[train]'"
    if lm.directory.num_parameters > _MOST_PARAMETERS:
        return f"the model has more than {_MOST_PARAMETERS:,} parameters: open a smaller one"
    if lm.directory.num_virtual_tokens:
        return "the model begins texts with a trained prompt, which is no text: open its base model"
    return None


class Inside:
    """The route, with the models that were built for it."""

    def __init__(self, side_work: SideWork) -> None:
        self._side_work = side_work
        self._built: dict[str, Transformer] = {}

    async def answer(self, request: Request) -> Response:
        """Answer `POST /lab/inside`."""
        service, body = await read_request(request)
        model = read_base_model(service, body, "the inside of the base model alone is shown")
        if (reason := why_not(service.lm)) is not None:
            raise ApiError(f"model = {shown(model)}: {reason}", param="model")
        token_ids = _read(service, body)
        found = await self._side_work.run(service, request, lambda check: self._look(service, token_ids))
        return JsonResponse({"object": "lab.inside", "model": model, **found})

    def _look(self, service: Service, token_ids: list[int]) -> dict[str, Any]:
        with needs_extra("train"):
            from nextword.models.build import build_transformer
            from nextword.models.look_inside import look_inside

        if service.model not in self._built:
            directory = service.lm.directory
            self._built[service.model] = build_transformer(directory.config, directory.tensors)
        return _described(service, look_inside(self._built[service.model], token_ids))


def _read(service: Service, body: Mapping[str, Any]) -> list[int]:
    """Return the tokens up to the one whose inside is asked for."""
    fields = Fields(body, INSIDE_FIELDS)
    token_ids = read_token_ids(service, body.get("token_ids"), "token_ids")
    position = read_number(fields, "position", 0, len(token_ids) - 1, len(token_ids) - 1)
    most = min(MOST_TOKENS, service.lm.engine.backend.max_seq_len)
    if position >= most:
        raise ApiError(f"position = {position}: is beyond the {most} tokens whose inside is shown", param="position")
    return token_ids[: position + 1]


def _described(service: Service, insight: Insight) -> dict[str, Any]:
    attention = [
        [[round(weight, _DIGITS) for weight in head] for head in layer] for layer in insight.attention.tolist()
    ]
    final = int(insight.logits[-1].argmax())
    lens = []
    for layer, logits in enumerate(insight.logits):
        top = logits.softmax(-1).topk(min(_NUM_GUESSES, len(logits)))
        guesses = [
            {**service.vocabulary.named(token_id), "probability": probability}
            for probability, token_id in zip(top.values.tolist(), top.indices.tolist(), strict=True)
        ]
        rank = 1 + int((logits > logits[final]).sum())
        lens.append({"layer": layer, "top": guesses, "rank_of_final": rank})
    num_layers, num_heads = len(attention), len(attention[0])
    return {"num_layers": num_layers, "num_heads": num_heads, "attention": attention, "lens": lens}
