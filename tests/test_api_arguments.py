"""Bad arguments of the public functions end in a `NextwordError` that says what is allowed, and in nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

import nextword as nw
from nextword.decoding.params import EarlyStopping, SamplingOptions
from nextword.tasks.classify import ClassifyKeywords
from tests.api_model import load_bytes_model

TEXT = "Hello there"
BAD_VALUES: list[Any] = [
    None,
    True,
    3,
    -1,
    2.5,
    math.nan,
    math.inf,
    10**30,
    2**31,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    2**5000,
    "tiny",
    "",
    "nul\0",
    "long" * 2000,
    "\ud800",
    b"bytes",
    [],
    ["a", 3],
    ["a", "b"],
    {},
    {"role": "user"},
    [{"role": "user", "content": 3}],
    [{"content": "Hello"}],
    [[]],
    [1.5],
    [2**70],
    {2**70: 1.0},
    ["\ud800"],
    np.array(3),
    np.array([1, 2]),
    np.float64("nan"),
    object(),
    len,
]
"""Each is wrong for most arguments; where one is right, the call may succeed."""


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    return load_bytes_model(tmp_path_factory.mktemp("models") / "bytes")


SAMPLING: dict[str, Any] = {
    "n": 1,
    "max_tokens": 2,
    "temperature": 0.5,
    "top_k": 3,
    "stop": ["x"],
    "seed": 1,
    "logprobs": 1,
}
MESSAGES = [{"role": "user", "content": TEXT}]
CHOICE: dict[str, Any] = {"labels": ["good", "bad"], "examples": [("fine", "good")], "calibration": "none"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "load": {"backend": "native", "weights": "f32", "num_threads": 1, "adapter": None},
    "params": SAMPLING,
    "chat_params": SAMPLING,
    "conversation": {"system": None, **SAMPLING},
    "generate": {"prompt": TEXT, **SAMPLING},
    "generate_batch": {"prompts": [TEXT, TEXT], "params": None, **SAMPLING},
    "stream": {"prompt": TEXT, **SAMPLING},
    "chat": {"messages": MESSAGES, **SAMPLING},
    "stream_chat": {"messages": MESSAGES, **SAMPLING},
    "next": {"text": TEXT},
    "next_steps": {"text": TEXT, **SAMPLING},
    "score": {"text": TEXT, "alternatives": 1},
    "perplexity": {"texts": TEXT, "convention": "sliding", "context": 8, "stride": 4},
    "compare": {"other": None, "texts": TEXT, "context": 8},
    "surprise": {"text": TEXT, "context": 8},
    "summarize": {"text": TEXT, "length": "short", "style": "paragraph", "on_part": print, "on_text": print},
    "classify": {"text": TEXT, **CHOICE, "prompt": "{text} is", "normalization": "none"},
    "classify_batch": {"texts": [TEXT], **CHOICE},
    "classifier": CHOICE,
}
"""Methods of a model, and `load`, with arguments that they take."""


def call(lm: nw.LanguageModel, function: str, **arguments: Any) -> object:
    """Call a public function with good arguments, but for those given."""
    if function == "load":
        return nw.load(**{"name": lm.directory.path, **ARGUMENTS["load"], **arguments})
    model = {"other": lm} if function == "compare" else {}
    return getattr(lm, function)(**{**ARGUMENTS[function], **model, **arguments})


@pytest.mark.parametrize(
    ("function", "argument"),
    [("load", "name"), *((name, argument) for name, arguments in ARGUMENTS.items() for argument in arguments)],
)
def test_a_bad_value_is_a_nextword_error(lm: nw.LanguageModel, function: str, argument: str) -> None:
    for value in BAD_VALUES:
        with contextlib.suppress(nw.NextwordError):
            call(lm, function, **{argument: value})


FUNCTIONS = sorted(name for name in nw.__all__ if inspect.isfunction(getattr(nw, name)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_a_function_refuses_what_is_no_value(name: str, tmp_path: Path) -> None:
    """Each parameter and each keyword of the typed dictionary gets an object that nothing allows."""
    function: Any = getattr(nw, name)
    assert hasattr(function, "__wrapped__"), "the function does not check its arguments"
    parameters = inspect.signature(function).parameters.values()
    required = {
        one.name: {} if one.annotation.startswith("Mapping") else str(tmp_path / one.name)
        for one in parameters
        if one.default is one.empty and one.kind not in VARIADIC
    }
    named = [one.name for one in parameters if one.kind not in VARIADIC]
    keywords = [key for one in parameters if one.kind is one.VAR_KEYWORD for key in keys_of(function, one)]
    for argument in [*named, *keywords]:
        with pytest.raises(nw.NextwordError) as caught:
            function(**{**required, argument: object()})
        assert argument in keywords or str(caught.value).startswith(argument), caught.value


NO_PATHS = ["nul\0", "half a pair: \ud800", "long" * 2000]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("path", NO_PATHS)
def test_an_argument_that_takes_a_path_refuses_what_no_file_can_be_called(name: str, path: str) -> None:
    function: Any = getattr(nw, name)
    parameters = inspect.signature(function).parameters.values()
    required: dict[str, Any] = {
        one.name: {} if one.annotation.startswith("Mapping") else "no-such"
        for one in parameters
        if one.default is one.empty and one.kind not in VARIADIC
    }
    takes_paths = [one.name for one in parameters if "Path" in one.annotation or one.annotation == "Files"]
    for argument in takes_paths:
        if inspect.signature(function).parameters[argument].kind not in VARIADIC:
            with pytest.raises(nw.RequestError, match=f"^{argument} = .*must be .*path"):
                function(**{**required, argument: path})


VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def keys_of(function: Any, parameter: inspect.Parameter) -> list[str]:
    """The keywords of a parameter such as **options: Unpack[Options]."""
    alone = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    hints = get_type_hints(alone, globalns=vars(inspect.getmodule(function)))
    (options,) = get_args(hints[parameter.name])
    return list(options.__annotations__)


def test_each_of_several_paths_is_checked() -> None:
    with pytest.raises(nw.RequestError, match=r"paths\[1\] = 3: must be a string or a path"):
        nw.list_models(".", 3)  # type: ignore[arg-type]


OPERATIONS = ["temperature", "top_k", "top_p", "min_p", "typical", "epsilon", "eta", "top_n_sigma", "xtc"]


@pytest.mark.parametrize(
    "operation", [*OPERATIONS, "sample", "draw", "log_prob", "most_probable", "table", "from_logits"]
)
def test_a_bad_value_for_a_distribution_is_a_nextword_error(operation: str) -> None:
    distribution = nw.Distribution.from_logits([2.0, 1.0, 0.0])
    for value in BAD_VALUES:
        with contextlib.suppress(nw.NextwordError):
            getattr(distribution, operation)(value)


@pytest.mark.parametrize("operation", ["save", "load", "resume", "ask", "params"])
def test_a_bad_value_for_a_conversation_is_a_nextword_error(
    lm: nw.LanguageModel, operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in BAD_VALUES:
        conversation = lm.conversation(max_tokens=2)
        with contextlib.suppress(nw.NextwordError):
            if operation == "params":
                conversation.params = value
            else:
                list(getattr(conversation, operation)(value) or ())


def test_a_bad_value_for_a_classifier_is_a_nextword_error(lm: nw.LanguageModel) -> None:
    classifier = lm.classifier(["good", "bad"], calibration="none")
    for value in [*BAD_VALUES, [TEXT, 3], iter([TEXT, 3])]:
        with contextlib.suppress(nw.NextwordError):
            list(classifier.classify(value))
    with pytest.raises(nw.RequestError, match="must be an iterable of which each is a string"):
        classifier.classify(TEXT)


@pytest.mark.parametrize(
    "operation",
    [
        *("encode", "encode_prompt", "encode_continuation", "encode_batch", "encode_chat", "find_special_tokens"),
        *("decode", "token_text", "token_bytes", "stream_decoder", "save"),
    ],
)
def test_a_bad_value_for_a_tokenizer_is_a_nextword_error(
    lm: nw.LanguageModel, operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # "" is a folder that can be written
    for value in BAD_VALUES:
        with contextlib.suppress(nw.NextwordError):
            getattr(lm.tokenizer, operation)(value)


@pytest.mark.parametrize("keyword", ["add_special_tokens", "parse_special", "unknown"])
def test_a_bad_keyword_for_encode_is_a_nextword_error(lm: nw.LanguageModel, keyword: str) -> None:
    values: list[Any] = [np.array([1, 2]), "yes", None]
    for value in values:
        with pytest.raises(nw.NextwordError):
            lm.tokenizer.encode(TEXT, **{keyword: value})


@pytest.mark.parametrize("item", [1.5, "a", None, -1, 257, 2**70, np.array([1.5, 2])])
def test_what_is_no_token_id_is_refused_at_once_and_harms_no_other_caller(lm: nw.LanguageModel, item: Any) -> None:
    params = nw.SamplingParams(max_tokens=2, seed=1)
    for prompt in ([item], [1, item], item):
        with pytest.raises(nw.RequestError):
            lm.engine.submit(prompt, params)
        with pytest.raises(nw.RequestError):
            lm.engine.next_distribution(prompt)
    assert len(lm.generate(TEXT, max_tokens=2, seed=1).completions[0].tokens) == 2


@pytest.mark.parametrize("operation", ["submit", "run", "stream", "cancel"])
def test_a_bad_value_for_an_engine_is_a_nextword_error(lm: nw.LanguageModel, operation: str) -> None:
    for value in BAD_VALUES:
        with contextlib.suppress(nw.NextwordError):
            if operation == "submit":
                lm.engine.submit([1], value)
            else:
                list(getattr(lm.engine, operation)(value) or ())


def test_a_message_shows_not_all_of_a_long_value(lm: nw.LanguageModel) -> None:
    for arguments in ({"prompt": 2**5000}, {"top_k": 2**5000}, {"stop": 2**5000}, {"logit_bias": ["a\n"] * 999}):
        with pytest.raises(nw.RequestError) as caught:
            call(lm, "generate", **arguments)
        assert len(str(caught.value)) < 300
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", ARGUMENTS)
def test_an_unknown_keyword_is_a_nextword_error(lm: nw.LanguageModel, function: str) -> None:
    with pytest.raises(nw.RequestError, match=r"did you mean|there are|the arguments are|is given as"):
        call(lm, function, lenght=3)


def test_every_method_of_a_model_is_tried() -> None:
    methods = {name for name, _ in inspect.getmembers(nw.LanguageModel, inspect.isfunction) if not name.startswith("_")}
    assert methods == ARGUMENTS.keys() - {"load"}


@pytest.mark.parametrize("function", ARGUMENTS)
def test_every_public_function_checks_its_arguments(lm: nw.LanguageModel, function: str) -> None:
    assert hasattr(nw.load if function == "load" else getattr(lm, function), "__wrapped__")


@pytest.mark.parametrize(
    ("function", "bad", "said"),
    [
        ("generate", {"prompt": None}, "prompt = None: must be a string; for several prompts use generate_batch"),
        ("generate", {"prompt": ["a", "b"]}, "prompt = ['a', 'b']: must be a string; for several prompts use"),
        ("generate", {"temperature": "hot"}, "temperature = 'hot': must be a number of at least 0"),
        ("generate", {"top_k": 2.5}, "top_k = 2.5: must be a whole number of at least 0"),
        (
            "generate",
            {"top_k": 2**63},
            "top_k = 9223372036854775808: must be a whole number of at least 0, below 2**63",
        ),
        ("generate", {"prompt": "a\ud800"}, "prompt = 'a\\ud800': must be a string of valid Unicode"),
        (
            "generate",
            {"stop": ["\ud800"]},
            "stop = ['\\ud800']: must be valid Unicode, and has half of a surrogate pair",
        ),
        ("score", {"text": "a\ud800"}, "text = 'a\\ud800': must be a string of valid Unicode"),
        ("generate", {"seed": "x"}, "seed = 'x': must be a whole number from 0 to 2**64 - 1 or null"),
        ("generate", {"temperature": math.nan}, "temperature = nan: must be a number"),
        ("generate", {"temprature": 1}, "unknown sampling parameter 'temprature': did you mean 'temperature'?"),
        ("generate_batch", {"prompts": "Hello"}, "prompts = 'Hello': must be a list of which each is a string"),
        ("generate_batch", {"params": [3, 4]}, "params[0] = 3: must be a SamplingParams"),
        ("chat", {"messages": "Hello"}, 'messages = \'Hello\': must be a list of messages such as [{"role": "user",'),
        ("chat", {"messages": []}, "messages = []: must hold at least one message"),
        ("chat", {"messages": [{"role": "user"}]}, "messages[0] = {'role': 'user'}: has no 'content'"),
        ("chat", {"messages": [{"role": "user", "content": 3}]}, "messages[0]['content'] = 3: must be a string"),
        ("summarize", {"length": "tiny"}, "length = 'tiny': must be one of short, medium, long"),
        ("summarize", {"style": ["bullets"]}, "style = ['bullets']: must be one of paragraph, bullets"),
        ("perplexity", {"texts": 3}, "texts = 3: must be a string or an iterable of which each is a string"),
        ("perplexity", {"texts": ["a", 3]}, "texts[1] = 3: must be a string"),
        ("perplexity", {"context": "8"}, "context = '8': must be a whole number or None"),
        (
            "classify",
            {"labels": "good"},
            'labels = \'good\': must be a list of strings such as ["positive", "negative"]',
        ),
        ("classify", {"examples": [("fine",)]}, "examples[0] = ('fine',): must be a tuple of 2 values"),
        ("compare", {"other": "smollm2-135m"}, "other = 'smollm2-135m': must be a LanguageModel"),
        ("surprise", {"text": None}, "text = None: must be a string"),
        ("load", {"name": None}, "name = None: must be a string or a path"),
        ("load", {"weights": "q5"}, "weights = 'q5': must be one of auto, f32, f16, bf16, q8, q4"),
        ("load", {"backend": "cuda"}, "backend = 'cuda': must be one of auto, native, torch"),
        ("load", {"num_threads": "two"}, "num_threads = 'two': must be a whole number or None"),
        ("load", {"wieghts": "q4"}, "load: got an unexpected keyword argument 'wieghts'; did you mean 'weights'?"),
    ],
)
def test_the_message_says_what_is_allowed(lm: nw.LanguageModel, function: str, bad: dict[str, Any], said: str) -> None:
    with pytest.raises(nw.RequestError) as caught:
        call(lm, function, **bad)
    assert str(caught.value).startswith(said)


def test_a_missing_argument_is_named(lm: nw.LanguageModel) -> None:
    with pytest.raises(nw.RequestError, match="generate: missing a required argument: 'prompt'"):
        lm.generate()  # type: ignore[call-arg]


def test_texts_of_an_iterator_are_checked_as_they_come(lm: nw.LanguageModel) -> None:
    with pytest.raises(nw.RequestError, match=r"texts\[1\] = 3: must be a string"):
        lm.perplexity(iter([TEXT, 3]))  # type: ignore[arg-type]


def test_numbers_and_strings_of_numpy_are_taken(lm: nw.LanguageModel) -> None:
    numbers: dict[str, Any] = {"max_tokens": np.int64(2), "temperature": np.float32(0.5)}
    assert lm.generate(np.str_(TEXT), seed=1, **numbers) == lm.generate(TEXT, seed=1, max_tokens=2, temperature=0.5)


def test_one_set_of_keywords_serves_a_whole_batch(lm: nw.LanguageModel) -> None:
    prompts = [TEXT, "Good morning"]
    alone = [lm.generate(prompt, max_tokens=5, seed=3) for prompt in prompts]
    assert lm.generate_batch(prompts, max_tokens=5, seed=3) == alone
    assert lm.generate_batch(prompts, [lm.params(max_tokens=5, seed=3)] * 2) == alone
    with pytest.raises(nw.RequestError, match="params and seed: give either"):
        lm.generate_batch(prompts, [lm.params()] * 2, seed=3)


@pytest.mark.parametrize("name", list(SamplingOptions.__annotations__))
def test_a_bad_value_for_any_sampling_parameter_is_a_nextword_error(lm: nw.LanguageModel, name: str) -> None:
    for value in BAD_VALUES:
        with contextlib.suppress(nw.NextwordError):
            lm.generate(TEXT, **{"max_tokens": 2, "seed": 1, name: value})


@pytest.mark.parametrize(("name", "value"), [("limit", 10**18), ("limit", 2**64 - 1)])
def test_a_limit_beyond_all_texts_takes_all(lm: nw.LanguageModel, name: str, value: int, tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text("fine\tgood\nill\tbad\n", encoding="utf-8")
    found = nw.classify(lm, tmp_path / "texts.tsv", labels=["good", "bad"], **{name: value})  # type: ignore[arg-type]
    assert len(found.texts) == 2


@pytest.mark.parametrize("made", [nw.Classifier, nw.Conversation, nw.LanguageModel])
def test_a_class_made_by_hand_refuses_a_model_in_the_place_of_an_engine(lm: nw.LanguageModel, made: Any) -> None:
    with pytest.raises(nw.RequestError, match="must be a"):
        made(lm, ["good", "bad"])


SEVERAL: dict[str, Any] = {
    "stop": str | Sequence[str],
    "stop_token_ids": Sequence[int],
    "choice": Sequence[str] | None,
    "dry_sequence_breakers": str | Sequence[str],
    "schema": Mapping[str, Any] | bool | str | None,
    "early_stopping": bool | EarlyStopping,
}
"""Fields that hold a tuple or a text, and are made of other values, too."""


def test_the_keywords_have_the_names_and_types_of_the_sampling_parameters() -> None:
    dataclass_hints = get_type_hints(nw.SamplingParams)
    assert get_type_hints(SamplingOptions) == {**dataclass_hints, **SEVERAL}
    assert not SamplingOptions.__required_keys__


def test_the_keywords_have_the_names_and_types_of_the_options_of_classification() -> None:
    assert get_type_hints(ClassifyKeywords) == get_type_hints(nw.ClassifyOptions)
    assert not ClassifyKeywords.__required_keys__


MADE = [nw.SamplingParams, nw.FinetuneRecipe, nw.PretrainRecipe, nw.SelectionOptions, nw.ClassifyOptions]


@pytest.mark.parametrize("made", MADE)
def test_an_unknown_field_is_a_nextword_error(made: Any) -> None:
    with pytest.raises(nw.RequestError, match=f"^{made.__name__}: got an unexpected keyword argument 'lenght'"):
        made(lenght=3)


@pytest.mark.parametrize("made", MADE)
def test_a_bad_value_for_a_field_is_a_nextword_error(made: Any) -> None:
    for field in dataclasses.fields(made):
        for value in BAD_VALUES:
            with contextlib.suppress(nw.NextwordError):
                made(**{field.name: value})


@pytest.mark.parametrize("token_id", [1.5, "a", None, -1, 2**32, [1]])
def test_what_is_no_token_id_is_refused_by_a_stream_decoder(lm: nw.LanguageModel, token_id: Any) -> None:
    for push in (lm.tokenizer.stream_decoder().push, lambda one: lm.tokenizer.stream_decoder(after=[one])):
        with pytest.raises(nw.NextwordError):
            push(token_id)


def test_a_message_is_one_bounded_line_that_ends_with_what_to_do() -> None:
    message = str(nw.CheckpointError(f"tensor a\nb\x1b[31m\ud800 has {'x' * 5000}: fetch the file again"))
    assert message.startswith("tensor a\\nb\\x1b[31m\\ud800 has xxx")
    assert message.endswith("xxx: fetch the file again")
    assert message.isprintable()
    assert len(message) < 1010


def test_learnt_has_a_value_for_each_message(lm: nw.LanguageModel) -> None:
    with pytest.raises(nw.RequestError, match="learnt has 0 values for 2 messages: give one for each"):
        lm.tokenizer.encode_answers([*MESSAGES, {"role": "assistant", "content": "y"}][-2:], learnt=[])
