"""Thoughts in front of answers: what a template writes of them is read back, also marks that are control tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tokenizers

from nextword.decoding.params import SamplingParams
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.inference.generation import collect
from nextword.tasks.chat import Conversation
from nextword.text.chat_options import ChatOptions
from nextword.text.tokenizer import Tokenizer
from tests.fakes import HashBackend

ASKED = {"role": "user", "content": "Why?"}
THOUGHTS, ANSWER = "a < b\n\nso [b] <end>", "Because\nof </it>."
CONTROLS = (
    "<|start|> <|end|> <|channel|> <|message|> <|return|> <|START_THINKING|> <|END_THINKING|> <|START_RESPONSE|> "
)
CONTROLS += "<|END_RESPONSE|> <mm:think> </mm:think> <|channel> <channel|> <|think|> <|content|>"
HARMONY = """{% for m in messages %}{% if m.role == "user" %}<|start|>user<|message|>{{ m.content }}<|end|>{% else %}\
{% if m.thinking and loop.last %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}\
<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% endif %}{% endfor %}\
{% if add_generation_prompt %}<|start|>assistant{% endif %}"""
USER = "{% for m in messages %}{% if m.role == 'user' %}<|start|>user\n{{ m.content }}<|return|>{% else %}<|start|>it\n"
END = "{{ m.content }}<|return|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>it\n"
THOUGHT = "{{ m.reasoning_content }}"
COHERE = f"{USER}<|START_THINKING|>{THOUGHT}<|END_THINKING|><|START_RESPONSE|>{END}"
TEMPLATES = {
    "gpt-oss": HARMONY,
    "Cohere": f"{COHERE}{{% endif %}}",
    "Cohere opens": f"{COHERE}<|START_THINKING|>{{% endif %}}",
    "MiniMax": f"{USER}<mm:think>{THOUGHT}</mm:think>{END}{{% endif %}}",
    "MiniMax opens": f"{USER}<mm:think>{THOUGHT}</mm:think>{END}<mm:think>{{% endif %}}",
    "Qwen3": f"{USER}<think>\n{THOUGHT}\n</think>\n\n{END}{{% endif %}}",
    "unheard of": f"{USER}<ponder>{THOUGHT}</ponder>\n<say>{END}{{% endif %}}",
    "Apriel": f"{USER}My steps:\n{THOUGHT}\n[BEGIN FINAL RESPONSE]\n{END}My steps:\n{{% endif %}}",
}
"""Shapes of published templates, by models that have them."""
SHOWS_NONE = f"{USER}{END}{{% endif %}}"
WRITTEN = {
    "Gemma 4": "<|channel>thought\n{}\n<channel|>{}",
    "Cohere": "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>{}",
    "Cohere, calling": "<|START_THINKING|>{}<|END_THINKING|>{}",
    "gpt-oss": "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}",
    "Solar": "<|think|>{}<|end|><|begin|>assistant<|content|>{}",
}
"""Marks that models write though their templates show them nowhere, or only beside calls of tools."""


class Script(HashBackend):
    """A backend that writes a fixed text."""

    def __init__(self, token_ids: Sequence[int], prompt_length: int, vocab_size: int) -> None:
        super().__init__(vocab_size=vocab_size, max_seq_len=2000)
        self._token_ids, self._prompt_length = token_ids, prompt_length

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        logits = np.full(self.vocab_size, -100, np.float32)
        if len(token_ids) >= self._prompt_length:
            logits[self._token_ids[len(token_ids) - self._prompt_length]] = 100
        return logits


def tokenizer(template: str) -> Tokenizer:
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        special_tokens=CONTROLS.split(),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([], trainer)
    return Tokenizer(
        backend,
        bos_token_id=None,
        eos_token_ids=(CONTROLS.split().index("<|return|>"),),
        chat_template=template,
        special_variables={"eos": "<|return|>"},
    )


def scripted(template: str, written: str, *, stop: tuple[str, ...] = ()) -> tuple[Engine, SamplingParams]:
    model = tokenizer(template)
    token_ids = [*model.encode(written, parse_special=True), *model.eos_token_ids]
    backend = Script(token_ids, len(model.encode_chat([ASKED])), model.vocab_size)
    return Engine(backend, model), SamplingParams(temperature=0, stop=stop)


def answered(template: str) -> str:
    """Text that the template writes for an answer with thoughts, after the prompt, without its last token."""
    model = tokenizer(template)
    message = {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHTS}
    whole = model.render_chat([ASKED, message], add_generation_prompt=False)
    return whole.removeprefix(model.render_chat([ASKED])).removesuffix("<|return|>")


@pytest.mark.parametrize("stop", [(), ("<|end|><|start|>user", "<|END_THINKING|>!")], ids=["", "stop strings"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_writes_is_read_back(name: str, stop: tuple[str, ...]) -> None:
    engine, params = scripted(TEMPLATES[name], answered(TEMPLATES[name]), stop=stop)
    check(engine, params)


@pytest.mark.parametrize("name", WRITTEN)
def test_thoughts_that_a_template_does_not_show_are_known_by_a_list(name: str) -> None:
    check(*scripted(SHOWS_NONE, WRITTEN[name].format(THOUGHTS, ANSWER)))


def check(engine: Engine, params: SamplingParams) -> None:
    chat = Conversation(engine, params)
    parts = list(chat.ask_parts("Why?"))
    assert chat.messages[-1] == {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHTS}
    assert "".join(text for text, is_thought in parts if not is_thought).lstrip("\n") == ANSWER
    marks = engine.tokenizer.thought_marks()
    request = engine.submit(engine.tokenizer.encode_chat([ASKED]), params, thought_marks=marks)
    engine.run([request])
    completion = collect(request, engine.tokenizer).completions[0]
    assert (completion.thoughts, completion.answer) == (THOUGHTS, ANSWER)
    assert completion.text == "".join(text for text, _ in parts)


@pytest.mark.parametrize("name", ["gpt-oss", "Cohere"])
def test_an_answer_without_thoughts_has_no_marks(name: str) -> None:
    begin = {"gpt-oss": "<|channel|>final<|message|>", "Cohere": "<|START_RESPONSE|>"}[name]
    engine, params = scripted(TEMPLATES[name], begin + ANSWER)
    chat = Conversation(engine, params)
    assert "".join(text for text, is_thought in chat.ask_parts("Why?") if not is_thought) == ANSWER
    assert chat.messages[-1] == {"role": "assistant", "content": ANSWER}


@pytest.mark.parametrize(
    ("message", "options", "written", "thoughts", "answer"),
    [
        ({"content": "I"}, {"continue_final_message": True}, "<think> so", "", "<think> so"),
        ({"content": "<think>\nHm"}, {"continue_final_message": True}, ", a.</think>b", ", a.", "b"),
        (
            {"content": "", "reasoning_content": "Hm"},
            {"continue_final_message": "reasoning_content"},
            ", a.</think>b",
            ", a.",
            "b",
        ),
    ],
)
def test_a_continued_message_continues_its_thoughts(
    message: dict[str, str], options: ChatOptions, written: str, thoughts: str, answer: str
) -> None:
    model = tokenizer(SHOWS_NONE if "reasoning_content" not in message else TEMPLATES["Qwen3"])
    prompt = model.encode_chat([ASKED, {"role": "assistant", **message}], **options)
    token_ids = [*model.encode(written), *model.eos_token_ids]
    engine = Engine(Script(token_ids, len(prompt), model.vocab_size), model)
    request = engine.submit(prompt, SamplingParams(temperature=0), thought_marks=model.thought_marks(**options))
    engine.run([request])
    completion = collect(request, model).completions[0]
    assert (completion.thoughts, completion.answer) == (thoughts, answer)
