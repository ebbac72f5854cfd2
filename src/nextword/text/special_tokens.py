"""Special tokens by name, and the tokens that the settings of a folder add to its tokenizer.json.

Which file counts, and in which order tokens are added, are the rules of transformers' `TokenizersBackend`:
`added_tokens_decoder` of tokenizer_config.json, or without it special_tokens_map.json and added_tokens.json.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders

from nextword.errors import CheckpointError
from nextword.json_file import read_json_object
from nextword.text.foreign_errors import translated

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Names of special tokens in every vocabulary; settings may define others, such as image_token."""
_END = "<|endoftext|>"
_CLASS_ROLES: Mapping[str, Mapping[str, str]] = {
    "CodeLlamaTokenizer": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "CohereTokenizer": {
        "bos_token": "<BOS_TOKEN>",
        "eos_token": "<|END_OF_TURN_TOKEN|>",
        "unk_token": "<UNK>",
        "pad_token": "<PAD>",
        "cls_token": "<CLS>",
        "sep_token": "<SEP>",
        "mask_token": "<MASK_TOKEN>",
    },
    "GPT2Tokenizer": {"unk_token": _END, "bos_token": _END, "eos_token": _END},
    "GPTNeoXTokenizer": {"unk_token": _END, "bos_token": _END, "eos_token": _END, "pad_token": "<|padding|>"},
    "GemmaTokenizer": {
        "unk_token": "<unk>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    },
    "LlamaTokenizer": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "Qwen2Tokenizer": {"unk_token": _END, "eos_token": _END, "pad_token": _END},
}
"""Special tokens that a class of transformers names where the settings do not."""
_CLASSES: Mapping[str, str] = {
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text"), "GemmaTokenizer"),
    **dict.fromkeys(("gpt2", "gptj", "opt", "phi", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("gpt_neox", "olmo", "olmoe"), "GPTNeoXTokenizer"),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), "Qwen2Tokenizer"),
    **dict.fromkeys(("cohere", "cohere2"), "CohereTokenizer"),
}
"""Class by model type, for settings without tokenizer_class."""
_ANY_CLASS = {
    *("ernie4_5", "glm", "glm4", "gpt_bigcode", "granite", "granitemoe", "granitemoehybrid", "ministral", "mistral"),
    *("mixtral", "nemotron", "olmo2", "olmo3", "phi3", "stablelm"),
}
"""Model types whose tokenizers transformers builds by their files, whatever class the settings name."""
_BY_FILES = "TokenizersBackend"


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens by name, and the tokens that settings add to a tokenizer."""

    variables: Mapping[str, str]
    """Special tokens by name, such as bos_token; chat templates use them."""
    declared: Mapping[int, AddedToken]
    """Added tokens by the ids that the settings give them."""
    others: tuple[AddedToken, ...]
    """Named and further special tokens, added where no file has added them."""


def read_special_tokens(folder: Path, settings: Mapping[str, Any], backend: tokenizers.Tokenizer) -> SpecialTokens:
    """Read what tokenizer_config.json (`settings`) and the files beside it say.

    Raises CheckpointError naming file and field if a token is damaged.
    """
    source = f"{folder / 'tokenizer_config.json'}"
    named, extra = _named(settings, source)
    if "added_tokens_decoder" in settings:
        declared = _declared(settings["added_tokens_decoder"], f"{source}: added_tokens_decoder")
    else:
        mapped, further = _named(_optional(folder / "special_tokens_map.json"), f"{folder / 'special_tokens_map.json'}")
        named, extra = {**named, **mapped}, extra or further
        declared = _legacy(folder, {*_texts(named.values()), *_texts(extra)}) | backend.get_added_tokens_decoder()
    named = {**_class_roles(folder, settings, backend), **named}
    tokens = {name: token for name, token in named.items() if token is not None}
    order = sorted(tokens, key=lambda name: ROLES.index(name) if name in ROLES else len(ROLES))
    variables = {name: tokens[name].content for name in order}
    return SpecialTokens(variables, declared, (*(tokens[name] for name in order), *extra))


def add_tokens(backend: tokenizers.Tokenizer, found: SpecialTokens) -> None:
    """Add the tokens to a tokenizer; warn if one gets another id than its file says.

    Tokens of which the tokenizer has none get the ids after its last, and a token stays special once it was.
    """
    own = backend.get_added_tokens_decoder().values()
    special = {token.content for token in own if token.special} | set(found.variables.values())
    adding = [
        _as_special(token, token.special or token.content in special) for _, token in sorted(found.declared.items())
    ]
    known = {*_texts(own), *_texts(adding)}
    for token in found.others:
        if token.content not in known:
            known.add(token.content)
            adding.append(token)
    with translated("added tokens"):
        backend.add_tokens(adding)
    for token_id, token in found.declared.items():
        received = backend.token_to_id(token.content)
        if received != token_id:
            warnings.warn(
                f"the tokenizer's files disagree: {token.content!r} has the id {received} in tokenizer.json and"
                f" {token_id} in another; {received} is used, as transformers does",
                stacklevel=2,
            )


def _named(settings: Mapping[str, Any], source: str) -> tuple[dict[str, AddedToken | None], tuple[AddedToken, ...]]:
    """Return the special tokens of a settings file by name, and those without a name."""
    named = {
        key: None if value is None else _token(value, f"{source}: {key}", special=True)
        for key, value in settings.items()
        if key in ROLES or (key.endswith("_token") and isinstance(value, str | dict))
    }
    extra: object = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    field = f"{source}: extra_special_tokens"
    for others in (settings.get("model_specific_special_tokens"), extra):
        if isinstance(others, dict):
            named |= {key: _token(value, f"{field}: {key}", special=True) for key, value in others.items()}
    extra = [] if isinstance(extra, dict) else extra
    if not isinstance(extra, list):
        raise CheckpointError(f"{field} is {extra!r:.80}; expected a list of tokens")
    return named, tuple(_token(value, field, special=True) for value in extra)


def _declared(entries: object, source: str) -> dict[int, AddedToken]:
    if not isinstance(entries, dict) or not all(key.isdecimal() for key in entries):
        raise CheckpointError(f"{source} is {entries!r:.80}; expected tokens by their ids")
    return {int(key): _token(value, f"{source}: {key}", special=False) for key, value in entries.items()}


def _legacy(folder: Path, special: set[str]) -> dict[int, AddedToken]:
    """Return the tokens of added_tokens.json, which gives their ids."""
    path = folder / "added_tokens.json"
    ids = _optional(path)
    if not all(isinstance(token_id, int) and token_id >= 0 for token_id in ids.values()):
        raise CheckpointError(f"{path}: holds something else than ids by token; fetch the file again")
    return {
        token_id: AddedToken(text, normalized=text not in special, special=text in special)
        for text, token_id in ids.items()
    }


def class_name(folder: Path, settings: Mapping[str, Any]) -> str:
    """Return the name of the tokenizer's class in transformers, "" if nothing says it."""
    model_type = _optional(folder / "config.json").get("model_type", "")
    return str(settings.get("tokenizer_class") or _CLASSES.get(str(model_type), "")).removesuffix("Fast")


