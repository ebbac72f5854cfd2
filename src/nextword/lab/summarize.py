"""`POST /lab/summarize`: a summary, the prompt that it continues, and the scores of its tokens.

Textbook section 1.1: summarising is word prediction after a text and what asks for its summary.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from nextword.inference.text_scores import score_text
from nextword.lab.side_work import Check, SideWork
from nextword.lab.texts import read_base_model, text_rows
from nextword.serving.errors import ApiError
from nextword.serving.fields import Fields
from nextword.serving.handlers import JsonResponse, read_request
from nextword.serving.service import Service
from nextword.tasks.summarize import Length, Style, summarize

SUMMARIZE_FIELDS = ("model", "text", "length", "style")
MOST_CHARACTERS = 200_000


class Summarize:
    """The route."""

    def __init__(self, side_work: SideWork) -> None:
        self._side_work = side_work

    async def answer(self, request: Request) -> Response:
        """Answer `POST /lab/summarize`."""
        service, body = await read_request(request)
        model = read_base_model(service, body, "summaries are written by the base model alone")
        fields = Fields(body, SUMMARIZE_FIELDS)
        text = fields.take("text", str, "")
        if len(text) > MOST_CHARACTERS:
            raise ApiError(f"text: at most {MOST_CHARACTERS} characters are summarised here", param="text")
        length, style = fields.take("length", Length, "medium"), fields.take("style", Style, "paragraph")
        work = await self._side_work.run(service, request, lambda check: _summary(service, text, length, style, check))
        return JsonResponse({"object": "lab.summarize", "model": model, **work})


def _summary(service: Service, text: str, length: Length, style: Style, check: Check) -> dict[str, Any]:
    prompts: list[list[int]] = []
    summary = summarize(
        service.lm.engine,
        text,
        length=length,
        style=style,
        on_part=lambda part, num_parts: check(),
        on_text=lambda piece: check(),
        on_prompt=prompts.append,
    )
    tokenizer, (prompt,) = service.lm.tokenizer, prompts
    is_chat = tokenizer.chat_template is not None
    own = (
        tokenizer.encode(summary.text, add_special_tokens=False)
        if is_chat
        else tokenizer.encode_continuation(f" {summary.text}")
    )
    token_ids = [*prompt, *own]
    scores = score_text(service.lm.engine, token_ids)
    return {
        "text": summary.text,
        "num_parts": summary.num_parts,
        "is_complete": summary.is_complete,
        "token_ids": token_ids,
        "prompt_length": len(prompt),
        "tokens": text_rows(service.vocabulary, token_ids, scores),
    }
