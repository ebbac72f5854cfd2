"""Classification by likelihood, held to texts that a fake computes from nothing; and the real model on film reviews."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from nextword.data.labelled import read_labelled
from nextword.decoding.log_softmax import log_softmax
from nextword.errors import RequestError
from nextword.inference.engine import Engine
from nextword.loading import load
from nextword.tasks.classify import CONTENT_FREE, Classifier, ClassifyOptions, classify_options
from nextword.text.tokenizer import Tokenizer
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fakes import HashBackend

REVIEWS = Path(__file__).parents[3] / "shared" / "data" / "sst2-dev.tsv"
TOKENIZER = byte_tokenizer()
LABELS = ("good", "bad", "so-so")
PROMPT = "[{text}] is"


def backend() -> HashBackend:
    return HashBackend(vocab_size=257, max_seq_len=200)


def log_prob(prompt: str, label: str) -> float:
    """Of a label after a prompt, a text for each of its bytes."""
    text = TOKENIZER.encode(f"{prompt} {label}")
    start = len(TOKENIZER.encode(prompt))
    return sum(float(log_softmax(backend().logits_after(text[:end]))[text[end]]) for end in range(start, len(text)))


def softmax(scores: list[float]) -> list[float]:
    weights = np.exp(np.array(scores) - max(scores))
    return [float(weight) for weight in weights / weights.sum()]


def test_the_likeliest_label_is_chosen_by_the_sum_of_its_tokens() -> None:
    options = ClassifyOptions(prompt=PROMPT, calibration="none", normalization="none")
    classifier = Classifier(Engine(backend(), TOKENIZER), LABELS, options=options)

    for text, found in zip("abcdefgh", classifier.classify(list("abcdefgh")), strict=True):
        expected = [log_prob(f"[{text}] is", label) for label in LABELS]
        assert found.label == LABELS[int(np.argmax(expected))]
        assert list(found.log_probs.values()) == pytest.approx(expected)
        assert list(found.probabilities.values()) == pytest.approx(softmax(expected))


def test_calibration_compares_with_texts_without_content_and_normalization_divides_by_tokens() -> None:
    classifier = Classifier(Engine(backend(), TOKENIZER), LABELS, options=ClassifyOptions(prompt=PROMPT))

    (found,) = classifier.classify(["a film"])

    scores = []
    for label in LABELS:
        mean = sum(math.exp(log_prob(f"[{text}] is", label)) for text in CONTENT_FREE) / len(CONTENT_FREE)
        scores.append((log_prob("[a film] is", label) - math.log(mean)) / (len(label) + 1))
    assert list(found.probabilities.values()) == pytest.approx(softmax(scores))


def test_examples_stand_before_the_text() -> None:
    options = ClassifyOptions(prompt=PROMPT, calibration="none", normalization="none")
    examples = [("x", "good"), ("y", "bad")]

    (found,) = Classifier(Engine(backend(), TOKENIZER), LABELS, examples=examples, options=options).classify(["z"])

    prompt = "[x] is good\n\n[y] is bad\n\n[z] is"
    assert found.log_probs["so-so"] == pytest.approx(log_prob(prompt, "so-so"))


def test_examples_and_prompts_are_computed_once_for_all_labels() -> None:
    fake = backend()
    options = ClassifyOptions(prompt=PROMPT, calibration="none")

    list(
        Classifier(Engine(fake, TOKENIZER), ["ya", "no"], examples=[("x", "ya")], options=options).classify(
            list("abcd")
        )
    )

    shared, own, tails = len("[x] is ya\n\n["), len("a] is"), 2 * 2
    assert fake.tokens_computed == shared + 4 * (own + tails)


def test_two_labels_with_the_same_tokens_are_refused() -> None:
    lower = tokenizers.Tokenizer(models.WordLevel({"yes": 0, "no": 1, "?": 2}, unk_token="?"))
    lower.normalizer = normalizers.Lowercase()
    lower.pre_tokenizer = pre_tokenizers.Whitespace()
    words = Tokenizer(lower, bos_token_id=None, eos_token_ids=(), chat_template=None, special_variables={})

    with pytest.raises(RequestError, match="labels 'yes' and 'Yes' have the same tokens"):
        Classifier(Engine(HashBackend(vocab_size=3), words), ["yes", "no", "Yes"])


@pytest.mark.parametrize(
    ("labels", "message"), [(["one"], "at least two"), (["a", " "], "empty"), (["a", "a "], "same tokens")]
)
def test_labels_without_a_choice_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Classifier(Engine(backend(), TOKENIZER), labels)


def test_an_example_with_another_label_is_refused() -> None:
    with pytest.raises(RequestError, match="'great', which is none of 'good', 'bad'"):
        Classifier(Engine(backend(), TOKENIZER), ["good", "bad"], examples=[("x", "great")])


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RequestError, match=r"with \{text\}"):
        classify_options(prompt="In one word:")
    with pytest.raises(RequestError, match="must be one of content-free, none"):
        classify_options(calibration="yes")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="unknown option 'calibrate'"):
        classify_options(calibrate="none")  # type: ignore[call-arg]


@pytest.mark.model
@pytest.mark.skipif(not REVIEWS.exists(), reason="../shared/data is not here")
def test_smollm2_tells_good_reviews_from_bad_ones_far_better_than_chance() -> None:
    reviews = list(read_labelled(REVIEWS))[300:420]

    found = load("smollm2-135m").classify_batch([review.text for review in reviews], ["positive", "negative"])

    right = [{"1": "positive", "0": "negative"}[str(review.label)] for review in reviews]
    accuracy = np.mean([one.label == label for one, label in zip(found, right, strict=True)])
    assert accuracy > 0.7
