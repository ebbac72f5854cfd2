"""`EngineLM`: an engine as a model of lm-eval (EleutherAI's Language Model Evaluation Harness). Needs lm-eval.

Requests of lm-eval in, its answers out: log-likelihoods, rolling log-likelihoods and generated texts, for the token ids
that lm-eval's own `hf` model makes, too. Requests are sorted so that what they share is computed once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from nextword.decoding.params import SamplingParams, sampling_params
from nextword.errors import RequestError, TokenizerError
from nextword.inference.continuations import Continuations, ContinuationScore, score_continuations
from nextword.inference.engine import Engine
from nextword.inference.sequence import Request

_Tokens = tuple[int, ...]
_OWN_KEYS = ("do_sample", "until", "max_gen_toks")
"""Generation settings of a task that are no sampling parameters of the same name."""
_MAX_GENERATED_TOKENS = 256
"""Limit of tasks that name none; the same as in lm-eval's `hf` model."""


class EngineLM(TemplateLM):  # type: ignore[misc]  # lm-eval has no types
    """A model for lm-eval that answers its requests with an engine."""

    def __init__(self, engine: Engine, *, name: str, max_length: int | None = None) -> None:
        """`name`: for reports and caches. `max_length`: tokens that a text may have; None: the model's context."""
        super().__init__()
        limit = engine.backend.max_seq_len
        if max_length is not None and not 2 <= max_length <= limit:
            raise RequestError(f"max_length = {max_length}: must be from 2 to the model's context, {limit}")
        self.tokenizer = engine.tokenizer
        self._engine = engine
        self._name = name
        self._max_length = limit if max_length is None else max_length

    # Properties that lm-eval reads

    @property
    def eot_token_id(self) -> int:
        """End-of-sequence token. Raises RequestError if the tokenizer has none."""
        if not self.tokenizer.eos_token_ids:
            raise RequestError("the tokenizer names no end-of-sequence token, which lm-eval needs")
        return self.tokenizer.eos_token_ids[0]

    @property
    def prefix_token_id(self) -> int:
        """Prefix token of a text without context: BOS, else the end-of-sequence token."""
        return self.eot_token_id if self.tokenizer.bos_token_id is None else self.tokenizer.bos_token_id

    @property
    def max_length(self) -> int:
        """Maximum number of tokens of a text."""
        return self._max_length

    @property
    def max_gen_toks(self) -> int:
        """Maximum number of tokens to generate where a task names no limit."""
        return _MAX_GENERATED_TOKENS

    @property
    def tokenizer_name(self) -> str:
        """Name of the model in lm-eval's cache files."""
        return self._name.replace("/", "__")

    def get_model_info(self) -> dict[str, str]:
        """Return the model's name and backend, for lm-eval's report."""
        return {"model_name": self._name, "backend": type(self._engine.backend).__name__}

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: object) -> list[int]:
        """Encode a string; special tokens in it become control tokens, since chat templates write them so."""
        if add_special_tokens is False:
            return self.tokenizer.encode(string, add_special_tokens=False, parse_special=True)
        return self.tokenizer.encode_prompt(string, parse_special=True)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a conversation with the model's template, up to the end of the last message unless a prompt is added.

        Where a template refuses a system prompt, it is left out. Raises TokenizerError without a template.
        """
        try:
            text = self.tokenizer.render_chat(chat_history, add_generation_prompt=add_generation_prompt)
        except TokenizerError:
            chat_history = [message for message in chat_history if message["role"] != "system"]
            text = self.tokenizer.render_chat(chat_history, add_generation_prompt=add_generation_prompt)
        if add_generation_prompt:
            return text
        last = chat_history[-1]["content"].strip()
        return text[: text.rindex(last) + len(last)]

    # Log-likelihoods

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Compute the log-probability of each continuation after its context, and whether it is the greedy one."""
        answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm or not sys.stderr.isatty())
        return answers

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **kwargs: object
    ) -> list[tuple[float, bool]]:
        """Answer requests of token ids; the beginning of a context that is too long is dropped."""
        pairs = [self._fitting(context, continuation) for _, context, continuation in requests]
        answers: dict[tuple[_Tokens, _Tokens], tuple[float, bool]] = {}
        with _bar(len(requests), "Scoring continuations", disable_tqdm) as bar:
            for pair, answer in self._scores(set(pairs)):
                answers[pair] = answer.log_prob, answer.is_greedy
                bar.update()
        for (texts, _, _), pair in zip(requests, pairs, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answers[pair])
        return [answers[pair] for pair in pairs]

    def _fitting(self, context: Sequence[int], continuation: Sequence[int]) -> tuple[_Tokens, _Tokens]:
        # The last token of a continuation is never fed, so it needs no place in the context.
        kept = max(1, self.max_length + 1 - len(continuation))
        return tuple(context[-kept:]), tuple(continuation)

    def _scores(
        self, pairs: set[tuple[_Tokens, _Tokens]]
    ) -> Iterator[tuple[tuple[_Tokens, _Tokens], ContinuationScore]]:
        """Yield the score of each pair of context and continuation, sorted, so that neighbours share prefixes."""
        continuations: dict[_Tokens, list[_Tokens]] = {}
        for context, continuation in sorted(pairs):
            continuations.setdefault(context, []).append(continuation)
        items = (Continuations(context, of_context) for context, of_context in continuations.items())
        scored = score_continuations(self._engine, items)
        for (context, of_context), answers in zip(continuations.items(), scored, strict=True):
            for continuation, answer in zip(of_context, answers, strict=True):
                yield (context, continuation), answer

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Compute the log-probability of each whole text, in windows that together predict every token once."""
        windows = [self._windows(*request.args) for request in requests]
        scored = iter(self._loglikelihood_tokens([window for of_text in windows for window in of_text], disable_tqdm))
        totals = [sum(next(scored)[0] for _ in of_text) for of_text in windows]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _windows(self, text: str) -> list[tuple[None, list[int], list[int]]]:
        windows = get_rolling_token_windows(
            self.tok_encode(text), prefix_token=self.prefix_token_id, max_seq_len=self.max_length, context_len=1
        )
        return [(None, *make_disjoint_window(window)) for window in windows]

    # Generation

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Generate after each context, up to one of the task's stop strings; all requests run together."""
        order = sorted(range(len(requests)), key=lambda index: str(requests[index].args[0]))
        submitted = {index: self._submit(*requests[index].args, seed=index) for index in order}
        with _bar(len(requests), "Generating", disable_tqdm) as bar:
            while waiting := [request for request in submitted.values() if not request.is_finished]:
                self._engine.step()
                bar.update(sum(request.is_finished for request in waiting))
        self._engine.run(list(submitted.values()))  # raises what ended one of them
        texts = [submitted[index].sequences[0].stream.text for index in range(len(requests))]
        for request, text in zip(requests, texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return texts

    def _submit(self, context: str, settings: dict[str, Any], *, seed: int) -> Request:
        params = _params(settings, seed=seed)
        room = self.max_length - (params.max_tokens or 0)
        if room < 1:
            raise RequestError(f"max_gen_toks = {params.max_tokens}: must be less than the context, {self.max_length}")
        # The `hf` model of lm-eval decodes what was generated by itself.
        return self._engine.submit(self.tok_encode(context)[-room:], params, continues_text=False)


def _params(settings: dict[str, Any], *, seed: int) -> SamplingParams:
    """Return a task's generation settings as sampling parameters, greedy unless it samples. Raises RequestError."""
    normal = normalize_gen_kwargs(settings, _MAX_GENERATED_TOKENS)
    until = normal.get("until") or []
    others = {key: value for key, value in normal.items() if key not in _OWN_KEYS}
    if not normal["do_sample"]:
        others["temperature"] = 0.0
    return sampling_params(
        {},
        **{"seed": seed, **others},
        max_tokens=normal["max_gen_toks"],
        stop=tuple(text for text in ([until] if isinstance(until, str) else until) if text),
    )


def _bar(total: int, what: str, is_disabled: bool) -> tqdm[Any]:
    return tqdm(total=total, desc=what, disable=is_disabled or not sys.stderr.isatty())
