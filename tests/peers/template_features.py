"""Expressions and blocks of the chat template language, on one conversation."""

from __future__ import annotations

from typing import Any

VALUES: dict[str, Any] = {
    "n": 3,
    "f": 2.5,
    "neg": -7,
    "big": 10**15,
    "l": [3, 1, 2, 1],
    "d": {"b": 1, "a": {"z": None, "y": True}},
    "e": [],
    "t": "a,b; c",
}
MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": " Héllo <b>'x'</b> & \"y\"\n\n漢 \u2028 a\tb c "},
    {"role": "assistant", "content": "ok", **VALUES},
    {"role": "user", "content": "2"},
]
NAMES = "{% set c = messages[0].content %}{% set m = messages[1] %}"
"""Names of the first content and of the second message in expressions and blocks."""
EXPRESSIONS = {
    "filters of text": r"""
        c|capitalize; c|title; c|upper|lower; c|trim; c|trim('"'); c|wordcount; c|length; c|first; c|reverse;
        c|last; c|e; c|e|safe; c|forceescape; c|urlencode; c|replace('l', 'L'); c|replace('l', 'L', 1); c|indent;
        c|indent(2, true); c|indent('> ', first=true, blank=true); c|truncate(8); c|truncate(8, true, '');
        c|wordwrap(5); c|wordwrap(5, false); c|center(60); '%s|%d'|format('a', 3); c|string|length; ''|d('x', true)
    """,
    "filters of numbers": r"""
        m.n|abs; m.neg|abs; m.f|round; m.f|round(1, 'floor'); m.f|round(0, 'ceil')|int; '12x'|int(5);
        '0x1A'|int(base=16); '1e3'|float; m.big|filesizeformat; m.big|filesizeformat(true); m.f|string
    """,
    "filters of lists": r"""
        m.l|sort; m.l|sort(reverse=true); m.l|unique|list; m.l|sum; m.l|max; m.l|min; m.l|join('-');
        m.l|batch(3, 'x')|list; m.l|slice(3)|list; m.l|reverse|list; m.l|select('odd')|list; m.e|first is defined;
        m.l|reject('divisibleby', 2)|list; m.l|map('string')|list; m.l|map('abs')|sum; m.l|random in m.l;
        m.d|length; m.d|items|list; m.d|dictsort; m.d|dictsort(true, 'key', true); m.d|list;
        m.t.split(',')|map('trim')|list
    """,
    "filters of messages": r"""
        messages|map(attribute='role')|list; messages|map(attribute='n', default='-')|join(',');
        messages|selectattr('n', 'defined')|list|length; messages|groupby('role')|map('first')|list;
        messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list; messages|map('tojson')|join;
        messages|rejectattr('role', 'in', ['user'])|list|length; messages|sum(attribute='n', start=1);
        messages|attr('x'); messages|sort(attribute='role')|map(attribute='role')|join;
        (messages|selectattr('n', 'undefined')|list)[-1]
    """,
    "JSON": r"""
        m.d|tojson; m.d|tojson(indent=2); m.d|tojson(indent=4, sort_keys=true); c|tojson(ensure_ascii=true);
        c|tojson; [m.f, m.big, none, true, nothing is defined]|tojson; (1, 2)|tojson;
        {'z': [], 'y': {}}|tojson(indent=2); 1.0|tojson; m.l|tojson(indent=1, separators=(',', ' : ')); 1e20|tojson;
        missing|tojson; range|tojson
    """,
    "operators": r"""
        m.neg // 2; m.neg % 3; m.n ** 3; m.n / 2; -m.n; +m.n; m.l[1:]; m.l[::-1]; m.l[-1]; m.l + [4]; m.l * 2;
        1 in m.l; 'b' in m.d; m.d['a']['y']; m.d.a.z; m.d.a.z is none; messages[5] is defined;
        messages[5].x is defined; '%(a)s' % {'a': 1}; '%05.1f' % m.f; '%x' % 255; '%s' % m.d;
        'a' ~ 1 ~ none ~ true ~ 1.5; 'a' 'b'; [1, 2] == (1, 2); (1, 2); {'a': 1, 'b': [1, (2,)]}; 1_000; 0x1F; 1e3;
        '\u00e9\n\x41'; m.n == 3.0; c[0]; c[::-1]; m.nope; 'a' * 3; missing; missing or 'z';
        'a' if missing else 'b'; 'a' if missing; not missing; missing.a is defined; messages.0.role; missing + 1;
        missing + 'a'; 'a' + 1; none.x; none + 'a'; messages['a']; messages[0]['nope']['x']; m.n.x.y
    """,
    "methods": r"""
        c.split(); c.split(' ', 1); c.rsplit(None, 1); c.splitlines(); c.strip().startswith('H'); c.find('b');
        c.startswith((' H', 'x')); c.endswith(' '); c.index('b'); c.count('b'); c.partition('b'); c.lstrip('\n ');
        c.replace('b', ''); c.isdigit(); c.zfill(80); c.removeprefix(' H'); c.casefold(); c.swapcase();
        c.expandtabs(2); c.translate({98: 'B'}); c.format(); '{0:>8}|{1!r}|{x}'.format('a', 'b', x=c);
        ', '.join(m.l|map('string')); m.d.get('q', 'other'); m.d.items()|list; m.d.keys()|list; m.d.values()|list;
        m.d.copy(); m.l.index(2); m.l.copy(); m.l.append(1); m.d.update({}); m.d.pop('b'); m.n.__class__;
        c.__len__(); c|attr('upper')
    """,
    "tests": r"""
        c is string; c is mapping; c is sequence; c is iterable; c is lower; c is upper; m.n is number;
        m.n is integer; m.f is float; m.n is odd; m.n is divisibleby 3; true is boolean; true is true; none is none;
        m is mapping; c is sameas(c); m.n is gt(2); m.n is ge 3; 'a' is in('abc'); 'trim' is filter; 'odd' is test;
        c is callable; range is callable; 1 is nothing_known
    """,
    "names": r"""
        range(3)|list; range(1, 10, 3)|list; dict(a=1); cycler('a', 'b').next(); joiner is defined; tools;
        documents; tools is none; add_generation_prompt; bos_token ~ eos_token; unk_token;
        strftime_now('%d %b %Y %%'); loop is defined; raise_exception('no'); nothing()
    """,
}
"""Expressions by kind, parted by ";"."""
BLOCKS = """
{% for x in messages %}{{ [loop.index, loop.index0, loop.revindex, loop.first, loop.last, loop.length] }}{% endfor %}
{% for x in messages %}{{ loop.previtem.role ~ loop.nextitem.role }}{{ loop.changed(x.role) }}{% endfor %}
{% for x in messages %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for k, v in m.d.items() %}{{ k }}={{ v }};{% else %}none{% endfor %}{% for x in [] %}{% else %}none{% endfor %}
{% for x in messages if x.role == 'user' %}{{ loop.index }}{{ x.content }}{% endfor %}
{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x > 4 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for a in [[1, [2, [3]]]] recursive %}{{ loop.depth }}{{ loop(a) if a is sequence else a }}{% endfor %}
{% for x in missing %}x{% endfor %}
{% for x in none %}x{% endfor %}
{% set ns = namespace(a=1, b=[]) %}{% for x in messages %}{% set ns.a = ns.a + 1 %}{% endfor %}{{ ns.a }}{{ ns.b }}
{% set ns = namespace(b=[]) %}{% for x in messages %}{% set ns.b = ns.b + [x.role] %}{% endfor %}{{ ns.b }}
{% set a = 1 %}{% for x in [1] %}{% set a = 2 %}{% endfor %}{{ a }}{% if true %}{% set a = 3 %}{% endif %}{{ a }}
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}
{% raw %}{{ x }}{% endraw %}{# not shown #} a {#- nor this -#} b
  {%- if true -%}  x  {%- endif -%}  y
   {% if true %}x{% endif %}   {{ 'a' }}   {%+ if true %}z{% endif %}
{% macro f(a, b=2) %}{{ [a, b, varargs, kwargs, caller is defined] }}{% endmacro %}{{ f(1) }}{{ f(1, 3, 4, z=5) }}
{% macro g() %}<{{ caller(1) }}>{% endmacro %}{% call(x) g() %}{{ x }}!{% endcall %}
{% set x %}a{{ 1 }}{% endset %}{{ x | length }}{{ x }}{% set x | upper %}abc{% endset %}{{ x }}
{% filter trim | upper %} a {% endfilter %}{% set a, b = 1, 2 %}{{ a }}{{ b }}
{% generation %}a{% for x in [1, 2] %}{{ x }}{% endfor %}{% set q = 1 %}{% endgeneration %}{{ q }}
{%- generation -%} a {%- endgeneration -%} b
{% autoescape true %}{{ '<' }}{% endautoescape %}
{% do messages.append(1) %}
{% trans %}a{% endtrans %}
{% import 'x' as y %}
{% extends 'x' %}
{{ 1
{% endfor %}
""".strip().split("\n")
"""A template each line."""
LINES = [
    *("\n{% if true %}\nx\n{% endif %}\ny\n", "{{- c -}}\n\n", "\r\na\r\nb\n"),
    *("# for x in []\n## c", "a\n  {%- if true %}\n b"),
]
"""Templates of several lines: which line ends they keep."""
