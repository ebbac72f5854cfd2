"""Windows of a corpus: every token once an epoch, documents apart, an order that nothing but the seed decides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.data.batch import IGNORED, PADDING_DOCUMENT, Batch
from nextword.data.prepare import prepare_corpus
from nextword.data.pretraining import PretrainingSource, batches_in_order
from nextword.data.shards import TokenShards
from nextword.data.shuffle import shuffled_index
from nextword.data.token_view import TokenView, split_validation, whole_view
from nextword.errors import ConfigError, DataError
from tests.data.byte_tokenizer import END, byte_tokenizer
from tests.data.test_prepare import write_corpus


def shards_of(folder: Path, texts: list[str]) -> TokenShards:
    corpus = write_corpus(folder / "corpus.jsonl", texts)
    prepare_corpus([corpus], byte_tokenizer(), folder / "tokens", shard_tokens=64)
    return TokenShards(folder / "tokens")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> TokenView:
    """70 documents of 2 to 31 tokens."""
    texts = [chr(48 + number) * (1 + number * 7 % 30) for number in range(70)]
    return whole_view(shards_of(tmp_path_factory.mktemp("shards"), texts))


def source_of(view: TokenView, **changes: int) -> PretrainingSource:
    return PretrainingSource(view, **{"batch_size": 4, "seq_len": 16, "seed": 3, **changes})


def equal(one: Batch, other: Batch) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_a_window_restarts_positions_and_predicts_nothing_across_documents(tmp_path: Path) -> None:
    view = whole_view(shards_of(tmp_path, ["ab", "cde"]))
    row = view.window(1, 5)
    assert row.token_ids.tolist() == [98, END, 99, 100, 101]
    assert row.targets.tolist() == [END, IGNORED, 100, 101, END]
    assert row.positions.tolist() == [0, 1, 0, 1, 2]
    assert row.document_ids.tolist() == [0, 0, 1, 1, 1]


def test_a_window_goes_on_at_the_beginning_and_pads_what_is_missing(tmp_path: Path) -> None:
    view = whole_view(shards_of(tmp_path, ["ab", "cde"]))
    row = view.window(5, 9)
    assert row.token_ids[:7].tolist() == [101, END, 97, 98, END, 99, 100]
    assert row.targets.tolist() == [END, IGNORED, 98, END, IGNORED, 100, 101, IGNORED, IGNORED]
    assert row.document_ids.tolist() == [0, 0, 1, 1, 1, 2, 2, PADDING_DOCUMENT, PADDING_DOCUMENT]
    assert view.window(5, 9, wraps=False).document_ids.tolist() == [0, 0, *[PADDING_DOCUMENT] * 7]


def test_an_epoch_sees_each_token_once_but_for_a_rest_shorter_than_a_row(view: TokenView) -> None:
    source = source_of(view, batch_size=1)
    rows = [source.next_batch() for _ in range(source.rows_per_epoch)]
    tokens = view.shards.read(0, view.num_tokens)
    seen = Counter(np.concatenate([row.token_ids[0] for row in rows]).tolist())
    assert seen <= Counter(tokens.tolist())
    assert view.num_tokens - seen.total() == view.num_tokens % 16


def test_in_order_each_target_comes_once(view: TokenView) -> None:
    batches = list(batches_in_order(view, batch_size=3, seq_len=16))
    targets = np.concatenate([batch.targets[batch.targets != IGNORED] for batch in batches])
    tokens = view.shards.read(0, view.num_tokens)
    starts = np.concatenate([[0], view.shards.document_ends[:-1]])
    assert targets.tolist() == np.delete(tokens, starts).tolist()


def test_epochs_cut_and_shuffle_anew(view: TokenView) -> None:
    source = source_of(view, batch_size=1)
    epochs = [[source.next_batch().token_ids.tobytes() for _ in range(source.rows_per_epoch)] for _ in range(2)]
    assert len(set(epochs[0]) & set(epochs[1])) < source.rows_per_epoch // 2


def test_a_source_goes_on_exactly_where_its_state_was_taken(view: TokenView) -> None:
    source = source_of(view)
    for _ in range(23):
        source.next_batch()
    state = source.state()
    resumed = source_of(view)
    resumed.resume(state)
    assert all(equal(resumed.next_batch(), source.next_batch()) for _ in range(9))


def test_rows_do_not_depend_on_batch_size_or_ranks(view: TokenView) -> None:
    one = source_of(view, batch_size=12)
    three = [source_of(view, rank=rank, num_ranks=3) for rank in range(3)]
    for _ in range(5):
        whole = one.next_batch()
        parts = [source.next_batch() for source in three]
        assert np.array_equal(whole.targets, np.concatenate([part.targets for part in parts]))
    resumed = source_of(view, batch_size=6)
    resumed.resume(three[1].state())
    assert np.array_equal(resumed.next_batch().token_ids, one.next_batch().token_ids[:6])


def test_other_data_is_not_resumed(view: TokenView, tmp_path: Path) -> None:
    state = source_of(view).state()
    with pytest.raises(DataError, match="the data has changed"):
        source_of(view, seed=4).resume(state)
    with pytest.raises(DataError, match="the data has changed"):
        source_of(view).resume({})


def test_a_corpus_shorter_than_a_row_is_padded(tmp_path: Path) -> None:
    source = source_of(whole_view(shards_of(tmp_path, ["abc"])), batch_size=1)
    assert source.rows_per_epoch == 1
    assert (source.next_batch().document_ids == PADDING_DOCUMENT).sum() == 12


def test_impossible_sizes_are_refused(view: TokenView) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        source_of(view, batch_size=0)
    with pytest.raises(DataError, match="no tokens"):
        source_of(split_validation(view.shards, 0, seed=1)[1])


def test_many_documents_are_split_at_random_and_whole(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, [f"text {number}" for number in range(200)])
    train, validation = split_validation(shards, 0.3, seed=5)
    assert 40 <= len(validation.starts) <= 80
    both = sorted(zip([*train.starts, *validation.starts], [*train.stops, *validation.stops], strict=True))
    whole = whole_view(shards)
    assert both == list(zip(whole.starts, whole.stops, strict=True))
    assert not np.array_equal(split_validation(shards, 0.3, seed=6)[1].starts, validation.starts)


def test_of_few_documents_the_end_is_validation(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, ["abcdefghi", "jklmnopqrs"])  # 10 and 11 tokens
    train, validation = split_validation(shards, 0.25, seed=5)
    assert train.window(0, 99, wraps=False).token_ids[: train.num_tokens].tolist() == [*b"abcdefghi", END, *b"jklmno"]
    assert validation.window(0, 5, wraps=False).token_ids.tolist() == [*b"pqrs", END]
    assert train.window(15, 1, wraps=False).targets.tolist() == [IGNORED]


def test_an_impossible_split_is_refused(view: TokenView, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="from 0 to below 1"):
        split_validation(view.shards, 1, seed=0)
    with pytest.raises(DataError, match="cannot be split"):
        split_validation(shards_of(tmp_path, ["abc"]), 0.01, seed=0)


@given(size=st.integers(1, 300), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 99))
def test_a_shuffle_holds_each_index_once(size: int, seed: int, epoch: int) -> None:
    order = [shuffled_index(index, size, seed=seed, epoch=epoch) for index in range(size)]
    assert sorted(order) == list(range(size))


def test_a_shuffle_is_another_one_for_each_seed_and_epoch_and_mixes_well() -> None:
    orders = {
        tuple(shuffled_index(index, 50, seed=seed, epoch=epoch) for index in range(50))
        for seed in range(10)
        for epoch in range(10)
    }
    assert len(orders) == 100
    firsts = Counter(shuffled_index(0, 4, seed=seed, epoch=0) for seed in range(4000))
    assert all(850 < count < 1150 for count in firsts.values())


def test_a_shuffle_never_changes() -> None:
    assert [shuffled_index(index, 10, seed=7, epoch=1) for index in range(10)] == [3, 9, 4, 0, 5, 2, 7, 1, 6, 8]
