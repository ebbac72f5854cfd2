"""`Conversation`: a chat with its history, trimmed by whole turns when the context is full."""

from __future__ import annotations

from collections.abc import Generator

from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.engine import Engine

Message = dict[str, str]

_ANSWER_ROOM = 256
"""Tokens of the context kept free for an answer without a limit of its own."""


class Conversation:
    """Messages so far; `ask` adds a turn."""

    def __init__(self, engine: Engine, params: SamplingParams, *, system: str | None = None) -> None:
        """Begin with nothing but the system prompt. Raises RequestError if `params` ask for several answers."""
        if params.n != 1:
            raise RequestError(f"n = {params.n}: a conversation goes on from one answer; use generate for several")
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
        """The answer as it comes. Stopping early keeps what was said so far; if nothing was, the question is forgotten.

        Raises RequestError if the question alone does not fit the context, TokenizerError if the chat template refuses
        it; the conversation is then as it was.
        """
        turns: list[Message] = [*self._turns, {"role": "user", "content": text}]
        prompt, num_forgotten = self._fitting_prompt(turns)
        request = self._engine.submit(prompt, self._params)
        self.num_forgotten = num_forgotten
        self._turns = turns[2 * num_forgotten :]
        try:
            for piece in self._engine.stream(request):
                yield piece.text
        finally:
            self._engine.cancel(request)
            answer = request.sequences[0].stream.text if request.sequences else ""
            if answer:
                self._turns.append({"role": "assistant", "content": answer})
            else:
                self._turns.pop()

    def _fitting_prompt(self, turns: list[Message]) -> tuple[list[int], int]:
        """Token ids of the conversation without its oldest turns, and how many of them must go."""
        limit = self._engine.backend.max_seq_len - min(self._params.max_tokens or _ANSWER_ROOM, _ANSWER_ROOM)
        num_forgotten = 0
        while True:
            kept = turns[2 * num_forgotten :]
            token_ids = self._engine.tokenizer.encode_chat([*self._system, *kept])
            if len(token_ids) <= limit or len(kept) == 1:
                return token_ids, num_forgotten
            num_forgotten += 1
