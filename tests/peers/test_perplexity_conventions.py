"""Perplexity on the pretrained SmolLM2: ours is what transformers' documented loop and lm-eval find.

The peers compute with their own forward pass on the same weights: a folder in bfloat16 that all read as float32.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import nextword  # noqa: E402
from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, model_path  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.checkpoints.save_directory import save_model_directory  # noqa: E402
from nextword.inference.backend import BackendName  # noqa: E402
from nextword.language_model import LanguageModel  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.peer]

SMOLLM2 = CATALOGUE["smollm2-135m"]
ARTICLE = (Path(__file__).parents[2] / "examples" / "article.txt").read_text(encoding="utf-8")
TEXTS = [ARTICLE, "A short one.", ARTICLE[:1500]]
CONTEXT, STRIDE = 256, 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 as transformers reads it."""
    if not is_pulled(SMOLLM2):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    model = open_model_directory(model_path(SMOLLM2))
    path = tmp_path_factory.mktemp("smollm2") / "bf16"
    save_model_directory(path, config=model.config, tensors=model.tensors, tokenizer=model.tokenizer, dtype="BF16")
    return path


@pytest.fixture(scope="module", params=["native", "torch"])
def ours(request: pytest.FixtureRequest, folder: Path) -> LanguageModel:
    backend: BackendName = request.param
    if backend == "native":
        pytest.importorskip("nextword._native")
    return nextword.load(folder, backend=backend, weights="f32")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def their_tokenizer(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def documented_loop(model: Any, token_ids: Any) -> float:
    """Perplexity as the page of transformers' documentation computes it, means weighted by shifted labels."""
    total, count, scored_until = 0.0, 0, 0
    for begin in range(0, token_ids.shape[1], STRIDE):
        end = min(begin + CONTEXT, token_ids.shape[1])
        window = token_ids[:, begin:end]
        labels = window.clone()
        labels[:, : window.shape[1] - (end - scored_until)] = -100
        with torch.inference_mode():
            loss = float(model(window, labels=labels).loss)
        weight = int((labels != -100).sum()) - 1
        total, count, scored_until = total + weight * loss, count + weight, end
        if end == token_ids.shape[1]:
            break
    return math.exp(total / count)


@pytest.fixture(scope="module")
def their_sliding(theirs: Any, their_tokenizer: Any) -> float:
    """Perplexity of the article by the documented loop."""
    return documented_loop(theirs, their_tokenizer(ARTICLE, return_tensors="pt").input_ids)


@pytest.fixture(scope="module")
def their_rolling(theirs: Any, their_tokenizer: Any) -> list[float]:
    """Log-likelihood of each text by lm-eval."""
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(pretrained=theirs, tokenizer=their_tokenizer, max_length=CONTEXT, batch_size=1)
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in TEXTS]
    return [float(value) for value in peer.loglikelihood_rolling(requests, disable_tqdm=True)]


def test_sliding_is_transformers_documented_loop(ours: LanguageModel, their_sliding: float) -> None:
    found = ours.perplexity(ARTICLE, context=CONTEXT, stride=STRIDE)
    assert found.perplexity == pytest.approx(their_sliding, rel=1e-3)


def test_rolling_is_lm_evals_rolling_log_likelihood(ours: LanguageModel, their_rolling: list[float]) -> None:
    for text, log_likelihood in zip(TEXTS, their_rolling, strict=True):
        found = ours.perplexity(text, convention="lm-eval", context=CONTEXT)
        assert -found.total_nats == pytest.approx(log_likelihood, rel=1e-3)
        assert found.num_bytes == len(text.encode())
