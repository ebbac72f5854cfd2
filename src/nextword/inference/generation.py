"""`Generation`: the values of a finished request, as a caller gets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nextword.decoding.sampler import ChosenToken
from nextword.inference.sequence import FINISH_REASONS, FinishDetail, FinishReason, Request
from nextword.plain_text import count, excerpt
from nextword.text.thoughts import ThoughtSplitter, answer_message
from nextword.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from nextword.text.tool_calls import ToolCall

_OPENING = 64
"""Tokens at the end of a prompt in which a template may open the thoughts."""
_SEPARATOR = "\n---\n"
"""Printed between the completions of one prompt."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One completion of a prompt."""

    index: int
    """Number of the completion, from 0 to n - 1."""
    text: str
    """Generated text, after the prompt if echo asked for it, and with its thoughts if it answers a chat."""
    thoughts: str = ""
    """Thoughts in front of a chat's answer, without the marks around them."""
    answer: str = ""
    """Generated text without the thoughts, the calls of tools, and the prompt."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls of tools that a chat's answer asks for."""
    tokens: tuple[ChosenToken, ...]
    """Generated tokens, the end-of-sequence token included."""
    token_texts: tuple[str, ...]
    """Text of each token, as tables show it."""
    log_prob: float | None = None
    """Sum of the tokens' log-probabilities that a beam search added up, in nats; None without a search."""
    score: float | None = None
    """Figure by which a beam search ranked it: log_prob / number of tokens ** length_penalty; None without a search."""
    finish_reason: FinishReason
    """"stop", "length" or "cancelled"."""
    finish_detail: FinishDetail
    """Exact reason, such as "end_of_sequence" or "max_tokens"."""
    accepted_draft_tokens: int = field(default=0, compare=False)
    """Number of tokens that a draft foresaw, which took no step of their own; by measured times, so it may vary."""
    rejected_draft_tokens: int = field(default=0, compare=False)
    """Number of drafted tokens that were taken back; it may vary likewise."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Completion({excerpt(self.text)}, {count(len(self.tokens), 'token')}, {self.finish_detail})"

    def _repr_html_(self) -> str:
        from nextword.html.notebook import block, code, coloured_text, line

        ended = line(f"{count(len(self.tokens), 'token')}, {self.finish_detail}")
        if not self.tokens or any(token.log_prob is None for token in self.tokens):
            return block(code(self.text), ended)
        pairs = zip(self.tokens, self.token_texts, strict=True)
        known = ((text, token.log_prob or 0.0) for token, text in pairs)
        return block(coloured_text((text, -number, f"log-probability {number:.4f}") for text, number in known), ended)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The completions of one prompt. `print` shows the text, a notebook the tokens' colours if they have `logprobs`."""

    prompt_token_ids: tuple[int, ...]
    """Token ids of the prompt, BOS included."""
    prompt_tokens: tuple[ChosenToken, ...]
    """Log-probabilities of the prompt from its second token on, where echo and logprobs asked for them."""
    completions: tuple[Completion, ...]
    """One completion for each of `n`; of a beam search the best first, and fewer where fewer texts exist."""
    seed: int
    """The seed used: give it again for the same text."""

    @property
    def text(self) -> str:
        """The text of the first completion."""
        return self.completions[0].text

    @property
    def thoughts(self) -> str:
        """The thoughts of the first completion."""
        return self.completions[0].thoughts

    @property
    def answer(self) -> str:
        """The answer of the first completion."""
        return self.completions[0].answer

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools of the first completion."""
        return self.completions[0].tool_calls

    def __str__(self) -> str:
        return _SEPARATOR.join(completion.text for completion in self.completions)

    def __repr__(self) -> str:
        first, *others = self.completions
        more = f", {count(len(self.completions), 'completion')}" if others else ""
        return f"Generation({excerpt(first.text)}, {count(len(first.tokens), 'token')}, {first.finish_detail}{more})"

    def _repr_html_(self) -> str:
        return "".join(completion._repr_html_() for completion in self.completions)


def collect(request: Request, tokenizer: Tokenizer) -> Generation:
    """Return the values of a finished request."""
    prompt = echoed_text(request, tokenizer)
    completions = []
    for sequence in request.sequences:
        assert sequence.finish_detail is not None, "collected before the request was finished"
        thoughts, answer, tool_calls = _split(sequence.stream.text, request, tokenizer)
        completions.append(
            Completion(
                index=sequence.index,
                text=prompt + sequence.stream.text,
                thoughts=thoughts,
                answer=answer,
                tool_calls=tool_calls,
                tokens=tuple(sequence.tokens),
                token_texts=tuple(tokenizer.token_text(token.token_id) for token in sequence.tokens),
                log_prob=None if sequence.score is None else sequence.log_prob,
                score=sequence.score,
                finish_reason=FINISH_REASONS[sequence.finish_detail],
                finish_detail=sequence.finish_detail,
                accepted_draft_tokens=sequence.drafter.num_kept,
                rejected_draft_tokens=sequence.drafter.num_drafted - sequence.drafter.num_kept,
            )
        )
    return Generation(
        prompt_token_ids=tuple(request.prompt_token_ids),
        prompt_tokens=tuple(request.prompt_tokens),
        completions=tuple(completions),
        seed=request.seed,
    )


def thought_splitter(request: Request, tokenizer: Tokenizer) -> ThoughtSplitter:
    """Return what tells the thoughts of a chat's answer from what is said; the request has the marks of thoughts."""
    found = request.thought_marks
    assert found is not None, "only answers have thoughts"
    prompt = request.prompt_token_ids if found.continues_message else request.prompt_token_ids[-_OPENING:]
    before = tokenizer.decode(prompt, skip_special_tokens=False)
    return ThoughtSplitter(before, found.marks, continues_message=found.continues_message)


def _split(text: str, request: Request, tokenizer: Tokenizer) -> tuple[str, str, tuple[ToolCall, ...]]:
    """Return the thoughts, the answer, and its calls of tools."""
    if request.thought_marks is None:
        return "", text, ()
    parts = thought_splitter(request, tokenizer).push(text, is_last=True)
    thoughts = "".join(part for part, is_thought in parts if is_thought)
    said = text.removeprefix(thoughts)
    calls: tuple[ToolCall, ...] = ()
    if request.tool_use is not None:
        from nextword.text.tool_calls import joined_calls

        said, found = request.tool_use.splitter().push(said, is_last=True)
        calls = joined_calls(found)
    message = answer_message(thoughts, said, request.thought_marks.marks)
    return message.get("reasoning_content", ""), message["content"], calls


def echoed_text(request: Request, tokenizer: Tokenizer) -> str:
    """Return the prompt's text up to its last whole character, which the completion continues; empty without echo."""
    decoder = tokenizer.stream_decoder()
    return "".join(map(decoder.push, request.prompt_token_ids)) if request.params.echo else ""
