from __future__ import annotations

import dataclasses
import math
import pickle
import warnings

import numpy as np
import pytest

from nextword.decoding.distribution import Distribution
from nextword.decoding.params import DRAWING, SamplingParams, sampling_params
from nextword.decoding.processors import STEPS
from nextword.errors import RequestError

REFUSED = [
    ("max_tokens", -1), ("max_tokens", 2.0), ("max_tokens", True),
    ("temperature", -0.1), ("temperature", math.nan), ("temperature", math.inf), ("temperature", "1"),
    ("temperature", None), ("top_k", -1), ("top_k", 0.5), ("top_p", 0), ("top_p", 1.01), ("top_p", math.nan),
    ("min_p", -0.1), ("min_p", 1.1), ("typical_p", 0), ("epsilon_cutoff", 1), ("eta_cutoff", -1),
    ("top_n_sigma", -1), ("top_n_sigma", math.inf), ("xtc_probability", 2), ("xtc_threshold", -1),
    ("repetition_penalty", 0), ("repetition_penalty", -1), ("presence_penalty", math.inf),
    ("frequency_penalty", math.nan), ("frequency_penalty", [1]), ("no_repeat_ngram_size", -1), ("min_tokens", -1),
    ("stop", ""), ("stop", ["a", ""]), ("stop", [1]), ("stop", 1), ("stop", {"a": 1}),
    ("stop_token_ids", [-1]), ("stop_token_ids", ["1"]), ("stop_token_ids", "1"), ("stop_token_ids", [True]),
    ("logit_bias", {"1": 2.0}), ("logit_bias", {-1: 2.0}), ("logit_bias", {1: math.nan}), ("logit_bias", {1: math.inf}),
    ("logit_bias", [1]), ("logit_bias", {1: "2"}), ("n", 0), ("seed", -1), ("seed", 2**64), ("seed", 1.5),
    ("logprobs", -1), ("processed_logprobs", 1), ("echo", "yes"), ("order", "hf"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_bad_value_is_refused_with_its_name_the_value_and_what_is_allowed(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=rf"^{name}.* must be [^\n]+$"):
        sampling_params_of(name, value)


def sampling_params_of(name: str, value: object) -> SamplingParams:
    return SamplingParams(**{name: value})  # type: ignore[arg-type]


ACCEPTED = [
    ("max_tokens", None, None), ("max_tokens", 0, 0), ("temperature", 0, 0.0), ("temperature", np.float32(0.5), 0.5),
    ("top_k", np.int64(3), 3), ("top_p", 1, 1.0), ("stop", "end", ("end",)), ("stop", ["a", "b"], ("a", "b")),
    ("stop_token_ids", [1, 2], (1, 2)), ("logit_bias", {5: -math.inf, 6: 1}, {5: -math.inf, 6: 1.0}),
    ("seed", 2**64 - 1, 2**64 - 1), ("logprobs", 0, 0), ("order", "llama.cpp", "llama.cpp"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), ACCEPTED)
def test_a_good_value_is_taken_as_a_plain_one(name: str, value: object, expected: object) -> None:
    found = getattr(sampling_params_of(name, value), name)
    assert found == expected
    assert type(found) is type(expected)


def test_min_tokens_may_not_exceed_max_tokens() -> None:
    with pytest.raises(RequestError, match="min_tokens = 11 is more than max_tokens = 10"):
        SamplingParams(max_tokens=10, min_tokens=11)
    assert SamplingParams(max_tokens=None, min_tokens=11).min_tokens == 11


def test_params_are_values() -> None:
    params = SamplingParams(logit_bias={1: 2.0}, stop=("a",))
    assert params == pickle.loads(pickle.dumps(params))  # noqa: S301 - made on the line itself
    assert hash(params) == hash(dataclasses.replace(params))
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.top_k = 3  # type: ignore[misc]


def test_the_caller_s_biases_are_copied() -> None:
    biases = {1: 2.0}
    params = SamplingParams(logit_bias=biases)
    biases[1] = 3.0
    assert params.logit_bias == {1: 2.0}


def test_request_goes_before_checkpoint_goes_before_built_in() -> None:
    params = sampling_params({"temperature": 0.6, "top_p": 0.9, "top_k": None}, top_p=0.5)
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.6, 0.5, 0, 0.0)


def test_every_mapped_key_of_a_generation_config_is_used() -> None:
    generation_config = {
        "do_sample": True, "temperature": 0.5, "top_k": 4, "top_p": 0.5, "min_p": 0.1, "typical_p": 0.9,
        "epsilon_cutoff": 0.01, "eta_cutoff": 0.02, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3,
        "min_new_tokens": 2, "max_new_tokens": 9,
    }  # fmt: skip
    expected = SamplingParams(
        temperature=0.5, top_k=4, top_p=0.5, min_p=0.1, typical_p=0.9, epsilon_cutoff=0.01, eta_cutoff=0.02,
        repetition_penalty=1.1, no_repeat_ngram_size=3, min_tokens=2, max_tokens=9,
    )  # fmt: skip
    assert sampling_params(generation_config) == expected


def test_do_sample_false_is_greedy_unless_the_request_sets_a_temperature() -> None:
    assert sampling_params({"do_sample": False, "temperature": 0.7}).is_greedy
    assert sampling_params({"do_sample": False}, temperature=0.7).temperature == 0.7
    assert sampling_params({"bos_token_id": 1, "transformers_version": "4.0"}) == SamplingParams()


def test_none_means_not_said_but_where_it_is_a_value() -> None:
    assert sampling_params({"temperature": 0.6, "max_new_tokens": 5}, temperature=None).temperature == 0.6
    assert sampling_params({"max_new_tokens": 5}, max_tokens=None).max_tokens is None


BAD_DEFAULTS: dict[str, object] = {
    "max_new_tokens": "many", "temperature": -1, "top_k": 2.5, "top_p": -0.1, "min_p": 2, "typical_p": 0,
    "repetition_penalty": 0, "do_sample": "no",
}  # fmt: skip
"""Values that transformers refuses."""


def test_bad_checkpoint_defaults_have_no_effect_and_are_named_in_one_warning() -> None:
    with pytest.warns(UserWarning, match=r"generation_config\.json: .*max_new_tokens = 'many': must be") as caught:
        assert sampling_params(BAD_DEFAULTS) == SamplingParams()
    assert len(caught) == 1
    assert all(f"{key} = {value!r}" in str(caught[0].message) for key, value in BAD_DEFAULTS.items())


def test_what_is_not_computed_here_is_named_in_the_warning() -> None:
    settings = {"num_beams": 4, "suppress_tokens": [5], "guidance_scale": 1.5, "stop_strings": ["END"]}
    with pytest.warns(UserWarning, match=r"num_beams = 4 is for a call to ask for") as caught:
        assert sampling_params(settings, temperature=0.5).temperature == 0.5
    assert len(caught) == 1
    assert all(key in str(caught[0].message) for key in settings)


def test_values_that_say_nothing_are_not_named() -> None:
    neutral = {"num_beams": 1, "suppress_tokens": [], "guidance_scale": None, "penalty_alpha": 0.0, "max_length": 4096}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sampling_params(neutral) == SamplingParams()


def test_bad_checkpoint_defaults_do_not_touch_a_call_that_overrides_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = {"max_tokens": 3, "temperature": 0.5, "top_k": 1}
        assert sampling_params({"max_new_tokens": "many", "temperature": -1, "top_k": -7.5}, **given) == SamplingParams(
            max_tokens=3, temperature=0.5, top_k=1
        )


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("top_k", -1, 0),
        ("top_k", 50.0, 50),
        ("top_p", 1.5, 1.0),
        ("top_p", 1, 1.0),
        ("typical_p", 2, 1.0),
        ("epsilon_cutoff", 1.0, 0.0),
        ("eta_cutoff", -0.1, 0.0),
        ("no_repeat_ngram_size", -1, 0),
        ("temperature", 0, 0.0),
    ],
)
def test_values_beyond_our_ranges_mean_what_they_do_in_transformers(key: str, value: object, meant: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(sampling_params({key: value}), key) == meant


def test_top_p_of_0_keeps_the_most_probable_token() -> None:
    top_p = sampling_params({"top_p": 0}).top_p
    kept = Distribution.from_logits(np.array([0.1, 0.3, 0.2], np.float32)).top_p(top_p)
    assert [kept.log_prob(token_id) for token_id in range(3)] == [-math.inf, 0.0, -math.inf]


def test_limits_of_the_file_give_way_to_those_of_the_call() -> None:
    assert sampling_params({"min_new_tokens": 100}, max_tokens=5).min_tokens == 0
    assert sampling_params({"max_new_tokens": 5}, min_tokens=100).max_tokens == 256


@pytest.mark.parametrize(("name", "near"), [("temprature", "temperature"), ("top-p", "top_p"), ("Seed", "seed")])
def test_an_unknown_parameter_is_refused_with_the_nearest_name(name: str, near: str) -> None:
    with pytest.raises(RequestError, match=rf"unknown sampling parameter '{name}': did you mean '{near}'\?"):
        sampling_params({}, **{name: 1})


def test_a_call_that_searches_leaves_out_how_the_checkpoint_draws() -> None:
    settings = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "length_penalty": 2.0}
    assert sampling_params({**settings, "early_stopping": True}, num_beams=4) == SamplingParams(
        num_beams=4, length_penalty=2.0, early_stopping="true"
    )
    assert sampling_params({"do_sample": False}, num_beams=4) == SamplingParams(num_beams=4)
    with pytest.raises(RequestError, match=r"top_p = 0\.9 with num_beams = 4"):
        sampling_params(settings, num_beams=4, top_p=0.9)


def test_drawing_is_what_the_chain_and_mirostat_do() -> None:
    switches = {"xtc_probability" if name == "xtc_threshold" else name for name in STEPS}
    assert set(DRAWING) == {*switches, "mirostat_tau"}
