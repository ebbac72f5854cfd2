"""Chat templates from a grammar: what templates do, nested at random, with filters and methods that cost much."""

from __future__ import annotations

from hypothesis import strategies as st

_ATOMS = [
    *("messages", "messages[0]", "messages[-1]['content']", "bos_token", "nothing", "x", "loop", "loop.index", "ns.x"),
    *("'a'", "''", "1", "-1", "10**9", "2.5", "none", "true", "[]", "[1, 2]", "{}", "{'a': [1]}", "range(9)", "'é\\n'"),
    *(
        "range(10**9)",
        "'x' * 10**9",
        "[0] * 10**8",
        "messages.__class__",
        "''.join",
        "raise_exception",
        "namespace(x=1)",
    ),
    *("strftime_now('%Y')", "self", "cycler('a', 'b')", "dict(a=1)", "joiner(',')", "lipsum", "('a',) * 99999"),
]
_FILTERS = [
    *("length", "upper", "tojson", "list", "string", "trim", "first", "last", "join(',')", "sort", "unique", "reverse"),
    *(
        "batch(2)",
        "slice(3)",
        "map('upper')",
        "select",
        "replace('a', 'aaaa')",
        "format(1)",
        "wordwrap(1)",
        "center(99999)",
    ),
    *(
        "indent(10**6)",
        "int",
        "float",
        "sum",
        "max",
        "items",
        "dictsort",
        "groupby('role')",
        "attr('__class__')",
        "pprint",
    ),
    *(
        "tojson(indent=10**7)",
        "truncate(1)",
        "urlize",
        "filesizeformat",
        "random",
        "xmlattr",
        "default(x)",
        "round(10**9)",
    ),
]
_TESTS = [
    "defined",
    "none",
    "string",
    "mapping",
    "iterable",
    "in messages",
    "divisibleby(0)",
    "sameas(x)",
    "odd",
    "=='a'",
]
_METHODS = [
    *(".strip()", ".split('a')", ".format(x)", ".join(x)", ".items()", ".get('a')", ".zfill(10**9)", ".ljust(10**9)"),
    *("[::-1]", "[10**9]", "['a']", ".a", "()", ".append(1)", ".update(a=1)", ".encode()", ".translate({})", ".copy()"),
    *(".__init__", ".format_map(x)", ".replace('', 'ab')", ".expandtabs(10**9)", ".count('')", ".startswith(1)"),
]
_BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or"]

_atom = st.sampled_from(_ATOMS)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} | {})".format, inner, st.sampled_from(_FILTERS)),
        st.builds("{}{}".format, inner, st.sampled_from(_METHODS)),
        st.builds("({} {} {})".format, inner, st.sampled_from(_BINARY), inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({} is {})".format, inner, st.sampled_from(_TESTS)),
        st.builds("[{}, {}]".format, inner, inner),
    )


_expression = st.recursive(_atom, _larger, max_leaves=6)
_plain = st.sampled_from(["a ", "<|end|>", "\n  ", "é", "{#", "%}", "{{", "{% endif %}", "\0", "{% raw %}"])
_statement = st.one_of(
    st.builds("{{{{ {} }}}}".format, _expression),
    st.builds("{{%- set x = {} -%}}".format, _expression),
    st.builds("{{% set ns.x = {} %}}".format, _expression),
    st.builds("{{% if {} %}}".format, _expression),
    st.builds("{{% generation %}}{{{{ {} }}}}{{% endgeneration %}}".format, _expression),
    _plain,
)


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, max_size=3).map("".join)
    return st.one_of(
        body,
        st.builds("{{% for x in {} %}}{}{{% endfor %}}".format, _expression, body),
        st.builds("{{% for m in messages recursive %}}{}{{{{ loop({}) }}}}{{% endfor %}}".format, body, _expression),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, _expression, body, body),
        st.builds("{{% macro f(x) %}}{}{{{{ f({}) }}}}{{% endmacro %}}{{{{ f(1) }}}}".format, body, _expression),
        st.builds("{{% filter {} %}}{}{{% endfilter %}}".format, st.sampled_from(_FILTERS), body),
        st.builds("{{% set x %}}{}{{% endset %}}".format, body),
    )


TEMPLATES = st.builds(
    "{% set ns = namespace(x=[1]) %}".__add__, st.recursive(_statement, _nested, max_leaves=8)
) | st.recursive(_statement, _nested, max_leaves=8)
