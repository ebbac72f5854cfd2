"""`LanguageModel`: the object that users work with. A name, folder or file in; text, distributions and scores out.

Every method is a few lines over the engine; the algorithms live in the rooms below.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack, cast

from nextword.adapters.open import AdapterFolders
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checks import check_items, checked_arguments, shown
from nextword.decoding.distribution import Distribution
from nextword.decoding.params import SamplingOptions, SamplingParams, sampling_params
from nextword.decoding.sampler import Sampler, unseen
from nextword.errors import RequestError
from nextword.inference.backend import BackendName, Weights
from nextword.inference.breakers import dry_breakers
from nextword.inference.engine import Engine, SubmitOptions
from nextword.inference.generation import Generation, collect, echoed_text
from nextword.inference.sequence import Request
from nextword.text.chat_messages import Message
from nextword.text.chat_options import ChatOptions, check_names
from nextword.text.tokenizer import Tokenizer

if TYPE_CHECKING:  # imported where they are used: generation does not wait for what it does not need
    from nextword.data.documents import Document
    from nextword.evaluation.compare import Comparison
    from nextword.evaluation.conventions import ConventionName
    from nextword.evaluation.perplexity import PerplexityReport
    from nextword.evaluation.score import Score
    from nextword.evaluation.surprise import SurpriseReport
    from nextword.tasks.chat import Conversation
    from nextword.tasks.classify import Classification, Classifier
    from nextword.tasks.classify_options import ClassifyKeywords
    from nextword.tasks.summarize import Length, Style, Summary

Prompt = Annotated[str, "a string; for several prompts use generate_batch"]
Messages = Annotated[Sequence[Message], 'a list of messages such as [{"role": "user", "content": "Hello"}]']
Labels = Annotated[Sequence[str], 'a list of strings such as ["positive", "negative"]']


class ChatKeywords(SamplingOptions, ChatOptions, total=False):
    """The keywords of `chat` and `stream_chat`: how the conversation is rendered, and sampling parameters."""


class Stream:
    """The text of one completion as it is generated, after the prompt if echo asked for it; iterate over it.

    `generation` is there after the last piece.
    """

    def __init__(self, engine: Engine, request: Request) -> None:
        self._engine = engine
        self._request = request
        self._prompt = echoed_text(request, engine.tokenizer)
        weakref.finalize(self, engine.cancel, request)  # cancels the request of an abandoned stream

    def __repr__(self) -> str:
        return f"Stream({'finished' if self._request.is_finished else 'running'})"

    def __iter__(self) -> Iterator[str]:
        prompt, self._prompt = self._prompt, ""
        if prompt:
            yield prompt
        for piece in self._engine.stream(self._request):
            if piece.text:
                yield piece.text

    @property
    def generation(self) -> Generation:
        """The finished generation. Raises RequestError before the iteration has ended."""
        if not self._request.is_finished:
            raise RequestError("the stream has not ended: iterate over it first")
        return collect(self._request, self._engine.tokenizer)


class LanguageModel:
    """A loaded model with its tokenizer and engine; `load` makes one."""

    @checked_arguments
    def __init__(
        self,
        directory: ModelDirectory,
        engine: Engine,
        *,
        name: str | None = None,
        backend: BackendName = "auto",
        weights: Weights = "auto",
        adapters: AdapterFolders | None = None,
    ) -> None:
        """Join a model with its engine; `name`, `backend` and `weights` are for `repr` alone.

        `adapters`: where those of the engine's backend come from, for names of what texts depend on.
        """
        self.directory = directory
        self.engine = engine
        self.name = name or directory.path.name
        self._backend: BackendName = backend
        self._weights: Weights = weights
        self.adapter_folders = {one: Path(folder) for one, folder in (adapters or {}).items()}
        """Folders of the adapters that were opened beside the model."""

    def __repr__(self) -> str:
        directory = self.directory
        weights = directory.weights_dtype if self._weights == "auto" else self._weights
        size = _rounded(directory.num_parameters)
        known = f"{directory.config.family}, {size} parameters, backend {self._backend}, weights {weights}"
        return f"LanguageModel({self.name!r}, {known})"

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer: text to token ids and back."""
        return self.engine.tokenizer

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that a request may choose; the base model is None."""
        return self.engine.backend.adapter_names

    @checked_arguments
    def params(self, **overrides: Unpack[SamplingOptions]) -> SamplingParams:
        """Return the sampling parameters of a call: its keywords, else the checkpoint's, else the built-in defaults.

        Raises RequestError. Warns of values in the checkpoint that can have no effect.
        """
        return sampling_params(self.directory.generation_defaults, **overrides)

    @checked_arguments
    def chat_params(self, **overrides: Unpack[SamplingOptions]) -> SamplingParams:
        """Return the sampling parameters of a chat: as `params`, but the publisher's settings for chat come first."""
        defaults = {**self.directory.generation_defaults, **self.directory.chat_defaults}
        return sampling_params(defaults, **overrides)

    @checked_arguments
    def generate(
        self,
        prompt: Prompt,
        *,
        parse_special: bool = False,
        adapter: str | None = None,
        prediction: str | None = None,
        negative_prompt: str | None = None,
        **params: Unpack[SamplingOptions],
    ) -> Generation:
        """Continue a prompt; keywords are the fields of `SamplingParams`. Raises RequestError.

        `parse_special`, here and below: read control tokens written in the text, such as <|im_start|>, as tokens;
        without it they are text like any other, which nobody can use to speak in another's name.
        `adapter`, here and below: one of `adapters`; None: the base model.
        `prediction`, here and below: a text of which the completion is expected to have long parts, such as the one
        that it edits. It changes no token; the more of it is right, the sooner they come.
        `negative_prompt`, here and below: the prompt that `guidance_scale` moves away from; None: the prompt's last
        token alone.
        """
        token_ids = self.tokenizer.encode_prompt(prompt, parse_special=parse_special)
        how = self._request_options(adapter, prediction, negative_prompt, parse_special=parse_special)
        return self._run(token_ids, self.params(**params), how)

    @checked_arguments
    def generate_batch(
        self,
        prompts: Sequence[str],
        params: Sequence[SamplingParams] | None = None,
        *,
        parse_special: bool = False,
        adapter: str | Sequence[str | None] | None = None,
        negative_prompt: str | Sequence[str | None] | None = None,
        **options: Unpack[SamplingOptions],
    ) -> list[Generation]:
        """Continue many prompts together; each completion is the one that `generate` gives for its prompt alone.

        Keywords hold for all prompts; `params` instead gives each prompt its own, and `adapter` and `negative_prompt`
        may be lists, too. Raises RequestError.
        """
        if params is not None and options:
            raise RequestError(f"params and {', '.join(options)}: give either parameters for each prompt, or keywords")
        params = [self.params(**options)] * len(prompts) if params is None else params
        if len(prompts) != len(params):
            raise RequestError(f"{len(prompts)} prompts but {len(params)} sets of parameters: give one for each")
        encoded = [self.tokenizer.encode_prompt(prompt, parse_special=parse_special) for prompt in prompts]
        adapters = _for_each(prompts, adapter, "adapters")
        negatives = _for_each(prompts, negative_prompt, "negative prompts")
        hows = [
            self._request_options(name, negative_prompt=negative, parse_special=parse_special)
            for name, negative in zip(adapters, negatives, strict=True)
        ]
        requests = [
            self.engine.submit(prompt, one, **how) for prompt, one, how in zip(encoded, params, hows, strict=True)
        ]
        self.engine.run(requests)
        return [collect(request, self.tokenizer) for request in requests]

    @checked_arguments
    def stream(
        self,
        prompt: Prompt,
        *,
        parse_special: bool = False,
        adapter: str | None = None,
        prediction: str | None = None,
        negative_prompt: str | None = None,
        **params: Unpack[SamplingOptions],
    ) -> Stream:
        """Continue a prompt and yield the text as it is generated. Raises RequestError; n must be 1."""
        token_ids = self.tokenizer.encode_prompt(prompt, parse_special=parse_special)
        how = self._request_options(adapter, prediction, negative_prompt, parse_special=parse_special)
        return self._stream(token_ids, self.params(**params), how)

    @checked_arguments
    def chat(
        self,
        messages: Messages,
        *,
        adapter: str | None = None,
        prediction: str | None = None,
        negative_messages: Messages | None = None,
        **options: Unpack[ChatKeywords],
    ) -> Generation:
        """Answer a conversation; a message is a mapping in OpenAI's form. Raises RequestError, TokenizerError.

        Keywords: tools, template_variables, chat_template and continue_final_message, as `ChatOptions` says, and the
        fields of `SamplingParams`; those not given are as in `chat_params`.
        `negative_messages`: the conversation that `guidance_scale` moves away from; None: the prompt's last token.
        """
        rendering, params = _split_options(options)
        prompt = self.tokenizer.encode_chat(messages, **rendering)
        how = self._answering(rendering, self._request_options(adapter, prediction), negative_messages)
        return self._run(prompt, self.chat_params(**params), how)

    @checked_arguments
    def stream_chat(
        self,
        messages: Messages,
        *,
        adapter: str | None = None,
        prediction: str | None = None,
        negative_messages: Messages | None = None,
        **options: Unpack[ChatKeywords],
    ) -> Stream:
        """Answer a conversation as `chat` does and yield the text as it is generated."""
        rendering, params = _split_options(options)
        prompt = self.tokenizer.encode_chat(messages, **rendering)
        how = self._answering(rendering, self._request_options(adapter, prediction), negative_messages)
        return self._stream(prompt, self.chat_params(**params), how)

    @checked_arguments
    def conversation(
        self,
        *,
        system: str | None = None,
        template_variables: Mapping[str, Any] | None = None,
        chat_template: str | PathLike[str] | None = None,
        adapter: str | None = None,
        negative_system: str | None = None,
        **params: Unpack[SamplingOptions],
    ) -> Conversation:
        """Begin a chat that keeps its history; keywords are the fields of `SamplingParams`. Raises RequestError.

        `template_variables` and `chat_template` as in `ChatOptions`. `negative_system`: the system prompt that
        `guidance_scale` moves away from; None: the prompt's last token alone.
        """
        from nextword.tasks.chat import Conversation

        rendering: ChatOptions = {"template_variables": template_variables, "chat_template": chat_template}
        chosen = self.chat_params(**params)
        return Conversation(
            self.engine, chosen, system=system, rendering=rendering, adapter=adapter, negative_system=negative_system
        )

    @checked_arguments
    def next(self, text: str, *, parse_special: bool = False, adapter: str | None = None) -> Distribution:
        """Compute the distribution of the token that follows a text, before any truncation. Textbook section 2.1."""
        token_ids = self.tokenizer.encode_prompt(text, parse_special=parse_special)
        return self.engine.next_distribution(token_ids, adapter=adapter)

    @checked_arguments
    def next_steps(
        self,
        text: str,
        *,
        parse_special: bool = False,
        adapter: str | None = None,
        **params: Unpack[SamplingOptions],
    ) -> dict[str, Distribution]:
        """Compute what `next` does ("model"), then the distribution after each step that the parameters switch on.

        The keys are "penalties" for all that changes logits, bias included, and the names of the parameters, in the
        order in which they are applied. The first token of `generate` is drawn from the last. Raises RequestError, also
        for a form, a guide or beams, whose effect is not shown.
        """
        chosen = self.params(**params)
        if (name := unseen(chosen)) is not None:
            raise RequestError(f"{name} = {shown(getattr(chosen, name))}: its effect is not shown here; leave it out")
        prompt = self.tokenizer.encode_prompt(text, parse_special=parse_special)
        ends, breakers = self.tokenizer.eos_token_ids, dry_breakers(self.tokenizer, chosen)
        sampler = Sampler(chosen, prompt, end_token_ids=ends, breakers=breakers)
        logits = self.engine.next_logits(prompt, adapter=adapter)
        return dict(sampler.steps(logits, token_text=self.tokenizer.token_text))

    @checked_arguments
    def score(
        self, text: str, *, alternatives: int = 0, parse_special: bool = False, adapter: str | None = None
    ) -> Score:
        """Compute the log-probability of each token of a text but the first, which has no context without a BOS token.

        `alternatives`: how many of the most probable tokens to report beside each. Raises RequestError if the text has
        fewer than two tokens or more than the context.
        """
        from nextword.evaluation.score import Score

        token_ids = self.tokenizer.encode_prompt(text, parse_special=parse_special)
        if len(token_ids) < 2:
            raise RequestError(f"the text has {len(token_ids)} tokens: at least two are needed, the first is context")
        params = SamplingParams(max_tokens=0, echo=True, logprobs=alternatives)
        tokens = self._run(token_ids, params, {"adapter": adapter}).prompt_tokens
        texts = tuple(self.tokenizer.token_text(token.token_id) for token in tokens)
        return Score(tokens=tokens, token_texts=texts)

    @checked_arguments
    def perplexity(
        self,
        texts: str | Iterable[str],
        *,
        convention: ConventionName = "sliding",
        context: int | None = None,
        stride: int | None = None,
    ) -> PerplexityReport:
        """Measure how well the model predicts a text or texts, by a convention. Raises RequestError, DataError.

        `context`: tokens of a window; None: the model's context, for llama.cpp 512. `stride`, of sliding windows: None
        for no overlap.
        """
        from nextword.evaluation.conventions import choose_convention
        from nextword.evaluation.perplexity import measure_perplexity

        backend = self.engine.backend
        chosen = choose_convention(convention, context=context, stride=stride, max_seq_len=backend.max_seq_len)
        return measure_perplexity(self.engine, _documents(texts), chosen)

    @checked_arguments
    def compare(self, other: LanguageModel, texts: str | Iterable[str], *, context: int | None = None) -> Comparison:
        """Compare how well this model, A, and another, B, predict the same texts. Raises RequestError.

        `context`: tokens of a window; None: the smaller context of the two.
        """
        from nextword.evaluation.compare import compare_models

        return compare_models(self.engine, other.engine, _documents(texts), context=context)

    @checked_arguments
    def surprise(self, text: str, *, context: int | None = None) -> SurpriseReport:
        """Measure how surprised the model is by each token of a text. Raises RequestError.

        `context`: tokens of a window; None: the model's context. Windows overlap by half.
        """
        from nextword.evaluation.surprise import measure_surprise

        return measure_surprise(self.engine, text, context=context)

    @checked_arguments
    def summarize(
        self,
        text: str,
        *,
        length: Length = "medium",
        style: Style = "paragraph",
        on_part: Callable[[int, int], None] = lambda part, num_parts: None,
        on_text: Callable[[str], None] = lambda piece: None,
    ) -> Summary:
        """Summarise a text of any length; the same text gives the same summary. Raises RequestError.

        `on_part(part, num_parts)` is called after each part of a text beyond the context, `on_text` with each piece of
        the summary as it is generated.
        """
        from nextword.tasks.summarize import summarize

        return summarize(self.engine, text, length=length, style=style, on_part=on_part, on_text=on_text)

    @checked_arguments
    def classify(
        self,
        text: str,
        labels: Labels,
        *,
        examples: Sequence[tuple[str, str]] = (),
        **options: Unpack[ClassifyKeywords],
    ) -> Classification:
        """Choose the label whose words are the likeliest after a text. Raises RequestError.

        `examples`: pairs of a text and its label, shown to the model before the text. Keywords: the fields of
        `ClassifyOptions`.
        """
        return self.classify_batch([text], labels, examples=examples, **options)[0]

    @checked_arguments
    def classify_batch(
        self,
        texts: Sequence[str],
        labels: Labels,
        *,
        examples: Sequence[tuple[str, str]] = (),
        **options: Unpack[ClassifyKeywords],
    ) -> list[Classification]:
        """Classify many texts together; arguments as those of `classify`."""
        return list(self.classifier(labels, examples=examples, **options).classify(texts))

    @checked_arguments
    def classifier(
        self, labels: Labels, *, examples: Sequence[tuple[str, str]] = (), **options: Unpack[ClassifyKeywords]
    ) -> Classifier:
        """Make a classifier for texts that come later; arguments as those of `classify`. Raises RequestError."""
        from nextword.tasks.classify import Classifier
        from nextword.tasks.classify_options import classify_options

        return Classifier(self.engine, labels, examples=examples, options=classify_options(**options))

    def _answering(
        self, rendering: ChatOptions, how: SubmitOptions, negative_messages: Messages | None
    ) -> SubmitOptions:
        """Add how an answer differs from a completion: it ends with its turn, and mostly begins a text."""
        if negative_messages is not None:
            how["negative_prompt"] = self.tokenizer.encode_chat(negative_messages, **rendering)
        from nextword.inference.answering import answer_options

        return {**how, **answer_options(self.tokenizer, rendering)}

    def _request_options(
        self,
        adapter: str | None,
        prediction: str | None = None,
        negative_prompt: str | None = None,
        *,
        parse_special: bool = False,
    ) -> SubmitOptions:
        how: SubmitOptions = {"adapter": adapter}
        if prediction:
            how["prediction"] = self.tokenizer.encode(prediction, add_special_tokens=False)
        if negative_prompt is not None:
            how["negative_prompt"] = self.tokenizer.encode_prompt(negative_prompt, parse_special=parse_special)
        return how

    def _run(self, prompt_token_ids: list[int], params: SamplingParams, how: SubmitOptions) -> Generation:
        request = self.engine.submit(prompt_token_ids, params, **how)
        self.engine.run([request])
        return collect(request, self.tokenizer)

    def _stream(self, prompt_token_ids: list[int], params: SamplingParams, how: SubmitOptions) -> Stream:
        if params.n != 1:
            raise RequestError(f"n = {params.n}: a stream has one completion; use generate for several")
        return Stream(self.engine, self.engine.submit(prompt_token_ids, params, **how))


