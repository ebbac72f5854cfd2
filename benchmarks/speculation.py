"""Measure the time that drafts save: texts with and without them, in turn, on four kinds of tasks.

    python -m benchmarks.speculation smollm2-135m [--texts 6] [--repeats 3] [--num-threads 2]

Tasks: lines rewritten with one word changed (the lines are given as the prediction), summaries with quotes of dialogues
(from ../shared/data), extraction of records as JSON, free and of a schema, and open chat. Each text is generated
greedily, up to 128 tokens, with and without drafts; both must be equal. The speed-up is the ratio of the summed medians
of both. For a model that has learnt nothing, `--task prediction` gives its own text with one word in twelve changed as
the prediction. `--draft-model` names a small model that drafts as well. With llama-cpp-python, its own prompt lookup is
measured likewise (`--peer`). Prints a table.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import nextword as nw
from nextword.inference.engine import Engine
from nextword.inference.generation import Completion, collect

DIALOGUES = Path(__file__).parents[2] / "shared" / "data" / "dialogsum-dev.jsonl"
SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
MOST_TOKENS = 128
EVERY = 12
PEOPLE = ["Maria Lopez", "Tom Becker", "Aiko Tanaka", "Sam Okafor", "Lena Novak", "Omar Haddad"]
TOWNS = ["Lisbon", "Hamburg", "Osaka", "Lagos", "Prague", "Cairo"]

Task = Literal["edit", "summary", "json", "schema", "chat", "prediction"]


@dataclasses.dataclass(frozen=True)
class Text:
    """A prompt, and what is expected of the completion."""

    prompt: list[int]
    prediction: list[int]
    schema: str | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """Measure what drafts save."""

    model: tyro.conf.Positional[str]
    task: tuple[Task, ...] = ("edit", "summary", "json", "schema", "chat")
    texts: int = 6
    repeats: int = 3
    num_threads: int | None = None
    draft_model: str | None = None
    peer: Annotated[bool, tyro.conf.arg(help="Also measure llama-cpp-python's prompt lookup.")] = False


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


def predicted_texts(lm: nw.LanguageModel, count: int) -> list[Text]:
    """The model's own text as its prediction, one token in twelve replaced."""
    engine = Engine(lm.engine.backend, lm.tokenizer, speculation=False)
    texts = []
    for number in range(count):
        prompt = lm.tokenizer.encode_prompt(f"This is text number {number}. ")
        own = [token.token_id for token in generate(engine, Text(prompt, []))[0].tokens]
        changed = [token if at % EVERY else (token + 1) % engine.backend.vocab_size for at, token in enumerate(own, 1)]
        texts.append(Text(prompt, changed))
    return texts


TASKS: dict[Task, Callable[[nw.LanguageModel, int], list[Text]]] = {
    "edit": edit_texts,
    "summary": summary_texts,
    "json": json_texts,
    "schema": schema_texts,
    "chat": chat_texts,
    "prediction": predicted_texts,
}


def generate(engine: Engine, text: Text) -> tuple[Completion, float]:
    """Return the completion, and its seconds without the prompt's."""
    params = nw.SamplingParams(temperature=0, max_tokens=MOST_TOKENS, schema=text.schema)
    request = engine.submit(text.prompt, params, prediction=text.prediction)
    while not request.sequences:
        engine.step()
    begin = time.perf_counter()
    engine.run([request])
    seconds = time.perf_counter() - begin
    return collect(request, engine.tokenizer).completions[0], seconds


def measure(lm: nw.LanguageModel, texts: Sequence[Text], repeats: int) -> dict[str, float]:
    """Return tokens/s without and with drafts, their ratio, and the share of drafted tokens that were kept."""
    engines = {False: Engine(lm.engine.backend, lm.tokenizer, speculation=False), True: lm.engine}
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


def measure_llama_cpp(path: Path, texts: Sequence[Text], options: Options) -> dict[str, float]:
    """Return tokens/s of llama-cpp-python without and with its prompt lookup."""
    from llama_cpp import Llama
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    rates = {}
    for name, draft in (("without", None), ("with", LlamaPromptLookupDecoding(num_pred_tokens=10))):
        model: Any = Llama(
            str(path), n_ctx=4096, n_threads=options.num_threads, draft_model=draft, verbose=False, logits_all=True
        )
        tokens, seconds = 0, 0.0
        for text in texts:
            model.reset()
            pieces = model.generate(text.prompt, temp=0.0, reset=True)
            next(pieces)
            begin = time.perf_counter()
            for _, token in zip(range(MOST_TOKENS - 1), pieces, strict=False):
                tokens += 1
                if token == model.token_eos():
                    break
            seconds += time.perf_counter() - begin
        rates[name] = tokens / seconds
        model.close()
    return {**rates, "speedup": rates["with"] / rates["without"]}


def main(options: Options) -> None:
    lm = nw.load(options.model, num_threads=options.num_threads, draft_model=options.draft_model)
    print(f"tokens/s of {options.model}; accepted: share of the text; kept: share of the drafts")
    print(f"{'task':12} {'without':>9} {'with':>9} {'speed-up':>9} {'accepted':>9} {'kept':>6}")
    for name in options.task:
        texts = TASKS[name](lm, options.texts)
        found = measure(lm, texts, options.repeats)
        shares = f"{found['accepted']:9.0%} {found['kept']:6.0%}"
        print(f"{name:12} {found['without']:9.1f} {found['with']:9.1f} {found['speedup']:8.2f}x {shares}", flush=True)
        if options.peer:
            peer = measure_llama_cpp(lm.directory.path, texts, options)
            line = f"{peer['without']:9.1f} {peer['with']:9.1f} {peer['speedup']:8.2f}x"
            print(f"{'  llama.cpp':12} {line}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
