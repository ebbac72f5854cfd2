"""Supervised examples: loss on answers alone, nothing cut, packed rows whose order the seed decides."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, model_path
from nextword.checkpoints.open_directory import open_tokenizer
from nextword.data.batch import IGNORED, PADDING_DOCUMENT, Batch
from nextword.data.chats import Chat, ChatFields, read_chats
from nextword.data.packing import pack_best_fit
from nextword.data.supervised import (
    Example,
    ExamplesReport,
    SupervisedSource,
    encode_chats,
    examples_in_order,
    packed_row,
    split_examples,
)
from nextword.errors import ConfigError, DataError
from nextword.text.tokenizer import Tokenizer
from nextword.text.train_tokenizer import train_tokenizer

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["abcdefghijklmnopqrstuvwxyz 0123456789"], vocab_size=99, kind="characters")


def chat(asked: str, answered: str, line: int = 1) -> Chat:
    said = ({"role": "user", "content": asked}, {"role": "assistant", "content": answered})
    return Chat(said, f"chats.jsonl:{line}")


def encoded(tokenizer: Tokenizer, chats: Sequence[Chat], seq_len: int = 99) -> list[Example]:
    return list(encode_chats(chats, tokenizer, seq_len=seq_len, report=ExamplesReport()))


def example_of(length: int, token_id: int = 1) -> Example:
    """Every token is to be written."""
    token_ids = np.full(length, token_id, np.int32)
    return Example(token_ids, np.array([*token_ids[1:], IGNORED], np.int32))


def examples_of(lengths: Sequence[int]) -> list[Example]:
    return [example_of(length, token_id) for token_id, length in enumerate(lengths, 1)]


EXAMPLES = examples_of([2 + number * 7 % 13 for number in range(2500)])


def source_of(examples: Sequence[Example] = EXAMPLES, **changes: int) -> SupervisedSource:
    return SupervisedSource(examples, **{"batch_size": 4, "seq_len": 16, "seed": 3, **changes})


def test_targets_are_the_answer_and_its_end(tokenizer: Tokenizer) -> None:
    (example,) = encoded(tokenizer, [chat("hi", "yes")])
    shown = [tokenizer.token_text(target) for target in example.targets if target != IGNORED]
    assert shown == ["y", "e", "s", "<|endoftext|>"]
    places = np.flatnonzero(example.targets != IGNORED)
    assert (example.targets[places] == example.token_ids[places + 1]).all()


def test_examples_beyond_a_row_are_counted_and_left_out_whole(tokenizer: Tokenizer) -> None:
    report = ExamplesReport()
    chats = [chat("hi", "yes"), chat("hi", "y" * 99), chat("hi", "no")]
    ((token_ids, _),) = tokenizer.encode_answers(chats[1].messages)
    longest = len(token_ids)
    kept = list(encode_chats(chats, tokenizer, seq_len=longest - 1, report=report))
    assert (report.num_read, report.num_kept, report.num_too_long, report.longest) == (3, 2, 1, longest)
    assert report.num_tokens == sum(len(example.token_ids) for example in kept)
    assert report.num_targets == 4 + 3
    assert len(encoded(tokenizer, chats, seq_len=longest)) == 3


def test_a_conversation_that_the_template_refuses_or_drops_is_named(tokenizer: Tokenizer) -> None:
    template = (
        "{% if messages[0]['content'] == 'no' %}{{ raise_exception('no') }}{% endif %}"
        "{{ messages[0]['content'] + eos_token }}"
    )
    strict = train_tokenizer(["abc"], vocab_size=99, kind="characters")
    strict.chat_template = template
    with pytest.raises(DataError, match=r"chats\.jsonl:7: the chat template cannot be applied"):
        encoded(strict, [chat("no", "b", line=7)])
    with pytest.raises(DataError, match=r"chats\.jsonl:8: the chat template rewrites messages\[1\]"):
        encoded(strict, [chat("a", "b", line=8)])


def test_the_examples_of_a_chat_are_not_split_between_training_and_validation() -> None:
    examples = [dataclasses.replace(example_of(2), place=f"chats.jsonl:{number // 3}") for number in range(30)]
    kept, held_out = split_examples(examples, 0.3, seed=5)
    assert len(held_out) == 9
    assert not {example.place for example in kept} & {example.place for example in held_out}


def test_a_row_keeps_its_examples_apart() -> None:
    row = packed_row(examples_of([3, 2]), 7)
    assert row.token_ids.tolist() == [1, 1, 1, 2, 2, 0, 0]
    assert row.targets.tolist() == [1, 1, IGNORED, 2, *[IGNORED] * 3]
    assert row.positions.tolist() == [0, 1, 2, 0, 1, 0, 0]
    assert row.document_ids.tolist() == [0, 0, 0, 1, 1, PADDING_DOCUMENT, PADDING_DOCUMENT]


@given(lengths=st.lists(st.integers(1, 20), max_size=60))
def test_packing_holds_each_example_once_within_the_row(lengths: list[int]) -> None:
    rows = pack_best_fit(lengths, 20)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= 20 for row in rows)
    halves = sum(sum(lengths[number] for number in row) <= 10 for row in rows)
    assert halves <= 1, "two rows that fit into one"


def test_packing_takes_the_fullest_row_with_room() -> None:
    assert pack_best_fit([6, 5, 4, 3, 2], 10) == [[0, 2], [1, 3, 4]]


def test_an_epoch_holds_each_example_once_and_fills_its_rows() -> None:
    source = source_of(batch_size=1)
    rows = [source.next_batch() for _ in range(source.rows_per_epoch)]
    starts = Counter(int(row.token_ids[0, place]) for row in rows for place in first_places(row))
    assert starts == Counter(range(1, 2501))
    filled = sum(int((row.document_ids != PADDING_DOCUMENT).sum()) for row in rows)
    assert filled / (16 * len(rows)) > 0.97


def first_places(row: Batch) -> list[int]:
    """Where the examples of a single row begin."""
    return np.flatnonzero((row.positions[0] == 0) & (row.document_ids[0] != PADDING_DOCUMENT)).tolist()


def test_a_source_goes_on_exactly_where_its_state_was_taken() -> None:
    source = source_of()
    for _ in range(2 * source.rows_per_epoch // 4 + 3):
        source.next_batch()
    resumed = source_of()
    resumed.resume(source.state())
    for _ in range(source.rows_per_epoch // 4 + 2):
        assert np.array_equal(resumed.next_batch().token_ids, source.next_batch().token_ids)


def test_rows_do_not_depend_on_batch_size_or_ranks() -> None:
    one = source_of(batch_size=12)
    three = [source_of(rank=rank, num_ranks=3) for rank in range(3)]
    for _ in range(5):
        parts = [source.next_batch().targets for source in three]
        assert np.array_equal(one.next_batch().targets, np.concatenate(parts))
    assert one.state() == three[2].state()


def test_other_examples_are_not_resumed() -> None:
    with pytest.raises(DataError, match="the data has changed"):
        source_of(EXAMPLES[1:]).resume(source_of().state())


def test_in_order_each_example_comes_once() -> None:
    batches = list(examples_in_order(EXAMPLES[:40], batch_size=3, seq_len=16))
    num_targets = sum(int((batch.targets != IGNORED).sum()) for batch in batches)
    assert num_targets == sum(len(example.token_ids) - 1 for example in EXAMPLES[:40])


def test_a_split_is_random_and_whole() -> None:
    train, validation = split_examples(EXAMPLES, 0.1, seed=1)
    assert (len(train), len(validation)) == (2250, 250)
    both = {int(example.token_ids[0]) for example in [*train, *validation]}
    assert len(both) == 2500
    assert [len(part) for part in split_examples(EXAMPLES[:3], 0.01, seed=1)] == [2, 1]
    assert split_examples(EXAMPLES[:3], 0, seed=1)[1] == []


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        source_of(seq_len=0)
    with pytest.raises(DataError, match="no examples"):
        source_of([])
    with pytest.raises(DataError, match="does not fit into rows of 9"):
        source_of(seq_len=9)
    with pytest.raises(ConfigError, match="validation share"):
        split_examples(EXAMPLES, 1.5, seed=1)
    with pytest.raises(DataError, match="cannot be split"):
        split_examples(EXAMPLES[:1], 0.5, seed=1)


@pytest.mark.model
@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here")
def test_real_examples_in_smollm2s_template_carry_loss_on_the_answer_exactly() -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    tokenizer = open_tokenizer(model_path(CATALOGUE["smollm2-135m"]))
    fields = ChatFields(user="Summarise:\n{dialogue}", answer="summary")
    chats = [*read_chats([SHARED / "instructions.json"]), *read_chats([SHARED / "dialogsum-dev.jsonl"], fields=fields)]
    report = ExamplesReport()
    examples = list(encode_chats(chats, tokenizer, seq_len=2048, report=report))
    assert (report.num_kept, report.num_too_long) == (1600, 0)
    for example, read in zip(examples, chats, strict=True):
        targets = example.targets[example.targets != IGNORED].tolist()
        written = tokenizer.decode(targets, skip_special_tokens=False)
        assert written == read.messages[-1]["content"] + "<|im_end|>"
        prompt = tokenizer.encode_chat(read.messages[:-1])
        assert example.token_ids[: len(prompt)].tolist() == prompt
