"""A model's methods that join it with other rooms: each gives what those rooms give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nextword as nw
from tests.api_model import load_bytes_model

TEXT = "Hello there, and good morning to all of you."


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    return load_bytes_model(tmp_path_factory.mktemp("models") / "bytes")


def test_a_model_compared_with_itself_shows_no_difference(lm: nw.LanguageModel) -> None:
    comparison = lm.compare(lm, [TEXT, "Another text."])
    assert comparison.difference == 0.0
    assert comparison.num_documents == 2
    assert comparison.agreement == 1.0


def test_the_first_model_is_a_and_the_other_b(lm: nw.LanguageModel, tmp_path: Path) -> None:
    other = load_bytes_model(tmp_path / "other", seed=8)
    comparison = lm.compare(other, TEXT, context=16)
    assert comparison.bits_per_byte_a == pytest.approx(lm.compare(lm, TEXT, context=16).bits_per_byte_a)
    assert comparison.difference == pytest.approx(-other.compare(lm, TEXT, context=16).difference)


def test_the_surprise_of_a_text_is_the_sum_of_its_negative_log_probabilities(lm: nw.LanguageModel) -> None:
    report = lm.surprise(TEXT)
    assert report.text == TEXT
    assert report.nats_per_token * (len(TEXT) - 1) == pytest.approx(-lm.score(TEXT).log_prob, rel=1e-5)


def test_a_model_shows_itself_in_one_line(lm: nw.LanguageModel) -> None:
    name = str(lm.directory.path)
    assert repr(lm) == f"LanguageModel({name!r}, llama, 3,056 parameters, backend native, weights F32)"
    assert "weights q8" in repr(nw.load(name, weights="q8"))


def test_a_generation_prints_its_text_and_shows_itself_in_one_line(lm: nw.LanguageModel) -> None:
    generation = lm.generate(TEXT, max_tokens=6, seed=1, n=2)
    first, second = generation.completions
    assert str(generation) == f"{first.text}\n---\n{second.text}"
    assert str(first) == first.text == generation.text
    assert repr(generation) == f"Generation({first.text!r}, 6 tokens, max_tokens, 2 completions)"
    assert first.token_texts == tuple(lm.tokenizer.token_text(token.token_id) for token in first.tokens)


def test_a_notebook_shows_a_generation_in_colours_if_it_has_log_probabilities(lm: nw.LanguageModel) -> None:
    plain = lm.generate(TEXT, max_tokens=6, seed=1)
    scored = lm.generate(TEXT, max_tokens=6, seed=1, logprobs=0)
    assert "log-probability" not in plain._repr_html_()
    assert scored._repr_html_().count('title="log-probability') == 6


def test_long_texts_are_shortened_in_a_repr(lm: nw.LanguageModel) -> None:
    summary = nw.Summary(text="word " * 50, num_parts=3, num_text_tokens=9000, num_summary_tokens=50, is_complete=False)
    assert str(summary) == summary.text
    assert repr(summary).startswith("Summary('word word")
    assert repr(summary).endswith("...', 50 tokens for a text of 9,000 in 3 parts; it stops at the limit of tokens)")


def test_markup_in_a_text_is_shown_as_text() -> None:
    text = "<script>&</script>"
    summary = nw.Summary(text=text, num_parts=1, num_text_tokens=9, num_summary_tokens=5, is_complete=True)
    choice = nw.Classification(label=text, probabilities={text: 0.75, "b": 0.25}, log_probs={text: -1.0, "b": -2.0})
    for shown in (summary._repr_html_(), choice._repr_html_()):
        assert "<script>" not in shown
        assert "&lt;script&gt;&amp;" in shown


def test_a_classification_lists_its_labels_the_most_probable_first(lm: nw.LanguageModel) -> None:
    choice = nw.Classification(label="b", probabilities={"a": 0.25, "b": 0.75}, log_probs={"a": -2.0, "b": -1.0})
    assert str(choice).splitlines() == [
        "label  probability  log-probability",
        "b           0.7500          -1.0000",
        "a           0.2500          -2.0000",
    ]
    assert repr(choice) == "Classification('b', probability 0.7500)"
    assert choice._repr_html_().index(">b<") < choice._repr_html_().index(">a<")


def test_results_show_themselves_in_one_short_line(lm: nw.LanguageModel) -> None:
    results = [lm.score(TEXT), lm.surprise(TEXT), lm.perplexity(TEXT), lm.compare(lm, TEXT), lm.conversation()]
    results += [lm.tokenizer, lm.next(TEXT), lm.stream(TEXT), lm.generate(TEXT, max_tokens=2), lm]
    for result in results:
        shown = repr(result)
        assert shown.startswith(f"{type(result).__name__}(")
        assert "\n" not in shown
        assert "array" not in shown
        assert len(shown) < 120 or result is lm


def test_control_tokens_in_a_prompt_are_read_only_when_asked(lm: nw.LanguageModel) -> None:
    (control,) = lm.tokenizer.eos_token_ids
    prompt = f"a{lm.tokenizer.token_text(control)}b"
    as_text, as_tokens = list(prompt.encode()), [ord("a"), control, ord("b")]
    of_prompt: dict[bool, list[list[int]]] = {
        parse_special: [
            list(lm.generate(prompt, parse_special=parse_special, max_tokens=1).prompt_token_ids),
            list(lm.generate_batch([prompt], parse_special=parse_special, max_tokens=1)[0].prompt_token_ids),
            _streamed_prompt(lm.stream(prompt, parse_special=parse_special, max_tokens=1)),
            [as_tokens[0], *(token.token_id for token in lm.score(prompt, parse_special=parse_special).tokens)],
        ]
        for parse_special in (False, True)
    }
    assert list(lm.generate(prompt, max_tokens=1).prompt_token_ids) == as_text
    assert of_prompt == {False: [as_text] * 4, True: [as_tokens] * 4}
    after_tokens = lm.engine.next_distribution(as_tokens)
    assert lm.next(prompt, parse_special=True).entropy == after_tokens.entropy != lm.next(prompt).entropy
    assert lm.next_steps(prompt, parse_special=True)["model"].entropy == after_tokens.entropy


@pytest.mark.parametrize(
    "params",
    [
        {"repetition_penalty": 1.8},
        {"logit_bias": {98: 9.0}, "top_k": 3},
        {"dry_multiplier": 9.0, "dry_sequence_breakers": [], "top_p": 0.8},
        {"no_repeat_ngram_size": 2},
        {"min_tokens": 1, "mirostat_tau": 3.0},
    ],
)
def test_the_last_step_is_what_generate_draws_from(lm: nw.LanguageModel, params: dict[str, Any]) -> None:
    prompt = "abcabcab"
    steps = lm.next_steps(prompt, temperature=0.8, **params)
    assert list(steps)[:2] == ["model", "penalties"]
    how: dict[str, Any] = {"max_tokens": 1, "logprobs": 5, "processed_logprobs": True, "seed": 4, **params}
    (token,) = lm.generate(prompt, temperature=0.8, **how).completions[0].tokens
    last = list(steps.values())[-1]
    assert [log_prob for _, log_prob in last.most_probable(5)] == [one for _, one in token.alternatives[:5]]
    assert last.log_prob(token.token_id) == token.log_prob


@pytest.mark.parametrize(
    "params", [{"num_beams": 2}, {"guidance_scale": 2.0}, {"contrastive_alpha": 0.1}, {"choice": ["a"]}]
)
def test_what_steps_do_not_show_is_refused(lm: nw.LanguageModel, params: dict[str, Any]) -> None:
    with pytest.raises(nw.RequestError, match="its effect is not shown here; leave it out"):
        lm.next_steps("ab", **params)


def _streamed_prompt(stream: nw.Stream) -> list[int]:
    list(stream)
    return list(stream.generation.prompt_token_ids)


def test_a_stream_with_echo_is_the_text_of_the_generation(lm: nw.LanguageModel) -> None:
    stream = lm.stream(TEXT, max_tokens=4, seed=1, echo=True)
    pieces = list(stream)
    assert "".join(pieces) == stream.generation.text
    assert pieces[0] == TEXT


def test_an_amateur_with_other_tokens_is_refused(lm: nw.LanguageModel, tmp_path: Path) -> None:
    load_bytes_model(tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"a":', '"aa":'), encoding="utf-8")
    with pytest.raises(nw.RequestError, match=r"amateur .*: token \d+ is another one than the model's"):
        nw.load(lm.directory.path, amateur=tmp_path / "other")


def test_a_draft_model_changes_no_text_and_what_cannot_draft_is_refused(lm: nw.LanguageModel, tmp_path: Path) -> None:
    path = lm.directory.path
    drafted = nw.load(path, draft_model=path)
    for seed in range(3):
        how = {"seed": seed, "max_tokens": 30, "logprobs": 1}
        assert drafted.generate(TEXT, **how) == lm.generate(TEXT, **how)  # type: ignore[arg-type]
    load_bytes_model(tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"a":', '"aa":'), encoding="utf-8")
    with pytest.raises(nw.RequestError, match=r"draft_model .*: token \d+ is another one than the model's"):
        nw.load(path, draft_model=tmp_path / "other")
    with pytest.raises(nw.RequestError, match="draft_model: its drafts are verified only with speculation"):
        nw.load(path, draft_model=path, speculation=False)
    with pytest.raises(nw.RequestError, match="draft_model: PyTorch verifies no drafts"):
        nw.load(path, draft_model=path, backend="torch")


def test_each_prompt_of_a_batch_has_a_negative_prompt_of_its_own(lm: nw.LanguageModel) -> None:
    prompts, negatives = [TEXT, "Good", TEXT], ["no", None, "never again"]
    batch = lm.generate_batch(prompts, negative_prompt=negatives, guidance_scale=1.5, seed=3, max_tokens=8)
    for prompt, negative, generation in zip(prompts, negatives, batch, strict=True):
        how = {"guidance_scale": 1.5, "seed": 3, "max_tokens": 8}
        assert generation == lm.generate(prompt, negative_prompt=negative, **how)  # type: ignore[arg-type]
    with pytest.raises(nw.RequestError, match="3 prompts but 2 negative prompts"):
        lm.generate_batch(prompts, negative_prompt=["a", "b"], guidance_scale=1.5)
