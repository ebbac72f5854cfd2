"""`Conversation`: a chat with its history, trimmed by whole turns when the context is full."""

from __future__ import annotations

from collections.abc import Generator

from nextword.decoding.params import SamplingParams
from nextword.errors import NextwordError
from nextword.inference.engine import Engine

Message = dict[str, str]

_ANSWER_ROOM = 256
"""Tokens of the context kept free for an answer without a limit of its own."""


class Conversation:
    """Messages so far; `ask` adds a turn."""

    def __init__(self, engine: Engine, params: SamplingParams, *, system: str | None = None) -> None:
        self._engine = engine
        self._params = params
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._turns: list[Message] = []
        self.num_forgotten = 0
        """Turns (a question with its answer) that the last `ask` had to leave out."""

    @property
    def messages(self) -> list[Message]:
        """System prompt, questions and answers, in order."""
        return [*self._system, *self._turns]

    def reset(self) -> None:
        """Forget everything but the system prompt."""
        self._turns = []

    def ask(self, text: str) -> Generator[str, None, None]:
        """The answer as it comes. Stopping early keeps what was said so far as the answer.

        Raises RequestError if the question alone does not fit the context, TokenizerError if the chat template refuses
        it; the question is then forgotten.
        """
        self._turns.append({"role": "user", "content": text})
        try:
            request = self._engine.submit(self._fitting_prompt(), self._params)
        except NextwordError:
            self._turns.pop()
            raise
        try:
            for piece in self._engine.stream(request):
                yield piece.text
        finally:
            self._engine.cancel(request)
            answer = request.sequences[0].stream.text if request.sequences else ""
            self._turns.append({"role": "assistant", "content": answer})

    def _fitting_prompt(self) -> list[int]:
        """Token ids of the conversation without its oldest turns, as many as must go."""
        limit = self._engine.backend.max_seq_len - min(self._params.max_tokens or _ANSWER_ROOM, _ANSWER_ROOM)
        self.num_forgotten = 0
        while True:
            token_ids = self._engine.tokenizer.encode_chat(self.messages)
            if len(token_ids) <= limit or len(self._turns) == 1:
                return token_ids
            self._turns = self._turns[2:]
            self.num_forgotten += 1
