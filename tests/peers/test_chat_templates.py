"""The chat templates that llama.cpp ships, rendered as transformers renders them; and its list of end tokens."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from nextword.checkpoints.gguf.end_tokens import END_TEXTS, FILE_TEXTS
from nextword.errors import NextwordError
from nextword.text.tokenizer import Tokenizer
from tests.peers.llama_cpp_sources import templates
from tests.text.vocabularies import as_tokenizer, byte_level_backend

pytestmark = pytest.mark.peer

VARIABLES = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather of a "place".',
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
CALL = {
    "id": "abcdefghi",
    "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}},
}
SYSTEM: dict[str, Any] = {"role": "system", "content": "Be <brief> & exact."}
USER: dict[str, Any] = {"role": "user", "content": "Rain in 'Oslo'?\n"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "No.\n\nNone at all."}
RESULT: dict[str, Any] = {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "sunny"}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "a question": [USER],
    "with a system prompt": [SYSTEM, USER, ANSWER, USER],
    "ended": [USER, ANSWER],
    "with thoughts": [USER, {**ANSWER, "reasoning_content": "Let me see."}, USER],
    "with thoughts in the text": [USER, {**ANSWER, "content": "<think>\nLet me see.\n</think>\n\nNo."}, USER],
    "a call": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT],
    "a call without content": [SYSTEM, USER, {"role": "assistant", "tool_calls": [CALL]}, RESULT, ANSWER, USER],
}


NUM_PARTS = 4


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    transformers = pytest.importorskip("transformers")
    folder: Path = tmp_path_factory.mktemp("peer")
    tokenizer("").save(folder)
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def tokenizer(template: str) -> Tokenizer:
    ours = as_tokenizer(byte_level_backend(), chat_template=template)
    ours.special_variables = dict(VARIABLES)
    return ours


@pytest.mark.slow
@pytest.mark.parametrize("part", range(NUM_PARTS))
def test_every_template_is_rendered_as_in_transformers(peer: Any, part: int) -> None:
    cases = list(itertools.product(CONVERSATIONS.items(), (None, [TOOL]), (True, False)))
    num_rendered = 0
    for path in sorted(templates().glob("*.jinja"))[part::NUM_PARTS]:
        template = path.read_text(encoding="utf-8")
        for (name, messages), tools, prompts in cases:
            expected = rendered_by(peer, template, messages, tools, prompts)
            found: str | None
            try:
                found = tokenizer(template).render_chat(messages, tools=tools, add_generation_prompt=prompts)
            except NextwordError as error:
                found, reason = None, str(error)
            if found is None:
                assert expected is None or "does not show" in reason, (path.stem, name, reason)
                continue
            num_rendered += 1
            assert expected in (None, found), (path.stem, name)
    assert num_rendered > 200


def rendered_by(peer: Any, template: str, messages: Any, tools: Any, prompts: bool) -> str | None:
    """Return what transformers renders; None if the template refuses the messages there."""
    options: dict[str, Any] = {"tools": tools, "tokenize": False, "add_generation_prompt": prompts}
    try:
        rendered: str = peer.apply_chat_template(messages, chat_template=template, **options)
    except Exception:
        return None
    return rendered


def test_the_tokens_that_end_a_completion_are_those_of_llama_cpp() -> None:
    source = (templates() / "llama-vocab.cpp").read_text(encoding="utf-8")
    ends = source.partition("maintain a list of tokens that cause end-of-generation")[2].partition("} else {")[0]
    assert set(re.findall(r't\.first == "([^"]+)"', ends)) == set(END_TEXTS)
    files = [
        source.partition(f"// find {kind} token")[2].partition("{\n")[2] for kind in ("FIM_PAD", "FIM_REP", "FIM_SEP")
    ]
    texts = {text for part in files for text in re.findall(r't\.first == "([^"]+)"', part.partition(") {")[0])}
    assert texts == set(FILE_TEXTS)
