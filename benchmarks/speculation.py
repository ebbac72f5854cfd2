"""Measure the time that drafts save: texts with and without them, in turn, on four kinds of tasks.

    python -m benchmarks.speculation smollm2-135m [--texts 6] [--repeats 3] [--num-threads 2]

Tasks: lines rewritten with one word changed (the lines are given as the prediction), summaries with quotes of dialogues
(from ../shared/data), extraction of records as JSON, free and of a schema, and open chat. Each text is generated
greedily, up to 128 tokens, with and without drafts; both must be equal. The speed-up is the ratio of the summed medians
of both. For a model that has learnt nothing, `--dictated-by smollm2-135m` lets it compute each token, and takes the one
that the named model writes: drafts are right and wrong where they would be for a model of its size that has learnt.
`--draft-model` names a small model that drafts as well. `--peer` measures llama.cpp's own lookups likewise, by
xllamacpp; they know no prediction. Prints a table.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

import nextword as nw
from nextword.decoding.sampler import ChosenToken
from nextword.inference.backend import Logits
from nextword.inference.engine import Engine
from nextword.inference.generation import Completion, collect
from nextword.inference.native_backend import num_cores
from nextword.inference.sequence import Request
from nextword.inference.sequence import Sequence as OneText

DIALOGUES = Path(__file__).parents[2] / "shared" / "data" / "dialogsum-dev.jsonl"
SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
MOST_TOKENS = 128
PEOPLE = ["Maria Lopez", "Tom Becker", "Aiko Tanaka", "Sam Okafor", "Lena Novak", "Omar Haddad"]
TOWNS = ["Lisbon", "Hamburg", "Osaka", "Lagos", "Prague", "Cairo"]

Task = Literal["edit", "summary", "json", "schema", "chat"]
Lookup = Literal["NGRAM_CACHE", "NGRAM_SIMPLE", "NGRAM_MOD"]


@dataclasses.dataclass(frozen=True)
class Text:
    """A prompt, and what is expected of the completion."""

    prompt: list[int]
    prediction: list[int]
    schema: str | None = None
    dictated: list[int] | None = None
    """Tokens of the completion, in the place of those that the model would choose."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure what drafts save."""

    model: tyro.conf.Positional[str]
    task: tuple[Task, ...] = ("edit", "summary", "json", "schema", "chat")
    texts: int = 6
    repeats: int = 3
    num_threads: int | None = None
    draft_model: str | None = None
    dictated_by: str | None = None
    peer: Annotated[tuple[Lookup, ...], tyro.conf.arg(help="Also measure these lookups of llama.cpp.")] = ()


def edit_texts(lm: nw.LanguageModel, count: int) -> list[Text]:
    """Lines of Shakespeare, of which a word is to be replaced; one example shows how."""
    lines = [line for line in SHAKESPEARE.read_text().splitlines() if len(line.split()) >= 6]
    example = "Replace king by queen.\n\nThe old king sat upon the throne.\n\nThe old queen sat upon the throne.\n\n"
    texts = []
    for number in range(count):
        chosen = "\n".join(lines[100 + 12 * number : 108 + 12 * number])
        word = max(chosen.split(), key=len).strip(".,;:!?'")
        prompt = f"{example}Replace {word} by river.\n\n{chosen}\n\n"
        texts.append(Text(lm.tokenizer.encode_prompt(prompt), lm.tokenizer.encode(chosen, add_special_tokens=False)))
    return texts


def summary_texts(lm: nw.LanguageModel, count: int) -> list[Text]:
    dialogues = [json.loads(line)["dialogue"] for line in DIALOGUES.read_text().splitlines()[:count]]
    asked = "Summarize the dialogue in three sentences. Quote the most important sentences word for word."
    return [chat_text(lm, f"{dialogue}\n\n{asked}") for dialogue in dialogues]


def order_of(number: int) -> list[int]:
    return [(number + shift) % len(PEOPLE) for shift in range(4)]


def said_of_people(number: int) -> str:
    said = [f"{PEOPLE[at]}, {20 + 3 * at}, lives in {TOWNS[at]} and works as a teacher." for at in order_of(number)]
    return "\n".join(said)


def json_texts(lm: nw.LanguageModel, count: int) -> list[Text]:
    texts = []
    for number in range(count):
        first, second = (
            json.dumps({"name": PEOPLE[at], "age": 20 + 3 * at, "city": TOWNS[at]}) for at in order_of(number)[:2]
        )
        prompt = (
            "\n".join(said_of_people(number)) + f"\n\nThe people above as JSON, one on each line:\n{first}\n{second}\n"
        )
        texts.append(Text(lm.tokenizer.encode_prompt(prompt), []))
    return texts


def schema_texts(lm: nw.LanguageModel, count: int) -> list[Text]:
    """Sentences about people, to be returned as an array of objects of a schema."""
    properties = {
        "name": {"type": "string"},
        "age_in_years": {"type": "integer"},
        "city_of_residence": {"type": "string"},
        "occupation": {"type": "string"},
    }
    person = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    schema = json.dumps({"type": "array", "items": person, "minItems": 4, "maxItems": 4})
    return [
        Text(
            lm.tokenizer.encode_prompt("\n".join(said_of_people(number)) + "\n\nThe people above as JSON:\n"),
            [],
            schema,
        )
        for number in range(count)
    ]


def chat_texts(lm: nw.LanguageModel, count: int) -> list[Text]:
    asked = [
        "Why is the sky blue?",
        "Give me advice for a first job interview.",
        "Tell me a story about a lighthouse.",
        "What is the difference between a frog and a toad?",
        "How do I cook rice?",
        "Explain gravity to a child.",
    ]
    return [chat_text(lm, question) for question in asked[:count]]


