"""Results as blocks for notebooks: escaped, without scripts, on colours that suit light and dark."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nextword.data.documents import Document
from nextword.decoding.distribution import Distribution
from nextword.decoding.sampler import ChosenToken
from nextword.evaluation.bootstrap import Interval
from nextword.evaluation.classification import classification_report
from nextword.evaluation.compare import Comparison, compare_models
from nextword.evaluation.conventions import choose_convention
from nextword.evaluation.perplexity import PerplexityReport, measure_perplexity
from nextword.evaluation.score import Score
from nextword.evaluation.surprise import SurpriseReport, measure_surprise
from nextword.inference.engine import Engine
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fakes import HashBackend

TEXT = "<script>alert('River & sea')</script> Über 水"
HOSTILE = "<script>&\"'"


class Tags(HTMLParser):
    """Collects tags and text, and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(markup: str) -> Tags:
    """The tags of a block: closed, and only those that our helpers write."""
    tags = Tags()
    tags.feed(markup)
    tags.close()
    assert not tags.open
    assert tags.seen <= {"div", "p", "span", "table", "tr", "th", "td"}
    assert "color:#" not in markup, "a colour for one theme only"
    return tags


def backend() -> HashBackend:
    return HashBackend(vocab_size=300, max_seq_len=64)


def documents() -> list[Document]:
    return [Document(TEXT, Path("text"), 1)]


def perplexity() -> PerplexityReport:
    return measure_perplexity(
        Engine(backend(), byte_tokenizer()), documents(), choose_convention("sliding", max_seq_len=64)
    )


def comparison() -> Comparison:
    class Other(HashBackend):
        def logits_after(self, token_ids):  # type: ignore[no-untyped-def]
            return super().logits_after(token_ids)[::-1].copy()

    a = Engine(backend(), byte_tokenizer())
    return compare_models(a, Engine(Other(vocab_size=300), byte_tokenizer()), documents())


def surprise() -> SurpriseReport:
    return measure_surprise(Engine(backend(), byte_tokenizer()), TEXT)


def test_a_perplexity_report_shows_its_figures_with_their_intervals() -> None:
    report = perplexity()
    interval = report.perplexity_interval
    assert isinstance(interval, Interval)
    for shown in (str(report), parsed(report._repr_html_()).text):
        assert f"{report.perplexity:.4f}" in shown
        assert f"{interval.low:.4f} to {interval.high:.4f}" in shown
        assert f"{report.num_tokens} tokens" in shown
    assert "array" not in repr(report)
    assert len(str(report).splitlines()) == 5


def test_a_comparison_shows_verdict_difference_and_pieces() -> None:
    found = comparison()
    shown = parsed(found._repr_html_()).text
    for text in (found.verdict, f"{found.difference:+.4f}", f"{found.bits_per_byte_a:.4f}"):
        assert text in shown
        assert text in str(found)
    assert found.differences[0].text in shown
    assert "array" not in repr(found)


def test_a_surprise_shows_all_of_its_text_on_colours() -> None:
    report = surprise()
    assert report.text == TEXT
    tags = parsed(report._repr_html_())
    assert TEXT in tags.text
    assert f"{report.nats_per_token:.4f} nats a token" in tags.text
    assert f"{report.nats_per_token:.4f} nats a token" in str(report)
    assert repr(report.most_surprising[0].text) in str(report)
    assert len(repr(report)) < 100


def test_a_score_shows_each_token_and_the_sum() -> None:
    score = Score(tokens=(ChosenToken(5, -1.5), ChosenToken(7, -2.25)), token_texts=(HOSTILE, "b"))
    assert str(score).splitlines() == [f"   -1.5000  {HOSTILE!r}", "   -2.2500  'b'", "   -3.7500  nats, 2 tokens"]
    assert f"{HOSTILE}b" in parsed(score._repr_html_()).text


def test_a_distribution_shows_bars_as_long_as_its_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))
    markup = Distribution.from_logits(logits, token_text=lambda token_id: f"{HOSTILE}{token_id}").table(2)._repr_html_()
    tags = parsed(markup)
    assert repr(f"{HOSTILE}0") in tags.text
    assert "50.0%" in tags.text
    assert "and 2 more tokens with 25.0% together" in tags.text
    assert markup.count("width:14.00em") == markup.count("width:7.00em") == 1
    assert "3" in parsed(Distribution.from_logits(logits)._repr_html_()).text


def test_a_classification_report_shows_the_confusion_matrix() -> None:
    report = classification_report([HOSTILE, "b"], [0, 1, 1], np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
    for shown in (str(report), parsed(report._repr_html_()).text):
        assert "accuracy 0.667" in shown
        assert f"as {HOSTILE}" in shown


@pytest.mark.parametrize("module", ["nextword.decoding.distribution", "nextword.evaluation.perplexity"])
def test_html_is_imported_when_a_notebook_asks_for_it(module: str) -> None:
    script = f"import sys, {module}; sys.exit(any(name.startswith('nextword.html') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
