"""Whatever a verb's options say can be said from Python by keywords of the same names."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

import pytest

import nextword as nw
from nextword.cli import VERBS

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "generate": nw.LanguageModel.generate,
    "chat": nw.LanguageModel.conversation,
    "summarize": nw.LanguageModel.summarize,
    "classify": nw.classify,
    "serve": nw.serve,
    "lab": nw.open_lab,
    "next": nw.LanguageModel.next_steps,
    "score": nw.LanguageModel.score,
    "surprise": nw.surprise,
    "tokenize": nw.load_tokenizer,
    "pretrain": nw.pretrain,
    "finetune": nw.finetune,
    "merge": nw.merge,
    "tokenizer": nw.train_tokenizer,
    "prepare": nw.prepare,
    "data": nw.training_example,
    "perplexity": nw.perplexity,
    "compare": nw.compare,
    "evaluate": nw.evaluate,
    "rouge": nw.rouge,
    "decoding-report": nw.decoding_report,
    "models": nw.list_models,
    "pull": nw.pull,
    "export": nw.export,
}
ELSEWHERE = {
    ("chat", "load"): "load of nw.Conversation",
    ("chat", "thoughts"): "ask_parts of nw.Conversation",
    ("tokenize", "parse_special"): "encode of nw.Tokenizer",
    ("next", "top"): "table of nw.Distribution",
    ("next", "plot"): "nw.save_next_plot",
    ("pretrain", "dry_run"): "nw.plan_pretrain",
    ("finetune", "dry_run"): "nw.plan_finetune",
}
"""Options for which Python has a function or method of its own."""
POSITIONAL = ("model", "text", "prompt", "file", "path", "action", "params")
"""The model and the text that a verb is about, which may have another name in Python, and flags looked into below."""
OUTPUT = ("json",)
"""Options that only change the printed lines."""


def test_each_verb_but_completion_has_a_function() -> None:
    assert FUNCTIONS.keys() == {verb.name for verb in VERBS} - {"completion"}


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_each_option_is_a_keyword_of_the_function(verb: str) -> None:
    options = set(fields(importlib.import_module(f"nextword.cli.verbs.{verb.replace('-', '_')}").Options))
    known = {*keywords(FUNCTIONS[verb]), *keywords(nw.load), *POSITIONAL, *OUTPUT}
    assert options - known == {option for name, option in ELSEWHERE if name == verb}


def fields(options: type[Any]) -> Iterator[str]:
    """The names of the fields, those of sections in place of the sections."""
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from fields(hints[field.name])
        else:
            yield field.name


def keywords(function: Callable[..., Any]) -> Iterator[str]:
    """The names of the parameters, those of a typed dictionary in place of **keywords."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            yield parameter.name
            continue
        alone = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        (keys,) = get_args(get_type_hints(alone, globalns=vars(inspect.getmodule(function)))[parameter.name])
        yield from get_type_hints(keys)
