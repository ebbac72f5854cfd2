"""Templates that would take all memory or time are refused soon, whatever they use for it."""

from __future__ import annotations

import time

import pytest

from nextword.errors import TokenizerError
from nextword.text.chat_template import render_chat_template

pytestmark = pytest.mark.slow

CHAT = [{"role": "user", "content": "?"}]
SHARED = "{% set ns = namespace(x=[1]) %}{% for i in range(26) %}{% set ns.x = PAIR %}{% endfor %}USE"
PAIRS = {
    "lists": "[ns.x, ns.x]",
    "tuples": "(ns.x, ns.x)",
    "mappings": "{'a': ns.x, 'b': ns.x}",
    "dict": "dict(a=ns.x, b=ns.x)",
    "cycler": "cycler(ns.x, ns.x).items",
    "added": "[ns.x] + [ns.x]",
    "repeated": "[ns.x] * 2",
    "batch": "[ns.x] | batch(2, ns.x) | list",
    "slice": "[ns.x] | slice(2, ns.x) | list",
    "sum": "[[ns.x], [ns.x]] | sum(start=[])",
    "copies": "[ns.x, ns.x].copy()",
    "items": "{'a': ns.x, 'b': ns.x}.items() | list",
}
USES = {
    "printed": "{{ ns.x }}",
    "as JSON": "{{ ns.x | tojson }}",
    "old format": "{{ '%s' % (ns.x,) }}",
    "string": "{{ ns.x | string | length }}",
    "format": "{{ '%s' | format(ns.x) | length }}",
    "new format": "{{ '{}'.format(ns.x) | length }}",
    "hashed": "{{ {ns.x: 1} | length }}",
    "hashed in get": "{{ {}.get(ns.x) }}",
    "compared": "{{ ns.x == ns.x[:] }}",
    "joined": "{{ [ns.x] | join | length }}",
    "concatenated": "{{ (ns.x ~ '') | length }}",
    "unique": "{{ [ns.x, ns.x] | unique | list | length }}",
}
BIG = "{% set s = 'x' * 1000000 %}"
SLOW = {
    "wordwrap": BIG + "{{ s | wordwrap(1) }}",
    "wordwrap by name": BIG + "{{ [s] | map('wordwrap', 1) | list | length }}",
    "strip": BIG + "{{ s.strip('y' * 1000000 + 'x') | length }}",
    "trim": BIG + "{{ s | trim('y' * 1000000 + 'x') | length }}",
    "a fill of zeros": "{{ '{:0>9999999999}'.format(1) }}",
    "a width in an argument": "{{ '{:{}}'.format('x', '9999999999') }}",
    "a width in a list": "{{ '{:{0[0]}}'.format([10**10]) }}",
    "rounding": "{{ 1.5 | round(10**9, 'ceil') }}",
    "a long attribute": "{{ ['x'] * 100000 | map(attribute='0.' * 100000 ~ '0') | list | length }}",
    "an attribute of many": "{{ (['x'] * 50000) | map(attribute=('0.' * 50000) ~ '0') | list | length }}",
    "lists printed in a macro": "{% set l = [0] * 200000 %}{% macro f() %}"
    + "{{ l }}" * 200
    + "{% endmacro %}{{ f() }}",
    "slices": BIG + "{% set l = [" + "s[1:]," * 5000 + "] %}",
    "an endless test": "{% for i in range(99999) if range(99999) | select('eq', -1) | list %}{% endfor %}",
    "comparisons": "{% set a = [0] * 900000 %}{% set b = [0] * 900000 %}" + "{{ a == b }}" * 3000,
    "nested JSON": "{% set ns = namespace(x=[0]) %}{% for i in range(80) %}"
    "{% set ns.x = [ns.x] + [0] * 900 %}{% endfor %}{{ ns.x | tojson(indent=1000) }}",
    "whole numbers": "{{ (5).from_bytes(('x' * 1000000).encode(), 'big') * 3 }}",
    "dates": "{{ strftime_now('%A' * 1000000) }}",
    "tags": "{{ ('<!---->' * 100000) | striptags }}",
    "links": BIG + "{{ (s ~ '.com ') | urlize }}",
    "splitting": "{% set s = 'ab,' * 6000000 %}{% set a = s.split(',') %}",
    "lines": "{% set s = '\n' * 19000000 %}{{ s.splitlines() | length }}",
    "blocks": "".join(
        f"{{% block b{i} %}}{{{{ self.b{i + 1}() }}}}{{{{ self.b{i + 1}() }}}}{{% endblock %}}" for i in range(40)
    )
    + "{% block b40 %}x{% endblock %}",
    "namespaces": "{% set ns = namespace(x=namespace()) %}{% for i in range(40) %}"
    "{% set ns.x = namespace(a=ns.x, b=ns.x) %}{% endfor %}{{ [ns.x, ns.x] * 1000000 }}",
}
LONG = {
    "many sets": "".join(f"{{% set v{i} = 1 %}}" for i in range(50_000)),
    "many branches": "{% if x %}{% set y = 1 %}{% endif %}" * 20_000,
    "many outputs": "{{ a + b }}" * 20_000,
    "a long text": "x" * 1_000_000,
    "many names": "".join(f"{{{{ v{i} }}}}" for i in range(20_000)),
}


def refused_soon(template: str) -> str:
    started = time.process_time()
    with pytest.raises(TokenizerError) as caught:
        render_chat_template(template, CHAT, add_generation_prompt=True, variables={})
    assert time.process_time() - started < 15, "it holds the processor for longer than the limit"
    return str(caught.value)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("pair", ["lists", "tuples"])
def test_values_that_share_their_parts_count_as_often_as_they_appear(pair: str, use: str) -> None:
    assert refused_soon(SHARED.replace("PAIR", PAIRS[pair]).replace("USE", USES[use]))


@pytest.mark.parametrize("pair", PAIRS)
def test_values_are_counted_however_they_are_built(pair: str) -> None:
    assert "without end" in refused_soon(SHARED.replace("PAIR", PAIRS[pair]).replace("USE", ""))


@pytest.mark.parametrize("name", SLOW)
def test_slow_calls_are_refused(name: str) -> None:
    assert refused_soon(SLOW[name])


@pytest.mark.parametrize("name", LONG)
def test_templates_that_are_too_long_are_refused_before_they_are_compiled(name: str) -> None:
    said = refused_soon(LONG[name])
    assert "characters" in said or "parts" in said
