"""`Admission`: a prompt with its parameters in, what the request needs out: room, positions in the cache, a guide."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from typing import NamedTuple

from nextword.checks import shown
from nextword.decoding.guidance import guidance_of
from nextword.decoding.params import SamplingParams
from nextword.errors import RequestError
from nextword.inference.backend import PAGE_POSITIONS, Backend
from nextword.inference.cache_budget import CacheBudget, forked_positions, whole_pages
from nextword.inference.guide import Guide


class Needs(NamedTuple):
    """Needs of one request."""

    room: int
    """Most tokens of a completion for which the context has room."""
    num_positions: int
    """Positions of the KV cache that all its sequences together may need."""
    guide: Guide | None
    """Second sequence that changes the logits, if the parameters ask for one."""
    num_amateur_positions: int
    """Positions of the amateur's KV cache that its guides may need."""


class Admission:
    """Checks of prompts before they are queued; they need no lock."""

    def __init__(
        self, backend: Backend, budget: CacheBudget, amateur: Backend | None, amateur_budget: CacheBudget
    ) -> None:
        self._backend, self._budget = backend, budget
        self._amateur, self._amateur_budget = amateur, amateur_budget

    def check(self, prompt: Seq[int], *, adapter: str | None, room_for: int) -> None:
        """Raise RequestError for a prompt or an adapter that the model cannot take."""
        self._check_adapter(adapter)
        self._check_prompt(prompt, room_for=room_for)

    def _check_adapter(self, adapter: str | None) -> None:
        """Raise RequestError for an adapter that the model was not loaded with."""
        names = self._backend.adapter_names
        if adapter is not None and adapter not in names:
            raise RequestError(
                f"adapter {adapter!r}: the model was loaded with adapters {', '.join(names) or '(none)'}; "
                "None is the base model"
            )

    def _check_prompt(self, prompt: Seq[int], *, room_for: int, name: str = "prompt") -> None:
        """Raise RequestError for a prompt that is empty, leaves no room in the context, or has unknown tokens."""
        if not prompt:
            raise RequestError(f"the {name} is empty: give at least one token to continue")
        limit = self._backend.max_seq_len
        if len(prompt) + room_for > limit:
            raise RequestError(
                f"the {name} has {len(prompt)} tokens and the model's context {limit}: shorten the {name}, "
                "or summarize it, which splits long texts"
            )
        unknown = next((token_id for token_id in prompt if not 0 <= token_id < self._backend.vocab_size), None)
        if unknown is not None:
            raise RequestError(
                f"token id {shown(unknown)} in the {name}: the vocabulary has {self._backend.vocab_size} tokens"
            )

    def needs(
        self, prompt: list[int], params: SamplingParams, *, adapter: str | None, negative_prompt: list[int] | None
    ) -> Needs:
        """Return what a checked prompt needs.

        Raises RequestError if there is less, for a guide without effect, and for tokens that do not exist.
        """
        self._check_tokens(params)
        guide = self._guide(prompt, params, adapter, negative_prompt)
        room = self._backend.max_seq_len - len(prompt)
        if guide is not None:
            room = min(room, guide.backend.max_seq_len - len(guide.prompt_token_ids))
        growth = room if params.max_tokens is None else min(params.max_tokens, room)
        runs = [max(growth - 1, 0)] * params.width  # the last token is sampled and never run
        num_positions = forked_positions(len(prompt), runs)
        num_of_guide = 0 if guide is None else forked_positions(len(guide.prompt_token_ids), runs)
        is_amateurs = guide is not None and guide.backend is self._amateur
        if not is_amateurs:
            num_positions, num_of_guide = num_positions + num_of_guide, 0
        # A prompt takes at least one page, so shortening a prompt within one page would not help.
        is_prompt_long = whole_pages(len(prompt)) > max(PAGE_POSITIONS, self._budget.max_positions)
        remedy = f"lower max_tokens or {'num_beams' if params.num_beams else 'n'}"
        self._budget.require(num_positions, remedy="shorten the prompt" if is_prompt_long else remedy)
        self._amateur_budget.require(num_of_guide, remedy=remedy)
        return Needs(room, num_positions, guide, num_of_guide)

    def _check_tokens(self, params: SamplingParams) -> None:
        """Raise RequestError for parameters that name a token outside the vocabulary, which could have no effect."""
        vocab_size = self._backend.vocab_size
        for name, token_ids in (("logit_bias", params.logit_bias), ("stop_token_ids", params.stop_token_ids)):
            unknown = next((token_id for token_id in token_ids if token_id >= vocab_size), None)
            if unknown is not None:
                raise RequestError(f"{name} for token id {unknown}: the vocabulary ends at {vocab_size - 1}")

    def _guide(
        self, prompt: list[int], params: SamplingParams, adapter: str | None, negative_prompt: list[int] | None
    ) -> Guide | None:
        if negative_prompt is not None and params.guidance_scale == 1.0:
            raise RequestError("negative_prompt has no effect with guidance_scale = 1: give a larger guidance_scale")
        guidance = guidance_of(params)
        if guidance is None:
            return None
        room_for = 0 if params.max_tokens == 0 else 1
        if params.contrastive_alpha > 0.0:
            if self._amateur is None:
                raise RequestError(
                    f"contrastive_alpha = {params.contrastive_alpha}: the model was loaded without an amateur; name a "
                    "smaller model with the same tokens, as in load(name, amateur=...) or --amateur"
                )
            _check_context(prompt, self._amateur, room_for)
            return Guide(backend=self._amateur, prompt_token_ids=prompt, guidance=guidance)
        before = prompt[-1:] if negative_prompt is None else negative_prompt
        self._check_prompt(before, room_for=room_for, name="negative prompt")
        return Guide(backend=self._backend, prompt_token_ids=before, guidance=guidance, adapter=adapter)


def _check_context(prompt: Seq[int], amateur: Backend, room_for: int) -> None:
    if len(prompt) + room_for > amateur.max_seq_len:
        raise RequestError(
            f"the prompt has {len(prompt)} tokens and the amateur's context {amateur.max_seq_len}: shorten the prompt, "
            "or choose another amateur"
        )
