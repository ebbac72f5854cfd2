"""`read_sentencepiece`: the tokenizer of a folder with a `tokenizer.model` alone, as transformers builds it.

It has three ways, and the class of the tokenizer says which:

| class | merges of BPE | space before a text | user-defined pieces |
|---|---|---|---|
| LlamaTokenizer | by ids, of all pieces | the first, unless it begins with one (`legacy`: all such) | added tokens |
| GemmaTokenizer | by ids, of all pieces | none | added tokens |
| any other | by scores, of normal pieces; or Unigram | as the file says | whole pieces |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers

from nextword.errors import CheckpointError, TokenizerError
from nextword.text.foreign_errors import translated
from nextword.text.piece_tokenizer import Pair, Prefix, TokenKind, build_pieces, ranked_merges
from nextword.text.sentencepiece_model import SentencePieceModel, read_sentencepiece_model

LLAMA, GEMMA, OTHER = "LlamaTokenizer", "GemmaTokenizer", "TokenizersBackend"
_REMEDY = "write a tokenizer.json by transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...)"


def read_sentencepiece(
    path: Path, class_name: str, settings: Mapping[str, Any]
) -> tuple[tokenizers.Tokenizer, Mapping[str, Any]]:
    """Read a tokenizer; return it with the settings of its folder (`settings`) and what the file adds to them.

    Raises CheckpointError naming a file that is damaged, or of a kind that is not supported.
    """
    if class_name not in (LLAMA, GEMMA, OTHER):
        raise CheckpointError(f"{path}: is read for {LLAMA}, {GEMMA} and {OTHER}, not for {class_name}; {_REMEDY}")
    model = read_sentencepiece_model(path)
    try:
        if class_name == OTHER:
            model, settings = _renamed(model, settings), {**model.roles, **_found_as_written(model, settings)}
        return _build(model, class_name, settings), settings
    except TokenizerError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _declared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the added tokens of the settings by id; what is wrong with them is said where they are added."""
    entries = settings.get("added_tokens_decoder")
    entries = entries if isinstance(entries, dict) else {}
    return {key: entry for key, entry in entries.items() if isinstance(entry, dict)}


def _renamed(model: SentencePieceModel, settings: Mapping[str, Any]) -> SentencePieceModel:
    """Give pieces of BPE the texts of added tokens with their ids: files have placeholders for those."""
    names = {int(key): entry.get("content") for key, entry in _declared(settings).items() if key.isdecimal()}
    kept = {piece.text for token_id, piece in enumerate(model.pieces) if token_id not in names}
    if model.is_unigram:
        return model
    pieces = tuple(
        replace(piece, text=name) if isinstance(name := names.get(token_id), str) and name not in kept else piece
        for token_id, piece in enumerate(model.pieces)
    )
    return replace(model, pieces=pieces)


