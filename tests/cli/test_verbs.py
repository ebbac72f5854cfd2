"""What the verbs print: text as it comes, JSON with the Python API's names, parameters that were said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest

import nextword
from nextword import SamplingParams
from nextword.checkpoints.catalogue import CATALOGUE, is_pulled
from nextword.cli.parsing import parse_options
from nextword.cli.sampling_flags import SamplingFlags, check_sampling_flags, unescaped
from nextword.cli.verbs.generate import Options as GenerateOptions
from nextword.decoding.distribution_table import TableRow
from nextword.decoding.sampler import ChosenToken
from nextword.inference.generation import Completion, Generation
from nextword.tasks.summarize import Summary
from tests.cli.conftest import VOCAB_SIZE, Command

SEEDED = ("--seed", "1", "--max-tokens", "6")


def fields_of(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def read_json(command: Command, *arguments: str | Path, given: str = "") -> Any:
    done = command(*arguments, "--json", given=given)
    assert done.code == 0
    return json.loads(done.out)


def test_generate_json_has_the_fields_of_the_python_api_and_each_tokens_text(command: Command, tiny: Path) -> None:
    found = read_json(command, "generate", tiny, "hi", *SEEDED, "--logprobs", "2", "--echo", "-n", "2")
    assert set(found) == fields_of(Generation)
    assert [set(completion) for completion in found["completions"]] == [fields_of(Completion)] * 2
    token = found["completions"][0]["tokens"][0]
    assert set(token) == fields_of(ChosenToken) | {"text"}
    assert [set(alternative) for alternative in token["alternatives"][:2]] == [{"token_id", "text", "log_prob"}] * 2


def test_generate_json_says_what_python_says(command: Command, tiny: Path) -> None:
    found = read_json(command, "generate", tiny, "hi", *SEEDED, "--logprobs", "1")
    lm = nextword.load(tiny)
    expected = lm.generate("hi", seed=1, max_tokens=6, logprobs=1)
    assert found["seed"] == 1
    assert found["prompt_token_ids"] == list(expected.prompt_token_ids)
    (completion,) = found["completions"]
    assert completion["text"] == expected.text
    for token, theirs in zip(completion["tokens"], expected.completions[0].tokens, strict=True):
        assert token["token_id"] == theirs.token_id
        assert token["log_prob"] == theirs.log_prob
        assert token["text"] == lm.tokenizer.token_text(theirs.token_id)
        assert [(other["token_id"], other["log_prob"]) for other in token["alternatives"]] == list(theirs.alternatives)


def test_streamed_text_is_the_text_of_the_json(command: Command, tiny: Path) -> None:
    streamed = command("generate", tiny, "hi", *SEEDED, "--echo").out
    assert streamed == read_json(command, "generate", tiny, "hi", *SEEDED, "--echo")["completions"][0]["text"] + "\n"


def test_several_completions_are_divided_by_a_line(command: Command, tiny: Path) -> None:
    texts = [c["text"] for c in read_json(command, "generate", tiny, "hi", *SEEDED, "--n", "3")["completions"]]
    assert command("generate", tiny, "hi", *SEEDED, "--n", "3").out == "\n---\n".join(texts) + "\n"


def test_score_tokenize_and_next_print_the_fields_of_the_python_api(command: Command, tiny: Path) -> None:
    score = read_json(command, "score", tiny, "-", given="abc")
    assert set(score) == {"tokens", "log_prob"}
    assert [token["text"] for token in score["tokens"]] == ["b", "c"]
    assert score["log_prob"] == pytest.approx(sum(token["log_prob"] for token in score["tokens"]))
    assert [token["text"] for token in read_json(command, "tokenize", tiny, "-", given="ab")] == ["a", "b"]
    steps = read_json(command, "next", tiny, "hi", "--top-k", "3", "--top", "2")
    assert [len(step["rows"]) for step in steps.values()] == [2] * len(steps)
    assert steps["model"]["num_tokens"] == 257
    assert set(steps["model"]["rows"][0]) == fields_of(TableRow)


def test_summarize_json_has_the_fields_of_the_python_api(command: Command, tiny: Path) -> None:
    found = read_json(command, "summarize", tiny, "--length", "short", given="One fact. Another fact.")
    assert set(found) == fields_of(Summary)


def test_text_is_the_same_as_json_in_columns(command: Command, tiny: Path) -> None:
    assert command("tokenize", tiny, "a b").out.split("\n")[1].endswith("' '")
    assert command("score", tiny, "abc").out.splitlines()[-1].endswith("nats, 2 tokens")
    assert command("next", tiny, "hi", "--top", "2").out.startswith("model: 257 tokens, entropy ")


def test_what_is_not_said_comes_from_the_models_files(command: Command, tiny: Path) -> None:
    silent = read_json(command, "generate", tiny, "hi", *SEEDED)
    same = read_json(command, "generate", tiny, "hi", *SEEDED, "--temperature", "0.2")
    assert silent == same


@pytest.mark.parametrize("flag", [("--temperature", "1.0"), ("--temperature=1",)])
def test_the_built_in_default_counts_when_it_is_said(command: Command, tiny: Path, flag: tuple[str, ...]) -> None:
    lm = nextword.load(tiny)
    said = read_json(command, "generate", tiny, "hi", *SEEDED, *flag)
    hot = lm.generate("hi", seed=1, max_tokens=6, temperature=1.0)
    assert said["completions"][0]["text"] == hot.text
    assert hot.text != lm.generate("hi", seed=1, max_tokens=6).text
    assert "temperature" not in read_json(command, "next", tiny, "hi", *flag)
    assert "temperature" in read_json(command, "next", tiny, "hi")


def test_every_sampling_parameter_can_be_said(command: Command, tiny: Path) -> None:
    help_text = command("generate", "--help").out
    for name in fields_of(SamplingParams):
        assert f"--{name.replace('_', '-')} " in help_text, name


def test_what_the_models_files_may_make_right_is_not_refused_before_they_are_read() -> None:
    check_sampling_flags({"min_tokens": 300})  # above the default of 256


def test_a_list_that_is_said_takes_the_place_of_its_default() -> None:
    words = ["m", "--dry-sequence-breakers", "a", "--dry-sequence-breakers", "b", "--choice", "c"]
    options = parse_options(GenerateOptions, words, prog="generate")
    assert options is not None
    assert options.params == {"dry_sequence_breakers": ("a", "b"), "choice": ("c",)}
    assert get_args(SamplingFlags)


def test_flags_that_take_several_values_are_repeated(command: Command, tiny: Path) -> None:
    free = read_json(command, "generate", tiny, "hi", *SEEDED)["completions"][0]["tokens"]
    first, second = free[0]["token_id"], free[1]["token_id"]
    bias = ["--logit-bias", str(first), "-inf", "--logit-bias", str(second), "-inf"]
    held = read_json(command, "generate", tiny, "hi", *SEEDED, *bias)["completions"][0]["tokens"]
    assert not {first, second} & {token["token_id"] for token in held}
    stopped = read_json(
        command, "generate", tiny, "hi", *SEEDED, "--stop-token-ids", "200", "--stop-token-ids", str(first)
    )
    assert stopped["completions"][0]["finish_detail"] == "stop_token"


@pytest.mark.parametrize("dash", [(), ("-",)])
def test_a_prompt_from_standard_input_loses_the_line_end_of_echo(
    command: Command, tiny: Path, dash: tuple[str, ...]
) -> None:
    said = command("generate", tiny, "hi\n", *SEEDED).out
    assert command("generate", tiny, *dash, *SEEDED, given="hi\n\n").out == said
    assert command("next", tiny, *dash, given="hi\n\n").out == command("next", tiny, "hi\n").out


def test_a_text_from_standard_input_is_taken_whole(command: Command, tiny: Path) -> None:
    assert command("tokenize", tiny, given="a\n").out == command("tokenize", tiny, "a\n").out
    assert command("score", tiny, given="ab\n").out == command("score", tiny, "ab\n").out


def test_stop_strings_understand_escapes(command: Command, tiny: Path) -> None:
    typed = [r"\n", r"\t", r"\\n", r"\u00e9", r"\d", "é"]
    assert [unescaped(text) for text in typed] == ["\n", "\t", r"\n", "é", r"\d", "é"]
    free = read_json(command, "generate", tiny, "hi", *SEEDED)["completions"][0]
    letter = free["text"][2]
    stopped = read_json(command, "generate", tiny, "hi", *SEEDED, "--stop", f"\\u{ord(letter):04x}")["completions"][0]
    assert stopped["finish_detail"] == "stop_string"
    assert stopped["text"] == free["text"][: free["text"].index(letter)]


def test_chat_answers_the_lines_of_a_pipe_without_a_prompt_sign(command: Command, tiny: Path) -> None:
    done = command("chat", tiny, *SEEDED, given="hello\n\nand?\n")
    assert done.code == 0
    lm = nextword.load(tiny)
    messages = [{"role": "user", "content": "hello"}]
    first = lm.chat(messages, seed=1, max_tokens=6).text
    messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "and?"}]
    second = lm.chat(messages, seed=1, max_tokens=6).text
    assert done.out == f"{first}\n{second}\n"
    assert done.err == ""


def test_chat_saves_resets_and_ends(command: Command, tiny: Path, tmp_path: Path) -> None:
    lines = [f"/save {tmp_path}/first", "hello", f"/save {tmp_path}/second", "/reset", f"/save {tmp_path}/third"]
    done = command("chat", tiny, *SEEDED, "--system", "be brief", given="\n".join([*lines, "/exit", "never asked"]))
    assert done.err.splitlines() == [f"[saved to {tmp_path}/{name}]" for name in ("first", "second", "third")]
    first, second, third = (json.loads((tmp_path / name).read_text()) for name in ("first", "second", "third"))
    assert first == third == [{"role": "system", "content": "be brief"}]
    assert [message["role"] for message in second] == ["system", "user", "assistant"]
    assert second[-1]["content"] + "\n" == done.out
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("target", ["", " ", "/nosuch/folder/file", "/dev/null", "~nosuchuser/file", "/tmp"])
def test_chat_goes_on_where_it_cannot_save(command: Command, tiny: Path, target: str) -> None:
    done = command("chat", tiny, *SEEDED, given=f"/save {target}\nhello\n")
    assert done.code == 0
    assert done.out.strip("\n")
    assert "/save FILE" in done.err


def test_chat_of_a_pipe_ends_at_an_error(command: Command, tiny: Path) -> None:
    done = command("chat", tiny, *SEEDED, "--max-tokens", "1", given="x" * 60_000 + "\nnext\n")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("nextword: the prompt has ")


@pytest.mark.model
def test_the_real_model_goes_on_with_a_sentence(command: Command) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    done = command("generate", "smollm2-135m", "The capital of France is", "--temperature", "0", "--max-tokens", "2")
    assert done.out == " Paris.\n"
    answer = command("chat", "smollm2-135m", "--temperature", "0", "--max-tokens", "20", given="Who are you?\n")
    assert (answer.code, answer.err) == (0, "")
    assert "help" in answer.out


def test_control_tokens_in_a_text_are_read_when_asked(command: Command, tiny: Path) -> None:
    ids = [token["token_id"] for token in read_json(command, "tokenize", tiny, "a<|pad|>b", "--special")]
    assert ids[1] == VOCAB_SIZE - 1
    assert len(read_json(command, "tokenize", tiny, "a<|pad|>b")) == len("a<|pad|>b")
    assert read_json(command, "generate", tiny, "a<|pad|>b", "--special", *SEEDED)["prompt_token_ids"] == ids
    scored = read_json(command, "score", tiny, "a<|pad|>b", "--special")["tokens"]
    assert [token["token_id"] for token in scored] == ids[1:]
    following = read_json(command, "next", tiny, "a<|pad|>b", "--special")["model"]["entropy"]
    assert following == nextword.load(tiny).engine.next_distribution(ids).entropy
