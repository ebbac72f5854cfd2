"""The native backend against PyTorch: every family, in floats; and what fewer bits cost, on a model trained here."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("nextword._native")

from gguf import GGMLQuantizationType  # noqa: E402
from gguf.quants import quantize  # noqa: E402

from nextword.checkpoints.model_directory import ModelDirectory  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.inference.backend import Backend, Chunk, Logits, Weights  # noqa: E402
from nextword.inference.native_backend import NativeBackend  # noqa: E402
from nextword.inference.open_backend import open_backend  # noqa: E402
from nextword.inference.torch_backend import TorchBackend  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.stored_tensor import StoredTensor  # noqa: E402
from tests.inference.native import log_probs, logits_of, mean_divergence, random_text  # noqa: E402
from tests.peers.test_families import GEMMA, GPT2, LLAMA, LONGROPE_SCALING, NEOX, VARIANTS, random_model  # noqa: E402

pytestmark = pytest.mark.peer

TOLERANCE = 1e-4
LENGTH = 330
"""Tokens of the text: two whole segments of 128 positions and more, ten pages of 32 and more."""
CONTEXT = 384
WINDOWS = {"sliding_window": 140}

ALL_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **VARIANTS,
    "gpt2-odd": ("gpt2", {**GPT2, "vocab_size": 101, "n_embd": 36, "n_inner": 50, "activation_function": "relu"}),
    "gpt_neox-odd": ("gpt_neox", {**NEOX, "hidden_size": 72, "intermediate_size": 70}),
    "llama-head-80": ("llama", {**LLAMA, "hidden_size": 52, "intermediate_size": 75, "head_dim": 80}),
    "llama-one-head": ("llama", {**LLAMA, "num_attention_heads": 1, "num_key_value_heads": 1}),
    "llama-wide-group": (
        "llama",
        {**LLAMA, "hidden_size": 40, "head_dim": 2, "num_attention_heads": 40, "num_key_value_heads": 1},
    ),
    "mistral-long-window": ("mistral", {**LLAMA, **WINDOWS}),
    "mistral-longer-window": ("mistral", {**LLAMA, "sliding_window": 360}),
    "gemma2-long-window": ("gemma2", {**GEMMA, **WINDOWS}),
    "gemma3-long-window": ("gemma3_text", {**GEMMA, **WINDOWS, "sliding_window_pattern": 2}),
    "phi3-longrope-far": (
        "phi3",
        {
            **LLAMA,
            "rope_parameters": {**LONGROPE_SCALING, "partial_rotary_factor": 0.75},
            "original_max_position_embeddings": 200,
        },
    ),
}


@pytest.fixture(scope="module", params=ALL_VARIANTS)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelDirectory:
    """A tiny random model of transformers with a context beyond two segments, opened by us."""
    model_type, settings = ALL_VARIANTS[request.param]
    settings = {**settings, "n_positions" if model_type == "gpt2" else "max_position_embeddings": CONTEXT}
    folder = tmp_path_factory.mktemp("model")
    random_model(model_type, settings).save_pretrained(folder)
    return open_model_directory(folder)


def reference_logits(directory: ModelDirectory, token_ids: list[int]) -> Logits:
    """PyTorch's, in float32."""
    return logits_of(open_backend(directory.config, directory.tensors, backend="torch"), token_ids)


def opened(directory: ModelDirectory, weights: Weights) -> Backend:
    return open_backend(directory.config, directory.tensors, backend="native", weights=weights, num_threads=2)


def test_every_family_gives_pytorchs_logits_whole_by_token_and_in_ragged_batches(directory: ModelDirectory) -> None:
    text, other = random_text(LENGTH, vocab_size=99), random_text(77, seed=1, vocab_size=99)
    expected, expected_other = reference_logits(directory, text), reference_logits(directory, other)
    backend = opened(directory, "f32")
    np.testing.assert_allclose(logits_of(backend, text), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits_of(backend, text, chunks=[1] * LENGTH), expected, rtol=0, atol=TOLERANCE)

    first, second = backend.open_cache(), backend.open_cache()
    rows: dict[int, list[Logits]] = {first: [], second: []}
    chunks_of_text, chunks_of_other = (itertools.cycle(lengths) for lengths in ([3, 50, 1, 31], [1, 16, 2]))
    places = {first: 0, second: 0}
    while any(places[cache_id] < len(ids) for cache_id, ids in ((first, text), (second, other))):
        step = []
        for cache_id, ids, lengths in ((first, text, chunks_of_text), (second, other, chunks_of_other)):
            piece = ids[places[cache_id] : places[cache_id] + next(lengths)]
            places[cache_id] += len(piece)
            if piece:
                step.append(Chunk(cache_id, piece, len(piece)))
        for chunk, logits in zip(step, backend.step(step), strict=True):
            rows[chunk.cache_id].append(logits)
    np.testing.assert_allclose(np.concatenate(rows[first]), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(np.concatenate(rows[second]), expected_other, rtol=0, atol=TOLERANCE)


def test_bfloat16_stays_within_5e_4_nats_of_float32_on_the_same_weights(directory: ModelDirectory) -> None:
    config = directory.config
    if config.experts is not None:  # all of them, since a rounded number may tip a token to another
        experts = dataclasses.replace(config.experts, per_token=config.experts.count)
        config = dataclasses.replace(config, experts=experts)
    tensors = {name: tensor.encoded_as("BF16") for name, tensor in directory.tensors.items()}
    text = random_text(200, vocab_size=99)
    expected = logits_of(open_backend(config, tensors, backend="torch", weights="f32"), text)
    backend = open_backend(config, tensors, backend="native", num_threads=2)
    assert mean_divergence(expected, logits_of(backend, text)) < 5e-4


# ---- encodings of files ----


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> ModelDirectory:
    """A tiny llama whose rows are whole blocks, of 256 values too."""
    folder = tmp_path_factory.mktemp("wide")
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 2, "max_position_embeddings": CONTEXT}
    random_model("llama", {**LLAMA, **sizes}).save_pretrained(folder)
    return open_model_directory(folder)