def _found_as_written(model: SentencePieceModel, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Let added tokens be found before spaces are replaced, so that each text between them gets its own prefix."""
    declared = _declared(settings)
    if not (model.adds_prefix and declared):
        return settings
    return {
        **settings,
        "added_tokens_decoder": settings["added_tokens_decoder"]
        | {key: {**entry, "normalized": False} for key, entry in declared.items()},
    }


def _build(model: SentencePieceModel, class_name: str, settings: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Build the tokenizer. Raises TokenizerError for a vocabulary with a piece twice, or that the class cannot have."""
    ids = {piece.text: token_id for token_id, piece in enumerate(model.pieces)}
    if len(ids) < len(model.pieces):
        twice = next(piece.text for token_id, piece in enumerate(model.pieces) if ids[piece.text] != token_id)
        raise TokenizerError(f"the piece {twice!r:.60} stands there twice, which SentencePiece does not allow")
    with translated("no tokenizer of SentencePiece"):
        if class_name in (LLAMA, GEMMA):
            backend = _of_class(model, ids, class_name, settings)
        else:
            backend = _of_file(model, ids, is_legacy=bool(settings.get("legacy", True)))
        backend.add_tokens(_added_tokens(model, with_user_defined=class_name in (LLAMA, GEMMA)))
    return backend


def _of_class(
    model: SentencePieceModel, ids: dict[str, int], class_name: str, settings: Mapping[str, Any]
) -> tokenizers.Tokenizer:
    """Build BPE whose steps the class prescribes, whatever the file says of them."""
    if model.is_unigram:
        raise TokenizerError(f"model_type is UNIGRAM, but {class_name} is BPE: correct tokenizer_class")
    if class_name == LLAMA and not all(f"<0x{byte:02X}>" in ids for byte in range(256)):
        raise TokenizerError(
            f"{class_name} would drop characters outside the vocabulary, which has no pieces for all bytes: "
            "correct tokenizer_class"
        )
    merges = ranked_merges({piece: (token_id,) for piece, token_id in ids.items()})
    unknown = model.pieces[model.unknown_id].text if class_name == GEMMA else None
    bpe = models.BPE(ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    prefix: Prefix = "never"
    if class_name == LLAMA and settings.get("add_prefix_space") in (None, True):
        prefix = "unless spaced" if settings.get("legacy") else "first unless spaced"
    return build_pieces(bpe, prefix=prefix, has_bytes=True)


def _of_file(model: SentencePieceModel, ids: dict[str, int], *, is_legacy: bool) -> tokenizers.Tokenizer:
    """Build BPE or Unigram that encodes as SentencePiece does, by the settings of the file."""
    whole = [piece.text for piece in model.pieces if piece.kind is TokenKind.USER_DEFINED]
    if model.is_unigram:
        scores = [(piece.text, piece.score) for piece in model.pieces]
        core: Any = models.Unigram(scores, unk_id=model.unknown_id, byte_fallback=model.has_byte_fallback)
    else:
        core = models.BPE(
            ids,
            _merges_by_score(model),
            unk_token=model.pieces[model.unknown_id].text,
            fuse_unk=True,
            byte_fallback=model.has_byte_fallback,
            ignore_merges=bool(whole),
        )
    prefix: Prefix = "never"
    if model.adds_prefix:
        prefix = "every text" if is_legacy else "first unless spaced"
    return build_pieces(
        core, prefix=prefix, has_bytes=model.has_byte_fallback, cleaning=_cleaning(model), words=_around(whole)
    )


def _merges_by_score(model: SentencePieceModel) -> list[Pair]:
    normal = enumerate(model.pieces)
    return ranked_merges(
        {piece.text: (-piece.score, token_id) for token_id, piece in normal if piece.kind is TokenKind.NORMAL}
    )


def _cleaning(model: SentencePieceModel) -> list[normalizers.Normalizer]:
    steps: list[normalizers.Normalizer] = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.cleans_spaces:  # spaces only, not line feeds
        steps += [normalizers.Replace(Regex(pattern), text) for pattern, text in _EXTRA_SPACES]
    return steps


_EXTRA_SPACES = ((r"\A +", ""), (r" +\z", ""), (" {2,}", " "))


def _around(whole: list[str]) -> list[pre_tokenizers.PreTokenizer]:
    """Cut out the pieces that are always taken whole; where two begin, the longer one."""
    if not whole:
        return []
    pattern = "|".join(_escaped(piece) for piece in sorted(whole, key=len, reverse=True))
    return [pre_tokenizers.Split(Regex(pattern), behavior="isolated")]


def _escaped(text: str) -> str:
    r"""Return a pattern for a text: every character but letters and digits behind a backslash."""
    return "".join(one if one.isalnum() or not one.isascii() else f"\\{one}" for one in text)


def _added_tokens(model: SentencePieceModel, *, with_user_defined: bool) -> list[AddedToken]:
    kinds = {TokenKind.CONTROL, TokenKind.USER_DEFINED} if with_user_defined else {TokenKind.CONTROL}
    return [
        AddedToken(piece.text, normalized=False, special=piece.kind is TokenKind.CONTROL)
        for piece in model.pieces
        if piece.kind in kinds
    ]
