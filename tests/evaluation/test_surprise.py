"""Tokens with their surprisal as pieces of text to be shown, and their sums."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nextword.evaluation.scoring.tokens import ScoredToken, scored_tokens
from nextword.evaluation.surprise import SurpriseAccumulator, scored_pieces
from nextword.inference.engine import Engine
from nextword.workflows.surprise_page import write_surprise_page
from tests.data.byte_tokenizer import byte_tokenizer
from tests.fakes import HashBackend, score_rows

TEXT = "Über <b>Stock</b> & Stein 水!"


def tokens_of(text: str, *, add_bos: bool = False, context: int | None = None) -> list[ScoredToken]:
    engine = Engine(HashBackend(vocab_size=300), byte_tokenizer(add_bos=add_bos))
    return list(scored_tokens(engine, [text], context=context))


@pytest.mark.parametrize("context", [None, 8])
@pytest.mark.parametrize("add_bos", [False, True])
def test_every_token_but_one_without_anything_before_it_has_its_score(add_bos: bool, context: int | None) -> None:
    token_ids = byte_tokenizer(add_bos=add_bos).encode(TEXT)
    found = tokens_of(TEXT, add_bos=add_bos, context=context)
    assert b"".join(token.data for token in found) == TEXT.encode()
    assert [token.token_id for token in found] == token_ids[int(add_bos) :]
    assert (found[0].nats is None) == (not add_bos)
    for at, token in enumerate(found[1:], 1 + int(add_bos)):
        start = 0 if context is None or at < 8 else 4 * ((at - 8) // 4 + 1)
        logits = HashBackend(vocab_size=300).logits_after(token_ids[start:at])[None]
        expected = score_rows(logits, [token.token_id])
        assert token.nats == pytest.approx(expected.nats[0])
        assert token.entropy == pytest.approx(expected.entropies[0])
        assert token.rank == expected.ranks[0]


def test_tokens_that_make_a_character_together_are_one_piece() -> None:
    pieces = list(scored_pieces(tokens_of(TEXT)))
    assert "".join(piece.text for piece in pieces) == TEXT
    assert [len(piece.tokens) for piece in pieces] == [len(character.encode()) for character in TEXT]
    water = pieces[-2]
    assert water.text == "水"
    assert water.nats == pytest.approx(sum(token.nats or 0.0 for token in water.tokens))


def test_an_unfinished_character_is_shown_as_such() -> None:
    (piece,) = scored_pieces([ScoredToken(0xE6, b"\xe6", 1.0, 1.0, 1)])
    assert piece.text == "\N{REPLACEMENT CHARACTER}"


def test_the_summary_counts_and_keeps_the_most_surprising() -> None:
    tokens = tokens_of(TEXT)
    summary = SurpriseAccumulator()
    pieces = list(summary.watch(scored_pieces(tokens), num_kept=3))
    nats = [token.nats for token in tokens if token.nats is not None]
    assert summary.num_tokens == len(nats)
    assert summary.total_nats == pytest.approx(sum(nats))
    assert summary.bits_per_byte == pytest.approx(sum(nats) / math.log(2) / len(nats))
    kept = [piece for *_, piece in summary.most_surprising]
    assert kept == sorted((piece for piece in pieces if piece.nats), key=lambda piece: -(piece.nats or 0))[:3]


def test_a_page_shows_rank_and_entropy_and_reads_no_markup_in_the_text(tmp_path: Path) -> None:
    summary = SurpriseAccumulator()
    tokens = tokens_of(TEXT)
    write_surprise_page(tmp_path / "p.html", summary.watch(scored_pieces(tokens)), summary, title="A <text>")
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    last = tokens[-1]
    expected = f'title="surprisal {last.nats:.3f} nats, rank {last.rank}, entropy {last.entropy:.3f} nats">!</span>'
    assert expected in page
