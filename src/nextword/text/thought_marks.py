"""`find_thought_marks`: what a model writes before and after its thoughts, by its chat template and by a list.

The template is asked first: it renders an answer with thoughts, and what surrounds them are the marks. Templates that
never show thoughts, though their models write them, are those that the list is for.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from typing import Any

from nextword.errors import TokenizerError
from nextword.text.chat_messages import PlainMessage, plain_messages
from nextword.text.chat_template import render_chat_template
from nextword.text.template_forms import fit_to_template
from nextword.text.thoughts import KNOWN_MARKS, ThoughtMark

_THOUGHT, _SAID = "Zw4", "Xq7"
"""Texts that no template changes or writes by itself."""
_ASKED: PlainMessage = {"role": "user", "content": "?"}
_TAG = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")


@functools.lru_cache(maxsize=64)
def find_thought_marks(
    template: str, special_tokens: tuple[tuple[str, str], ...], variables: str
) -> tuple[ThoughtMark, ...]:
    """Return the marks that the template shows, and then those of the list.

    `special_tokens`: pairs of name and text. `variables`: the values of the template's other variables, as JSON.
    """
    given = {**dict(special_tokens), **json.loads(variables)}

    def render(*answer: PlainMessage, prompts: bool = False) -> str:
        messages = fit_to_template(template, plain_messages([_ASKED, *answer]), dict(special_tokens))
        return render_chat_template(template, messages, add_generation_prompt=prompts, variables=given)

    try:
        prompt, asked = render(prompts=True), render()
        said: dict[str, Any] = {"role": "assistant", "content": _SAID}
        thought, plain = render({**said, "reasoning_content": _THOUGHT, "reasoning": _THOUGHT}), render(said)
    except TokenizerError:  # a template that refuses these messages
        return KNOWN_MARKS
    around, before_said = _around(thought, prompt, asked), written_text(plain.partition(_SAID)[0], prompt)
    found = [] if around is None else [around]
    ends = [mark.end for mark in (*found, *KNOWN_MARKS) if mark.end]
    if before_said.endswith((">", "]")) and not any(end in before_said for end in ends):
        found.append(ThoughtMark(before_said, ""))
    begins = [mark.begin for mark in found]
    return (*found, *(mark for mark in KNOWN_MARKS if mark.begin not in begins))


def _around(rendered: str, prompt: str, asked: str) -> ThoughtMark | None:
    """Return what surrounds the thought; None if the template shows none before what is said."""
    before, is_shown, behind = rendered.partition(_THOUGHT)
    between, is_said, _ = behind.partition(_SAID)
    tag = _TAG.search(between)
    if not (is_shown and is_said and tag):
        return None
    opening = prompt[len(common_begin(prompt, asked)) :].strip()  # the prompt itself may begin the thoughts
    begin = written_text(before, prompt) or opening
    return ThoughtMark(begin, between[: tag.end()].strip(), between[tag.end() :].strip()) if begin else None


def written_text(before: str, prompt: str) -> str:
    """Return what the model writes of a text: that behind the prompt, from the first tag that differs."""
    common = common_begin(before, prompt)
    opened = max(common.rfind("<"), common.rfind("["))
    start = opened if opened > max(common.rfind(">"), common.rfind("]")) else len(common)
    return before[start:].strip()


def common_begin(first: str, second: str) -> str:
    """Return the text with which both begin."""
    pairs = zip(first, second, strict=False)
    return first[: sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))]
