"""Pre-tokenizers of byte-level BPE: rules that cut a text into words before merging, by their names in GGUF.

Each vocabulary was learned on words cut by its own rules; other rules give other tokens, without any error. The
patterns are those of the published tokenizers, in the syntax of the `tokenizers` library (Oniguruma), and llama.cpp
gives the same tokens. transformers ignores the name `smollm` in a GGUF file and leaves the space before a number in the
number's word: it differs from the published tokenizer.json, and from us, at signs such as " ½", not at digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tokenizers
from tokenizers import pre_tokenizers

from nextword.errors import TokenizerError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2.removesuffix(r"|\s+"), r"\p{N}+", "[0-9][0-9][0-9]")
"""Rules of llama.cpp for files that name none."""
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST_WITH_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_REST}"
_QWEN35 = (  # as _QWEN2, with the marks of a letter in its word
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Words that begin with capitals, then small letters; or capitals only.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*")
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_REST_WITH_SLASH}"
_GPT4O = rf"{_CASED[0]}{_CONTRACTIONS}?|{_CASED[1]}{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_REST_WITH_SLASH}"
_BLOOM = r" ?[^(\s|.,!?" "\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c" ")]+"
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_CASED_LETTERS = (
    "\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376"
    "\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
"""Ranges of letters with case, as code points: normalization would change some of the characters themselves."""
_DEEPSEEK_LETTERS = rf"\s?[A-Za-z{_CASED_LETTERS}]+"
_DEEPSEEK_V3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class PreTokenizerRules(NamedTuple):
    """Pre-tokenization rules of a group of vocabularies."""

    patterns: tuple[str, ...]
    """Regular expressions, applied in turn: each isolates its matches in the pieces left by the one before."""
    ignores_merges: bool = False
    """True if a word that is a token as a whole is taken as such, even if no merges form it."""
    adds_bos: bool = False
    """True if texts begin with BOS in a file that does not say."""
    is_nfc: bool = False
    """True if the published tokenizers bring texts into Unicode's form NFC first, which llama.cpp does not."""


_RULES: dict[PreTokenizerRules, str] = {
    PreTokenizerRules(patterns=_DEFAULT): "default",
    PreTokenizerRules(patterns=(_GPT2,)): (
        "gpt-2 gpt2 jais phi-2 gigachat trillion exaone4 granite-docling mellum modern-bert a.x-4.0 "
        "jina-es jina-de jina-v2-es jina-v2-de"
    ),
    PreTokenizerRules(patterns=(_GPT2,), is_nfc=True): "olmo mpt",
    PreTokenizerRules(patterns=(_LLAMA3,), ignores_merges=True, adds_bos=True): (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano"
    ),
    PreTokenizerRules(patterns=(_LLAMA3,), ignores_merges=True): "glm4 glm5",
    PreTokenizerRules(patterns=(_LLAMA3,)): "dbrx smaug-bpe chatglm-bpe",
    PreTokenizerRules(patterns=(_QWEN2,), is_nfc=True): "qwen2",
    PreTokenizerRules(patterns=(_QWEN2,)): (
        "stablelm2 deepseek-r1-qwen kormo f2llmv2 megrez hunyuan solar-open grok-2"
    ),
    PreTokenizerRules(patterns=(r"\p{N}", _GPT2)): ("smollm starcoder refact codeshell exaone minerva-7b mellum2"),
    PreTokenizerRules(patterns=(r"\p{N}", _GPT2), is_nfc=True): "command-r",
    PreTokenizerRules(patterns=(_QWEN35,), is_nfc=True): "qwen35",
    PreTokenizerRules(patterns=(r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")): "falcon",
    PreTokenizerRules(patterns=(_TEKKEN,), ignores_merges=True, adds_bos=True): "tekken",
    PreTokenizerRules(patterns=(_GPT4O,)): "gpt-4o llama4 kanana2 talkie minimax-m2",
    PreTokenizerRules(
        patterns=(
            r"[\r\n]",
            _DEEPSEEK_LETTERS,
            r"\s?[!-/:-~" "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
            r"\s+$",
            _CJK,
            r"\p{N}+",
        )
    ): "deepseek-llm",
    PreTokenizerRules(patterns=(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")): "deepseek-coder",
    PreTokenizerRules(patterns=(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", _DEEPSEEK_V3)): (
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4"
    ),
    PreTokenizerRules(patterns=(_BLOOM,)): "bloom poro-chat gpt3-finnish",
    PreTokenizerRules(patterns=(_BLOOM, r"\p{N}")): "viking",
    PreTokenizerRules(patterns=(r"\p{N}+", r"(?=(\d{3})+(?!\d))")): "superbpe",
}
RULES_BY_NAME = {name: rules for rules, names in _RULES.items() for name in names.split()}
"""Rules by value of tokenizer.ggml.pre."""


def find_rules(name: str) -> PreTokenizerRules:
    """Return the rules of a name. Raises TokenizerError for an unknown name: guessing would give wrong tokens."""
    if name not in RULES_BY_NAME:
        raise TokenizerError(
            f"pre-tokenizer {name[:80]!r} is unknown, and other rules would give wrong tokens; use a newer nextword, "
            "or the model's folder with tokenizer.json"
        )
    return RULES_BY_NAME[name]


def find_name(definition: Mapping[str, Any] | None, *, ignores_merges: bool, is_nfc: bool) -> str | None:
    """Return the name of the rules that the `pre_tokenizer` of a tokenizer.json follows; None if it has no name.

    Where the rules have a name only with NFC or only without, it is returned for both.
    """
    patterns = find_patterns(definition)
    found = {
        rules.is_nfc: names.split()[0]
        for rules, names in _RULES.items()
        if rules.patterns == patterns and rules.ignores_merges == ignores_merges
    }
    return found.get(is_nfc, found.get(not is_nfc))


def find_patterns(definition: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """Return the patterns of a `pre_tokenizer`, in order; None if patterns cannot express it."""
    if definition is None:
        return None
    steps = definition["pretokenizers"] if definition["type"] == "Sequence" else [definition]
    patterns: list[str] = []
    for step in steps:
        if step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
            patterns.append(step["pattern"].get("Regex", ""))
        elif step["type"] == "Digits" and step["individual_digits"]:
            patterns.append(r"\p{N}")
        elif step["type"] == "ByteLevel" and not step["add_prefix_space"]:
            patterns += [_GPT2] if step["use_regex"] else []
        else:
            return None
    return tuple(patterns)


def build_pre_tokenizer(rules: PreTokenizerRules) -> pre_tokenizers.PreTokenizer:
    """Build a pre-tokenizer of the `tokenizers` library that follows the rules and maps bytes to characters."""
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    splits = [pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated") for pattern in rules.patterns]
    return pre_tokenizers.Sequence([*splits, to_bytes])
