"""Completions of a given form in the engine: alone and in company, their ends, errors, and thoughts before them."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from nextword.decoding.mask import is_in
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.text.tokenizer import Tokenizer
from tests.data.byte_tokenizer import END, byte_tokenizer
from tests.fakes import HashBackend
from tests.tasks.test_chat_thoughts import ASKED, TEMPLATES, scripted
from tests.text.test_continued_text import TOKENIZERS
from tests.text.vocabularies import as_tokenizer, piece_backend

TOKENIZER = byte_tokenizer()
PROMPT = TOKENIZER.encode("Say: ")
FORMS: list[dict[str, Any]] = [
    {"regex": r"\d{3}-\d{2}"},
    {"choice": ["yes", "no", "maybe"]},
    {"schema": {"type": "array", "items": {"enum": [1, "a"]}, "maxItems": 3}},
    {"grammar": 'root ::= "(" root? ")"'},
    {},
]


def engine_of(tokenizer: Tokenizer = TOKENIZER, **sizes: int) -> Engine:
    return Engine(HashBackend(vocab_size=tokenizer.vocab_size, **{"max_seq_len": 200, **sizes}), tokenizer)


def run(engine: Engine, params: SamplingParams, prompt: list[int] = PROMPT, **how: Any) -> Generation:
    request = engine.submit(prompt, params, **how)
    engine.run([request])
    return collect(request, engine.tokenizer)


def test_each_of_a_batch_has_its_form_and_the_text_of_alone() -> None:
    params = [
        SamplingParams(seed=seed, max_tokens=40, temperature=1.5, n=2, logprobs=1, repetition_penalty=1.1, **form)
        for seed in range(6)
        for form in FORMS
    ]
    engine = engine_of()
    requests = [engine.submit(PROMPT, one) for one in params]
    engine.run(requests)
    together = [collect(request, TOKENIZER) for request in requests]
    assert together == [run(engine_of(), one) for one in params]
    assert not engine.backend.caches  # type: ignore[attr-defined]
    for one, generation in zip(params, together, strict=True):
        for completion in generation.completions:
            if one.regex:
                assert re.fullmatch(one.regex, completion.text)
            if one.choice:
                assert completion.text in one.choice


def test_a_complete_text_stops_without_another_step() -> None:
    (completion,) = run(engine_of(), SamplingParams(regex="abc", seed=1, min_tokens=30)).completions
    assert (completion.text, len(completion.tokens)) == ("abc", 3)
    assert (completion.finish_reason, completion.finish_detail) == ("stop", "complete")


def test_a_text_that_can_only_be_empty_is_complete_at_once() -> None:
    (completion,) = run(engine_of(), SamplingParams(regex="a{0}", seed=1)).completions
    assert (completion.text, completion.tokens, completion.finish_detail) == ("", (), "complete")


def test_the_end_token_ends_a_text_that_could_go_on() -> None:
    params = SamplingParams(regex="a*", logit_bias={END: 100.0}, seed=1, min_tokens=4)
    (completion,) = run(engine_of(), params).completions
    assert (completion.text, completion.finish_detail) == ("aaaa", "end_of_sequence")


def test_a_stop_token_ends_only_a_complete_text() -> None:
    params = SamplingParams(
        regex="[ab]{2}c*",
        stop_token_ids=(
            ord("a"),
            ord("b"),
        ),
        seed=1,
        logit_bias={END: -np.inf},
    )
    with pytest.raises(RequestError, match="no text fits it"):
        run(engine_of(), params)
    params = SamplingParams(regex="xy+", stop_token_ids=(ord("x"),), seed=1)
    with pytest.raises(RequestError, match="no text fits it"):
        run(engine_of(), params)
    params = SamplingParams(regex="xy+", stop_token_ids=(ord("z"),), logit_bias={ord("z"): 50.0}, seed=1)
    assert run(engine_of(), params).completions[0].finish_detail == "stop_token"


def test_limits_and_stop_strings_cut_a_text_and_say_so() -> None:
    (completion,) = run(engine_of(), SamplingParams(regex="a{50}", max_tokens=5)).completions
    assert (completion.text, completion.finish_reason, completion.finish_detail) == ("aaaaa", "length", "max_tokens")
    (completion,) = run(engine_of(max_seq_len=12), SamplingParams(regex="a{50}", max_tokens=None)).completions
    assert (completion.finish_reason, completion.finish_detail) == ("length", "context")
    (completion,) = run(engine_of(), SamplingParams(regex="a{20}bc", stop=("b",))).completions
    assert (completion.text, completion.finish_detail) == ("a" * 20, "stop_string")
    (completion,) = run(engine_of(), SamplingParams(regex="abc", max_tokens=3)).completions
    assert completion.finish_detail == "complete"


def test_where_no_token_is_left_the_request_ends_alone_with_an_error() -> None:
    engine = engine_of()
    good = engine.submit(PROMPT, SamplingParams(choice=("fine",), seed=1))
    bad = engine.submit(PROMPT, SamplingParams(regex="ab", seed=1, logit_bias={ord("b"): -np.inf}))
    with pytest.raises(RequestError, match="every token is forbidden"):
        engine.run([bad])
    engine.run([good])
    assert collect(good, TOKENIZER).text == "fine"
    assert not engine.backend.caches  # type: ignore[attr-defined]


def test_a_form_that_cannot_be_compiled_is_refused_at_submission() -> None:
    engine = engine_of()
    with pytest.raises(RequestError, match="at /not: not cannot be enforced"):
        engine.submit(PROMPT, SamplingParams(schema={"not": {}}))  # type: ignore[arg-type]
    assert engine.backend.num_opened == 0  # type: ignore[attr-defined]


def test_penalties_and_truncations_follow_the_form() -> None:
    params = SamplingParams(
        choice=(
            "aaaa",
            "zz",
        ),
        top_k=1,
        seed=1,
        no_repeat_ngram_size=1,
        logit_bias={ord("a"): 50.0},
    )
    with pytest.raises(RequestError, match="every token is forbidden"):  # a second "a" is all that fits
        run(engine_of(), params)
    params = SamplingParams(
        choice=(
            "ab",
            "cd",
        ),
        top_k=1,
        logit_bias={ord("z"): 100.0, ord("c"): 50.0},
    )
    assert run(engine_of(), params).text == "cd"


# Vocabularies

TEXT = '{"the":"é the x漢"}'
SCHEMA = {
    "type": "object",
    "properties": {"the": {"const": "é the x漢"}},
    "required": ["the"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("name", ["byte-level", "normalizer style", "no space taken"])
@pytest.mark.parametrize("continues_text", [True, False])
def test_every_vocabulary_of_bytes_writes_the_text(name: str, continues_text: bool) -> None:
    tokenizer = TOKENIZERS[name]
    prompt = tokenizer.encode("the")
    for seed in range(4):
        params = SamplingParams(schema=SCHEMA, seed=seed, temperature=2.0)  # type: ignore[arg-type]
        generation = run(engine_of(tokenizer), params, prompt, continues_text=continues_text)
        assert generation.text == TEXT


def test_the_usual_tokens_of_a_text_of_its_own_are_allowed() -> None:
    tokenizer = as_tokenizer(piece_backend())
    for text in ("the the", "x", "漢"):
        token_ids = tokenizer.encode(text, add_special_tokens=False)
        engine = engine_of(tokenizer)
        grammar = engine._compile(SamplingParams(choice=(text,)).constraint)
        assert grammar is not None
        matcher = grammar.matcher(begins_text=True)
        for token_id in token_ids:
            assert is_in(matcher.mask(()), token_id), (text, tokenizer.token_text(token_id))
            matcher.accept(token_id)
        assert matcher.is_complete


def test_a_vocabulary_of_words_writes_what_it_has() -> None:
    tokenizer = TOKENIZERS["word pieces"]
    prompt = tokenizer.encode("the river", add_special_tokens=False)
    for seed in range(4):
        params = SamplingParams(regex="river(s)?ing( the)*\\.?", seed=seed, max_tokens=6)
        (completion,) = run(engine_of(tokenizer), params, prompt, continues_text=False).completions
        assert re.fullmatch(r"rivers?ing( the){0,4}\.?", completion.text)
    with pytest.raises(RequestError, match="no text fits it that this vocabulary can write"):
        run(engine_of(tokenizer), SamplingParams(schema={"type": "object"}), prompt)  # type: ignore[arg-type]


# Thoughts


def test_thoughts_that_the_template_opens_are_free_and_the_form_begins_behind_them() -> None:
    written = "a < b, so\n</think>\n\n"
    for name in ("MiniMax opens", "Cohere opens"):
        end = {"MiniMax opens": "</mm:think>", "Cohere opens": "<|END_THINKING|><|START_RESPONSE|>"}[name]
        engine, _ = scripted(TEMPLATES[name], f"{written}{end}" + "wrong" * 40)
        marks = engine.tokenizer.thought_marks()
        request = engine.submit(
            engine.tokenizer.encode_chat([ASKED]),
            SamplingParams(temperature=0, choice=("no",)),
            thought_marks=marks,
            continues_text=False,
        )
        engine.run([request])
        (completion,) = collect(request, engine.tokenizer).completions
        assert (completion.thoughts, completion.answer) == (written.strip("\n"), "no"), name
        assert completion.finish_detail == "complete"


def test_no_end_token_comes_within_thoughts() -> None:
    engine, _ = scripted(TEMPLATES["MiniMax opens"], "")
    request = engine.submit(
        engine.tokenizer.encode_chat([ASKED]),
        SamplingParams(temperature=0, choice=("no",), max_tokens=1),
        thought_marks=engine.tokenizer.thought_marks(),
    )
    engine.run([request])
    assert collect(request, engine.tokenizer).completions[0].finish_detail == "max_tokens"


def test_an_answer_without_opened_thoughts_has_its_form_from_its_beginning() -> None:
    engine, _ = scripted(TEMPLATES["MiniMax"], "<mm:think>so</mm:think>yes")
    request = engine.submit(
        engine.tokenizer.encode_chat([ASKED]),
        SamplingParams(temperature=0, schema={"const": ["yes"]}),  # type: ignore[arg-type]
        thought_marks=engine.tokenizer.thought_marks(),
    )
    engine.run([request])
    assert json.loads(collect(request, engine.tokenizer).completions[0].answer) == ["yes"]
