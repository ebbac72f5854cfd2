"""Beam search against transformers' on the same weights: the same texts, and scores within 10^-4."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.decoding.params import SamplingParams  # noqa: E402
from nextword.inference.engine import Engine  # noqa: E402
from nextword.inference.open_backend import open_backend  # noqa: E402
from nextword.inference.sequence import Sequence  # noqa: E402
from tests.text.test_tokenizer import TOKENIZER  # noqa: E402

pytestmark = pytest.mark.peer

VOCAB_SIZE = 40
PROMPTS = ([3, 14, 15, 9, 2, 6], [5], [31, 7, 7, 20, 7, 7, 20, 11])
TOLERANCE = 1e-4
PENALTIES = (-1.0, 0.0, 0.6, 1.0, 2.0)
STOPPING: dict[str, bool | str] = {"false": False, "true": True, "never": "never"}


@pytest.fixture(scope="module")
def theirs() -> Any:
    """A small random Llama whose distributions are peaked, so that texts end after some tokens."""
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def engine(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder: Path = tmp_path_factory.mktemp("tiny")
    theirs.save_pretrained(folder)
    directory = open_model_directory(folder)
    return Engine(open_backend(directory.config, directory.tensors, weights="f32", num_threads=1), TOKENIZER)


def ends_with_string(tokenizer: Any, string: str, num_before: int) -> Any:
    """A criterion of transformers: texts after a prompt end with a string in them."""

    class Ends(transformers.StoppingCriteria):  # type: ignore[misc,name-defined]
        def __call__(self, token_ids: Any, scores: Any, **kwargs: Any) -> Any:
            texts = (tokenizer.decode(row[num_before:].tolist()) for row in token_ids)
            return torch.tensor([string in text for text in texts])

    return transformers.StoppingCriteriaList([Ends()])


def found(engine: Engine, prompt: list[int], params: SamplingParams, ends: tuple[int, ...]) -> list[Sequence]:
    request = engine.submit(prompt, params, end_token_ids=ends)
    engine.run([request])
    return request.sequences


def expected(
    model: Any, prompt: list[int], ends: tuple[int, ...], **settings: Any
) -> Iterator[tuple[list[int], float]]:
    """The texts of transformers' search, without padding, with their scores."""
    token_ids = torch.tensor([prompt])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        result = model.generate(
            token_ids,
            attention_mask=torch.ones_like(token_ids),
            do_sample=False,
            eos_token_id=list(ends) or None,
            pad_token_id=0,
            return_dict_in_generate=True,
            output_scores=True,
            **settings,
        )
    for text, indices, score in zip(result.sequences, result.beam_indices, result.sequences_scores, strict=True):
        length = int((indices >= 0).sum())
        yield text[len(prompt) :][:length].tolist(), float(score)


def assert_equal(
    sequences: list[Sequence], theirs: Iterator[tuple[list[int], float]], *, relative: float = 1e-5
) -> None:
    wanted = list(theirs)
    assert [sequence.token_ids for sequence in sequences] == [text for text, _ in wanted]
    scores = [score for _, score in wanted]
    assert [sequence.score for sequence in sequences] == pytest.approx(scores, abs=TOLERANCE, rel=relative)


@pytest.mark.parametrize("early_stopping", STOPPING)
@pytest.mark.parametrize("width", [2, 3, 4, 8])
def test_texts_and_scores_are_theirs(theirs: Any, engine: Engine, width: int, early_stopping: str) -> None:
    lengths = ((12, 0), (9, 4))
    for prompt, penalty, (most, least), ends in itertools.product(PROMPTS, PENALTIES, lengths, [(1,), (1, 17, 30), ()]):
        params = SamplingParams(
            num_beams=width,
            n=width,
            length_penalty=penalty,
            early_stopping=early_stopping,  # type: ignore[arg-type]
            max_tokens=most,
            min_tokens=least,
        )
        settings = {
            "num_beams": width,
            "num_return_sequences": width,
            "length_penalty": penalty,
            "early_stopping": STOPPING[early_stopping],
            "max_new_tokens": most,
            "min_new_tokens": least,
        }
        assert_equal(found(engine, prompt, params, ends), expected(theirs, prompt, ends, **settings))


@pytest.mark.parametrize("width", [2, 5])
@pytest.mark.parametrize(
    ("ours", "settings"),
    [
        ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
        ({"repetition_penalty": 0.8}, {"repetition_penalty": 0.8}),
        ({"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 2}),
        (
            {"logit_bias": {7: 1.5, 20: -2.0, 11: -10.0}},
            {"sequence_bias": [[[7], 1.5], [[20], -2.0], [[11], -10.0]]},
        ),
        (
            {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_tokens": 5, "logit_bias": {1: 3.0}},
            {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_new_tokens": 5, "sequence_bias": [[[1], 3.0]]},
        ),
    ],
    ids=lambda value: "-".join(value),
)
def test_penalties_change_log_probabilities_as_there(
    theirs: Any, engine: Engine, ours: dict[str, Any], settings: dict[str, Any], width: int
) -> None:
    for prompt, penalty in itertools.product(PROMPTS, (0.0, 1.0)):
        params = SamplingParams(num_beams=width, n=width, length_penalty=penalty, max_tokens=10, **ours)
        common = {"num_beams": width, "num_return_sequences": width, "length_penalty": penalty, "max_new_tokens": 10}
        assert_equal(found(engine, prompt, params, (1,)), expected(theirs, prompt, (1,), **common, **settings))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_stop_strings_end_texts_as_a_criterion_there(theirs: Any, engine: Engine, penalty: float) -> None:
    for prompt, string in itertools.product(PROMPTS, [TOKENIZER.decode([17]), TOKENIZER.decode([30])]):
        params = SamplingParams(num_beams=4, n=4, length_penalty=penalty, max_tokens=12, stop=(string,))
        settings = {
            "num_beams": 4,
            "num_return_sequences": 4,
            "length_penalty": penalty,
            "max_new_tokens": 12,
            "stopping_criteria": ends_with_string(TOKENIZER, string, len(prompt)),
        }
        assert_equal(found(engine, prompt, params, (1,)), expected(theirs, prompt, (1,), **settings))


def test_a_batch_of_prompts_finds_what_each_finds_alone(theirs: Any, engine: Engine) -> None:
    params = SamplingParams(num_beams=4, n=2, max_tokens=10)
    requests = [engine.submit(prompt, params, end_token_ids=(1,)) for prompt in PROMPTS]
    engine.run(requests)
    for prompt, request in zip(PROMPTS, requests, strict=True):
        settings = {"num_beams": 4, "num_return_sequences": 2, "max_new_tokens": 10}
        assert_equal(request.sequences, expected(theirs, prompt, (1,), **settings))
