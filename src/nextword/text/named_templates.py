"""`with_chat_template`: give a tokenizer a chat template, such as ChatML, to teach a base model conversations."""

from __future__ import annotations

import copy
from pathlib import Path

from nextword.errors import RequestError
from nextword.text.choose_template import choose_template
from nextword.text.tokenizer import Tokenizer

CHATML = "chatml"
_BEGIN, _END = "<|im_start|>", "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}END\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def with_chat_template(tokenizer: Tokenizer, choice: Path | str) -> tuple[Tokenizer, str | None]:
    """Return the tokenizer with a chat template, and a remark on how it was made.

    `choice`: "chatml", a file, the name of one of the model's templates, or a template. Where the vocabulary has no
    control tokens of ChatML, the beginnings of turns are text, and the model's own end token ends each: new tokens
    would have embeddings that training an adapter does not teach. Raises RequestError for a choice that is none of
    these, and for ChatML with a vocabulary that has no end token either.
    """
    changed = copy.copy(tokenizer)  # one vocabulary for both
    if choice != CHATML:
        chosen = Path(choice) if isinstance(choice, str) and _is_file(choice) else choice
        changed.chat_template = choose_template(
            tokenizer.chat_template, tokenizer.named_templates, chosen, has_tools=False
        )
        return changed, None
    end = tokenizer.special_token_id(_END)
    if end is not None and tokenizer.special_token_id(_BEGIN) is not None:
        changed.chat_template = _TEMPLATE.replace("END", _END)
        return changed, None
    if not tokenizer.eos_token_ids:
        raise RequestError(f"the vocabulary has neither {_END} nor an end token: give a chat template as a file")
    text = tokenizer.token_text(tokenizer.eos_token_ids[0])
    changed.chat_template = _TEMPLATE.replace("END", text)
    return changed, f"the vocabulary has no {_BEGIN} and {_END}: a turn begins with the text {_BEGIN}, {text} ends it"


def _is_file(choice: str) -> bool:
    return "{" not in choice and Path(choice).is_file()
