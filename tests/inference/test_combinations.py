"""Everything together: forms, guides, beams, adapters, n, every parameter and source of drafts, in company.

Each text is what the same request gives alone, without drafts, of a model that has its adapter merged.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nextword as nw
from nextword.decoding.params import DRAWING, SamplingParams
from nextword.errors import RequestError
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.inference.generation import Generation, collect
from nextword.inference.sequence import Request
from tests.fakes import HashBackend
from tests.inference.test_draft_sources import FORMS, TOKENIZER, every_parameter
from tests.inference.test_speculation import Drafting, Guessing

SALTS = {None: (), "a": (11,), "b": (12, 12)}


class Merged(HashBackend):
    """A model with one adapter merged; without a name, the base model."""

    def __init__(self, adapter: str | None = None, *, most_drafted: int = 0) -> None:
        super().__init__(vocab_size=TOKENIZER.vocab_size, max_seq_len=70)
        self.most_drafted, self.salt = most_drafted, SALTS[adapter]

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        return super().logits_after([*self.salt, *token_ids])


class Beside(HashBackend):
    """A model with adapters beside it: the texts of its caches begin with the salt of theirs."""

    def __init__(self, *, most_drafted: int = 0) -> None:
        super().__init__(vocab_size=TOKENIZER.vocab_size, max_seq_len=70)
        self.most_drafted, self.adapter_names = most_drafted, ("a", "b")
        self.models = {name: Merged(name) for name in SALTS}
        self.chosen: dict[int, str | None] = {}

    def open_cache(self, prompt: Sequence[int] = (), *, adapter: str | None = None) -> int:
        cache_id = super().open_cache(prompt)
        self.chosen[cache_id] = adapter
        return cache_id

    def fork_cache(self, cache_id: int) -> int:
        fork = super().fork_cache(cache_id)
        self.chosen[fork] = self.chosen[cache_id]
        return fork

    def _run(self, chunk: Any) -> Logits:
        self.logits_after = self.models[self.chosen[chunk.cache_id]].logits_after  # type: ignore[method-assign]
        return super()._run(chunk)


class Weak(HashBackend):
    """An amateur, or a draft model that is often wrong."""

    def logits_after(self, token_ids: Sequence[int]) -> Logits:
        noise = super().logits_after([7, *token_ids])
        return super().logits_after(token_ids) + 0.2 * noise


def weak() -> Weak:
    made = Weak(vocab_size=TOKENIZER.vocab_size, max_seq_len=70)
    made.most_drafted = 70
    return made


class Case(NamedTuple):
    prompt: str
    params: SamplingParams
    adapter: str | None
    negative: str | None
    prediction: str

    def submit(self, engine: Engine, *, merged: bool) -> Request:
        negative = None if self.negative is None else TOKENIZER.encode(self.negative)
        return engine.submit(
            TOKENIZER.encode(self.prompt),
            self.params,
            adapter=None if merged else self.adapter,
            negative_prompt=negative,
            prediction=TOKENIZER.encode(self.prediction),
        )


guides = st.sampled_from([{}, {}, {"guidance_scale": 1.7}, {"contrastive_alpha": 0.1}])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    chosen = {**draw(every_parameter), "guidance_scale": 1.0, **draw(guides)}
    if "contrastive_alpha" not in chosen:
        chosen |= draw(st.sampled_from(FORMS))
    chosen["num_beams"] = draw(st.sampled_from([0, 0, 0, 1, 2, 4]))
    if chosen["num_beams"]:
        chosen = {name: value for name, value in chosen.items() if name not in DRAWING}
        chosen["n"] = min(chosen["n"], chosen["num_beams"])
        chosen["early_stopping"] = draw(st.sampled_from(["false", "true", "never"]))
    params = SamplingParams(**chosen)
    negative = draw(st.sampled_from([None, "No: ", "Say 0: "])) if params.guidance_scale != 1.0 else None
    words = st.sampled_from(["Say 1: ", "yes, of course. Say yes, of", '{"name":"Ann"}', "x"])
    return Case(draw(words), params, draw(st.sampled_from([None, "a", "b"])), negative, draw(words))


def outcome(request: Request) -> Generation | str:
    return collect(request, TOKENIZER) if request.error is None else str(request.error)


def run_alone(case: Case) -> Generation | str:
    engine = Engine(Merged(case.adapter), TOKENIZER, speculation=False, amateur=weak())
    request = case.submit(engine, merged=True)
    while not request.is_finished:
        engine.step()
    return outcome(request)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(cases(), min_size=1, max_size=3), st.sampled_from(["all sources", "a draft model", "garbage"]), st.data()
)
def test_everything_beside_everything_is_what_it_is_alone(some: list[Case], sources: str, data: st.DataObject) -> None:
    alone = [run_alone(case) for case in some]
    seed = data.draw(st.integers(0, 2**32))
    backend, amateur = Beside(most_drafted=data.draw(st.integers(0, 9))), weak()
    model = weak() if sources == "a draft model" else None
    engine = Drafting(backend, tokenizer=TOKENIZER, amateur=amateur, draft_model=model)
    if sources == "garbage":
        engine._given = ([Guessing((), seed + index)] for index in range(99))
    order, requests = random.Random(seed), []
    for case in some:
        requests.append(case.submit(engine, merged=False))
        for _ in range(order.randint(0, 4)):
            engine.step()
    for _ in range(2000):
        if all(request.is_finished for request in requests):
            break
        engine.step()
    assert [outcome(request) for request in requests] == alone
    assert not any(one.caches for one in (backend, amateur, model) if one is not None)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an adapter beside it."""
    from tests.api_model import load_bytes_model
    from tests.inference.test_adapters_beside import SPECS, save_adapter

    folder = tmp_path_factory.mktemp("combinations")
    load_bytes_model(folder / "base")
    save_adapter(folder / "base", folder / "low", SPECS["low"], 1)
    return folder


