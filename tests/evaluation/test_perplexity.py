"""Perplexity under every convention, held to sums written out over the logits of a backend that hashes the text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nextword.data.documents import Document
from nextword.errors import DataError, RequestError
from nextword.evaluation.conventions import ConventionName, choose_convention
from nextword.evaluation.perplexity import PerplexityReport, measure_perplexity
from nextword.evaluation.perplexity_accumulator import PerplexityAccumulator
from nextword.inference.backend import TokenScores
from nextword.inference.engine import Engine
from nextword.text.tokenizer import Tokenizer
from tests.data.byte_tokenizer import END, byte_tokenizer
from tests.fakes import HashBackend

TEXT = "The river ran past the mill, and on to the sea."
VOCAB_SIZE = 300


def tokenizer(*, add_bos: bool = False) -> Tokenizer:
    return byte_tokenizer(add_bos=add_bos)


def documents(*texts: str) -> Iterator[Document]:
    return (Document(text, Path("text"), line) for line, text in enumerate(texts, 1))


def measure(
    *texts: str, name: ConventionName = "sliding", context: int = 8, stride: int | None = None, add_bos: bool = False
) -> PerplexityReport:
    backend = HashBackend(vocab_size=VOCAB_SIZE)
    convention = choose_convention(name, context=context, stride=stride, max_seq_len=64)
    report = measure_perplexity(Engine(backend, tokenizer(add_bos=add_bos)), documents(*texts), convention)
    assert not backend.caches
    return report


def surprisal(context: list[int], target: int) -> float:
    """-log p(target | context), written out in float64."""
    exponentials = np.exp(HashBackend(vocab_size=VOCAB_SIZE).logits_after(context).astype(np.float64))
    return -math.log(exponentials[target] / exponentials.sum())


def test_each_token_is_scored_with_the_context_of_its_window() -> None:
    token_ids = tokenizer().encode(TEXT)
    expected = 0.0
    for at in range(1, len(token_ids)):
        start = 0 if at < 8 else 4 * ((at - 8) // 4 + 1)
        expected += surprisal(token_ids[start:at], token_ids[at])

    report = measure(TEXT, stride=4)

    assert (report.num_tokens, report.num_bytes) == (len(TEXT) - 1, len(TEXT) - 1)
    assert report.total_nats == pytest.approx(expected, rel=1e-6)
    assert report.perplexity == pytest.approx(math.exp(expected / (len(TEXT) - 1)), rel=1e-6)
    assert report.bits_per_byte == pytest.approx(expected / math.log(2) / (len(TEXT) - 1), rel=1e-6)


def test_bos_stands_before_the_text_so_that_the_first_token_is_scored() -> None:
    tokens = tokenizer(add_bos=True).encode("abc")
    report = measure("abc", add_bos=True)
    assert (report.num_tokens, report.num_bytes) == (3, 3)
    assert report.total_nats == pytest.approx(sum(surprisal(tokens[:at], tokens[at]) for at in (1, 2, 3)), rel=1e-6)


@pytest.mark.parametrize("add_bos", [False, True])
def test_llama_cpp_scores_second_halves_after_bos(add_bos: bool) -> None:
    tokens = tokenizer(add_bos=add_bos).encode(TEXT)
    expected, num_chunks = 0.0, len(tokens) // 8
    for chunk in range(num_chunks):
        window = tokens[8 * chunk : 8 * chunk + 8]
        window[0] = tokens[0] if add_bos else window[0]
        expected += sum(surprisal(window[:at], window[at]) for at in (5, 6, 7))
    report = measure(TEXT, name="llama.cpp", add_bos=add_bos)
    assert report.num_tokens == report.num_bytes == 3 * num_chunks
    assert report.total_nats == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("add_bos", [False, True])
def test_lm_eval_scores_every_token_and_divides_by_words_and_bytes_of_the_text(add_bos: bool) -> None:
    text = "Zwölf  Wörter,\nund mehr "
    own = tokenizer(add_bos=add_bos)
    tokens = own.encode(text, add_special_tokens=False)
    expected, last = 0.0, len(tokens) - len(tokens) % 8
    for at in range(len(tokens)):
        start = len(tokens) - 9 if at >= last else 8 * (at // 8) - 1
        context = [END, *tokens[:at]] if start < 0 else tokens[start:at]
        expected += surprisal(context, tokens[at])
    report = measure(text, name="lm-eval", add_bos=add_bos)
    assert report.total_nats == pytest.approx(expected, rel=1e-6)
    assert (report.num_tokens, report.num_bytes, report.sums.num_words) == (len(tokens), len(text.encode()), 5)
    assert report.sums.word_perplexity == pytest.approx(math.exp(expected / 5), rel=1e-6)
    assert report.sums.byte_perplexity == pytest.approx(math.exp(expected / len(text.encode())), rel=1e-6)


def test_documents_are_measured_by_themselves_and_together() -> None:
    texts = [TEXT, "Another text.", "Zwölf"]
    alone = [measure(text) for text in texts]
    scores: list[float] = []
    convention = choose_convention("sliding", context=8, max_seq_len=64)
    together = measure_perplexity(
        Engine(HashBackend(vocab_size=VOCAB_SIZE), tokenizer()),
        documents(*texts),
        convention,
        on_document=lambda score: scores.append(score.sums.total_nats),
    )
    assert scores == pytest.approx([report.total_nats for report in alone])
    assert together.total_nats == pytest.approx(sum(scores))
    assert together.num_documents == 3
    assert together.num_bytes == sum(report.num_bytes for report in alone)


@pytest.mark.filterwarnings("error")
def test_tokens_of_no_bytes_have_a_perplexity_and_no_interval_of_bits() -> None:
    accumulator = PerplexityAccumulator()
    for nats in range(30):
        ones = np.ones(1, np.int32)
        scores = TokenScores(nats=np.array([float(nats)]), entropies=np.ones(1), ranks=ones, largest=ones)
        accumulator.add_window(scores, np.zeros(1, np.int64), num_before=1)
        accumulator.end_document()
    nats_interval, bits_interval = accumulator.intervals()
    assert nats_interval is not None
    assert nats_interval.low < 14.5 < nats_interval.high
    assert (bits_interval, math.isnan(accumulator.total.bits_per_byte)) == (None, True)


def test_pieces_of_a_document_are_one_text() -> None:
    pieces = [
        Document(TEXT[start : start + 10], Path("text"), 1, continues=start > 0) for start in range(0, len(TEXT), 10)
    ]
    convention = choose_convention("lm-eval", context=8, max_seq_len=64)
    report = measure_perplexity(Engine(HashBackend(vocab_size=VOCAB_SIZE), tokenizer()), pieces, convention)
    whole = measure(TEXT, name="lm-eval")
    assert (report.num_documents, report.sums) == (1, whole.sums)


@pytest.mark.parametrize("name", ["sliding", "llama.cpp", "lm-eval"])
def test_a_run_goes_on_where_it_was_interrupted(name: ConventionName) -> None:
    texts = [f"{TEXT} {number}" for number in range(12)]
    convention = choose_convention(name, context=8, max_seq_len=64)
    whole = measure(*texts, name=name)
    kept: list[str] = []

    def interrupt(accumulator: PerplexityAccumulator) -> None:
        kept.append(json.dumps(accumulator.to_json()))
        if accumulator.num_documents >= 4:
            raise KeyboardInterrupt

    engine = Engine(HashBackend(vocab_size=VOCAB_SIZE), tokenizer())
    with pytest.raises(KeyboardInterrupt):
        measure_perplexity(engine, documents(*texts), convention, on_progress=interrupt)
    backend = HashBackend(vocab_size=VOCAB_SIZE)
    interrupted = PerplexityAccumulator.from_json(json.loads(kept[-1]))
    report = measure_perplexity(Engine(backend, tokenizer()), documents(*texts), convention, resume_from=interrupted)
    assert report.sums == whole.sums
    assert (report.nats_interval, report.bits_interval) == (whole.nats_interval, whole.bits_interval)
    assert backend.tokens_computed < 0.75 * 8 * whole.num_windows


@pytest.mark.parametrize(
    ("texts", "name", "message"),
    [
        ([], "sliding", "the text is empty"),
        ([""], "sliding", "text:1: the text is empty"),
        ([TEXT, "a"], "sliding", "text:2: the text has a single token, and the convention sliding needs two"),
        ([""], "lm-eval", "text:1: the text is empty"),
        (["short"], "llama.cpp", "at least 8 tokens, a whole chunk: choose a smaller context"),
    ],
)
def test_texts_with_nothing_to_score_are_refused(texts: list[str], name: ConventionName, message: str) -> None:
    with pytest.raises((RequestError, DataError), match=message):
        measure(*texts, name=name)


def test_short_documents_are_counted_where_they_may_be_left_out() -> None:
    convention = choose_convention("sliding", context=8, max_seq_len=64)
    backend = HashBackend(vocab_size=VOCAB_SIZE)
    report = measure_perplexity(Engine(backend, tokenizer()), documents("a", TEXT, ""), convention, skip_short=True)
    assert (report.num_documents, report.num_too_short) == (1, 2)
    assert report.sums == measure(TEXT).sums


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "sliding", "context": 65}, "context = 65: the model attends to at most 64"),
        ({"name": "sliding", "context": 2}, "context = 2: at least 3"),
        ({"name": "sliding", "context": 4, "stride": 5}, "stride = 5: it must be from 1 to the context, 4"),
        ({"name": "sliding", "stride": 0}, "stride = 0"),
        ({"name": "lm-eval", "stride": 4}, "stride = 4: only the convention sliding"),
        ({"name": "ollama"}, "convention = 'ollama': must be one of sliding, llama.cpp, lm-eval"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        choose_convention(**settings, max_seq_len=64)  # type: ignore[arg-type]


def test_few_documents_have_an_interval_over_their_windows_or_blocks() -> None:
    assert measure(TEXT).interval_units == "blocks of 32 tokens"
    assert measure(TEXT * 8).interval_units == "windows"
    assert measure(*[TEXT] * 25).interval_units == "documents"
