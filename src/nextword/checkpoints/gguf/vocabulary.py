"""Tokenizers of the `tokenizers` library from the vocabularies that GGUF files list.

In: tokens, their kinds, and scores, as plain data; merges as well, or where they lie in the file. Out: byte-level BPE
("gpt2") or SentencePiece BPE ("llama") with the same tokens for every text as the published tokenizer. It knows no
metadata keys.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import tokenizers
from tokenizers import decoders, models, normalizers

from nextword.checkpoints.gguf.stored_strings import StoredStrings
from nextword.errors import TokenizerError
from nextword.native import native
from nextword.text.piece_tokenizer import SPACE, TokenKind, build_pieces
from nextword.text.pre_tokenizers import build_pre_tokenizer, find_rules

_ADDED: Mapping[int, bool] = {TokenKind.CONTROL: True, TokenKind.UNKNOWN: True, TokenKind.USER_DEFINED: False}
"""Kinds found in a text as they are written -> True for special ones, which texts of users do not contain."""
_UNUSED = int(TokenKind.UNUSED)  # integers compare several times as fast
_JOINABLE = frozenset((int(TokenKind.NORMAL), int(TokenKind.USER_DEFINED)))


@dataclass(frozen=True, kw_only=True)
class GGUFVocabulary:
    """Vocabulary of a GGUF file: its tokens and their kinds."""

    tokens: Sequence[str]
    kinds: Sequence[int]
    """A TokenKind for each token."""
    unknown_token_id: int | None = None
    stripping: frozenset[str] = frozenset()
    """Tokens that absorb the white space after them, where they are control or user-defined ones."""

    @functools.cached_property
    def token_ids(self) -> dict[str, int]:
        """Ids by token; of a token listed twice, that of the control token, else of the user-defined one or the last.

        A token without characters occurs in no text and is left out.
        """
        ids = dict(zip(self.tokens, itertools.count()))
        if len(ids) < len(self.tokens):
            control = [token_id for token_id in self.added_ids if _ADDED[self.kinds[token_id]]]
            ids |= {self.tokens[token_id]: token_id for token_id in (*self.added_ids, *control)}
        ids.pop("", None)
        return ids

    @functools.cached_property
    def added_ids(self) -> list[int]:
        """Ids of control and user-defined tokens."""
        return _positions(map(_ADDED.__contains__, self.kinds))

    def other_tokens(self) -> dict[int, str]:
        """Return the tokens of ids that no text has: listed twice; "" for unused ones, which decode as nothing."""
        others = dict.fromkeys(_positions(map(operator.eq, self.kinds, itertools.repeat(_UNUSED))), "")
        ids = self.token_ids
        if len(ids) < len(self.tokens):
            are_others = map(operator.ne, map(ids.get, self.tokens), itertools.count())
            twice = {token_id: self.tokens[token_id] for token_id in _positions(are_others)}
            others |= {token_id: "" if _ADDED.get(self.kinds[token_id]) else twice[token_id] for token_id in twice}
        return others

    def added_tokens(self) -> list[tokenizers.AddedToken]:
        """Return the tokens matched before a text is cut into words: control and user-defined ones, except spaces."""
        ids = self.token_ids
        return [
            tokenizers.AddedToken(
                token, normalized=False, special=_ADDED[self.kinds[token_id]], rstrip=token in self.stripping
            )
            for token_id in self.added_ids
            if (token := self.tokens[token_id]).strip(SPACE) and ids[token] == token_id
        ]


def _positions(are_wanted: Iterable[bool]) -> list[int]:
    """Return where an iterable is true, without a step of Python's for each item: a model waits for its tokenizer."""
    return list(itertools.compress(itertools.count(), are_wanted))


def build_byte_level(
    vocabulary: GGUFVocabulary, merges: Sequence[str] | StoredStrings, *, pre_tokenizer: str
) -> tokenizers.Tokenizer:
    """Build byte-level BPE; `merges` are pairs of tokens with a space between, best first.

    Raises TokenizerError for an unknown pre-tokenizer or for merges that do not belong to the tokens.
    """
    rules = find_rules(pre_tokenizer)
    token_ids = vocabulary.token_ids
    pairs, are_short = _split(merges, token_ids)
    if not are_short:  # the library would panic
        raise _mismatch(token_ids, pairs)
    backend = tokenizers.Tokenizer(_bpe(token_ids, pairs, ignore_merges=rules.ignores_merges))
    if rules.is_nfc:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = build_pre_tokenizer(rules)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(vocabulary.added_tokens())
    return backend


