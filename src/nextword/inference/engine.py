"""`Engine`: the loop over tokens, by continuous batching. Python, the command and servers all run it.

Requests go in; `step` advances all of them by one token each: schedule, run, sample, finish. The engine joins backend,
scheduler, samplers and text streams, and does the work of none of them. Scorers, which sample nothing, borrow its
backend by `reserve`: whatever runs a model holds the engine's lock and has reserved cache positions from the engine's
budget.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Generator, Iterator
from collections.abc import Sequence as Seq
from typing import TYPE_CHECKING, TypedDict, Unpack

from nextword.checks import check_value, checked_arguments, shown
from nextword.decoding.constraint import Constraint
from nextword.decoding.distribution import Distribution
from nextword.decoding.draw_together import draw_together
from nextword.decoding.params import SamplingParams
from nextword.decoding.random_stream import fresh_seed
from nextword.decoding.row_scores import score_row
from nextword.decoding.sampler import ChosenToken, Sampler
from nextword.errors import NextwordError, RequestError, StepInterruptedError
from nextword.inference.admission import Admission
from nextword.inference.append import append_token
from nextword.inference.backend import Backend, Chunk, Logits
from nextword.inference.beam import advance_beams, cancel_search
from nextword.inference.breakers import dry_breakers
from nextword.inference.cache_budget import CacheBudget, whole_pages
from nextword.inference.draft_model import DraftModel
from nextword.inference.drafts import NO_DRAFT, Draft, Drafter, DraftSource, StepCosts
from nextword.inference.fork_safe_lock import ForkSafeLock
from nextword.inference.generation import thought_splitter
from nextword.inference.guide import Guide, GuidedSequences
from nextword.inference.lookup import Lookup
from nextword.inference.preemption import is_preemptible, preempt, resume
from nextword.inference.prefill import PREFILL_CHUNK, prefill_chunk, prefill_chunks
from nextword.inference.prefill_pace import PrefillPace
from nextword.inference.scheduler import Scheduler
from nextword.inference.sequence import FinishDetail, Request, Sequence, TextPiece, shown_token_ids
from nextword.inference.stop_strings import StopStrings
from nextword.inference.text_stream import TextStream
from nextword.text.thoughts import ThoughtMarks
from nextword.text.tokenizer import Tokenizer

if TYPE_CHECKING:  # a form and tools bring their code with them
    from nextword.decoding.grammar import Grammar, GrammarCompiler, Matcher
    from nextword.text.tool_use import ToolUse


class SubmitOptions(TypedDict, total=False):
    """Keywords of `Engine.prepare` and `Engine.submit`."""

    continues_text: bool
    """False decodes the completion as a text of its own, such as an answer, not as the text that continues the prompt:
    without the space that some vocabularies write only between words."""
    end_token_ids: Seq[int] | None
    """Tokens that end a completion; None: the tokenizer's."""
    thought_marks: ThoughtMarks | None
    """Marks of the thoughts in front of an answer; the control tokens among them become text of the completion."""
    tool_use: ToolUse | None
    """Tools that an answer may or must call; the control tokens in calls become text of the completion."""
    adapter: str | None
    """One of the model's; None: the base model."""
    prediction: Seq[int]
    """Tokens that the completion may have; the more are right, the fewer steps it takes."""
    negative_prompt: Seq[int] | None
    """Prompt that `guidance_scale` moves away from; None: the last token of the prompt alone."""


