"""Chat templates that show tools and write calls, in the syntaxes of some families, and a model that writes a text."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import tokenizers

import nextword as nw
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.text.tool_calls import CallDelta, ToolCall, joined_calls
from nextword.text.tool_use import ToolUse
from tests.data.byte_tokenizer import END, byte_tokenizer
from tests.fakes import HashBackend

_HEAD = "{% if tools %}tools: {{ tools | tojson }}\n{% endif %}{% for m in messages %}{{ m.role }}> "
_TAIL = "<|end|>{% endfor %}{% if add_generation_prompt %}assistant> {% endif %}"
_NAMED = '{"name": {{ c.function.name | tojson }}, "arguments": {{ c.function.arguments | tojson }}'


def _template(begin: str, call: str, between: str, end: str) -> str:
    calls = f"{{% for c in m.tool_calls %}}{call}{{% if not loop.last %}}{between}{{% endif %}}{{% endfor %}}"
    return f"{_HEAD}{{{{ m.content }}}}{{% if m.tool_calls %}}{begin}{calls}{end}{{% endif %}}{_TAIL}"


TEMPLATES = {
    "hermes": _template("{{ '\\n' }}", f"<tool_call>\n{_NAMED}}}\n</tool_call>", "{{ '\\n' }}", ""),
    "llama": _template(
        "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endif %}",
        '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}',
        "",
        "",
    ),
    "mistral": _template("[TOOL_CALLS] [", _NAMED + ', "id": "{{ c.id }}"}', ", ", "]"),
    "mistral with ids in front": _template(
        "", "[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments | tojson }}", "", ""
    ),
    "deepseek": _template(
        "<calls>", "<call>function<sep>{{ c.function.name }}\n```json\n{{ c.function.arguments | tojson }}\n```</call>",
        "\n", "</calls>",
    ),
    "tags on lines": _template(
        "", "<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments.items() %}"
        "<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}"
        "</function>\n</tool_call>",
        "{{ '\\n' }}", "",
    ),
    "tags": _template(
        "", "<tool_call>{{ c.function.name }}{% for k, v in c.function.arguments.items() %}<k>{{ k }}</k>"
        "<v>{{ v if v is string else v | tojson }}</v>{% endfor %}</tool_call>", "", "",
    ),
}  # fmt: skip
"""Templates by family."""
_QUOTE = "<escape>"
QUOTED = (
    "{% macro show(v) %}{% if v is string %}" + _QUOTE + "{{ v }}" + _QUOTE + "{% elif v is mapping %}{{ '{' }}"
    "{% for k, one in v.items() %}{{ k }}:{{ show(one) }}{% if not loop.last %},{% endif %}{% endfor %}}"
    "{% elif v is sequence %}[{% for one in v %}{{ show(one) }}{% if not loop.last %},{% endif %}{% endfor %}]"
    "{% else %}{{ v }}{% endif %}{% endmacro %}"
) + _template("", "<call>call:{{ c.function.name }}{{ show(c.function.arguments) }}<call/>", "", "")
"""A template whose strings have other quotes than JSON's."""
XML = _template(
    "", "<f={{ c.function.name }}>{% for k, v in c.function.arguments.items() %}<{{ k }}>{{ v }}{% endfor %}", "", ""
)
"""A template whose arguments are no JSON."""
CONTROL_TOKENS = ("<|end|>", "<tool_call>", "[TOOL_CALLS]", "<calls>")


def weather(name: str = "weather", **others: Any) -> dict[str, Any]:
    """Return a tool in OpenAI's form."""
    properties = {"city": {"type": "string", "maxLength": 5}, "days": {"type": "integer", "minimum": 1, "maximum": 9}}
    schema = {"type": "object", "properties": properties, "required": ["city", "days"], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": "?", "parameters": schema, **others}}


class WritingBackend(HashBackend):
    """Writes one text after any prompt that ends with `assistant> `, and random bytes after that."""

    def __init__(self, tokenizer: nw.Tokenizer, text: str) -> None:
        super().__init__(vocab_size=tokenizer.vocab_size, max_seq_len=4096)
        self.prompt_end = tokenizer.encode("assistant> ", add_special_tokens=False)
        self.script = [*tokenizer.encode(text, add_special_tokens=False, parse_special=True), END]

    def logits_after(self, token_ids: Any) -> Logits:
        """Prefer the next token of the script."""
        ids, size = list(token_ids), len(self.prompt_end)
        starts = [at for at in range(size, len(ids) + 1) if ids[at - size : at] == self.prompt_end]
        logits = super().logits_after(token_ids)
        if starts and len(ids) - starts[-1] < len(self.script):
            logits[self.script[len(ids) - starts[-1]]] = np.float32(100)
        return logits


def tokenizer_with(template: str) -> nw.Tokenizer:
    """Return a tokenizer of bytes and some control tokens, with a chat template."""
    backend = tokenizers.Tokenizer.from_str(json.dumps(byte_tokenizer().definition()))
    backend.add_special_tokens(list(CONTROL_TOKENS))
    return nw.Tokenizer(
        backend,
        bos_token_id=None,
        eos_token_ids=(END,),
        chat_template=template,
        special_variables={"eos_token": "<|end|>"},
    )


def model_that_writes(lm: nw.LanguageModel, template: str, text: str) -> nw.LanguageModel:
    """Return a model that answers with a text; `lm`: any, for the files of its checkpoint."""
    tokenizer = tokenizer_with(template)
    directory = copy.copy(lm.directory)
    return nw.LanguageModel(directory, Engine(WritingBackend(tokenizer, text), tokenizer), name="writer")


def split(use: ToolUse, text: str, size: int) -> tuple[str, tuple[ToolCall, ...]]:
    """Return the text and the calls of an answer that comes in pieces of `size` characters."""
    splitter, said, deltas = use.splitter(), "", list[CallDelta]()
    for start in range(0, len(text) + 1, size):
        part, found = splitter.push(text[start : start + size], is_last=start + size > len(text))
        said, deltas = said + part, deltas + found
    return said, joined_calls(deltas)
