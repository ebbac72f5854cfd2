"""`lark_of_gbnf`: a grammar of llama.cpp in the language of llguidance, which has the same texts.

llguidance cuts a text into words, the longest that fit, before it applies rules; llama.cpp has no words. So each
character becomes a word of its own, but for grammars without recursion, which are one regular expression.
"""

from __future__ import annotations

from nextword.decoding.gbnf import Characters, Choice, Node, Repeated, Rule, parse_gbnf

_LONGEST_PATTERN = 100_000
"""Length of a regular expression to which the rules of a grammar are expanded."""


def lark_of_gbnf(text: str) -> str:
    """Return the grammar for llguidance. Raises RequestError for what is no GBNF."""
    rules = parse_gbnf(text)
    pattern = _pattern_of_rules(rules)
    if pattern is not None:
        return f"start: /{pattern}/"
    names = {name: "start" if name == "root" else f"rule_{number}" for number, name in enumerate(rules)}
    words: dict[str, str] = {}
    lines = [f"{names[name]}: {_rule(node, names, words)}" for name, node in rules.items()]
    return "\n".join([*lines, *(f"{word}: /{pattern}/" for pattern, word in words.items())])


def _pattern_of_rules(rules: dict[str, Node]) -> str | None:
    """Return the whole grammar as a regular expression; None if a rule uses itself, or it would be very long."""
    patterns: dict[str, str | None] = {}

    def of_rule(name: str) -> str:
        if name in patterns and patterns[name] is None:
            raise _NotRegularError
        if name not in patterns:
            patterns[name] = None  # until it is known: a rule that uses itself finds this
            patterns[name] = of_node(rules[name])
        return patterns[name] or ""

    def of_node(node: Node) -> str:
        if isinstance(node, Characters):
            return _set(node)
        if isinstance(node, Rule):
            return f"(?:{of_rule(node.name)})"
        if isinstance(node, Repeated):
            return f"(?:{of_node(node.item)}){_times(node)}"
        parts = list(map(of_node, node.items))
        pattern = f"(?:{'|'.join(parts)})" if isinstance(node, Choice) else "".join(parts)
        if len(pattern) > _LONGEST_PATTERN:
            raise _NotRegularError
        return pattern

    try:
        return of_rule("root")
    except (_NotRegularError, RecursionError):
        return None


class _NotRegularError(Exception):
    """A grammar is no regular expression of bounded length."""


def _rule(node: Node, names: dict[str, str], words: dict[str, str]) -> str:
    """Return the right side of a rule; `words` gains those that it needs."""
    if isinstance(node, Characters):
        return words.setdefault(_set(node), f"CHARACTER_{len(words)}")
    if isinstance(node, Rule):
        return names[node.name]
    if isinstance(node, Repeated):
        return f"({_rule(node.item, names, words)}){_times(node)}"
    if not node.items:
        return '""'
    between = " | " if isinstance(node, Choice) else " "
    return f"({between.join(_rule(item, names, words) for item in node.items)})"


def _times(node: Repeated) -> str:
    return f"{{{node.least},{'' if node.most is None else node.most}}}"


def _set(node: Characters) -> str:
    ranges = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in node.ranges)
    if node.is_negated:
        return f"[^{ranges}]" if ranges else r"[\x{0}-\x{10ffff}]"
    return f"[{ranges}]"
