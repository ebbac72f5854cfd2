"""The pretrained SmolLM2: our logits and greedy text from its GGUF file are those of transformers from that file."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, model_path  # noqa: E402
from nextword.checkpoints.model_directory import ModelDirectory  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.decoding.params import SamplingParams, sampling_params  # noqa: E402
from nextword.inference.engine import Engine  # noqa: E402
from nextword.inference.torch_backend import TorchBackend  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.transformer import Transformer  # noqa: E402
from tests.peers.test_beam_search import assert_equal as assert_equal_beams  # noqa: E402
from tests.peers.test_beam_search import expected as beams_of_transformers  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.peer]

SMOLLM2 = CATALOGUE["smollm2-135m"]
TOLERANCE = 1e-5
"""Of the largest logit, which is about 30."""
NUM_GREEDY = 20
TEXT = (
    "The lighthouse on the northern point was built in 1871, after three ships had been lost in a single winter. "
    "Its first keeper, a carpenter named Elias Brandt, lived there for thirty-one years with his wife and five "
    "children. They grew potatoes in a walled garden, kept two goats, and rowed to the village once a month for oil, "
    "flour and letters. When fog came in, one of the children had to strike a bell every two minutes, by day and by "
    "night, until it lifted; the longest watch in the log book lasted fifty-three hours. The light was first a lamp "
    "that burned rape oil, then paraffin, and from 1926 on it ran by itself on gas. After that nobody lived on the "
    "point. The garden wall fell, the goats were sold, and the bell was given to the school, where it still rings at "
    "the end of lessons. In 1989 a group of former pupils bought the empty house for one crown"
)


@pytest.fixture(scope="module")
def theirs() -> Any:
    if not is_pulled(SMOLLM2):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    path = model_path(SMOLLM2)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.eval()


@pytest.fixture(scope="module")
def directory(theirs: Any) -> ModelDirectory:
    return open_model_directory(model_path(SMOLLM2))


@pytest.fixture(scope="module")
def ours(directory: ModelDirectory) -> Transformer:
    return build_transformer(directory.config, directory.tensors)


@pytest.fixture(scope="module")
def token_ids(directory: ModelDirectory) -> list[int]:
    encoded = directory.tokenizer.encode(TEXT)
    assert len(encoded) > 150
    return encoded


def test_logits_are_those_of_transformers(ours: Transformer, theirs: Any, token_ids: list[int]) -> None:
    prompt = torch.tensor([token_ids])
    with torch.inference_mode():
        expected = theirs(prompt).logits
        difference = (ours(prompt) - expected).abs().max()
    assert float(difference) < TOLERANCE * float(expected.abs().max())


def test_greedy_text_is_that_of_transformers(
    directory: ModelDirectory, ours: Transformer, theirs: Any, token_ids: list[int]
) -> None:
    prompt = torch.tensor([token_ids])
    settings = {"do_sample": False, "max_new_tokens": NUM_GREEDY, "attention_mask": torch.ones_like(prompt)}
    with torch.inference_mode():
        expected = theirs.generate(prompt, **settings)[0, len(token_ids) :].tolist()
    engine = Engine(TorchBackend(ours), directory.tokenizer)
    request = engine.submit(token_ids, SamplingParams(temperature=0.0, max_tokens=NUM_GREEDY))
    engine.run([request])
    assert request.sequences[0].token_ids == expected


@pytest.mark.parametrize(("width", "penalty", "early_stopping"), [(2, 1.0, False), (4, 0.0, "never"), (8, 2.0, True)])
def test_beam_searches_are_those_of_transformers(
    directory: ModelDirectory, ours: Transformer, theirs: Any, width: int, penalty: float, early_stopping: bool | str
) -> None:
    engine = Engine(TorchBackend(ours), directory.tokenizer)
    for text in ("The capital of France is", "Once upon a time there was", TEXT):
        prompt = directory.tokenizer.encode(text)
        params = sampling_params(
            {}, num_beams=width, n=width, length_penalty=penalty, early_stopping=early_stopping, max_tokens=12
        )
        request = engine.submit(prompt, params)
        engine.run([request])
        wanted = beams_of_transformers(
            theirs,
            prompt,
            directory.tokenizer.eos_token_ids,
            num_beams=width,
            num_return_sequences=width,
            length_penalty=penalty,
            early_stopping=early_stopping,
            max_new_tokens=12,
        )
        # A sum of twelve log-probabilities, each of logits up to 30 that agree within TOLERANCE of that.
        assert_equal_beams(request.sequences, wanted, relative=3e-5)
