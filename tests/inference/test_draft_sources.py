"""Every source of drafts, with every parameter and form: the text, the numbers and the end are those without drafts."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.backend import Backend, Logits
from nextword.inference.draft_model import DraftModel
from nextword.inference.drafts import Drafter, StepCosts
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.grammars import ForcedText, grammar_compiler
from nextword.inference.native_backend import NativeBackend
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fakes import HashBackend
from tests.inference.native import CONFIG, WINDOW, native, random_text, random_weights
from tests.inference.test_speculation import Drafting, Guessing, Sure

TOKENIZER = byte_tokenizer()
FORMS: list[dict[str, Any]] = [
    {},
    {},
    {"regex": r"\d{3}-\d{2}"},
    {"choice": ["yes", "yes, of course", "maybe"]},
    {"schema": {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}, "age": {"type": "integer"}}}},
    {"grammar": 'root ::= "(" root? ")"'},
]


def drafting(backend: Backend, draft_model: Backend | None = None) -> Drafting:
    """An engine that drafts as much as it may, by all that it has."""
    return Drafting(backend, tokenizer=TOKENIZER, draft_model=draft_model)


class Other(HashBackend):
    """A model that knows nothing of the first."""

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        return super().logits_after([7, *token_ids])


def hash_backend(kind: type[HashBackend] = HashBackend, *, most_drafted: int = 0, max_seq_len: int = 60) -> HashBackend:
    backend = kind(vocab_size=TOKENIZER.vocab_size, max_seq_len=max_seq_len)
    backend.most_drafted = most_drafted
    return backend


def run(engine: Engine, params: Sequence[SamplingParams], prediction: Sequence[int] = ()) -> list[Generation]:
    requests = [
        engine.submit(TOKENIZER.encode(f"Say {at}: "), one, prediction=prediction) for at, one in enumerate(params)
    ]
    engine.run(requests)
    return [collect(request, TOKENIZER) for request in requests]


def mostly(usual: object, *others: object) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual, usual, *others])


every_parameter = st.fixed_dictionaries(
    {
        "max_tokens": st.sampled_from([1, 9, 24]),
        "temperature": st.sampled_from([0.0, 0.7, 1.0, 2.0]),
        "top_k": mostly(0, 3),
        "top_p": mostly(1.0, 0.9),
        "min_p": mostly(0.0, 0.1),
        "typical_p": mostly(1.0, 0.9),
        "epsilon_cutoff": mostly(0.0, 1e-3),
        "eta_cutoff": mostly(0.0, 1e-3),
        "top_n_sigma": mostly(0.0, 1.5),
        "xtc_probability": mostly(0.0, 0.5),
        "p_less": mostly(False, True),
        "dynatemp_range": mostly(0.0, 0.4),
        "mirostat_tau": mostly(0.0, 3.0),
        "repetition_penalty": mostly(1.0, 1.3),
        "presence_penalty": mostly(0.0, 0.5),
        "frequency_penalty": mostly(0.0, 0.5),
        "no_repeat_ngram_size": mostly(0, 3),
        "dry_multiplier": mostly(0.0, 0.8),
        "min_tokens": mostly(0, 1),
        "stop": mostly((), ("es", "1", '"a')),
        "guidance_scale": mostly(1.0, 1.5),
        "n": mostly(1, 2),
        "seed": st.integers(0, 2**64 - 1),
        "logprobs": st.sampled_from([None, 0, 2]),
        "processed_logprobs": st.booleans(),
        "echo": st.booleans(),
    }
)


@st.composite
def params_of_every_kind(draw: st.DrawFn) -> SamplingParams:
    chosen = draw(every_parameter)
    if chosen["mirostat_tau"]:  # sets the truncation itself
        for name in ("top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "p_less"):
            del chosen[name]
        del chosen["xtc_probability"]
    return SamplingParams(**chosen, **draw(st.sampled_from(FORMS)))


@pytest.mark.parametrize("draft", [None, HashBackend, Other], ids=["no model", "the same model", "another model"])
@settings(max_examples=40, deadline=None)
@given(st.lists(params_of_every_kind(), min_size=1, max_size=3), st.integers(1, 12), st.data())
def test_no_source_changes_anything(
    draft: type[HashBackend] | None, params: list[SamplingParams], most: int, data: st.DataObject
) -> None:
    expected = run_or_fail(Engine(hash_backend(), TOKENIZER), params)
    truth = [token.token_id for token in expected[0].completions[0].tokens] if isinstance(expected, list) else []
    prediction = data.draw(st.sampled_from([[], truth, truth[2:], TOKENIZER.encode("yes, 123")]))
    backend = hash_backend(most_drafted=most)
    model = hash_backend(draft) if draft else None
    assert run_or_fail(drafting(backend, model), params, prediction) == expected
    assert not backend.caches
    assert model is None or not model.caches


def run_or_fail(
    engine: Engine, params: Sequence[SamplingParams], prediction: Sequence[int] = ()
) -> list[Generation] | str:
    """What the engine gives, or what it says where penalties leave no token that the form allows."""

    try:
        return run(engine, params, prediction)
    except RequestError as error:
        return str(error)


@settings(max_examples=40, deadline=None)
@given(params_of_every_kind(), st.integers(0, 2**32), st.integers(1, 12))
def test_garbage_among_forms_changes_nothing(params: SamplingParams, seed: int, most: int) -> None:
    expected = run_or_fail(Engine(hash_backend(), TOKENIZER), [params])
    backend = hash_backend(most_drafted=most)
    engine = drafting(backend)
    engine._given = ([Guessing((), seed + index)] for index in itertools.count())
    assert run_or_fail(engine, [params]) == expected
    assert not backend.caches


def test_a_draft_model_equal_to_the_model_takes_one_step_for_each_draft() -> None:
    params = SamplingParams(max_tokens=25, temperature=0.8, top_p=0.9, seed=3, logit_bias={256: -100.0})
    plain = hash_backend()
    expected = run(Engine(plain, TOKENIZER), [params])
    backend, model = hash_backend(most_drafted=7), hash_backend()
    seen = run(drafting(backend, model), [params])
    assert seen == expected
    assert backend.steps == 1 + 3  # the prompt's gives the first token; then eight at a time
    assert seen[0].completions[0].accepted_draft_tokens == 21
    assert seen[0].completions[0].rejected_draft_tokens == 0


def test_what_a_form_forces_takes_no_step() -> None:
    schema = {
        "type": "object",
        "properties": {"a long name": {"enum": ["x", "y"]}},
        "required": ["a long name"],
        "additionalProperties": False,
    }
    params = SamplingParams(max_tokens=40, temperature=1.5, seed=3, logprobs=1, schema=json.dumps(schema))
    expected = run(Engine(hash_backend(), TOKENIZER), [params])
    backend = hash_backend(most_drafted=30)
    assert run(drafting(backend), [params]) == expected
    assert expected[0].text in ('{"a long name":"x"}', '{"a long name":"y"}')
    assert backend.steps == 1 + 1 + 1  # the prompt; the name and the quote, with the letter; the end


def test_a_long_text_without_a_choice_is_asked_for_once() -> None:
    matcher = grammar_compiler(TOKENIZER, 257).compile(SamplingParams(regex="a{3000}b").constraint).matcher()  # type: ignore[arg-type]
    forced = ForcedText(matcher, TOKENIZER)
    with mock.patch.object(matcher, "forced_bytes", wraps=matcher.forced_bytes) as asked:
        for _ in range(3000):
            assert list(forced.propose(forced.outlook(2).num_tokens))[:1] == [ord("a")]
            matcher.accept(ord("a"))
            forced.append(ord("a"))
        assert list(forced.propose(forced.outlook(2).num_tokens)) == [ord("b")]
        assert asked.call_count == 1


def test_a_cancelled_text_leaves_no_cache_of_either_model() -> None:
    for num_steps in range(1, 6):
        backend, model = hash_backend(most_drafted=3), hash_backend(Other)
        engine = drafting(backend, model)
        request = engine.submit(TOKENIZER.encode("abc"), SamplingParams(seed=1, n=2, max_tokens=40))
        for _ in range(num_steps):
            engine.step()
        engine.cancel(request)
        assert not backend.caches
        assert not model.caches


def test_a_draft_model_that_has_no_room_is_left_out() -> None:
    params = [SamplingParams(max_tokens=40, seed=seed, logit_bias={256: -100.0}) for seed in range(3)]
    expected = run(Engine(hash_backend(), TOKENIZER), params)
    backend, model = hash_backend(most_drafted=5), hash_backend(max_seq_len=20)
    assert run(drafting(backend, model), params) == expected
    assert not model.caches


def test_tokens_that_the_draft_model_does_not_know_end_its_drafts() -> None:
    model = HashBackend(vocab_size=100)
    source = DraftModel(model, vocab_size=257).source([1, 2], SamplingParams(), seed=0, sample_index=0)
    assert source.outlook(5).num_tokens == 5
    source.append(100)
    assert source.outlook(5).num_tokens == 0
    unknown = DraftModel(model, vocab_size=257).source([1, 200], SamplingParams(), seed=0, sample_index=0)
    assert unknown.outlook(5).num_tokens == 0


@pytest.mark.parametrize("config", [CONFIG, WINDOW], ids=["full", "sliding window"])
def test_drafts_of_a_real_model_change_no_bit_and_leave_no_page(config: Any) -> None:
    backend = native(config)
    draws = random.Random(2)
    cases = [
        (
            random_text(draws.randrange(3, 90), seed=seed),
            SamplingParams(
                seed=seed, max_tokens=draws.randrange(20, 90), temperature=seed % 3 / 2, n=1 + seed % 2, logprobs=1
            ),
        )
        for seed in range(5)
    ]

    def generate(engine: Engine) -> list[Any]:
        requests = [engine.submit(*case, end_token_ids=[3]) for case in cases]
        engine.run(requests)
        return [[sequence.tokens for sequence in request.sequences] for request in requests]

    expected = generate(Engine(backend, TOKENIZER, speculation=False))
    for model in (native(config), native(CONFIG, random_weights(CONFIG, seed=9))):
        assert generate(drafting(backend, model)) == expected
        assert (backend.cache_bytes, model.cache_bytes) == (0, 0)


def test_a_draft_model_whose_cache_is_full_is_left_out() -> None:
    backend, model = native(), native(max_cache_bytes=2**15)
    prompt, params = random_text(200), SamplingParams(seed=1, max_tokens=50)

    def generate(engine: Engine) -> list[int]:
        request = engine.submit(prompt, params, end_token_ids=[])
        engine.run([request])
        return request.sequences[0].token_ids

    assert generate(drafting(backend, model)) == generate(Engine(backend, TOKENIZER, speculation=False))
    assert isinstance(model, NativeBackend)
    assert model.cache_bytes == 0


def test_the_time_of_a_draft_model_counts() -> None:
    costs = StepCosts()
    assert not Drafter([Sure(16, seconds=0.001)]).propose(9, costs, num_other_rows=0).token_ids, "unknown: a whole step"
    costs.measured(1, 0.010)
    cheap = Drafter([Sure(16, seconds=0.0001)]).propose(31, costs, num_other_rows=0)
    dear = Drafter([Sure(16, seconds=0.003)]).propose(31, costs, num_other_rows=0)
    too_dear = Drafter([Sure(16, seconds=0.012)]).propose(31, costs, num_other_rows=0)
    assert len(cheap.token_ids) > len(dear.token_ids) > len(too_dear.token_ids) == 0


def test_the_better_of_two_sources_is_asked() -> None:
    drafter = Drafter([Sure(1), Sure(16)])
    draft = drafter.propose(9, StepCosts(), num_other_rows=0)
    assert draft.source == 1
    for _ in range(60):
        drafter.observe(draft, 0)
    assert drafter.propose(9, StepCosts(), num_other_rows=0).source == 0


def test_what_a_form_forbids_is_not_drafted() -> None:
    matcher = grammar_compiler(TOKENIZER, 257).compile(SamplingParams(regex="[0-9]*abc").constraint).matcher()  # type: ignore[arg-type]
    assert matcher.num_fitting(TOKENIZER.encode("12abc")) == 5
    assert matcher.num_fitting(TOKENIZER.encode("12bc")) == 2
    assert matcher.num_fitting([49, 256, 1000]) == 1
    matcher.accept(ord("a"))
    forced = ForcedText(matcher, TOKENIZER)
    assert forced.outlook(1).num_tokens == 1
    assert list(forced.propose(forced.outlook(9).num_tokens)) == TOKENIZER.encode("bc")
    assert matcher.num_fitting(TOKENIZER.encode("bc")) == 2
