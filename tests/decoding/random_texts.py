"""Texts of a given form, written by no model: each token is drawn from random logits at temperature 2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import jsonschema
import numpy as np

from nextword.decoding.grammar import Grammar, GrammarCompiler
from nextword.decoding.mask import is_in
from nextword.decoding.params import SamplingParams
from nextword.decoding.sampler import Sampler

WORDS = [
    b'{"',
    b'":',
    b'","',
    b'"}',
    b"],",
    b"[{",
    b"null",
    b"true",
    b"false",
    b"10",
    b"-1",
    b".5",
    b"e+",
    b"the ",
    b" a",
]
SPELLINGS = [*(bytes([byte]) for byte in range(256)), *WORDS, b""]
"""A vocabulary of all bytes and some words, so small that a text soon ends; the last is the end token."""
END = len(SPELLINGS) - 1


def compiler() -> GrammarCompiler:
    """Make a compiler for `SPELLINGS`."""
    return GrammarCompiler(SPELLINGS)


def write_text(grammar: Grammar, *, seed: int, max_tokens: int = 400, temperature: float = 2.0) -> str | None:
    """Write a text as a model with random weights would; None if it has no end within `max_tokens`."""
    params = SamplingParams(temperature=temperature, seed=seed)
    sampler = Sampler(params, [], end_token_ids=[END], matcher=grammar.matcher())
    random = np.random.default_rng(seed)
    written: list[int] = []
    while not sampler.is_complete:
        token_id = sampler.choose(3 * random.standard_normal(len(SPELLINGS), dtype=np.float32)).token_id
        if token_id == END:
            break
        written.append(token_id)
        if len(written) == max_tokens:
            return None
    return b"".join(SPELLINGS[token_id] for token_id in written).decode()


def accepts(grammar: Grammar, text: str, spellings: Sequence[bytes] = SPELLINGS) -> bool:
    """Return True if the text, byte for byte, is allowed and complete."""
    matcher = grammar.matcher()
    for byte in text.encode():
        token_id = spellings.index(bytes([byte]))
        if matcher.is_complete or not is_in(matcher.mask(()), token_id):
            return False
        matcher.accept(token_id)
    return matcher.is_complete or is_in(matcher.mask((END,)), END)


def is_valid(schema: Any, text: str) -> bool:
    """Return True if the text is JSON that the schema allows, with decimal numbers taken exactly."""
    exact = json.loads(json.dumps(schema), parse_float=Decimal)
    kind = jsonschema.validators.validator_for(exact, default=jsonschema.Draft202012Validator)
    return bool(kind(exact).is_valid(json.loads(text, parse_float=_number)))


def _number(digits: str) -> Decimal | float:
    """Read a number exactly, but for those whose exponent no decimal number has."""
    try:
        return Decimal(digits)
    except InvalidOperation:
        return float(digits)