def sentencepiece_class(folder: Path, settings: Mapping[str, Any]) -> str:
    """Return the class by which transformers reads a tokenizer.model."""
    model_type = _optional(folder / "config.json").get("model_type", "")
    name = "" if model_type in _ANY_CLASS else class_name(folder, settings)
    return _BY_FILES if name in ("", "PreTrainedTokenizer") else name


def _class_roles(folder: Path, settings: Mapping[str, Any], backend: tokenizers.Tokenizer) -> dict[str, AddedToken]:
    """Return the special tokens that the class of the tokenizer names, as far as the vocabulary has them."""
    name = class_name(folder, settings)
    if name == "LlamaTokenizer" and isinstance(backend.decoder, decoders.ByteLevel):
        return {}  # Llama 3 and others, whose files name the class of Llama 2
    roles = _CLASS_ROLES.get(name, {})
    return {
        role: _token(text, role, special=True) for role, text in roles.items() if backend.token_to_id(text) is not None
    }


def _token(value: object, source: str, *, special: bool) -> AddedToken:
    """Return a token as settings spell it: its text, or an object with its text and how it is matched."""
    if isinstance(value, str):
        return AddedToken(value, special=special, normalized=not special)
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise CheckpointError(f"{source} is {value!r:.80}; expected the text of a token")
    special = bool(value.get("special", special))
    flags = {flag: bool(value.get(flag, False)) for flag in ("single_word", "lstrip", "rstrip")}
    return AddedToken(value["content"], special=special, normalized=bool(value.get("normalized", not special)), **flags)


def _as_special(token: AddedToken, special: bool) -> AddedToken:
    flags = {flag: getattr(token, flag) for flag in ("single_word", "lstrip", "rstrip", "normalized")}
    return AddedToken(token.content, special=special, **flags)


def _texts(tokens: Iterable[AddedToken | None]) -> set[str]:
    return {token.content for token in tokens if token is not None}


def _optional(path: Path) -> dict[str, Any]:
    """Read the object in a settings file; {} if there is no such file."""
    return read_json_object(path) if path.exists() else {}
