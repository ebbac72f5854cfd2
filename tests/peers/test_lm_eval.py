"""Our model class for lm-eval, held to lm-eval's own `hf` model on the same weights and requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints.tiny_folder import TINY_LLAMA, tiny_weights, write_folder
from tests.cli.conftest import byte_tokenizer

pytest.importorskip("lm_eval")
pytest.importorskip("transformers")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the libraries that these import
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from nextword.errors import RequestError
    from nextword.evaluation.lm_eval_model import EngineLM
    from nextword.evaluation.lm_eval_run import run_tasks
    from nextword.loading import load

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CONTEXT = 48
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TEXTS = ("a river", "The mill stood by the river, and the river ran. " * 5, "x", "été, ça va")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers over bytes, with a token that ends texts and a chat template."""
    weights = tiny_weights()
    weights["model.embed_tokens.weight"] = np.random.default_rng(6).standard_normal((258, 8)).astype(np.float32)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_folder(folder, config={"vocab_size": 258, "max_position_embeddings": CONTEXT}, weights=weights)
    backend = byte_tokenizer()
    backend.add_special_tokens(["<|end|>"])
    backend.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 257, "pad_token_id": 256}))
    assert TINY_LLAMA["vocab_size"] != 258
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=3)


@pytest.fixture(scope="module", params=["native", "torch"])
def ours(folder: Path, request: pytest.FixtureRequest) -> EngineLM:
    return EngineLM(load(folder, backend=request.param, weights="f32").engine, name="tiny")


def asked(kind: Any, *arguments: tuple[Any, ...]) -> list[Any]:
    """Requests of lm-eval."""
    return [Instance(request_type=kind, doc={}, arguments=of_one, idx=i) for i, of_one in enumerate(arguments)]


def test_log_likelihoods_of_continuations_are_theirs(ours: EngineLM, theirs: Any) -> None:
    pairs = [
        (context, continuation)
        for context in ("", "The river", "The river ran ", TEXTS[1], "Q: été?\nA:")
        for continuation in (" yes", " no", " perhaps not", "x")
    ]
    mine = ours.loglikelihood(asked("loglikelihood", *pairs))
    others = theirs.loglikelihood(asked("loglikelihood", *pairs))

    np.testing.assert_allclose([value for value, _ in mine], [value for value, _ in others], rtol=1e-4)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in others]


def test_a_greedy_continuation_is_known_as_one(ours: EngineLM, theirs: Any) -> None:
    (text,) = theirs.generate_until(asked("generate_until", ("The river", {"until": [], "max_gen_toks": 3})))
    pairs = asked("loglikelihood", ("The river", text), ("The river", text + "x"))
    assert [greedy for _, greedy in ours.loglikelihood(pairs)] == [g for _, g in theirs.loglikelihood(pairs)]


def test_rolling_log_likelihoods_are_theirs_for_texts_longer_than_the_context(ours: EngineLM, theirs: Any) -> None:
    requests = asked("loglikelihood_rolling", *((text,) for text in TEXTS))
    np.testing.assert_allclose(ours.loglikelihood_rolling(requests), theirs.loglikelihood_rolling(requests), rtol=1e-4)


@pytest.mark.parametrize("until", [[], ["\n"], ["e", "zz"]])
def test_generated_texts_are_theirs(ours: EngineLM, theirs: Any, until: list[str]) -> None:
    requests = asked("generate_until", *((text, {"until": until, "max_gen_toks": 8}) for text in TEXTS))
    # transformers cuts what is left of half a character at the end otherwise.
    mine = [text.rstrip("\ufffd") for text in ours.generate_until(requests)]
    assert mine == [text.rstrip("\ufffd") for text in theirs.generate_until(requests)]


def test_chats_are_written_as_theirs(ours: EngineLM, theirs: Any) -> None:
    chat = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes "}]
    assert ours.apply_chat_template(chat[:1]) == theirs.apply_chat_template(chat[:1])
    opened = ours.apply_chat_template(chat, add_generation_prompt=False)
    assert opened.rstrip() == theirs.apply_chat_template(chat, add_generation_prompt=False).rstrip()
    assert ours.tok_encode(opened) == theirs.tok_encode(opened)
    assert ours.chat_template(True) == TEMPLATE


def test_settings_that_no_sampler_has_are_refused(ours: EngineLM) -> None:
    with pytest.raises(RequestError, match="num_beams"):
        ours.generate_until(asked("generate_until", ("a", {"until": [], "num_beams": 4})))
    with pytest.raises(RequestError, match="max_gen_toks = 500"):
        ours.generate_until(asked("generate_until", ("a", {"until": [], "max_gen_toks": 500})))


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A choice between two words, made from a local file."""
    lines = [{"text": text, "answer": number % 2} for number, text in enumerate(TEXTS * 3)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "choice.yaml").write_text(
        "task: choice\ndataset_path: json\n"
        f"dataset_kwargs: {{data_files: {tmp_path / 'data.jsonl'}}}\n"
        "test_split: train\noutput_type: multiple_choice\ndoc_to_text: '{{text}} ='\n"
        "doc_to_choice: [yes indeed, 'no']\ndoc_to_target: answer\n"
        "metric_list: [{metric: acc}, {metric: acc_norm}]\n"
    )
    return tmp_path / "choice.yaml"


def test_a_task_from_local_files_comes_to_the_same_figures(ours: EngineLM, theirs: Any, task: Path) -> None:
    mine = run_tasks(ours, [str(task)])
    others = run_tasks(theirs, [str(task)])

    assert [(one.metric, one.num_examples) for one in mine] == [("acc", 12), ("acc_norm", 12)]
    assert mine == others
    assert [one.num_examples for one in run_tasks(ours, ["choice"], include_path=[str(task.parent)], limit=5)] == [5, 5]


def test_unknown_tasks_are_refused(ours: EngineLM, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such task file"):
        run_tasks(ours, [str(tmp_path / "none.yaml")])
    absent = tmp_path / "absent.jsonl"
    broken = (
        f"task: broken\ndataset_path: json\ndataset_kwargs: {{data_files: {absent}}}\noutput_type: multiple_choice\n"
    )
    (tmp_path / "broken.yaml").write_text(broken)
    with pytest.raises(RequestError, match=r"tasks .*broken.yaml: "):
        run_tasks(ours, [str(tmp_path / "broken.yaml")])


def test_lm_evals_own_command_knows_nextword(folder: Path, task: Path) -> None:
    """By an entry point or, for releases that look for none, by a line that Python runs at its start."""
    arguments = ["--model", "nextword", "--model_args", f"pretrained={folder},weights=f32", "--tasks", str(task)]
    command = Path(sys.executable).parent / "lm_eval"
    done = subprocess.run(
        [command, *arguments], capture_output=True, text=True, timeout=120, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "|choice|" in done.stdout
