"""Pre-tokenizers of byte-level BPE: rules that cut a text into words before merging, by their names in GGUF.

Each vocabulary was learned on words cut by its own rules; other rules give other tokens, without any error. The
patterns are those of the published tokenizers, in the syntax of the `tokenizers` library (Oniguruma), and llama.cpp
gives the same tokens. transformers ignores the name `smollm` in a GGUF file and leaves the space before a number in the
number's word: it differs from the published tokenizer.json, and from us, at signs such as " ½", not at digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers

from nextword.errors import TokenizerError

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST_WITH_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_REST}"
# Words that begin with capitals, then small letters; or capitals only.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*")
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_REST_WITH_SLASH}"
_GPT4O = rf"{_CASED[0]}{_CONTRACTIONS}?|{_CASED[1]}{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_REST_WITH_SLASH}"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_CJK = r"[一-龥ࠀ-一가-퟿]+"
_DEEPSEEK_LETTERS = (
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄ"
    r"ῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
)
_DEEPSEEK_V3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, kw_only=True)
class PreTokenizerRules:
    """Pre-tokenization rules of a group of vocabularies."""

    patterns: tuple[str, ...]
    """Regular expressions, applied in turn: each isolates its matches in the pieces left by the one before."""
    ignores_merges: bool = False
    """True if a word that is a token as a whole is taken as such, even if no merges form it."""
    adds_bos: bool = False
    """True if texts begin with BOS in a file that does not say."""


_RULES: dict[PreTokenizerRules, str] = {
    PreTokenizerRules(patterns=(_GPT2,)): (
        "default gpt-2 gpt2 olmo jais mpt phi-2 gigachat trillion exaone4 granite-docling"
    ),
    PreTokenizerRules(patterns=(_LLAMA3,), ignores_merges=True, adds_bos=True): (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2"
    ),
    PreTokenizerRules(patterns=(_LLAMA3,)): "dbrx smaug-bpe chatglm-bpe glm4",
    PreTokenizerRules(patterns=(_QWEN2,)): "qwen2 stablelm2 deepseek-r1-qwen kormo f2llmv2 megrez",
    PreTokenizerRules(patterns=(r"\p{N}", _GPT2)): ("smollm starcoder refact command-r codeshell exaone minerva-7b"),
    PreTokenizerRules(patterns=(r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")): "falcon",
    PreTokenizerRules(patterns=(_TEKKEN,), ignores_merges=True, adds_bos=True): "tekken",
    PreTokenizerRules(patterns=(_GPT4O,)): "gpt-4o llama4 kanana2 talkie minimax-m2",
    PreTokenizerRules(
        patterns=(r"[\r\n]", _DEEPSEEK_LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", _CJK, r"\p{N}+")
    ): "deepseek-llm",
    PreTokenizerRules(patterns=(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")): "deepseek-coder",
    PreTokenizerRules(patterns=(r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK_V3)): "deepseek-v3",
    PreTokenizerRules(patterns=(_BLOOM,)): "bloom poro-chat gpt3-finnish",
    PreTokenizerRules(patterns=(_BLOOM, r"\p{N}")): "viking",
    PreTokenizerRules(patterns=(r"\p{N}+", r"(?=(\d{3})+(?!\d))")): "superbpe",
}
RULES_BY_NAME = {name: rules for rules, names in _RULES.items() for name in names.split()}
"""Rules by value of tokenizer.ggml.pre."""


def find_rules(name: str) -> PreTokenizerRules:
    """Return the rules of a name. Raises TokenizerError for an unknown name: guessing would give wrong tokens."""
    if name not in RULES_BY_NAME:
        raise TokenizerError(f"pre-tokenizer {name!r} is unknown; known are {', '.join(sorted(RULES_BY_NAME))}")
    return RULES_BY_NAME[name]


def find_name(definition: Mapping[str, Any] | None, *, ignores_merges: bool) -> str | None:
    """Return the name of the rules that the `pre_tokenizer` of a tokenizer.json follows; None if it has no name."""
    patterns = _patterns(definition)
    for rules, names in _RULES.items():
        if rules.patterns == patterns and rules.ignores_merges == ignores_merges:
            return next(name for name in names.split() if name != "default")  # whose meaning to llama.cpp is another
    return None


def _patterns(definition: Mapping[str, Any] | None) -> tuple[str, ...] | None:
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