def chat_text(lm: nw.LanguageModel, content: str) -> Text:
    return Text(lm.tokenizer.encode_chat([{"role": "user", "content": content}]), [])


def dictated(lm: nw.LanguageModel, texts: Sequence[Text], small: nw.LanguageModel) -> list[Text]:
    """Return texts of the small model as texts of the large one, which has other tokens, with their completions."""

    def translated(token_ids: Sequence[int]) -> list[int]:
        return lm.tokenizer.encode(small.tokenizer.decode(token_ids), add_special_tokens=False)

    engine = Engine(small.engine.backend, small.tokenizer)
    return [
        Text(
            translated(text.prompt),
            translated(text.prediction),
            dictated=translated([token.token_id for token in generate(engine, text)[0].tokens]),
        )
        for text in texts
    ]


class Dictating(Engine):
    """An engine that computes logits, and takes given tokens."""

    dictated: list[int]

    def _sample_next(self, request: Request, sequence: OneText, logits: Logits, drawn: int | None = None) -> None:
        token = ChosenToken(self.dictated[len(sequence.tokens)])
        sequence.sampler.choose(logits, drawn)  # takes its time
        self._advance(request, sequence, token)


TASKS: dict[Task, Callable[[nw.LanguageModel, int], list[Text]]] = {
    "edit": edit_texts,
    "summary": summary_texts,
    "json": json_texts,
    "schema": schema_texts,
    "chat": chat_texts,
}


def generate(engine: Engine, text: Text) -> tuple[Completion, float]:
    """Return the completion, and its seconds without the prompt's."""
    most = MOST_TOKENS if text.dictated is None else len(text.dictated)
    params = nw.SamplingParams(temperature=0, max_tokens=most, schema=text.schema)
    ends: list[int] | None = None if text.dictated is None else []
    if isinstance(engine, Dictating):
        engine.dictated = text.dictated or []
    request = engine.submit(text.prompt, params, prediction=text.prediction, end_token_ids=ends)
    while not request.sequences:
        engine.step()
    begin = time.perf_counter()
    engine.run([request])
    seconds = time.perf_counter() - begin
    return collect(request, engine.tokenizer).completions[0], seconds


def measure(lm: nw.LanguageModel, texts: Sequence[Text], repeats: int) -> dict[str, float]:
    """Return tokens/s without and with drafts, their ratio, and the share of drafted tokens that were kept."""
    kind = Engine if texts[0].dictated is None else Dictating
    engines = {on: kind(lm.engine.backend, lm.tokenizer, speculation=on) for on in (False, True)}
    if texts[0].dictated is None:
        engines[True] = lm.engine  # with a draft model, if there is one
    tokens = accepted = rejected = 0
    seconds = {False: 0.0, True: 0.0}
    for text in texts:
        times: dict[bool, list[float]] = {False: [], True: []}
        made: dict[bool, Completion] = {}
        for _ in range(repeats):
            for is_on, engine in engines.items():
                made[is_on], taken = generate(engine, text)
                times[is_on].append(taken)
        assert made[False].tokens == made[True].tokens, "a draft changed the text"
        tokens += len(made[True].tokens) - 1
        accepted += made[True].accepted_draft_tokens
        rejected += made[True].rejected_draft_tokens
        for is_on in engines:
            seconds[is_on] += statistics.median(times[is_on])
    return {
        "without": tokens / seconds[False],
        "with": tokens / seconds[True],
        "speedup": seconds[False] / seconds[True],
        "accepted": accepted / tokens,
        "kept": accepted / max(accepted + rejected, 1),
    }


def measure_llama_cpp(path: Path, texts: Sequence[Text], lookup: Lookup, options: Options) -> dict[str, float]:
    """Return tokens/s of llama.cpp without and with one of its lookups, by the times that its server reports."""
    import xllamacpp

    rates = {}
    for name, kind in (("without", "NONE"), ("with", lookup)):
        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel, params.warmup = str(path), 4096, 1, True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.num_threads or num_cores()
        params.speculative.types = [getattr(xllamacpp.common_speculative_type, f"COMMON_SPECULATIVE_TYPE_{kind}")]
        server = xllamacpp.Server(params)
        tokens, seconds = 0, 0.0
        for text in texts:
            asked = {"prompt": text.prompt, "n_predict": MOST_TOKENS, "temperature": 0, "cache_prompt": False}
            runs = [server.handle_completions(asked)["timings"] for _ in range(options.repeats)]
            tokens += runs[0]["predicted_n"]
            seconds += statistics.median(run["predicted_ms"] for run in runs) / 1e3
        rates[name] = tokens / seconds
    return {**rates, "speedup": rates["with"] / rates["without"]}


def main(options: Options) -> None:
    lm = nw.load(options.model, num_threads=options.num_threads, draft_model=options.draft_model)
    small = None if options.dictated_by is None else nw.load(options.dictated_by, num_threads=options.num_threads)
    print(f"tokens/s of {options.model}; accepted: share of the text; kept: share of the drafts")
    print(f"{'task':12} {'without':>9} {'with':>9} {'speed-up':>9} {'accepted':>9} {'kept':>6}")
    for name in options.task:
        texts = TASKS[name](small or lm, options.texts)
        texts = texts if small is None else dictated(lm, texts, small)
        found = measure(lm, texts, options.repeats)
        shares = f"{found['accepted']:9.0%} {found['kept']:6.0%}"
        print(f"{name:12} {found['without']:9.1f} {found['with']:9.1f} {found['speedup']:8.2f}x {shares}", flush=True)
        for lookup in options.peer:
            peer = measure_llama_cpp(lm.directory.path, texts, lookup, options)
            line = f"{peer['without']:9.1f} {peer['with']:9.1f} {peer['speedup']:8.2f}x"
            print(f"  {lookup:12} {line}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