def build_sentencepiece(
    vocabulary: GGUFVocabulary, scores: Sequence[float], *, adds_space_prefix: bool
) -> tokenizers.Tokenizer:
    """Build SentencePiece BPE, which joins first the adjacent pair whose union has the best score.

    Characters outside the vocabulary become their bytes. Raises TokenizerError for a list that contradicts itself.
    """
    token_ids = vocabulary.token_ids
    unknown = None if vocabulary.unknown_token_id is None else vocabulary.tokens[vocabulary.unknown_token_id]
    pairs = merges_from_scores(_joinable(vocabulary, scores))
    model = _bpe(token_ids, pairs, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    backend = build_pieces(model, prefix="every text" if adds_space_prefix else "never", has_bytes=True)
    backend.add_tokens(vocabulary.added_tokens())
    return backend


def merges_from_scores(scores: Mapping[str, float]) -> Sequence[tuple[str, str]]:
    """Return the pairs of tokens that form a token, best score first: SentencePiece's order as ranked BPE merges.

    Of pairs that form the same token, or tokens of one score, the one with the longer left part comes first. Raises
    TokenizerError for a score that is not a number.
    """
    if any(map(math.isnan, scores.values())):
        raise TokenizerError("a score of the vocabulary is not a number")
    if native is not None:  # a vocabulary of 262,144 tokens takes Python a second
        return _Pairs(*native.merges_from_scores(list(scores), list(scores.values())))
    merges = [
        (-score, -cut, token[:cut], token[cut:])
        for token, score in scores.items()
        for cut in range(1, len(token))
        if token[:cut] in scores and token[cut:] in scores
    ]
    merges.sort(key=lambda merge: merge[:2])
    return [(left, right) for _, _, left, right in merges]


def _joinable(vocabulary: GGUFVocabulary, scores: Sequence[float]) -> dict[str, float]:
    """Return token -> score for tokens that merges can form: no control tokens, bytes or unused ones."""
    tokens, ids = vocabulary.tokens, vocabulary.token_ids
    are_joinable = map(_JOINABLE.__contains__, vocabulary.kinds)
    if len(ids) < len(tokens):  # some are listed twice, and the id of one of them counts
        are_own = map(operator.eq, map(ids.get, tokens), itertools.count())
        are_joinable = map(operator.and_, are_joinable, are_own)
    return dict(itertools.compress(zip(tokens, scores, strict=True), are_joinable))


class _Pairs(Sequence[tuple[str, str]]):
    """Pairs that are made one at a time, when they are asked for: all would take more memory than the two lists."""

    def __init__(self, lefts: list[str], rights: list[str]) -> None:
        self._lefts, self._rights = lefts, rights

    def __len__(self) -> int:
        return len(self._lefts)

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> _Pairs: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | _Pairs:
        if isinstance(index, slice):
            return _Pairs(self._lefts[index], self._rights[index])
        return self._lefts[index], self._rights[index]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self._lefts, self._rights, strict=True)


def _split(
    merges: Sequence[str] | StoredStrings, token_ids: Mapping[str, int]
) -> tuple[Sequence[tuple[str, str]], bool]:
    """Cut each merge at its space; return the pairs, and whether none is longer than all tokens, in bytes of UTF-8."""
    if isinstance(merges, StoredStrings):
        lefts, rights, are_short = merges.split(list(token_ids))
        return _Pairs(lefts, rights), are_short
    pairs = [merge.partition(" ")[::2] for merge in merges]
    longest = max(map(len, map(str.encode, token_ids)), default=0)
    return pairs, all(len("".join(pair).encode()) <= longest for pair in pairs)


def _mismatch(token_ids: Mapping[str, int], pairs: Sequence[tuple[str, str]]) -> TokenizerError:
    """Return the error for the first merge of, or into, a string that is no token."""
    is_token = token_ids.__contains__
    left, right = next(pair for pair in pairs if not all(map(is_token, (*pair, "".join(pair)))))
    return TokenizerError(f"the merges do not match the vocabulary: {left!r} with {right!r}")


def _bpe(
    token_ids: dict[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    unk_token: str | None = None,
    fuse_unk: bool = False,
    byte_fallback: bool = False,
    ignore_merges: bool = False,
) -> models.BPE:
    try:
        return models.BPE(
            vocab=token_ids,
            merges=merges,
            unk_token=unk_token,
            fuse_unk=fuse_unk,
            byte_fallback=byte_fallback,
            ignore_merges=ignore_merges,
        )
    except Exception as error:  # the library raises bare Exception
        raise TokenizerError(f"the merges do not match the vocabulary: {error}") from None
