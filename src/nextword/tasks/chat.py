"""`Conversation`: a chat with its history, trimmed by whole turns when the context is full.

In: questions as text. Out: answers as they are generated, and the messages in a JSON file that another run continues.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Sequence
from pathlib import Path

from nextword.atomic_file import write_atomically
from nextword.checks import checked_arguments
from nextword.decoding.params import SamplingParams
from nextword.errors import DataError, RequestError, os_reason
from nextword.inference.engine import Engine
from nextword.inference.generation import thought_splitter
from nextword.inference.sequence import FinishDetail
from nextword.plain_text import count
from nextword.text.chat_messages import Message, plain_messages
from nextword.text.chat_options import ChatOptions, check_chat_options
from nextword.text.thoughts import answer_message

_INSTRUCTING = ("system", "developer")
"""Roles of a system prompt."""
_ANSWER_ROOM = 256
"""Tokens of the context reserved for an answer without a limit of its own."""


class Conversation:
    """Chat with its history; `ask` adds a question and its answer."""

    @checked_arguments
    def __init__(
        self,
        engine: Engine,
        params: SamplingParams,
        *,
        system: str | None = None,
        rendering: ChatOptions | None = None,
        adapter: str | None = None,
        negative_system: str | None = None,
    ) -> None:
        """Start with the system prompt alone; `rendering`: how the chat template is applied to the messages.

        `adapter`: one that the model was loaded with, for all answers; None: the base model. `negative_system`: the
        system prompt of the conversation that `guidance_scale` moves away from, and which is the same otherwise.
        Raises RequestError if `params` ask for several answers.
        """
        self._engine = engine
        self._adapter = adapter
        self._rendering: ChatOptions = rendering or {}
        check_chat_options(self._rendering)
        self._end_token_ids = engine.tokenizer.turn_end_ids(self._rendering.get("chat_template"))
        self._thought_marks = engine.tokenizer.thought_marks(**self._rendering)
        self._negative_system = negative_system
        self.params = params
        self._system: list[Message] = [] if system is None else [_system_prompt(system)]
        self._turns: list[Message] = []
        self.num_forgotten = 0
        """Number of turns (a question with its answer) that the last `ask` left out."""
        self.finish_detail: FinishDetail | None = None
        """Reason why the last answer ended, such as "max_tokens"; None before its end."""

    @property
    def params(self) -> SamplingParams:
        """The sampling parameters of the next answer. Setting them raises RequestError if they ask for several."""
        return self._params

    @params.setter
    @checked_arguments
    def params(self, params: SamplingParams) -> None:
        if params.n != 1:
            raise RequestError(f"n = {params.n}: a conversation continues from one answer; use generate for several")
        if self._negative_system is not None and params.guidance_scale == 1.0:
            raise RequestError("negative_system has no effect with guidance_scale = 1: give a larger guidance_scale")
        self._params = params

    def __repr__(self) -> str:
        return f"Conversation({count(len(self.messages), 'message')})"

    @property
    def messages(self) -> list[Message]:
        """System prompt, questions and answers, in order."""
        return [*self._system, *self._turns]

    def reset(self) -> None:
        """Clear the history, except for the system prompt."""
        self._turns = []

    def resume(self, messages: Sequence[Message]) -> None:
        """Continue from the messages of an earlier conversation, in place of all turns until now.

        A system prompt in front takes the place of this conversation's. Raises DataError unless each turn begins with a
        question ("user") and ends with an answer ("assistant"); the conversation is then as it was. Between the
        two may stand calls of tools and their results.
        """
        system, turns = _split_messages(messages)
        self._system = system or self._system
        self._turns = turns

    @checked_arguments
    def save(self, path: Path | str) -> None:
        """Write the messages as a JSON list. Raises DataError if the file cannot be written."""
        try:
            with write_atomically(Path(path).expanduser()) as out:
                out.write((json.dumps(self.messages, ensure_ascii=False, indent=2) + "\n").encode())
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: "~name" of an unknown user
            raise DataError(f"{path}: cannot be written: {_reason(error)}") from None

    @checked_arguments
    def load(self, path: Path | str) -> None:
        """Continue a conversation that `save` wrote: see `resume`. Raises DataError naming the file."""
        try:
            messages = json.loads(Path(path).expanduser().read_bytes())
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {_reason(error)}") from None
        try:
            self.resume(messages)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def ask(self, text: str) -> Generator[str, None, None]:
        """Yield the answer as it is generated, thoughts included.

        Stopping early keeps the part generated so far; without any, the question is dropped.
        Raises RequestError if the question alone does not fit the context, TokenizerError if the chat template refuses
        it; the conversation is then as it was.
        """
        parts = self.ask_parts(text)
        try:
            for piece, _ in parts:
                yield piece
        finally:
            parts.close()

    def ask_parts(self, text: str) -> Generator[tuple[str, bool], None, None]:
        """Yield the answer as `ask` does, each piece with True where it is a thought, as in <think>...</think>.

        Thoughts are kept as the message's "reasoning_content": the template decides whether it shows them again.
        """
        turns: list[Message] = [*self._turns, {"role": "user", "content": text}]
        prompt, num_forgotten = self._fitting_prompt(turns)
        request = self._engine.submit(
            prompt,
            self._params,
            continues_text=False,
            end_token_ids=self._end_token_ids,
            thought_marks=self._thought_marks,
            adapter=self._adapter,
            negative_prompt=self._negative_prompt(_without_oldest(turns, num_forgotten)),
        )
        self.num_forgotten = num_forgotten
        self._turns = _without_oldest(turns, num_forgotten)
        self.finish_detail = None
        splitter = thought_splitter(request, self._engine.tokenizer)
        thoughts = said = ""
        try:
            for piece in self._engine.stream(request):
                self.finish_detail = piece.finish_detail
                for part, is_thought in splitter.push(piece.text, is_last=piece.finish_detail is not None):
                    thoughts, said = (thoughts + part, said) if is_thought else (thoughts, said + part)
                    yield part, is_thought
        finally:
            self._engine.cancel(request)
            for part, is_thought in splitter.push("", is_last=True):  # held back when the reader stopped
                thoughts, said = (thoughts + part, said) if is_thought else (thoughts, said + part)
            if thoughts or said:
                self._turns.append(answer_message(thoughts, said, self._thought_marks.marks))
            else:
                self._turns.pop()

    def _negative_prompt(self, turns: list[Message]) -> list[int] | None:
        """Return the token ids of the conversation with the other system prompt; None if there is none."""
        if self._negative_system is None:
            return None
        messages = [_system_prompt(self._negative_system), *turns]
        return self._engine.tokenizer.encode_chat(messages, **self._rendering)

    def _fitting_prompt(self, turns: list[Message]) -> tuple[list[int], int]:
        """Return the token ids of the conversation without its oldest turns, and the number of turns left out."""
        limit = self._engine.backend.max_seq_len - min(self._params.max_tokens or _ANSWER_ROOM, _ANSWER_ROOM)
        num_forgotten = 0
        while True:
            kept = _without_oldest(turns, num_forgotten)
            token_ids = self._engine.tokenizer.encode_chat([*self._system, *kept], **self._rendering)
            if len(token_ids) <= limit or kept[0] is turns[-1]:
                return token_ids, num_forgotten
            num_forgotten += 1


def _system_prompt(text: str) -> Message:
    return {"role": "system", "content": text}


def _without_oldest(messages: list[Message], num_turns: int) -> list[Message]:
    """Return the messages without the first turns, each a question with what follows it up to the next one."""
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    return messages[starts[num_turns] :]


def _split_messages(messages: object) -> tuple[list[Message], list[Message]]:
    """Return the system prompt, alone or absent, and the turns. Raises DataError for anything else."""
    if not isinstance(messages, list | tuple):
        raise DataError('not a conversation: must be a list of messages such as {"role": "user", "content": "Hello"}')
    try:
        plain: list[Message] = [*plain_messages(messages)] if messages else []
    except RequestError as error:
        raise DataError(f"not a conversation: {error}") from None
    num_system = 1 if plain and plain[0]["role"] in _INSTRUCTING else 0
    system, turns = plain[:num_system], plain[num_system:]
    roles = [message["role"] for message in turns]
    follows = itertools.pairwise(roles)
    if roles and (roles[0] != "user" or roles[-1] != "assistant" or ("user", "user") in follows):
        raise DataError(f'roles {", ".join(roles)}: must be "user" and "assistant" in turns, an answer at the end')
    return system, turns


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text at byte {error.start}"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON at line {error.lineno}: {error.msg}"
    return str(os_reason(error) if isinstance(error, OSError) else error)