class Engine:
    """Runs a changing set of requests on one backend. Threads may submit, stream, step and score at the same time."""

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        *,
        max_sequences: int = 16,
        speculation: bool = True,
        amateur: Backend | None = None,
        draft_model: Backend | None = None,
    ) -> None:
        """Start without requests.

        `max_sequences`: that run at the same time. `speculation`: verify drafts of several tokens in one step where
        that is faster; it changes no text. `amateur`: a weaker model with the same tokens, for contrastive decoding.
        `draft_model`: a small model with the same tokens, which proposes drafts. This engine alone runs both.
        """
        self.backend = backend
        """Run it only inside `reserve`; its sizes may be read at any time."""
        self.tokenizer = tokenizer
        self._budget = CacheBudget(backend.max_positions)
        amateur_budget = CacheBudget(0 if amateur is None else amateur.max_positions)
        self._scheduler = Scheduler(max_sequences, self._budget, amateur_budget)
        self._admission = Admission(backend, self._budget, amateur, amateur_budget)
        self._sequences = GuidedSequences(backend, amateur)
        self._lock = ForkSafeLock()
        self._speculates = speculation
        self._draft_model = None if draft_model is None else DraftModel(draft_model, vocab_size=backend.vocab_size)
        self._costs, self._pace = StepCosts(), PrefillPace()
        self._grammar_compilers: dict[frozenset[int], GrammarCompiler] = {}
        """By the control tokens that are text of the forms."""

    def submit(self, prompt_token_ids: Seq[int], params: SamplingParams, **options: Unpack[SubmitOptions]) -> Request:
        """Queue a prompt: `prepare`, then `add`. Arguments and errors as those of `prepare`."""
        request = self.prepare(prompt_token_ids, params, **options)
        self.add(request)
        return request

    def prepare(
        self,
        prompt_token_ids: Seq[int],
        params: SamplingParams,
        *,
        continues_text: bool = True,
        end_token_ids: Seq[int] | None = None,
        thought_marks: ThoughtMarks | None = None,
        tool_use: ToolUse | None = None,
        adapter: str | None = None,
        prediction: Seq[int] = (),
        negative_prompt: Seq[int] | None = None,
    ) -> Request:
        """Check a request and make what it needs, without a lock: threads may do so while the engine steps.

        Raises RequestError for a prompt that is empty, holds unknown ids or leaves no room in the context, and for a
        form that cannot be compiled. `SubmitOptions` says what the keywords mean.
        """
        check_value("params", params, SamplingParams)
        prompt = _as_token_ids(prompt_token_ids)
        self._admission.check(prompt, adapter=adapter, room_for=0 if params.max_tokens == 0 else 1)
        negative = None if negative_prompt is None else _as_token_ids(negative_prompt)
        needs = self._admission.needs(prompt, params, adapter=adapter, negative_prompt=negative)
        return Request(
            prompt_token_ids=prompt,
            params=params,
            seed=params.seed if params.seed is not None else fresh_seed(),
            num_positions=needs.num_positions,
            num_amateur_positions=needs.num_amateur_positions,
            room=needs.room,
            guide=needs.guide,
            stop=StopStrings(params.stop, self.tokenizer),
            continues_text=continues_text or params.echo,
            end_token_ids=self.tokenizer.eos_token_ids if end_token_ids is None else tuple(end_token_ids),
            thought_marks=thought_marks,
            tool_use=tool_use,
            grammar=self._grammar(params, thought_marks, tool_use),
            adapter=adapter,
            prediction=tuple(_as_token_ids(prediction)),
        )

    @property
    def cache_share(self) -> float:
        """Share of the KV cache that is reserved, 0 to 1. It may be read at any time."""
        return self._budget.num_taken / max(self._budget.max_positions, 1)

    @property
    def seconds_per_prompt_token(self) -> float:
        """Seconds that a token of a prompt takes, as measured of late. It may be read at any time."""
        return self._pace.seconds_per_token

    @property
    def num_prompt_tokens_left(self) -> int:
        """Tokens of the prompts that run, as far as they are not computed. It may be read at any time."""
        return self._scheduler.num_tokens_left

    @property
    def prefill_limit(self) -> int:
        """Tokens of prompts that may be computed at once now, so that no text pauses for long."""
        if not self.backend.is_batch_invariant:
            return PREFILL_CHUNK
        return self._pace.limit(is_beside_texts=self._scheduler.has_texts)

    def add(self, request: Request) -> None:
        """Queue a request that `prepare` made."""
        request.is_preemptible = is_preemptible(request, self.backend)
        with self._lock.checked():
            self._scheduler.add(request)

    def step(self) -> None:
        """Advance each running sequence by one token, and prompts by so many tokens that no text pauses for long.

        Raises RequestError, and has changed nothing, if the backend has no memory for it.
        """
        with self._lock.checked():
            for request in self._scheduler.make_room():
                preempt(request, self._sequences)
            prefilling, decoding = self._scheduler.schedule()
            is_beside_texts = bool(decoding)
            begin, num_computed = self._pace.clock(), self._scheduler.num_computed
            self._run(prefilling, decoding, self._pace.limit(is_beside_texts=is_beside_texts))
            num_tokens, seconds = self._scheduler.num_computed - num_computed, self._pace.clock() - begin
            self._pace.measured(num_tokens, seconds, is_beside_texts=is_beside_texts)

    def _run(self, prefilling: Seq[Request], decoding: Seq[Request], most: int) -> None:
        """Run one batch: the last token of each decoding sequence, and the next chunks of the prompts that come first.

        `most`: tokens of all these chunks together.
        """
        in_step = list(decoding)
        with self._ending_together(in_step):
            chunks_of_prompts = self._prefill_chunks(prefilling, most, in_step)
            self._run_batch(chunks_of_prompts, decoding)

    def _run_batch(self, prefilling: Seq[tuple[Request, Chunk]], decoding: Seq[Request]) -> None:
        sequences = [(request, sequence) for request in decoding for sequence in request.running]
        drafts = [NO_DRAFT] * len(sequences) if prefilling else self._propose(sequences)
        chunks = [
            _decode_chunk(sequence, draft.token_ids) for (_, sequence), draft in zip(sequences, drafts, strict=True)
        ]
        chunks += [chunk for _, chunk in prefilling]
        is_measured = not prefilling and not self._sequences
        with self._costs.measuring(sum(len(chunk.token_ids) for chunk in chunks) if is_measured else None):
            rows = self._sequences.step(chunks) if chunks else []
        drawn = self._draw_together([sequence for _, sequence in sequences], rows)
        for (request, sequence), draft, logits, token_id in zip(sequences, drafts, rows, drawn, strict=False):
            # unless a sequence beside it has just ended the whole request
            if not request.params.num_beams and sequence.finish_detail is None:
                with self._failing_alone(request):
                    self._sample_and_verify(request, sequence, draft, logits, token_id)
        for request in decoding:
            if request.params.num_beams:
                of_beams = [logits[-1] for (owner, _), logits in zip(sequences, rows, strict=False) if owner is request]
                with self._failing_alone(request):
                    advance_beams(request, of_beams, self._sequences)
        for (request, chunk), logits in zip(prefilling, rows[len(sequences) :], strict=True):
            with self._failing_alone(request):
                self._advance_prefill(request, chunk, logits)
        for request in decoding:
            self._finish_if_done(request)

    # Waiting for requests

    @checked_arguments
    def run(self, requests: Seq[Request]) -> None:
        """Step until these requests are finished. Raises the error of the first that had to end with one.

        Any exception, KeyboardInterrupt included, cancels the requests: no other caller waits for them.
        """
        try:
            while not all(request.is_finished for request in requests):
                self.step()
        finally:
            for request in requests:
                self.cancel(request)
        for request in requests:
            if request.error is not None:
                raise request.error

    @checked_arguments
    def stream(self, request: Request) -> Generator[TextPiece, None, None]:
        """Yield the request's text as it grows. A reader who stops reading cancels the request.

        Raises the request's own error, if it had to end with one, after the text before it.
        """
        try:
            while True:
                with self._lock.checked():
                    if not request.pieces and not request.is_finished:
                        self.step()
                    pieces = [request.pieces.popleft() for _ in range(len(request.pieces))]
                yield from pieces
                if request.is_finished and not request.pieces:
                    break
            if request.error is not None:
                raise request.error
        finally:
            self.cancel(request)

    @checked_arguments
    def cancel(self, request: Request) -> None:
        """Stop a request and keep the text it has. A finished request stays as it is."""
        if self._lock.is_lost:
            return
        with self._lock.checked():
            if request.params.num_beams and request.running:
                cancel_search(request, self._sequences)
            for sequence in request.running:
                self._finish(request, sequence, "cancelled")
            self._close(request)

    def next_distribution(self, prompt_token_ids: Seq[int], *, adapter: str | None = None) -> Distribution:
        """Return the distribution of the token that follows a prompt, untruncated. Raises RequestError as `submit`."""
        logits = self.next_logits(prompt_token_ids, adapter=adapter)
        return Distribution.from_logits(logits, token_text=self.tokenizer.token_text)

    def next_logits(self, prompt_token_ids: Seq[int], *, adapter: str | None = None) -> Logits:
        """Return the model's logits after a prompt, (vocab_size,). Raises RequestError as `submit`."""
        prompt = _as_token_ids(prompt_token_ids)
        self._admission.check(prompt, adapter=adapter, room_for=0)
        with self.reserve(whole_pages(len(prompt)), remedy="shorten the prompt") as backend:
            cache_id = backend.open_cache(prompt, adapter=adapter)
            try:
                for chunk in prefill_chunks(cache_id, prompt, backend.cache_length(cache_id), num_logits=1):
                    (logits,) = backend.step([chunk])
            finally:
                backend.close_cache(cache_id)
        after: Logits = logits[-1].copy()
        return after

    @contextlib.contextmanager
    def reserve(self, num_positions: int, *, remedy: str = "shorten the text, or lower context") -> Iterator[Backend]:
        """Yield the backend with `num_positions` of its KV cache reserved. Other threads wait until the block ends.

        Steps the requests until there is so much room. Hold it for one batch only, and never across a `yield`. Raises
        RequestError, whose message ends with `remedy`, for more positions than the whole KV cache.
        """
        self._budget.require(num_positions, remedy=remedy)
        with self._lock.checked():
            while not self._budget.can_reserve(num_positions):
                assert self._scheduler.has_running, "a reservation within another one"
                self.step()
            self._budget.reserve(num_positions)
            try:
                yield self.backend
            finally:
                self._budget.release(num_positions)

    def room(self, num_positions: int) -> Iterator[None]:
        """Yield until `reserve` need not wait; the caller steps the engine. Meanwhile no request begins to run."""
        if num_positions <= self._budget.max_positions:
            with self._scheduler.holding():
                while not self._budget.can_reserve(num_positions):
                    yield

    # Admission

    def _grammar(
        self, params: SamplingParams, thought_marks: ThoughtMarks | None, tool_use: ToolUse | None
    ) -> Grammar | None:
        """Return the grammar of the form that a request's completions must have; None if it has none."""
        if tool_use is None:
            return self._compile(params.constraint)
        from nextword.decoding.call_grammar import call_constraint  # for calls alone

        return self._compile(call_constraint(tool_use, params.constraint), shown_token_ids(thought_marks, tool_use))

    def _compile(self, constraint: Constraint | None, shown_ids: frozenset[int] = frozenset()) -> Grammar | None:
        """Return the grammar of a constraint for this vocabulary; `shown_ids`: control tokens that are text of it."""
        if constraint is None:
            return None
        if shown_ids not in self._grammar_compilers:
            from nextword.inference.grammars import grammar_compiler

            made = grammar_compiler(self.tokenizer, self.backend.vocab_size, shown_ids)
            self._grammar_compilers[shown_ids] = made
        return self._grammar_compilers[shown_ids].compile(constraint)

    # Prefill

    def _prefill_chunks(self, requests: Seq[Request], most: int, in_step: list[Request]) -> list[tuple[Request, Chunk]]:
        """Return the next chunks of the prompts that come first, of `most` tokens together.

        Adds the requests whose keys and values grow to `in_step`. A guide's prompt is computed before that of its
        request, in a step of its own. A backend whose rounding depends on the chunks gets the first one whole.
        """
        chosen: list[tuple[Request, Chunk]] = []
        for request in requests:
            if most <= 0:
                break
            in_step.append(request)
            if request.guide is not None and not request.guide.is_ready:
                most -= self._prefill_guide(request, request.guide, most)
                continue
            chunk = self._prefill_chunk(request, most)
            if len(chunk.token_ids) > most and chosen:
                in_step.pop()
                break
            most -= len(chunk.token_ids)
            chosen.append((request, chunk))
        return chosen

    def _prefill_guide(self, request: Request, guide: Guide, most: int) -> int:
        """Compute the next chunk of the prompt of the request's guide; return its number of tokens."""
        num_tokens = 0
        with self._failing_alone(request):
            num_tokens = guide.prefill(most)
            self._scheduler.computed(num_tokens)
        return num_tokens

    def _prefill_chunk(self, request: Request, most: int) -> Chunk:
        """Return the next chunk of the request's prompt; with the first one its cache is opened."""
        scores = request.scores_prompt and not request.is_preempted
        if request.cache_id is None:
            # A stored prefix has no logits, so a prompt that is scored starts from an empty cache.
            stored = () if scores else request.prefill_token_ids
            request.cache_id = self.backend.open_cache(stored, adapter=request.adapter)
            request.num_prefilled = self.backend.cache_length(request.cache_id)
            if not request.is_preempted:
                request.num_cached = request.num_prefilled
        token_ids = request.prefill_token_ids
        num_logits = len(token_ids) if scores else 1
        most = most if self.backend.is_batch_invariant else PREFILL_CHUNK
        return prefill_chunk(request.cache_id, token_ids, request.num_prefilled, num_logits=num_logits, most=most)

    def _advance_prefill(self, request: Request, chunk: Chunk, logits: Logits) -> None:
        """Score the prompt's chunk where asked; after the last chunk, finish the prefill."""
        if request.scores_prompt and not request.is_preempted:
            self._score_prompt(request, logits)
        request.num_prefilled += len(chunk.token_ids)
        self._scheduler.computed(len(chunk.token_ids))
        if request.num_prefilled < len(request.prefill_token_ids):
            return
        if request.is_preempted:
            resume(request)
        else:
            self._finish_prefill(request, logits[-1])

    def _score_prompt(self, request: Request, logits: Logits) -> None:
        """Keep the log-probabilities of the tokens that follow the chunk's positions."""
        targets = request.prompt_token_ids[request.num_prefilled + 1 :]
        for row, token_id in zip(logits, targets, strict=False):
            request.prompt_tokens.append(score_row(row, token_id, num_alternatives=request.params.logprobs or 0))

    def _finish_prefill(self, request: Request, logits: Logits) -> None:
        """Start the request's sequences and sample their first tokens from the logits after the prompt."""
        if request.guide is not None:
            logits = self._follow(request, request.guide, logits)
        for sequence in self._start_sequences(request):
            if request.params.max_tokens == 0:
                self._finish(request, sequence, "max_tokens")
            elif sequence.sampler.is_complete:
                self._finish(request, sequence, "complete")
            elif request.params.num_beams:
                advance_beams(request, [logits], self._sequences)
            else:
                self._sample_next(request, sequence, logits)
        self._finish_if_done(request)

    def _follow(self, request: Request, guide: Guide, logits: Logits) -> Logits:
        """Let the guide follow the sequences from here on; return the guided logits after the prompt."""
        assert request.cache_id is not None
        assert guide.logits is not None, "a guide whose prompt is not computed"
        self._sequences.attach(request.cache_id, guide)
        return guide.guidance(logits, guide.logits)

    def _start_sequences(self, request: Request) -> list[Sequence]:
        """Start n sequences, or one beam: the last takes over the prompt's cache, the others a fork of it."""
        assert request.cache_id is not None
        params = request.params
        breakers = dry_breakers(self.tokenizer, params)
        num_sequences = 1 if params.num_beams else params.n
        for index in range(num_sequences):
            is_last = index == num_sequences - 1
            before = request.prompt_token_ids if request.continues_text else ()
            decoder = self.tokenizer.stream_decoder(after=before, shown=request.shown_token_ids)
            matcher = self._matcher(request, begins_text=decoder.begins_text)
            sampler = Sampler(
                request.params,
                request.prompt_token_ids,
                end_token_ids=request.end_token_ids,
                breakers=breakers,
                sample_index=index,
                seed=request.seed,
                matcher=matcher,
            )
            stream = TextStream(decoder, request.stop)
            drafter = Drafter([] if params.num_beams else self._draft_sources(request, index, matcher), matcher)
            # last, since what is above may raise: then no copy is left open
            cache_id = request.cache_id if is_last else self._sequences.fork_cache(request.cache_id)
            request.sequences.append(
                Sequence(index=index, cache_id=cache_id, sampler=sampler, stream=stream, drafter=drafter)
            )
        request.cache_id = None
        return request.sequences

    def _matcher(self, request: Request, *, begins_text: bool) -> Matcher | None:
        """Return what says which tokens fit the form of a completion; None for one that has none."""
        if request.grammar is None:
            return None
        if request.thought_marks is not None:
            splitter = thought_splitter(request, self.tokenizer)
            if splitter.is_thinking:
                from nextword.inference.grammars import AfterThoughts

                decoder = self.tokenizer.stream_decoder(shown=request.shown_token_ids)
                answer = request.grammar.matcher()
                return AfterThoughts(answer, splitter, decoder, vocab_size=self.backend.vocab_size)
        return request.grammar.matcher(begins_text=begins_text)

    def _draft_sources(self, request: Request, index: int, matcher: Matcher | None) -> list[DraftSource]:
        """Return what proposes drafts for a completion."""
        if not self._speculates:
            return []
        sources: list[DraftSource] = [Lookup(request.prompt_token_ids, is_prediction=False)]
        if self._draft_model is not None:
            prompt, params, seed = request.prompt_token_ids, request.params, request.seed
            sources.append(self._draft_model.source(prompt, params, seed=seed, sample_index=index))
        if matcher is not None:
            from nextword.inference.grammars import ForcedText

            sources.insert(0, ForcedText(matcher, self.tokenizer))
        if request.prediction:
            sources.insert(0, Lookup(request.prediction, is_prediction=True))
        return sources

    # Draft, sample, advance, finish

    def _propose(self, sequences: Seq[tuple[Request, Sequence]]) -> list[Draft]:
        """Return a draft for each sequence, empty where none is likely to save time."""
        drafts: list[Draft] = []
        for request, sequence in sequences:
            num_other_rows = len(sequences) - 1 + sum(len(draft.token_ids) for draft in drafts)
            limit = self._draft_limit(request, sequence) if len(sequences) < self._scheduler.max_sequences else 0
            drafts.append(sequence.drafter.propose(limit, self._costs, num_other_rows=num_other_rows))
        return drafts

    def _draft_limit(self, request: Request, sequence: Sequence) -> int:
        """Return how many tokens a draft may have, of which none may lead beyond max_tokens or the context."""
        most = request.params.max_tokens
        left = self.backend.max_seq_len if most is None else most - len(sequence.tokens)
        return min(left - 1, self._sequences.draft_limit(sequence.cache_id))

    def _draw_together(self, sequences: Seq[Sequence], rows: Seq[Logits]) -> list[int | None]:
        """Return the first token of each sequence's rows, (1 + draft, V), where all can be drawn at once, else None."""
        samplers = [sequence.sampler for sequence in sequences]
        first_rows = [logits[0] for logits in rows[: len(sequences)]]
        return draw_together(samplers, first_rows, self.backend.threads)

    def _sample_and_verify(
        self, request: Request, sequence: Sequence, draft: Draft, logits: Logits, drawn: int | None
    ) -> None:
        """Sample a token from each row of logits, (1 + draft, V), up to the first that the draft did not foresee.

        `drawn`: the first token, where it is known.
        """
        num_kept = 0
        for row, drafted, token_id in itertools.zip_longest(logits, draft.token_ids, [drawn]):
            self._sample_next(request, sequence, row, token_id)
            if drafted is None or sequence.finish_detail is not None or sequence.tokens[-1].token_id != drafted:
                break
            num_kept += 1
        sequence.drafter.observe(draft, num_kept)
        num_left = len(draft.token_ids) - num_kept
        if num_left and sequence.finish_detail is None:
            self._sequences.take_back(sequence.cache_id, num_left)

    def _sample_next(self, request: Request, sequence: Sequence, logits: Logits, drawn: int | None = None) -> None:
        """Sample the next token from a row of logits, unless it was `drawn`, and advance the sequence by it."""
        self._advance(request, sequence, sequence.sampler.choose(logits, drawn))

    def _advance(self, request: Request, sequence: Sequence, token: ChosenToken) -> None:
        """Append a token, release the text that it makes certain, and finish the sequence if it ends here."""
        text, detail = append_token(request, sequence, token)
        if detail:
            self._finish(request, sequence, detail, text)
        elif text:
            request.pieces.append(sequence.piece(text))

    def _finish(self, request: Request, sequence: Sequence, detail: FinishDetail, text: str = "") -> None:
        """End a sequence: release its last text and what was held back, and close its cache."""
        text += sequence.stream.flush()
        sequence.finish_detail = "stop_string" if sequence.stream.stopped else detail
        request.pieces.append(sequence.piece(text))
        if not request.is_preempted:
            self._sequences.close_cache(sequence.cache_id)
        sequence.drafter.close()

    def _finish_if_done(self, request: Request) -> None:
        if not request.running:
            self._close(request)

    def _close(self, request: Request) -> None:
        """End a request: close the cache of its prompt, and remove it from the schedule."""
        if request.cache_id is not None:
            self._sequences.close_cache(request.cache_id)
            request.cache_id = None
        if request.guide is not None:
            request.guide.close()
        request.is_finished = True
        self._scheduler.remove(request)

    # Failures

    @contextlib.contextmanager
    def _ending_together(self, requests: Seq[Request]) -> Iterator[None]:
        """End these requests where a step is interrupted: their caches may have grown and their tokens not."""
        try:
            yield
        except NextwordError:
            raise
        except BaseException:
            for request in requests:
                request.error = StepInterruptedError("the step that computed this was interrupted: ask again")
                self.cancel(request)
            raise

    @contextlib.contextmanager
    def _failing_alone(self, request: Request) -> Iterator[None]:
        """End only this request if its parameters leave no token to sample; the others continue."""
        try:
            yield
        except NextwordError as error:
            request.error = error
            self.cancel(request)


def _decode_chunk(sequence: Sequence, draft: Seq[int]) -> Chunk:
    """Return the chunk of a sequence's last token and a draft of those that may follow it."""
    return Chunk(sequence.cache_id, [sequence.tokens[-1].token_id, *draft], 1 + len(draft), num_drafted=len(draft))


def _as_token_ids(token_ids: Seq[int]) -> list[int]:
    """Return a copy as plain integers. Raises RequestError if they are not."""
    try:
        return list(map(operator.index, token_ids))
    except TypeError:
        raise RequestError(f"prompt_token_ids = {shown(token_ids)}: must be a list of token ids") from None


@contextlib.contextmanager
def reserve_on_each(engines: Seq[Engine], num_positions: int) -> Iterator[list[Backend]]:
    """Yield the backends of several engines, each as `Engine.reserve`; an engine named twice reserves for both.

    Engines are always locked in the same order, so that two threads never wait for each other.
    """
    with contextlib.ExitStack() as reservations:
        for engine in sorted(set(engines), key=id):
            reservations.enter_context(engine.reserve(num_positions * engines.count(engine)))
        yield [engine.backend for engine in engines]
