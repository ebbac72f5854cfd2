"""Drafts change the number of steps and nothing else: not a token, a log-probability, a piece of text or a reason."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.grammar import Matcher
from nextword.decoding.params import SamplingParams
from nextword.inference.backend import Backend
from nextword.inference.drafts import MOST_DRAFTED, Acceptance, Drafter, DraftSource, Outlook, StepCosts
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.lookup import Lookup
from nextword.inference.sequence import Request
from nextword.text.tokenizer import Tokenizer
from tests.fakes import HashBackend
from tests.inference.test_engine_on_fake import LETTERS, ONLY_LETTERS, Case, cases_of_any_kind, params_of_any_kind
from tests.text.test_tokenizer import TOKENIZER


class Guessing:
    """A source that proposes what a function of the tokens so far says."""

    def __init__(self, prompt: Sequence[int], seed: int) -> None:
        self.token_ids = list(prompt)
        self.random = random.Random(seed)
        self.is_closed = False

    def append(self, token_id: int) -> None:
        self.token_ids.append(token_id)

    def outlook(self, limit: int) -> Outlook:
        return Outlook(self.random.randint(0, limit), agreed=self.random.randint(0, 16))

    def propose(self, num_tokens: int) -> list[int]:
        return [self.random.choice(LETTERS) for _ in range(self.random.randint(0, num_tokens))]

    def close(self) -> None:
        self.is_closed = True


class Knowing:
    """A source that proposes a text, right or wrong."""

    def __init__(self, text: Sequence[int]) -> None:
        self.text = list(text)
        self.done = 0

    def append(self, token_id: int) -> None:
        self.done += 1

    def outlook(self, limit: int) -> Outlook:
        return Outlook(min(limit, max(len(self.text) - self.done, 0)), agreed=16)

    def propose(self, num_tokens: int) -> list[int]:
        return self.text[self.done : self.done + num_tokens]

    def close(self) -> None:
        pass


class Eager(StepCosts):
    """Costs by which a longer draft is always better."""

    def of(self, rows: int) -> float:
        return 1.0

    def steps(self, seconds: float) -> float:
        return 0.0


class Drafting(Engine):
    """An engine that drafts as much as it may, from given sources."""

    def __init__(
        self,
        backend: Backend,
        sources: Sequence[list[DraftSource]] | None = None,
        *,
        tokenizer: Tokenizer = TOKENIZER,
        amateur: Backend | None = None,
        draft_model: Backend | None = None,
    ) -> None:
        super().__init__(backend, tokenizer, amateur=amateur, draft_model=draft_model)
        self._costs = Eager()
        self._given = iter(sources) if sources is not None else None

    def _draft_sources(self, request: Request, index: int, matcher: Matcher | None) -> list[DraftSource]:
        return super()._draft_sources(request, index, matcher) if self._given is None else next(self._given)


def hash_backend(most_drafted: int = 0) -> HashBackend:
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=24)
    backend.most_drafted = most_drafted
    return backend


def run(engine: Engine, cases: Sequence[Case], prediction: Sequence[int] = ()) -> list[Generation]:
    requests = [engine.submit(*case, prediction=prediction) for case in cases]
    engine.run(requests)
    return [collect(request, TOKENIZER) for request in requests]


@settings(max_examples=60, deadline=None)
@given(cases_of_any_kind, st.integers(0, 2**32), st.integers(1, 12))
def test_garbage_changes_nothing(cases: list[Case], seed: int, most: int) -> None:
    expected = run(Engine(hash_backend(), TOKENIZER), cases)
    backend = hash_backend(most)
    made: list[Guessing] = []

    def sources() -> Iterator[list[DraftSource]]:
        for index in itertools.count():
            made.append(Guessing((), seed + index))
            yield [made[-1]]

    engine = Drafting(backend)
    with mock.patch.object(engine, "_given", sources()):
        assert run(engine, cases) == expected
    assert not backend.caches
    assert all(source.is_closed for source in made)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12), params_of_any_kind, st.integers(0, 12))
def test_the_truth_a_part_of_it_and_the_prompt_change_nothing(
    prompt: list[int], params: SamplingParams, num_known: int
) -> None:
    (expected,) = run(Engine(hash_backend(), TOKENIZER), [(prompt, params)])
    truth = [token.token_id for token in expected.completions[0].tokens]
    for prediction in (truth, truth[:num_known], [*truth[:2], *truth[3:]], prompt):
        backend = hash_backend(30)
        assert run(Drafting(backend), [(prompt, params)], prediction) == [expected]
        assert not backend.caches


def test_a_right_prediction_takes_one_step_for_each_draft() -> None:
    params = SamplingParams(max_tokens=13, temperature=0.7, seed=5, logprobs=1, logit_bias=ONLY_LETTERS)
    (expected,) = run(Engine(hash_backend(), TOKENIZER), [(LETTERS[:3], params)])
    truth = [token.token_id for token in expected.completions[0].tokens]
    backend = hash_backend(3)
    (seen,) = run(Drafting(backend, [[Knowing(truth)]]), [(LETTERS[:3], params)])
    assert seen == expected
    assert backend.steps == 1 + 3  # the prompt's gives the first token; then four at a time
    assert (seen.completions[0].accepted_draft_tokens, seen.completions[0].rejected_draft_tokens) == (9, 0)


def test_a_wrong_prediction_is_taken_back() -> None:
    params = SamplingParams(max_tokens=13, temperature=0.7, seed=5, logit_bias=ONLY_LETTERS)
    (expected,) = run(Engine(hash_backend(), TOKENIZER), [(LETTERS[:3], params)])
    backend = hash_backend(3)
    (seen,) = run(Drafting(backend, [[Knowing([1] * 13)]]), [(LETTERS[:3], params)])
    assert seen == expected
    assert backend.steps == 13
    assert seen.completions[0].accepted_draft_tokens == 0
    assert seen.completions[0].rejected_draft_tokens > 0


def test_nothing_is_drafted_when_the_batch_is_full() -> None:
    params = SamplingParams(max_tokens=8, seed=1, logit_bias=ONLY_LETTERS, n=4)
    backend = hash_backend(8)
    engine = Drafting(backend)
    engine._scheduler.max_sequences = 4
    (generation,) = run(engine, [(LETTERS[:3], params)], prediction=LETTERS)
    assert all(completion.rejected_draft_tokens == 0 for completion in generation.completions)


def test_an_engine_without_speculation_drafts_nothing() -> None:
    backend = hash_backend(8)
    params = SamplingParams(max_tokens=8, seed=1, logit_bias=ONLY_LETTERS)
    run(Engine(backend, TOKENIZER, speculation=False), [(LETTERS[:3], params)], prediction=LETTERS)
    assert backend.tokens_computed == 3 + 7


# ---- lookup ----


def following(known: Sequence[int], text: Sequence[int], *, is_prediction: bool) -> list[int]:
    lookup = Lookup(known, is_prediction=is_prediction)
    for token_id in text:
        lookup.append(token_id)
    return list(lookup.propose(lookup.outlook(4).num_tokens)) if lookup.outlook(4).num_tokens else []


def test_the_tokens_after_the_last_occurrence_are_proposed() -> None:
    prompt = [1, 2, 3, 4, 5, 9, 1, 2, 3, 6, 7, 8]
    assert following(prompt, [1, 2, 3], is_prediction=False) == [6, 7, 8, 1]
    assert following(prompt, [8, 5, 8], is_prediction=False) == []


def test_a_longer_agreement_is_preferred() -> None:
    long = list(range(20, 28))
    prompt = [*long, 50, 51, 52, 53, *long[-3:], 60, 61, 62, 63]
    assert following(prompt, long, is_prediction=False) == [50, 51, 52, 53]


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ([], [10, 11, 12, 13]),
        ([10, 11], [12, 13, 14, 15]),
        ([10, 11, 99], [13, 14, 15, 16]),
        ([10, 11, 99, 13], [14, 15, 16, 17]),
        ([10, 11, 98, 99, 13], [14, 15, 16, 17]),
        ([10, 11, 13], [14, 15, 16, 17]),
        ([1, 2, 3, 4, 5, 15, 16, 17], [18, 19]),
    ],
    ids=["begin", "right", "replaced", "after it", "a longer word", "left out", "found again"],
)
def test_a_prediction_is_followed_across_differences(text: list[int], follows: list[int]) -> None:
    assert following(range(10, 20), text, is_prediction=True) == follows


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=40), st.booleans())
def test_what_is_proposed_stands_in_the_known_text(known: list[int], text: list[int], is_prediction: bool) -> None:
    lookup = Lookup(known, is_prediction=is_prediction)
    for done, token_id in enumerate(text):
        lookup.append(token_id)
        num_tokens = lookup.outlook(5).num_tokens
        draft = list(lookup.propose(num_tokens)) if num_tokens else []
        assert len(draft) == num_tokens
        whole = known if is_prediction else [*known, *text[: done + 1]]
        assert any(whole[start : start + len(draft)] == draft for start in range(len(whole) + 1))


# ---- how long a draft is ----


class Sure:
    def __init__(self, agreed: int, seconds: float = 0.0) -> None:
        self.agreed = agreed
        self.seconds = seconds

    def append(self, token_id: int) -> None:
        pass

    def outlook(self, limit: int) -> Outlook:
        return Outlook(limit, self.agreed, self.seconds)

    def propose(self, num_tokens: int) -> list[int]:
        return [1] * num_tokens

    def close(self) -> None:
        pass


def test_drafts_grow_with_success_and_vanish_with_failure() -> None:
    costs, drafter = StepCosts(), Drafter([Sure(8)])
    lengths = []
    for _ in range(30):
        draft = drafter.propose(MOST_DRAFTED, costs, num_other_rows=0)
        drafter.observe(draft, len(draft.token_ids))
        lengths.append(len(draft.token_ids))
    assert lengths[-1] > lengths[0] > 0
    lengths = []
    for _ in range(200):
        draft = drafter.propose(MOST_DRAFTED, costs, num_other_rows=0)
        drafter.observe(draft, 0)
        lengths.append(len(draft.token_ids))
    assert set(lengths[-64:]) == {0, 1}
    assert sum(lengths[-64:]) == 4, "one token in sixteen proposals, to see whether it is kept by now"


def test_no_draft_is_longer_than_wanted_and_none_is_made_in_a_full_step() -> None:
    costs = StepCosts()
    for limit in range(-1, 9):
        assert len(Drafter([Sure(16)]).propose(limit, costs, num_other_rows=0).token_ids) <= max(limit, 0)
    assert len(Drafter([Sure(0)]).propose(9, costs, num_other_rows=15).token_ids) == 0


def test_costs_follow_what_is_measured() -> None:
    costs = StepCosts()
    for _ in range(200):
        costs.measured(1, 0.010)
        costs.measured(8, 0.030)
        costs.measured(0, 0.001)  # a step of no rows, while a request of no tokens waits
    assert costs.of(1) == 1.0
    assert costs.of(8) == pytest.approx(3.0, rel=1e-3)
    assert costs.of(200) > costs.of(64)


def test_acceptance_is_learnt_by_agreement() -> None:
    acceptance = Acceptance()
    before = acceptance.of(16)
    for _ in range(100):
        acceptance.observe(3, is_kept=False)
    assert acceptance.of(3) < 0.01
    assert acceptance.of(16) == before