def _for_each(prompts: Sequence[str], value: str | Sequence[str | None] | None, name: str) -> list[str | None]:
    """Return a value for each prompt: the same, or those of a list. Raises RequestError for another number of them."""
    values = [value] * len(prompts) if value is None or isinstance(value, str) else list(value)
    if len(prompts) != len(values):
        raise RequestError(f"{len(prompts)} prompts but {len(values)} {name}: give one for each, or for all")
    return values


def _rounded(number: int) -> str:
    """Format a count of parameters: 3,056, 135M, 1.71B."""
    for unit, size in (("B", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:,}"


def _documents(texts: str | Iterable[str]) -> Iterator[Document]:
    """Yield a document for each text. Raises RequestError for one that is no string, TokenizerError if no Unicode."""
    from nextword.data.documents import Document

    for number, text in enumerate([texts] if isinstance(texts, str) else texts, 1):
        check_items("texts", [text], str, first=number - 1)
        yield Document(text, Path("text"), number)


def _split_options(options: ChatKeywords) -> tuple[ChatOptions, SamplingOptions]:
    """Return what says how a conversation is rendered, and the sampling parameters. Raises RequestError for others."""
    check_names(options, ChatKeywords.__annotations__)
    rendering = {name: value for name, value in options.items() if name in ChatOptions.__annotations__}
    params = {name: value for name, value in options.items() if name not in rendering}
    return cast(ChatOptions, rendering), cast(SamplingOptions, params)
