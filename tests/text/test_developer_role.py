"""The role `developer`: OpenAI's newer name of `system`, for templates that know it and those that do not."""

from __future__ import annotations

import pytest

from nextword.errors import TokenizerError
from tests.text.vocabularies import as_tokenizer, byte_level_backend

CHATML = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
KNOWS = "{% for m in messages %}{% if m.role == 'developer' %}[D]{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
MESSAGES = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "?"}]


@pytest.mark.parametrize(
    ("template", "rendered"), [(CHATML, "<system>Be brief.<user>?"), (KNOWS, "[D]<developer>Be brief.<user>?")]
)
def test_a_template_sees_the_role_that_it_knows(template: str, rendered: str) -> None:
    assert as_tokenizer(byte_level_backend(), chat_template=template).render_chat(MESSAGES) == rendered


@pytest.mark.parametrize("template", ["chatml", "", "You are a helpful assistant."])
def test_a_template_that_shows_no_message_is_said_to_be_so(template: str) -> None:
    tokenizer = as_tokenizer(byte_level_backend(), chat_template=template)
    for call in (lambda: tokenizer.render_chat(MESSAGES), tokenizer.turn_end_ids):
        with pytest.raises(TokenizerError, match="shows no message: give a template as chat_template"):
            call()
    assert tokenizer.render_chat(MESSAGES, chat_template=CHATML).startswith("<system>")
