"""Which candidates may be the next sentence of a summary, and which of them is taken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nextword.inference.engine import Engine
from nextword.tasks import sentences
from nextword.tasks.sentences import Candidate, Continued, Source
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TOKENIZER

DIALOGUE = "#Person1#: Where is Ann?\n#Person2#: In Oslo.\n#Person1#: Since when?\n#Person2#: Since 2019."


def candidate(text: str, *, is_whole: bool = True) -> Candidate:
    return Candidate(text, "", 5, is_whole)


def continued(text: str = DIALOGUE, *earlier: str) -> Continued:
    prompt = TOKENIZER.encode("the river")
    return Continued(Source(text, prompt, prompt), " ".join(earlier), [candidate(one) for one in earlier])


def chosen(draft: Continued, *candidates: Candidate) -> list[str]:
    return [one.text for one in sentences._acceptable(draft, candidates)]


@pytest.mark.parametrize(
    "turn",
    ["#Person1#: Where is Ann?", "Person2: In Oslo.", "person1 : Since when?", " #Person2#: She is there."],
)
def test_a_speakers_turn_is_no_summary(turn: str) -> None:
    assert chosen(continued(), candidate(turn), candidate("Ann is in Oslo.")) == ["Ann is in Oslo."]


def test_a_label_that_no_line_begins_with_is_no_speaker() -> None:
    assert chosen(continued(), candidate("Result: Ann is in Oslo.")) == ["Result: Ann is in Oslo."]


def test_of_first_sentences_the_least_bad_are_taken_if_none_is_good() -> None:
    turn, invented, cut = (
        candidate("#Person2#: In Oslo."),
        candidate("She is in Rome."),
        candidate("She", is_whole=False),
    )
    assert chosen(continued(), cut, invented, turn) == ["#Person2#: In Oslo."]
    assert chosen(continued(), cut, invented) == ["She is in Rome."]
    assert chosen(continued(), cut, candidate("")) == ["She"]
    assert chosen(continued(), candidate("")) == []


def test_after_a_first_sentence_only_good_ones_are_taken() -> None:
    draft = continued(DIALOGUE, "Ann is in Oslo.")
    assert (
        chosen(draft, candidate("#Person2#: In Oslo."), candidate("She is in Rome."), candidate("Is Ann in Oslo?"))
        == []
    )
    assert chosen(draft, candidate("She has lived there since 2019.")) == ["She has lived there since 2019."]


def test_the_largest_difference_of_log_probabilities_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: -1.0 + 0.5 * 1.2 = -0.4 is less than -1.5 + 0.5 * 3.0 = 0.0."""
    log_probs = iter([[[-1.0, -1.5]], [[-1.2, -3.0]]])

    def given(engine: Engine, jobs: Sequence[object]) -> list[list[float]]:
        return next(log_probs) if jobs else []

    monkeypatch.setattr(sentences, "_log_probs", given)
    engine = Engine(HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=100), TOKENIZER)
    pool = [candidate("Of any text."), candidate("Ann is in Oslo.")]
    assert sentences._best(engine, [continued()], [pool]) == [pool[1]]
    assert sentences._best(engine, [continued(), continued()], [pool[:1], []]) == [pool[0], None]
