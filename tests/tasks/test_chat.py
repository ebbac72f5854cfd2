"""`Conversation` on a fake backend: what it remembers, what it forgets, and that it says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from nextword.decoding.params import SamplingParams
from nextword.errors import DataError, RequestError, TokenizerError
from nextword.inference.engine import Engine
from nextword.tasks.chat import Conversation
from tests.fakes import HashBackend
from tests.text.test_tokenizer import TOKENIZER, small_tokenizer

ONLY_LETTERS = {TOKENIZER.encode(letter)[0]: 1000.0 for letter in "abcdefgh"}
FOUR_LETTERS = SamplingParams(max_tokens=4, seed=1, logit_bias=ONLY_LETTERS)
SYSTEM = {"role": "system", "content": "be a river"}


def conversation(
    params: SamplingParams = FOUR_LETTERS, *, context: int = 100, system: str | None = None
) -> Conversation:
    backend = HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=context)
    return Conversation(Engine(backend, TOKENIZER), params, system=system)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def prompt_length(*messages: dict[str, str]) -> int:
    return len(TOKENIZER.encode_chat(messages))


def test_questions_and_answers_are_remembered_in_order() -> None:
    chat = conversation(system="be a river")
    first = "".join(chat.ask("one"))
    second = "".join(chat.ask("two"))
    assert chat.messages == [SYSTEM, user("one"), assistant(first), user("two"), assistant(second)]
    assert len(first) == len(second) == 4
    assert chat.num_forgotten == 0


def test_the_answer_follows_from_the_whole_conversation() -> None:
    chat = conversation()
    messages = [user("one"), assistant("".join(chat.ask("one"))), user("two")]
    engine = Engine(HashBackend(vocab_size=TOKENIZER.vocab_size, max_seq_len=100), TOKENIZER)
    request = engine.submit(TOKENIZER.encode_chat(messages), FOUR_LETTERS)
    engine.run([request])
    assert "".join(chat.ask("two")) == request.sequences[0].stream.text


def test_the_oldest_turns_go_when_the_context_is_full_and_the_system_prompt_stays() -> None:
    room_for_two = prompt_length(SYSTEM, user("a"), assistant("aaaa"), user("a")) + FOUR_LETTERS.max_tokens  # type: ignore[operator]
    chat = conversation(context=room_for_two, system="be a river")
    answers = ["".join(chat.ask("a")) for _ in range(2)]
    assert chat.num_forgotten == 0
    last = "".join(chat.ask("b"))
    assert chat.messages == [SYSTEM, user("a"), assistant(answers[1]), user("b"), assistant(last)]
    assert chat.num_forgotten == 1


def test_several_turns_go_at_once_for_a_long_question() -> None:
    chat = conversation(context=70)
    for _ in range(3):
        list(chat.ask("a"))
    long_question = "a" * (70 - prompt_length(user("")) - 4)
    answer = "".join(chat.ask(long_question))
    assert chat.num_forgotten == 3
    assert chat.messages == [user(long_question), assistant(answer)]


def test_a_question_that_never_fits_is_refused_and_the_history_stays() -> None:
    chat = conversation(context=70)
    list(chat.ask("a"))
    before = chat.messages
    with pytest.raises(RequestError, match="context"):
        list(chat.ask("b" * 100))
    assert chat.messages == before
    assert len("".join(chat.ask("a"))) == 4


def test_without_a_chat_template_the_question_is_refused_and_forgotten() -> None:
    engine = Engine(HashBackend(vocab_size=TOKENIZER.vocab_size), small_tokenizer(chat_template=None))
    chat = Conversation(engine, FOUR_LETTERS)
    with pytest.raises(TokenizerError, match="chat template"):
        list(chat.ask("a"))
    assert chat.messages == []


def test_reset_keeps_only_the_system_prompt() -> None:
    chat = conversation(system="be a river")
    first = "".join(chat.ask("a"))
    chat.reset()
    assert chat.messages == [SYSTEM]
    assert "".join(chat.ask("a")) == first


def test_an_interrupted_answer_is_kept_as_far_as_it_came() -> None:
    chat = conversation()
    answer = chat.ask("a")
    begun = next(answer) + next(answer)
    answer.close()
    assert chat.messages == [user("a"), assistant(begun)]


def test_a_question_whose_answer_fails_before_its_first_word_is_forgotten() -> None:
    forbid_all = dict.fromkeys(range(TOKENIZER.vocab_size), float("-inf"))
    chat = conversation(SamplingParams(max_tokens=4, logit_bias=forbid_all))
    with pytest.raises(RequestError):
        list(chat.ask("a"))
    assert chat.messages == []


def test_a_conversation_has_one_answer_to_a_question() -> None:
    with pytest.raises(RequestError, match="n = 2"):
        conversation(SamplingParams(n=2))


def test_a_saved_conversation_is_continued_as_if_it_had_not_ended(tmp_path: Path) -> None:
    chat = conversation(system="be a river")
    list(chat.ask("one"))
    chat.save(tmp_path / "chat.json")
    later = conversation(system="be a lake")
    later.load(tmp_path / "chat.json")
    assert later.messages == chat.messages
    assert "".join(later.ask("two")) == "".join(chat.ask("two"))


def test_a_saved_conversation_without_a_system_prompt_leaves_the_one_that_is_there() -> None:
    chat = conversation(system="be a river")
    chat.resume([user("one"), assistant("two")])
    assert chat.messages == [SYSTEM, user("one"), assistant("two")]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[", "not JSON at line 1"),
        ("{}", "not a conversation"),
        ('[{"role": "user"}]', "not a conversation"),
        ('[{"role": "user", "content": 1}]', "not a conversation"),
        ('[{"role": "user", "content": "a"}]', "roles user: must be"),
        ('[{"role": "assistant", "content": "a"}, {"role": "user", "content": "a"}]', "roles assistant, user: must be"),
    ],
)
def test_what_is_no_conversation_is_refused_by_file_and_reason(tmp_path: Path, written: str, message: str) -> None:
    (tmp_path / "chat.json").write_text(written)
    chat = conversation()
    list(chat.ask("one"))
    before = chat.messages
    with pytest.raises(DataError, match=message) as refused:
        chat.load(tmp_path / "chat.json")
    assert str(refused.value).startswith(str(tmp_path / "chat.json"))
    assert chat.messages == before


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        conversation().load(tmp_path / "nosuch")


def test_parameters_can_be_changed_between_answers() -> None:
    chat = conversation()
    assert len("".join(chat.ask("a"))) == 4
    chat.params = dataclasses.replace(chat.params, max_tokens=2)
    assert len("".join(chat.ask("a"))) == 2
    with pytest.raises(RequestError, match="n = 2"):
        chat.params = SamplingParams(n=2)
