"""`answer_options`: how an answer in a chat differs from a completion, as keywords of `Engine.submit`."""

from __future__ import annotations

from nextword.inference.engine import SubmitOptions
from nextword.text.chat_options import ChatOptions
from nextword.text.tokenizer import Tokenizer


def answer_options(tokenizer: Tokenizer, rendering: ChatOptions) -> SubmitOptions:
    """Return that it ends with its turn, mostly begins a text, and may begin with thoughts; see `ChatOptions`."""
    return {
        "continues_text": bool(rendering.get("continue_final_message")),
        "end_token_ids": tokenizer.turn_end_ids(rendering.get("chat_template")),
        "thought_marks": tokenizer.thought_marks(**rendering),
    }