SETTINGS: dict[str, dict[str, Any]] = {
    "beams": {"num_beams": 3, "n": 2},
    "beams of a form": {"num_beams": 3, "n": 2, "regex": "[a-e]+[.]"},
    "guide": {"guidance_scale": 2.0, "n": 2, "seed": 1},
    "guide and form": {"guidance_scale": 2.0, "regex": "[a-e ]+[.]", "seed": 1},
    "amateur and beams": {"contrastive_alpha": 0.1, "num_beams": 2},
    "amateur and bias": {"contrastive_alpha": 0.1, "logit_bias": {97: 5.0}, "seed": 2},
    "draft": {"n": 3, "seed": 3, "temperature": 0.4},
}


def test_an_adapter_changes_what_it_should_in_every_way_of_decoding(adapted: Path) -> None:
    """By the C++ core: the texts of adapters beside the weights are those of each adapter alone, in every bit."""
    base = adapted / "base"
    how: dict[str, Any] = {"amateur": base, "backend": "native", "weights": "f32"}
    together = nw.load(base, adapters={"low": adapted / "low", "other": adapted / "low"}, draft_model=base, **how)
    alone = nw.load(base, adapters={"low": adapted / "low"}, speculation=False, **how)
    names = [None, "low"]
    for name, setting in SETTINGS.items():
        params: dict[str, Any] = {"max_tokens": 16, "logprobs": 1, **setting}
        answers = together.generate_batch(["The river"] * 2, adapter=names, **params)
        expected = [alone.generate("The river", adapter=adapter, **params) for adapter in names]
        assert [answer.completions for answer in answers] == [one.completions for one in expected], name
        assert answers[0].completions[0].tokens != answers[1].completions[0].tokens, name


def test_what_cannot_be_together_is_refused_in_one_line(adapted: Path) -> None:
    lm = nw.load(adapted / "base", adapters={"low": adapted / "low"})
    for options, message in [
        ({"contrastive_alpha": 0.1}, "without an amateur"),
        ({"num_beams": 2, "top_p": 0.5}, "top_p = 0.5 with num_beams = 2"),
        ({"num_beams": 2, "n": 3}, "n = 3 with num_beams = 2"),
        ({"guidance_scale": 2.0, "contrastive_alpha": 0.1}, "one guide"),
        ({"negative_prompt": "a"}, "negative_prompt has no effect"),
        ({"regex": "a", "choice": ["a"]}, "regex and choice"),
        ({"contrastive_alpha": 0.1, "choice": ["a"]}, "contrastive_alpha = 0.1 with choice"),
    ]:
        with pytest.raises(RequestError, match=message) as caught:
            lm.generate("The river", adapter="low", **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
