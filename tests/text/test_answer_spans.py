"""Which tokens of a conversation the assistant has to write. The judge of masks is transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, model_path
from nextword.checkpoints.open_directory import open_tokenizer
from nextword.errors import TokenizerError
from nextword.text.tokenizer import Tokenizer
from tests.text.vocabularies import as_tokenizer, byte_level_backend, piece_backend

TURNS = "{% for m in messages %}<|begin|>{{ m['role'] }}\n{{ CONTENT }}<|end|>\n{% endfor %}"
MARKED = (
    "{% for m in messages %}<|begin|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|end|>{% endif %}\n{% endfor %}"
)
"""What transformers needs to know of."""


def with_content(expression: str) -> str:
    return TURNS.replace("CONTENT", expression)


PLAIN, TRIMMED = with_content("m['content']"), with_content("m['content'] | trim")


def chat(*contents: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": content} for number, content in enumerate(contents)]


def answers(tokenizer: Tokenizer, *contents: str) -> list[str]:
    """The tokens that the assistant has to write, a run of them joined."""
    ((token_ids, is_answer),) = tokenizer.encode_answers(chat(*contents))
    assert token_ids == tokenizer.encode_chat(chat(*contents), add_generation_prompt=False)
    runs: list[str] = []
    was_answer = False
    for token_id, is_one in zip(token_ids, is_answer, strict=True):
        text = tokenizer.token_text(token_id)
        if is_one:
            runs = [*runs[:-1], runs[-1] + text] if was_answer else [*runs, text]
        was_answer = is_one
    return runs


def test_each_answer_with_its_end_is_to_be_written() -> None:
    tokenizer = as_tokenizer(byte_level_backend(), chat_template=PLAIN)
    assert answers(tokenizer, "the x", "one the", "user?", "two") == ["one the<|end|>", "two<|end|>"]


def test_spaces_around_an_answer_are_the_templates_choice() -> None:
    backend = byte_level_backend()
    assert answers(as_tokenizer(backend, chat_template=PLAIN), "x", " the \n") == [" the \n<|end|>"]
    assert answers(as_tokenizer(backend, chat_template=TRIMMED), "x", " the \n") == ["the<|end|>"]


def test_an_empty_answer_is_its_end() -> None:
    assert answers(as_tokenizer(byte_level_backend(), chat_template=PLAIN), "x", "") == ["<|end|>"]
    assert answers(as_tokenizer(byte_level_backend(), chat_template=TRIMMED), "x", " ") == ["<|end|>"]


def test_a_special_token_within_an_answer_is_text_to_be_written() -> None:
    tokenizer = as_tokenizer(byte_level_backend(), chat_template=PLAIN)
    assert answers(tokenizer, "a <|end|> b", "c <|end|> d") == ["c <|end|> d<|end|>"]


def test_an_answer_that_nothing_ends_is_to_be_written_alone() -> None:
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    assert answers(as_tokenizer(byte_level_backend(), chat_template=template), "x", "yes", "y", "no") == ["yes", "no"]


def test_a_space_whose_place_the_tokenizer_leaves_out_belongs_to_its_answer() -> None:
    backend = byte_level_backend()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    assert answers(as_tokenizer(backend, chat_template=template), "x", "yes ") == ["yes "]


def test_pieces_with_spaces_in_them_keep_their_places() -> None:
    template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} </s>{% endfor %}"
    assert answers(as_tokenizer(piece_backend(), chat_template=template), "x", "the é漢") == [" the é漢 </s>"]


def test_a_template_that_rewrites_answers_is_refused() -> None:
    tokenizer = as_tokenizer(byte_level_backend(), chat_template=with_content("m['content'].split('#')[-1]"))
    with pytest.raises(TokenizerError, match=r"does not show messages\[1\]\['content'\]: leave it out, or choose"):
        tokenizer.encode_answers(chat("x", "thought # said"))


@pytest.mark.peer
@given(contents=st.lists(st.text("the x\n.é漢😀"), min_size=2, max_size=5))
def test_transformers_marks_the_same_tokens(peer: Any, contents: list[str]) -> None:
    tokenizer = as_tokenizer(byte_level_backend(), chat_template=MARKED)
    theirs = peer.apply_chat_template(
        chat(*contents), chat_template=MARKED, return_dict=True, return_assistant_tokens_mask=True
    )
    ((token_ids, is_answer),) = tokenizer.encode_answers(chat(*contents))
    assert token_ids == theirs["input_ids"]
    assert is_answer == [bool(mark) for mark in theirs["assistant_masks"]]


@pytest.fixture(scope="module")
def peer() -> Any:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level_backend())


@pytest.mark.model
def test_smollm2_learns_the_answer_and_its_end() -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    tokenizer = open_tokenizer(Path(model_path(CATALOGUE["smollm2-135m"])))
    found = answers(tokenizer, "What is 2 + 2?", "It is 4.", "Sure?", "Yes, quite sure.")
    assert found == ["It is 4.<|im_end|>", "Yes, quite sure.<|im_end|>"]
