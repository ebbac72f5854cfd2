"""`Metrics`: counts and times of what was served, as text for Prometheus, by the names of vLLM under `nextword:`.

No label has a text of a client in it, so the number of series is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from nextword.inference.sequence import FINISH_REASONS
from nextword.serving.job import Job

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
_TOKEN_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536)
_COMPLETIONS = (1, 2, 5, 10, 20)
_ENDS = {"stop": "stop", "length": "length", "cancelled": "abort"}


class Metrics:
    """Measures of one server. Lives on the event loop."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts that were computed or found stored.")
        self._generated = self._counter("generation_tokens", "Tokens that were generated.")
        self._queries = self._counter("prefix_cache_queries", "Tokens of prompts that were looked for in the cache.")
        self._hits = self._counter("prefix_cache_hits", "Tokens of prompts that were found in the cache.")
        self._preemptions = self._counter("num_preemptions", "Times that a request gave up its cache to others.")
        self._drafted = self._counter("spec_decode_num_draft_tokens", "Tokens that were drafted.")
        self._accepted = self._counter("spec_decode_num_accepted_tokens", "Drafted tokens that were kept.")
        self.steps = self._counter("model_steps", "Steps of the model, for requests and for all else.")
        self.gone = self._counter("http_requests_client_disconnected", "Requests whose client went before the end.")
        self._ends = Counter(
            "nextword:request_success", "Completions by why they ended.", ["finished_reason"], registry=self.registry
        )
        for reason in _ENDS.values():
            self._ends.labels(reason)
        self._first = self._seconds("time_to_first_token", "Seconds from a request to its first text.")
        self._each = self._seconds("request_time_per_output_token", "Mean seconds between tokens.", _TOKEN_SECONDS)
        self._whole = self._seconds("e2e_request_latency", "Seconds from a request to its end.")
        self._queued = self._seconds("request_queue_time", "Seconds that a request waited.")
        self._prefill = self._seconds("request_prefill_time", "Seconds from a request's start to its first text.")
        self._decode = self._seconds("request_decode_time", "Seconds from a request's first text to its end.")
        self._n = self._sizes("request_params_n", "Completions of a prompt.", _COMPLETIONS)
        self._most = self._sizes("request_params_max_tokens", "Limits of tokens that requests gave.", _TOKENS)

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Show a value that is read when it is asked for."""
        Gauge(f"nextword:{name}", help_text, registry=self.registry).set_function(value)

    def finished(self, job: Job) -> None:
        """Count a request that has ended."""
        end = time.monotonic()
        for request in job.requests:
            self._n.observe(request.params.width)
            if request.params.max_tokens is not None:
                self._most.observe(request.params.max_tokens)
            self._prompt_tokens.inc(min(request.num_prefilled, len(request.prompt_token_ids)))
            self._preemptions.inc(request.num_preemptions)
            if not request.scores_prompt and request.has_started:
                self._queries.inc(len(request.prompt_token_ids))
                self._hits.inc(request.num_cached)
            for sequence in request.sequences:
                self._generated.inc(len(sequence.tokens))
                self._drafted.inc(sequence.drafter.num_drafted)
                self._accepted.inc(sequence.drafter.num_kept)
                if sequence.finish_detail is not None:
                    self._ends.labels(_ENDS[FINISH_REASONS[sequence.finish_detail]]).inc()
        self._observe_times(job, end)

    def text(self) -> bytes:
        """Return all measures in Prometheus' text format."""
        return generate_latest(self.registry)

    def _observe_times(self, job: Job, end: float) -> None:
        self._whole.observe(end - job.begin)
        if job.started is not None:
            self._queued.observe(job.started - job.begin)
        if job.first_token is None or job.started is None:
            return
        self._first.observe(job.first_token - job.begin)
        self._prefill.observe(job.first_token - job.started)
        self._decode.observe(end - job.first_token)
        longest = max((len(one.tokens) for request in job.requests for one in request.sequences), default=0)
        if longest > 1:
            self._each.observe((end - job.first_token) / (longest - 1))

    def _counter(self, name: str, help_text: str) -> Counter:
        return Counter(f"nextword:{name}", help_text, registry=self.registry)

    def _seconds(self, name: str, help_text: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
        return Histogram(f"nextword:{name}_seconds", help_text, buckets=buckets, registry=self.registry)

    def _sizes(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"nextword:{name}", help_text, buckets=buckets, registry=self.registry)