def quantized(tensors: dict[str, StoredTensor], kind: str) -> dict[str, StoredTensor]:
    """Matrices in blocks, made by the gguf package, the rest as it is. Random bytes for what it cannot make."""
    encoding = GGMLQuantizationType[kind]
    found = dict(tensors)
    for name, tensor in tensors.items():
        if len(tensor.shape) == 2:
            scale = 0.06 / float(np.abs(tensor.to_float32()).max())
            data = quantize(tensor.to_float32() * np.float32(scale), encoding)
            found[name] = StoredTensor(name, kind, tensor.shape, data)
    return found


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "Q5_0", "Q5_1"])
def test_blocks_of_a_file_give_the_distributions_of_their_values(wide: ModelDirectory, kind: str) -> None:
    tensors = quantized(dict(wide.tensors), kind)
    text = random_text(150, vocab_size=99)
    expected = logits_of(TorchBackend(build_transformer(wide.config, tensors)), text)
    backend = NativeBackend(wide.config, tensors, num_threads=2, max_cache_bytes=2**26)
    assert mean_divergence(expected, logits_of(backend, text)) < 0.01


@pytest.mark.parametrize(("kind", "weights"), [("Q4_0", "q4"), ("Q4_1", "q4"), ("Q8_0", "q8")])
def test_weights_that_are_asked_for_and_there_are_taken_as_they_are(
    wide: ModelDirectory, kind: str, weights: Weights
) -> None:
    tensors, text = quantized(dict(wide.tensors), kind), random_text(50, vocab_size=99)
    as_in_file, asked_for = (
        logits_of(NativeBackend(wide.config, tensors, weights=chosen, num_threads=1, max_cache_bytes=2**24), text)
        for chosen in ("auto", weights)
    )
    np.testing.assert_array_equal(asked_for, as_in_file)


# ---- fewer bits, on a model that was never rounded before ----

TEXT = Path(__file__).parents[2] / ".." / "shared" / "data" / "tinyshakespeare.txt"
WINDOW = 128
"""Bytes that the model is trained and measured on at a time."""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelDirectory, list[int]]:
    """A small llama trained on bytes of Shakespeare for half a minute, saved as bfloat16, and text it has not seen."""
    if not TEXT.exists():
        pytest.skip("../shared/data/tinyshakespeare.txt is not here")
    token_ids = torch.tensor(list(TEXT.read_bytes()))
    heldout = token_ids[-6000:].tolist()
    sizes = {"vocab_size": 128, "hidden_size": 192, "intermediate_size": 384, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.98), weight_decay=0.1)
    steps = 600
    for step in range(steps):
        starts = torch.randint(0, len(token_ids) - 6200, (8,)).tolist()
        batch = torch.stack([token_ids[start : start + WINDOW] for start in starts])
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("trained")
    model.to(torch.bfloat16).save_pretrained(folder)
    return open_model_directory(folder), heldout


def heldout_logits(backend: Any, token_ids: list[int]) -> Logits:
    windows = [token_ids[start : start + WINDOW] for start in range(0, len(token_ids), WINDOW)]
    return np.concatenate([logits_of(backend, window)[:-1] for window in windows])


def perplexity(logits: Logits, token_ids: list[int]) -> float:
    targets = np.concatenate([token_ids[start + 1 : start + WINDOW] for start in range(0, len(token_ids), WINDOW)])
    return float(np.exp(-np.mean(log_probs(logits)[np.arange(len(targets)), targets])))


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "most_loss", "most_divergence"), [("q8", 0.003, 0.01), ("q4", 0.04, 0.1)])
def test_fewer_bits_cost_no_more_than_we_say(
    trained: tuple[ModelDirectory, list[int]], weights: Weights, most_loss: float, most_divergence: float
) -> None:
    directory, heldout = trained
    expected = heldout_logits(TorchBackend(build_transformer(directory.config, directory.tensors)), heldout)
    before = perplexity(expected, heldout)
    assert before < 9, "the model has learnt to spell"
    seen = heldout_logits(opened(directory, weights), heldout)
    assert perplexity(seen, heldout) / before - 1 < most_loss
    assert mean_divergence(expected, seen) < most_divergence


@pytest.mark.slow
def test_bfloat16_costs_next_to_nothing_on_a_trained_model(trained: tuple[ModelDirectory, list[int]]) -> None:
    directory, heldout = trained
    expected = heldout_logits(TorchBackend(build_transformer(directory.config, directory.tensors)), heldout)
    seen = heldout_logits(opened(directory, "auto"), heldout)
    assert mean_divergence(expected, seen) < 5e-4
    assert abs(perplexity(seen, heldout) / perplexity(expected, heldout) - 1) < 1e-3
