"""lm-eval's clients of OpenAI's API against our server: log-probabilities have the bits of our model in process."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nextword as nw

pytest.importorskip("lm_eval")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the libraries that these import
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    from nextword.evaluation.lm_eval_model import EngineLM
    from nextword.evaluation.lm_eval_run import run_tasks
    from nextword.serving.server import ServerThread
    from nextword.serving.service import Service
    from tests.api_model import load_bytes_model
    from tests.serving.client import Client

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    return load_bytes_model(tmp_path_factory.mktemp("scored") / "tiny")


@pytest.fixture(scope="module")
def ours(lm: nw.LanguageModel) -> EngineLM:
    return EngineLM(lm.engine, name="tiny")


@pytest.fixture(scope="module")
def served(lm: nw.LanguageModel) -> Iterator[Client]:
    with ServerThread(Service(lm)) as server:
        yield Client(server.url)


@pytest.fixture(scope="module", params=[1, 4])
def theirs(served: Client, request: pytest.FixtureRequest) -> Any:
    """Their client, whose tokenizer is the server's; it sends one request after another, or four at the same time."""
    return LocalCompletionsAPI(
        base_url=f"{served.url}/v1/completions",
        model="tiny",
        tokenizer_backend="remote",
        num_concurrent=request.param,
        batch_size=3,
        max_length=64,
    )


def asked(kind: Any, *arguments: tuple[Any, ...]) -> list[Any]:
    """Requests of lm-eval."""
    return [Instance(request_type=kind, doc={}, arguments=of_one, idx=i) for i, of_one in enumerate(arguments)]


def hf_model(lm: nw.LanguageModel) -> Any:
    """lm-eval's own model class on the same weights, with the windows of its client."""
    return HFLM(pretrained=str(lm.directory.path), device="cpu", dtype="float32", batch_size=1, max_length=62)


def test_log_likelihoods_are_those_in_process(ours: EngineLM, theirs: Any) -> None:
    contexts = ("The river", "The river ran ", "Q: \u00e9t\u00e9?\nA:")
    pairs = [(context, text) for context in contexts for text in (" yes", " no", " perhaps not", "x")]
    mine = ours.loglikelihood(asked("loglikelihood", *pairs))
    others = theirs.loglikelihood(asked("loglikelihood", *pairs))
    assert [greedy for _, greedy in others] == [greedy for _, greedy in mine]
    # Each term has the same bits (test_completions); the two add them in another order.
    assert [value for value, _ in others] == pytest.approx([value for value, _ in mine], rel=1e-14)


def test_every_term_of_a_log_likelihood_has_the_bits_in_process(
    ours: EngineLM, lm: nw.LanguageModel, theirs: Any
) -> None:
    """One token each, so that nothing is added."""
    pairs = [("The river ran", chr(letter)) for letter in range(97, 123)]
    mine = ours.loglikelihood(asked("loglikelihood", *pairs))
    assert theirs.loglikelihood(asked("loglikelihood", *pairs)) == mine


def test_rolling_log_likelihoods_are_those_in_process(ours: EngineLM, theirs: Any) -> None:
    texts = [("a river",), ("The mill stood by the river, and the river ran.",), ("x",), ("été, ça va",)]
    mine = ours.loglikelihood_rolling(asked("loglikelihood_rolling", *texts))
    others = theirs.loglikelihood_rolling(asked("loglikelihood_rolling", *texts))
    assert others == pytest.approx(mine, rel=1e-14)


def test_figures_are_those_of_hf_on_the_same_weights(lm: nw.LanguageModel, theirs: Any) -> None:
    hf = hf_model(lm)
    pairs = [(context, text) for context in ("The river", "Q: x?\nA:") for text in (" yes", " no", "x")]
    expected = hf.loglikelihood(asked("loglikelihood", *pairs), disable_tqdm=True)
    found = theirs.loglikelihood(asked("loglikelihood", *pairs))
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=1e-2)
    texts = [("a river",), ("The mill stood by the river. " * 4,)]
    expected = hf.loglikelihood_rolling(asked("loglikelihood_rolling", *texts), disable_tqdm=True)
    found = theirs.loglikelihood_rolling(asked("loglikelihood_rolling", *texts))
    assert found == pytest.approx(expected, abs=1e-2)


TASKS = {
    "choice": "output_type: multiple_choice\ndoc_to_text: '{{text}} ='\ndoc_to_choice: [yes indeed, 'no']\n"
    "doc_to_target: answer\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n",
    "rolling": "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{text}}'\n"
    "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]\n",
    "writing": "output_type: generate_until\ndoc_to_text: '{{text}}'\ndoc_to_target: '{{text}}'\n"
    "generation_kwargs: {until: ['e'], max_gen_toks: 6}\nmetric_list: [{metric: bleu}, {metric: chrf}]\n",
}


@pytest.mark.slow
def test_whole_tasks_come_to_the_figures_in_process_and_of_hf(
    lm: nw.LanguageModel, ours: EngineLM, theirs: Any, tmp_path: Path
) -> None:
    texts = ("a river", "The mill stood by the river.", "xyz", "\u00e9t\u00e9, \u00e7a va")
    lines = [{"text": text, "answer": number % 2} for number, text in enumerate(texts)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for name, rest in TASKS.items():
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {tmp_path / 'data.jsonl'}}}\n"
        (tmp_path / f"{name}.yaml").write_text(f"{head}test_split: train\n{rest}")
    files = [str(tmp_path / f"{name}.yaml") for name in TASKS]
    found, inside, expected = (run_tasks(one, files) for one in (theirs, ours, hf_model(lm)))
    assert {(one.task, one.metric) for one in found} >= {("choice", "acc"), ("rolling", "bits_per_byte")}
    assert [(one.task, one.metric) for one in found] == [(one.task, one.metric) for one in inside]
    assert [one.value for one in found] == pytest.approx([one.value for one in inside], rel=1e-12)
    assert [one.value for one in found] == pytest.approx([one.value for one in expected], rel=1e-2)


@pytest.mark.parametrize("until", [["\n"], ["e", "zz", "q", "r", "s", "t"]])
def test_generated_texts_are_those_in_process(ours: EngineLM, theirs: Any, until: list[str]) -> None:
    requests = asked("generate_until", *((text, {"until": until, "max_gen_toks": 8}) for text in ("a river", "x")))
    assert theirs.generate_until(requests) == ours.generate_until(requests)


def test_their_chat_client_gets_the_answers_of_chat(served: Client, lm: nw.LanguageModel) -> None:
    theirs = LocalChatCompletion(base_url=f"{served.url}/v1/chat/completions", model="tiny", num_concurrent=1)
    questions = ("ab", "a river")
    messages = [[{"role": "user", "content": text}] for text in questions]
    requests = asked(
        "generate_until",
        *((theirs.apply_chat_template(one), {"until": ["\n"], "max_gen_toks": 8}) for one in messages),
    )
    expected = [lm.chat(one, max_tokens=8, temperature=0, stop=["\n"]).text for one in messages]
    assert theirs.generate_until(requests) == expected
