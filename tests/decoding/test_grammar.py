"""Which tokens a form allows: exactly those after which some text that has the form begins."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextword.decoding.constraint import Constraint, ConstraintKind
from nextword.decoding.distribution import Distribution
from nextword.decoding.grammar import Grammar, GrammarCompiler, GrammarMatcher
from nextword.decoding.log_softmax import log_softmax
from nextword.decoding.mask import Mask, unpacked
from nextword.decoding.params import SamplingParams
from nextword.decoding.sampler import Sampler
from nextword.errors import RequestError
from tests.decoding.random_texts import END, SPELLINGS, accepts, compiler
from tests.decoding.ways import WAYS, computed_by

ALL = compiler()


def grammar(kind: ConstraintKind, text: str, made: GrammarCompiler = ALL) -> Grammar:
    return made.compile(Constraint(kind, text))


def ids(mask: Mask) -> list[int]:
    return np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist()


def spelled(matcher: GrammarMatcher, ends: tuple[int, ...] = (END,)) -> list[bytes]:
    return [SPELLINGS[token_id] for token_id in ids(matcher.mask(ends))]


def advance(matcher: GrammarMatcher, text: str) -> None:
    for byte in text.encode():
        matcher.accept(byte)


# A tiny vocabulary, on which every text up to a length can be tried

TINY = [b"a", b"b", b"c", b"ab", b"ba", b"bc", b"abc", b"aa", b""]
TINY_END = len(TINY) - 1
LONGEST, MOST_NEEDED = 8, 4
TEXTS = ["".join(letters) for length in range(LONGEST + 1) for letters in itertools.product("abc", repeat=length)]
tiny_compiler = GrammarCompiler(TINY)


@st.composite
def patterns(draw: st.DrawFn, depth: int = 2) -> str:
    """A regular expression; whatever begins one of its texts is completed by at most MOST_NEEDED letters."""
    if depth == 0:
        return draw(st.sampled_from(["a", "b", "c", "[ab]", "[^a]"]))
    inner = patterns(depth - 1)
    kind = draw(st.sampled_from(["one", "then", "or", "maybe", "often"]))
    first = draw(inner)
    if kind == "then":
        return f"{first}{draw(inner)}"
    if kind == "or":
        return f"(?:{first}|{draw(inner)})"
    return {"one": first, "maybe": f"(?:{first})?", "often": f"(?:{first})*"}[kind]


@settings(deadline=None, max_examples=120)
@given(pattern=patterns(), picks=st.lists(st.integers(0, 10), max_size=3))
def test_a_token_is_allowed_where_some_text_begins_so_and_no_other(pattern: str, picks: list[int]) -> None:
    fitting = [text for text in TEXTS if re.fullmatch(pattern.replace("[^a]", "[bc]"), text)]
    matcher = grammar("regex", pattern.replace("[^a]", "[bc]"), tiny_compiler).matcher()
    written = ""
    for pick in [*picks, 0]:
        found = set(ids(matcher.mask((TINY_END,))))
        expected = {
            token_id
            for token_id, spelling in enumerate(TINY[:-1])
            if any(text.startswith(written + spelling.decode()) for text in fitting)
        }
        if written in fitting:
            expected.add(TINY_END)
        assert expected <= found
        for token_id in found - expected:  # only where the shortest text that begins so is longer than all in TEXTS
            assert token_id != TINY_END
            assert len(written + TINY[token_id].decode()) + MOST_NEEDED > LONGEST
        assert matcher.is_complete == (found == {TINY_END} or not found)
        going = sorted(expected - {TINY_END})
        if not going:
            break
        matcher.accept(going[pick % len(going)])
        written += TINY[going[pick % len(going)]].decode()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    pattern=patterns(),
    temperature=st.sampled_from([0.0, 1.0]),
    penalties=st.sampled_from([{}, {"repetition_penalty": 1.5}, {"logit_bias": {0: 9.0}}, {"min_tokens": 2}]),
)
def test_the_choice_in_one_call_is_that_of_the_masked_distribution(
    seed: int, pattern: str, temperature: float, penalties: dict[str, Any]
) -> None:
    form = grammar("regex", pattern.replace("[^a]", "[bc]"), tiny_compiler)
    params = SamplingParams(seed=seed, temperature=temperature, **penalties)
    written: dict[str, list[int | str]] = {}
    for way in WAYS:
        with computed_by(way):
            sampler = Sampler(params, [], end_token_ids=[TINY_END], matcher=form.matcher())
            rows = np.random.default_rng(seed).standard_normal((6, len(TINY))).astype(np.float32)
            tokens: list[int | str] = []
            for row in rows:
                try:
                    if sampler.is_complete or TINY_END in tokens:
                        break
                    tokens.append(sampler.choose(row).token_id)
                except RequestError as error:  # penalties may forbid all that fits
                    tokens.append(str(error))
                    break
            written[way] = tokens
    assert written["native"] == written["numpy"]


@settings(deadline=None, max_examples=60)
@given(pattern=patterns(), picks=st.lists(st.integers(0, 10), max_size=3), asks_first=st.booleans())
def test_one_token_is_allowed_if_the_mask_has_it(pattern: str, picks: list[int], asks_first: bool) -> None:
    matcher = grammar("regex", pattern.replace("[^a]", "[bc]"), tiny_compiler).matcher()
    for pick in [*picks, 0]:
        mask = None if asks_first else matcher.mask((TINY_END,))
        allowed = [token_id for token_id in range(TINY_END) if matcher.allows(token_id)]
        assert allowed == [
            token_id for token_id in ids(matcher.mask(()) if mask is None else mask) if token_id != TINY_END
        ]
        if not allowed:
            break
        matcher.accept(allowed[pick % len(allowed)])


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), pattern=patterns())
def test_the_distribution_is_the_models_without_the_others_and_renormalised(seed: int, pattern: str) -> None:
    logits = (3 * np.random.default_rng(seed).standard_normal(len(TINY))).astype(np.float32)
    form = grammar("regex", pattern.replace("[^a]", "[bc]"), tiny_compiler)
    mask = unpacked(form.matcher().mask((TINY_END,)), len(TINY))
    sampler = Sampler(SamplingParams(), [], end_token_ids=[TINY_END], matcher=form.matcher())
    found = sampler.distribution(logits)
    exact = np.exp(log_softmax(logits))
    exact = np.where(mask, exact, 0.0) / exact[mask].sum()
    probabilities = [np.exp(found.log_prob(token_id)) for token_id in range(len(TINY))]
    np.testing.assert_allclose(probabilities, exact, atol=1e-12)


def test_reported_log_probabilities_stay_those_of_the_model() -> None:
    logits = np.random.default_rng(0).standard_normal(len(TINY)).astype(np.float32)
    form = grammar("regex", "abc", tiny_compiler)
    for processed in (False, True):
        params = SamplingParams(logprobs=2, processed_logprobs=processed, seed=0)
        sampler = Sampler(params, [], end_token_ids=[TINY_END], matcher=form.matcher())
        masked = np.where(unpacked(form.matcher().mask(()), len(TINY)), logits, np.float32(-np.inf))
        distribution = Distribution.from_logits(masked if processed else logits)
        chosen = sampler.choose(logits)
        assert chosen.log_prob == distribution.log_prob(chosen.token_id)


# The end


def test_a_text_that_could_go_on_may_end_or_go_on() -> None:
    matcher = grammar("regex", "ab*").matcher()
    assert END not in ids(matcher.mask((END,)))
    advance(matcher, "a")
    assert spelled(matcher) == [b"b", b""]
    assert not matcher.is_complete


def test_a_text_that_cannot_go_on_is_complete() -> None:
    matcher = grammar("regex", "a{2}").matcher()
    advance(matcher, "a")
    assert not matcher.is_complete
    advance(matcher, "a")
    assert matcher.is_complete
    assert spelled(matcher) == [b""]


def test_a_token_that_ends_texts_is_allowed_only_at_an_end_even_if_it_is_text() -> None:
    matcher = grammar("regex", "[ab]+c").matcher()
    letter = SPELLINGS.index(b"a")
    assert spelled(matcher, (letter,)) == [b"b"]
    advance(matcher, "bc")
    assert spelled(matcher, (letter,)) == [b"a"]


def test_end_tokens_beyond_the_vocabulary_are_ignored() -> None:
    assert spelled(grammar("regex", "a?").matcher(), (10_000,)) == [b"a"]


def test_where_no_token_can_follow_there_is_an_error_and_never_another_text() -> None:
    made = GrammarCompiler([b"a", b"b", b""])
    matcher = made.compile(Constraint("regex", "a(c|dd)|b")).matcher()
    matcher.accept(0)
    with pytest.raises(RequestError, match=r"^regex 'a\(c\|dd\)\|b': no text fits it that this vocabulary can write$"):
        matcher.mask((2,))
    with pytest.raises(RequestError, match="no text fits it"):
        made.compile(Constraint("regex", "c"))


# Speculation


def test_tokens_can_be_taken_back() -> None:
    matcher = grammar("regex", r"\{(a|b)*\}").matcher()
    seen = [matcher.mask((END,)).copy()]
    for token_id in b"{ab}":
        matcher.accept(token_id)
        seen.append(matcher.mask((END,)).copy())
    for num_back in (1, 2, 0, 1):
        matcher.rollback(num_back)
        del seen[len(seen) - num_back :]
        np.testing.assert_array_equal(matcher.mask((END,)), seen[-1])


def test_forced_bytes_are_those_that_must_follow() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    matcher = grammar("schema", json.dumps(schema)).matcher()
    assert matcher.forced_bytes() == b'{"name":"'
    advance(matcher, '{"na')
    assert matcher.forced_bytes() == b'me":"'
    assert spelled(matcher) == [b"m"]
    advance(matcher, 'me":"')
    assert matcher.forced_bytes() == b""


def test_sequences_do_not_share_their_state() -> None:
    form = grammar("regex", "ab|cd")
    first, second = form.matcher(), form.matcher()
    advance(first, "a")
    assert spelled(first) == [b"b"]
    assert spelled(second) == [b"a", b"c"]


# Spellings


def test_tokens_without_bytes_are_no_text_though_a_grammar_may_name_their_numbers() -> None:
    special, letter = 0, 1
    made = GrammarCompiler([b"", b"a", b""])
    assert ids(made.compile(Constraint("regex", "(?s:.)*")).matcher().mask(())) == [letter]
    assert ids(made.compile(Constraint("grammar", "start: <[*]>")).matcher().mask(())) == [letter]
    with pytest.raises(RequestError, match="grammar"):
        made.compile(Constraint("grammar", f"start: <[{special}]>"))
    with pytest.raises(RequestError, match="grammar"):
        made.compile(Constraint("grammar", "start: <|im_start|>"))


def test_tokens_with_the_same_bytes_are_all_allowed() -> None:
    made = GrammarCompiler([b"a", b"b", b"a", b""])
    assert ids(made.compile(Constraint("regex", "a")).matcher().mask((3,))) == [0, 2]


def test_characters_may_be_cut_anywhere() -> None:
    matcher = grammar("choice", '["é", "è", "😀"]').matcher()
    assert spelled(matcher) == [b"\xc3", b"\xf0"]
    matcher.accept(0xC3)
    assert spelled(matcher) == [b"\xa8", b"\xa9"]


PIECES = [b" a", b"a", b" ", b" b", b"ab", b""]
AT_START = [b"a", b"a", b"", b"b", b"ab", b""]


def test_the_first_token_of_a_text_is_spelled_without_its_space() -> None:
    form = GrammarCompiler(PIECES, AT_START).compile(Constraint("regex", "a( a)*|b"))
    within, at_start = form.matcher(), form.matcher(begins_text=True)
    assert ids(within.mask(())) == [1]
    assert ids(at_start.mask(())) == [0, 1, 2, 3]
    at_start.accept(2)  # a space that the text does not show: nothing was written yet
    assert ids(at_start.mask((5,))) == [1]
    at_start.rollback(1)
    at_start.accept(0)
    assert ids(at_start.mask((5,))) == [0, 2, 5]
    at_start.rollback(1)
    at_start.accept(3)
    assert at_start.is_complete


# Forms

ODD = ["a", "ab", '"\\', "\n\x00\x7f", ".*", "😀"]
FORMS: list[tuple[ConstraintKind, str, list[str], list[str]]] = [
    ("regex", "^ab+$", ["ab", "abb"], ["a", "xab", "abx", ""]),
    ("regex", r"cost: \$", ["cost: $"], ["cost: "]),
    ("regex", r"a\\$", ["a\\"], ["a"]),
    ("regex", "a/b\n[^/]", ["a/b\nc"], ["a/b\n/"]),
    ("regex", "(?i)yes|no", ["YES", "no", "No"], ["y"]),
    ("regex", r"\w+ \d", ["é 1", "ab 2"], ["! 1"]),
    ("regex", "😀{2}", ["😀😀"], ["😀"]),
    ("choice", json.dumps(ODD), ODD, ["b", ""]),
    ("grammar", 'start: "a" rest\nrest: "b" rest | "c"', ["ac", "abbc"], ["ab", "a"]),
    ("grammar", 'root ::= "a" rest # words\nrest ::= "b" rest |\n  "c"', ["ac", "abbc"], ["ab", "a"]),
    ("grammar", 'root ::= "a" | [b-d]+', ["a", "bcd"], ["ab", ""]),
    ("schema", "true", ["1", '{"a":[null]}', '"x"'], ["", "{a:1}", "[1,]"]),
    ("schema", '{"minLength": 2.0, "maxLength": 2e0, "type": "string"}', ['"ab"'], ['"a"', '"abc"']),
    ("schema", '{"items": {"type": "integer", "multipleOf": 2.5}, "maxItems": 1.0}', ["[5]"], ["[2]", "[5,5]"]),
    ("schema", '{"x-guidance": {"whitespace_flexible": true}, "type": "array"}', ["[1,2]"], ["[ 1]", "[1, 2]"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "positive", "negative"), FORMS)
def test_a_form_has_its_texts_and_no_others(
    kind: ConstraintKind, text: str, positive: list[str], negative: list[str]
) -> None:
    form = grammar(kind, text)
    assert [one for one in positive if not accepts(form, one)] == []
    assert [one for one in negative if accepts(form, one)] == []


REFUSED: list[tuple[ConstraintKind, str, str]] = [
    ("regex", "(", "unclosed group"),
    ("regex", "a(?=b)", "look-around"),
    ("regex", r"(a)\1", "backreferences are not supported"),
    ("regex", "[^\\x00-\\x{10ffff}]", "no text fits it|empty"),
    ("regex", "a\\", "ends in a backslash"),
    ("regex", r"a\\" + "\\", "ends in a backslash"),
    ("grammar", "start: b", 'line 1, column 8: unknown name: "b"'),
    ("grammar", 'start: "a"\nb: (', "line 2, column"),
    ("grammar", 'begin: "a"', "no start rule"),
    ("grammar", "start: start", "no text fits it"),
    ("grammar", "start: A\nA: A", "circular reference"),
    ("grammar", 'root ::= "a', "line 1, column 10: expected the end of the line"),
    ("grammar", "root ::= b", "the rule 'b' is missing"),
    ("grammar", 'a ::= "b"', "the rule 'root' is missing"),
    ("grammar", 'root ::= "a"{2,1}', "in this order"),
    ("grammar", 'root ::= "a"{99999999}', "at most 2000"),
    ("grammar", 'root ::= "a"{1000000000000}', "at most 2000"),
    ("grammar", 'root ::= "a" root', "its text has no end"),
    ("grammar", 'start: "a" start', "its text has no end"),
    ("grammar", "root ::= [b-a]", "ends before it begins"),
    ("grammar", 'root ::= "a"\nroot ::= "b"', "a second rule root"),
    ("grammar", "root ::= root", "no text fits it"),
    ("grammar", 'root ::= "\\q"', "unknown escape"),
    ("grammar", "root ::= (((((", "column"),
    ("schema", "false", "no value fits it"),
    ("schema", '{"properties": {"a/b": {"not": {}}}}', "at /properties/a~1b/not: not cannot be enforced"),
    ("schema", '{"properties": {"not": {"items": {"if": {}}}}}', "at /properties/not/items/if"),
    ("schema", '{"oneOf": [{"type": "number"}, {"type": "integer"}]}', "at /oneOf: oneOf of schemas"),
    ("schema", '{"items": {"type": ["null", "strin"]}}', "at /items/type: Invalid type: strin"),
    ("schema", '{"items": {"format": "foo"}}', "at /items/format: Unknown format: foo"),
    ("schema", '{"$ref": "#/$defs/a"}', "does not exist"),
    ("schema", '{"$ref": "https://example.org/a"}', "https://example.org/a"),
    ("schema", '{"$ref": "#"}', "no text fits it"),
    ("schema", '{"enum": []}', "no text fits it"),
    ("schema", '{"required": ["a"], "properties": {"a": false}, "type": "object"}', "required property 'a'"),
    ("schema", '{"type": "integer", "minimum": 3, "maximum": 2}', "no text fits it"),
    ("schema", '{"type": "string", "minLength": 3, "maxLength": 2}', "no text fits it"),
    ("schema", '{"type": "string", "pattern": "("}', "unclosed group"),
    ("schema", '{"items": {"pattern": "a\\\\"}}', "at /items/pattern: it ends in a backslash"),
    ("schema", '{"patternProperties": {"/\\\\": {}}}', "at /patternProperties/~1"),
    ("schema", '{"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}', "its text has no end"),
    ("schema", '{"type": "object", "minProperties": 2}', "/minProperties: names beyond"),
    ("schema", '{"x-guidance": {"lenient": true}, "not": {}}', "at /not"),
    ("schema", json.dumps({"allOf": [{"anyOf": [{"required": [f"{i}{j}"]} for j in "ab"]} for i in range(30)]}), "too"),
]


@pytest.mark.parametrize(("kind", "text", "words"), REFUSED)
def test_what_cannot_be_written_is_refused_before_the_first_token(kind: ConstraintKind, text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        grammar(kind, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(kind)


NESTED = 60
HARD: dict[str, tuple[ConstraintKind, str]] = {
    "brackets": ("regex", "(" * NESTED + "a" + ")*" * NESTED),
    "repeats": ("regex", "((a|b{1,50})c{1,50}){1,50}"),
    "exponential": ("regex", "(a|b)*a" + "(a|b)" * 300),
    "many words": ("regex", "|".join(f"w{number}" for number in range(8000))),
    "long word": ("choice", json.dumps(["a" * 60_000])),
    "rules": ("grammar", "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(5000)) + 'r5000: "a"'),
    "words": ("grammar", "start: R0\n" + "".join(f'R{i}: "b"? R{i + 1}\n' for i in range(2000)) + 'R2000: "a"'),
    "gbnf rules": ("grammar", "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1}\n" for i in range(3000)) + 'r3000 ::= "a"'),
    "ambiguous": ("grammar", 'start: s\ns: s s | "a" | s s s'),
    "times": ("grammar", 'start: (((("a" b){30}){30}){30}){30}\nb: "b"'),
    "references": ("schema", json.dumps({"$ref": "#/$defs/0", "$defs": {
        **{str(i): {"$ref": f"#/$defs/{i + 1}"} for i in range(900)}, "900": {"type": "null"}}})),
    "doubled": ("schema", json.dumps({"$ref": "#/$defs/0", "$defs": {
        **{str(i): {"allOf": [{"$ref": f"#/$defs/{i + 1}"}] * 2} for i in range(40)}, "40": {"type": "null"}}})),
    "lengths": ("schema", '{"type": "string", "minLength": 100000}'),
    "items": ("schema", '{"type": "array", "minItems": 1000000}'),
    "names": ("schema", json.dumps({"type": "object", "properties": {f"p{i}": {} for i in range(3000)}})),
    "multiples": ("schema", '{"type": "number", "multipleOf": 0.0000001234567}'),
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_forms_are_compiled_or_refused_soon(name: str) -> None:
    kind, text = HARD[name]
    with contextlib.suppress(RequestError):
        matcher = grammar(kind, text).matcher()
        for _ in range(5):
            if matcher.is_complete:
                break
            matcher.accept(ids(matcher.mask(()))[0])


def test_the_latest_forms_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiler()
    first: Any = made.compile(Constraint("regex", "a"))
    assert made.compile(Constraint("regex", "a")) is first
    for number in range(64):
        made.compile(Constraint("regex", f"b{number}"))
    assert made.compile(Constraint("regex", "a")) is not first
