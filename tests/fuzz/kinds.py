"""The kinds of input that are fuzzed: a strategy that draws inputs, and what is done with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import served, targets
from tests.fuzz.children import Target
from tests.fuzz.edits import DAMAGES, EDITS, ODD
from tests.fuzz.targets import Mutation
from tests.fuzz.template_text import TEMPLATES


@dataclass(frozen=True)
class Kind:
    """A kind of input."""

    inputs: st.SearchStrategy[Any]
    target: Target
    examples: int
    """Examples that CI tries."""


_which = st.sampled_from(range(60))  # alike for the choices of each target
_mutations = st.one_of(
    st.builds(Mutation, _which, EDITS),
    st.builds(Mutation, _which, EDITS),
    st.builds(Mutation, _which, st.just([]), DAMAGES),
)

_VERBS = [
    *("generate", "chat", "next", "score", "tokenize", "summarize", "perplexity", "surprise", "compare", "classify"),
    *("rouge", "models", "export", "merge", "prepare", "data", "tokenizer", "completion", "help", "decoding-report"),
]
_WORDS = [
    *(
        "model",
        "text.txt",
        "data.jsonl",
        "bad.jsonl",
        "no-such",
        "-",
        "--",
        "out",
        "/dev/null",
        "/",
        "",
        "é",
        "\udcff",
        "a\0b",
    ),
    *(
        "--max-tokens",
        "2",
        "--temperature",
        "0",
        "nan",
        "--top-k",
        "9223372036854775808",
        "-1",
        "1e400",
        "--seed",
        "--n",
    ),
    *(
        "--json",
        "--help",
        "--adapter",
        "--backend",
        "native",
        "torch",
        "--context",
        "8",
        "--convention",
        "--field",
        "text",
    ),
    *(
        "--labels",
        "a",
        "b",
        "--prompt",
        "{text}",
        "--limit",
        "1",
        "--html",
        "page.html",
        "-o",
        "--output",
        "--stop",
        "\n",
    ),
    *(
        "--special",
        "--skip-bad",
        "--tokenizer",
        "--unknown",
        "--no-json",
        "--system",
        "--template",
        "--logprobs",
        "--top-p",
    ),
]
_begun = st.sampled_from([[], ["model"], ["model", "text.txt"], ["model", "data.jsonl"]])
_command_lines = st.builds(
    lambda verb, begun, words: [verb, *begun, *words],
    st.sampled_from(_VERBS),
    _begun,
    st.lists(st.sampled_from(_WORDS), max_size=6),
)

_TEXT = "the x"
_CHAT = [{"role": "user", "content": _TEXT}]
CALLS: dict[str, dict[str, Any]] = {
    "lm.generate": {"prompt": _TEXT, "max_tokens": 2, "temperature": 1.0, "top_k": 3, "top_p": 0.9, "min_p": 0.1,
                    "typical_p": 0.9, "seed": 1, "n": 1, "logprobs": 1, "stop": ["x"], "stop_token_ids": [3],
                    "logit_bias": {3: 1.0}, "repetition_penalty": 1.1, "presence_penalty": 0.1, "echo": True,
                    "frequency_penalty": 0.1, "no_repeat_ngram_size": 2, "min_tokens": 1, "xtc_probability": 0.5,
                    "xtc_threshold": 0.1, "top_n_sigma": 1.0, "eta_cutoff": 0.1, "epsilon_cutoff": 0.1},
    "lm.generate_batch": {"prompts": [_TEXT, _TEXT], "max_tokens": 1, "seed": 1},
    "lm.stream": {"prompt": _TEXT, "max_tokens": 2, "stop": "x", "seed": 1},
    "lm.chat": {"messages": _CHAT, "max_tokens": 1, "tools": None, "template_variables": {}, "chat_template": None,
                "continue_final_message": False, "seed": 1},
    "lm.next": {"text": _TEXT},
    "lm.score": {"text": _TEXT, "alternatives": 1},
    "lm.perplexity": {"texts": [_TEXT], "convention": "sliding", "context": 8, "stride": 4},
    "lm.surprise": {"text": _TEXT, "context": 8},
    "lm.classify": {"text": _TEXT, "labels": ["a", "b"], "examples": [("a", "b")], "prompt": "{text} is"},
    "lm.summarize": {"text": _TEXT, "length": "short", "style": "paragraph"},
    "tokenizer.encode": {"text": _TEXT, "add_special_tokens": True, "parse_special": False},
    "tokenizer.encode_batch": {"texts": [_TEXT]},
    "tokenizer.decode": {"token_ids": [1, 2], "skip_special_tokens": True},
    "tokenizer.encode_chat": {"messages": _CHAT, "add_generation_prompt": True, "tools": None},
    "tokenizer.encode_answers": {"messages": [*_CHAT, {"role": "assistant", "content": "y"}], "learnt": [True, True]},
    "tokenizer.token_text": {"token_id": 3},
    "tokenizer.token_bytes": {"token_id": 3, "begins_text": True},
    "tokenizer.stream_decoder": {"after": [1]},
    "engine.submit": {"prompt_token_ids": [1, 2], "params": None},
    "distribution.temperature": {"temperature": 1.0},
    "distribution.top_k": {"k": 1},
    "distribution.top_p": {"p": 0.5},
    "nw.SamplingParams": {"max_tokens": 1, "stop": (), "logit_bias": {}},
    "nw.FinetuneRecipe": {"data": None, "run": None},
    "nw.SelectionOptions": {"min_characters": 1, "deduplicate": "exact"},
}  # fmt: skip


@st.composite
def _calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(sorted(CALLS)))
    keywords = dict(CALLS[name])
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list(keywords)))
        value = draw(ODD)
        own = keywords.get(place)
        if isinstance(own, list) and own and draw(st.booleans()):
            value = [*own[1:], value]
        keywords[place] = value
    return name, keywords


KINDS = {
    "gguf": Kind(_mutations, targets.gguf, 120),
    "safetensors": Kind(_mutations, targets.safetensors, 60),
    "settings": Kind(_mutations, targets.settings, 60),
    "index": Kind(_mutations, targets.index, 40),
    "adapter": Kind(_mutations, targets.adapter, 30),
    "checkpoint": Kind(_mutations, targets.checkpoint, 8),
    "records": Kind(_mutations, targets.records, 30),
    "template": Kind(
        st.tuples(TEMPLATES, st.dictionaries(st.sampled_from(["x", "tools", "a"]), ODD, max_size=1)),
        targets.template,
        20,
    ),
    "command": Kind(_command_lines, targets.command, 60),
    "call": Kind(_calls(), targets.call, 150),
    "request": Kind(_mutations, served.request, 300),
}
