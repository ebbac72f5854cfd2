"""Weights in GGUF's blocks are computed on with exactly the values that they have, of several kinds in one model."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nextword._native")
pytest.importorskip("torch")

from nextword.checkpoints.gguf.types import BLOCK_TYPES
from nextword.errors import CheckpointError
from nextword.inference.backend import Weights
from nextword.inference.native_backend import NativeBackend
from nextword.inference.native_weights import ROUNDED
from nextword.inference.torch_backend import TorchBackend
from nextword.input_file import map_file
from nextword.models.build import build_transformer
from nextword.models.rope import Rope
from nextword.models.stored_tensor import StoredTensor
from nextword.models.weights import weight_shapes
from tests.inference.gguf_blocks import HALVES, random_blocks, values_of
from tests.inference.native import CONFIG, logits_of, mean_divergence, native, random_text

WIDE = dataclasses.replace(
    CONFIG, vocab_size=99, hidden_size=256, intermediate_size=512, num_heads=4, num_kv_heads=2, head_dim=64,
    rope=Rope(theta=1000.0, rotary_dim=64), attention_scale=64**-0.5,
)  # fmt: skip
"""Rows of whole blocks of 256."""


def model_of(kinds: dict[str, str], *, default: str) -> dict[str, StoredTensor]:
    """Random blocks for all matrices: of the kind of the first key that the name contains, else of the default kind."""
    tensors = {}
    for seed, (name, shape) in enumerate(weight_shapes(WIDE).items()):
        if len(shape) == 2:
            kind = next((kind for part, kind in kinds.items() if part in name), default)
            tensors[name] = random_blocks(kind, *shape, seed=seed, spread=shape[-1] ** -0.5).renamed(name)
        else:
            tensors[name] = StoredTensor(name, "F32", shape, np.ones(shape, np.float32))
    return tensors


def divergence(tensors: dict[str, StoredTensor], weights: Weights = "auto") -> float:
    """From PyTorch's distributions with the same values in float32: what rounding activations changes."""
    text = random_text(60, vocab_size=WIDE.vocab_size)
    expected = logits_of(TorchBackend(build_transformer(WIDE, tensors)), text)
    return mean_divergence(expected, logits_of(native(WIDE, tensors, weights=weights), text))


@pytest.mark.parametrize("kind", HALVES)
def test_distributions_are_those_of_the_values_of_the_blocks(kind: str) -> None:
    tensors = model_of({}, default=kind)
    assert divergence(tensors) < 0.002
    stored = sum(tensor.data.nbytes for tensor in tensors.values() if tensor.is_quantized)
    padded = stored * (1 + 29 / 99)  # at most: the embedding of 99 rows lies in panels of 32
    assert stored <= native(WIDE, tensors, weights="auto").weight_bytes <= 1.04 * padded


@pytest.mark.parametrize("kind", HALVES)
def test_a_token_has_the_same_bits_alone_and_in_a_prompt_on_every_instruction_set(kind: str) -> None:
    tensors, text = model_of({}, default=kind), random_text(45, vocab_size=WIDE.vocab_size)
    expected = logits_of(native(WIDE, tensors, weights="auto", isa="portable"), text)
    for isa in ("", "avx2"):
        backend = native(WIDE, tensors, weights="auto", isa=isa)
        for chunks in ([45], [1] * 45, [3, 17, 25]):
            np.testing.assert_array_equal(logits_of(backend, text, chunks=chunks), expected)


@pytest.mark.parametrize("kind", HALVES)
def test_read_as_floats_blocks_have_the_bits_of_the_gguf_package(kind: str) -> None:
    tensors, text = model_of({}, default=kind), random_text(20, vocab_size=WIDE.vocab_size)
    floats = {name: tensor.encoded_as("F32") for name, tensor in tensors.items()}
    expected = logits_of(native(WIDE, floats, weights="f32"), text)
    np.testing.assert_array_equal(logits_of(native(WIDE, tensors, weights="f32"), text), expected)


@pytest.mark.parametrize("kind", HALVES)
def test_an_embedding_has_exactly_the_values_of_the_blocks(kind: str) -> None:
    """With matrices of zeros behind it, and one-hot rows as the head, the normed embedding itself comes out."""
    tensors = {}
    for name, shape in weight_shapes(WIDE).items():
        tensors[name] = StoredTensor(name, "F32", shape, np.full(shape, len(shape) == 1, np.float32))
    vocab_size, hidden = WIDE.vocab_size, WIDE.hidden_size
    head = np.eye(vocab_size, hidden, dtype=np.float32)
    tensors["output_head.weight"] = StoredTensor("output_head.weight", "F32", head.shape, head)
    embedding = random_blocks(kind, vocab_size, hidden, spread=1.0).renamed("embedding.weight")
    tensors[embedding.name] = embedding
    values = values_of(kind, embedding.data.astype(np.uint8)).astype(np.float64)
    normed = values / np.sqrt((values**2).mean(-1, keepdims=True) + WIDE.norm_eps)
    seen = logits_of(native(WIDE, tensors, weights="auto"), list(range(vocab_size)))
    assert (np.abs(seen - normed[:, :vocab_size]) <= 1e-6 * np.abs(normed).max(-1, keepdims=True)).all()


def test_kinds_are_mixed_within_a_layer() -> None:
    kinds = {"embedding": "Q6_K", "q_proj": "Q4_K", "k_proj": "Q5_0", "v_proj": "Q6_K", "o_proj": "IQ4_XS"}
    assert divergence(model_of({**kinds, "down_proj": "Q3_K"}, default="Q5_K")) < 0.002


@pytest.mark.parametrize(("gate", "up"), [("Q4_K", "Q6_K"), ("IQ4_XS", "Q5_0"), ("Q3_K", "Q8_0")])
def test_a_gate_may_have_another_kind_than_the_values_that_it_gates(gate: str, up: str) -> None:
    tensors = model_of({"gate_proj": gate, "up_proj": up}, default="Q4_K")
    assert divergence(tensors) < 0.002
    stored = sum(tensor.data.nbytes for tensor in tensors.values() if tensor.is_quantized)
    assert native(WIDE, tensors, weights="auto").weight_bytes < 1.1 * stored


@pytest.mark.parametrize("kind", HALVES)
def test_blocks_with_broken_scales_are_damage_that_no_other_format_mends(kind: str, tmp_path: Path) -> None:
    tensors = model_of({}, default=kind)
    name = "layers.1.mlp.down_proj.weight"
    at = HALVES[kind][-1]
    tensors[name].data[7, at : at + 2] = 0x00, 0x7E  # NaN
    tensors[name] = in_file(tensors[name], path := tmp_path / "x.gguf")
    with pytest.raises(CheckpointError) as caught:
        native(WIDE, tensors, weights="auto")
    problem = "has blocks whose scales are infinite or NaN; the file is damaged"
    assert str(caught.value) == f"{path}: tensor {name} {problem}"


def test_types_that_become_8_bit_are_those_that_can_be_decoded_and_no_kind_holds() -> None:
    decoded = []
    for kind, num_values, num_bytes in BLOCK_TYPES.values():
        tensor = StoredTensor("t", kind, (1, num_values), np.zeros((1, num_bytes), np.uint8))
        with contextlib.suppress(CheckpointError):
            decoded += [kind] if tensor.is_quantized and tensor.to_float32().size else []
    assert sorted(ROUNDED) == sorted(set(decoded) - HALVES.keys())


def ternary() -> dict[str, StoredTensor]:
    """A model with one matrix of a type that becomes 8-bit."""
    tensors = model_of({}, default="Q4_K")
    name = "layers.0.attention.q_proj.weight"
    blocks = np.random.default_rng(1).integers(0, 256, (WIDE.hidden_size, 66), dtype=np.uint8)
    blocks[:, -2:] = np.float16(0.05).tobytes()[0], np.float16(0.05).tobytes()[1]
    tensors[name] = StoredTensor(name, "TQ2_0", (WIDE.hidden_size, WIDE.hidden_size), blocks)
    return tensors


def in_file(tensor: StoredTensor, path: Path) -> StoredTensor:
    """The tensor in a file that is mapped."""
    path.write_bytes(tensor.data.tobytes())
    mapped = map_file(path, least=1, kind="a matrix")
    return dataclasses.replace(tensor, stored=np.ndarray(tensor.data.shape, tensor.data.dtype, mapped))


def test_types_that_become_8_bit_are_named_once_for_each_file(tmp_path: Path) -> None:
    name = "layers.0.attention.q_proj.weight"
    for number in range(2):
        tensors = ternary()
        tensors[name] = in_file(tensors[name], path := tmp_path / f"{number}.gguf")
        with pytest.warns(UserWarning, match=f"^{path}: weights of type TQ2_0 are rounded to 8 bits$") as caught:
            NativeBackend(WIDE, tensors, num_threads=1, max_cache_bytes=2**24)
        assert len(caught) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["I8", "F64", "Q8_K"])
def test_a_type_that_cannot_be_read_is_refused_with_its_file_and_no_warning(kind: str, tmp_path: Path) -> None:
    tensors = model_of({}, default="Q4_K")
    name = "layers.0.attention.q_proj.weight"
    num_values, num_bytes = next(block[1:] for block in BLOCK_TYPES.values() if block.name == kind)
    row = np.zeros((WIDE.hidden_size, WIDE.hidden_size // num_values * num_bytes), np.uint8)
    tensor = StoredTensor(name, kind, (WIDE.hidden_size, WIDE.hidden_size), row)
    tensors[name] = in_file(tensor, path := tmp_path / "x.gguf")
    with pytest.raises(CheckpointError, match=f"^{path}: tensor {name}: values of type {kind} cannot be read; "):
        NativeBackend(WIDE, tensors, num_threads=1, max_cache_bytes=2**24)


def test_types_that_become_8_bit_are_not_named_where_that_was_asked_for() -> None:
    tensors = ternary()
    with pytest.warns(UserWarning, match=r"^weights of type TQ2_0 are rounded to 8 bits$") as caught:
        NativeBackend(WIDE, tensors, num_threads=1, max_cache_bytes=2**24)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        native(WIDE, model_of({}, default="Q4_K"), weights="auto")
        native(WIDE, tensors, weights="q8")  # as asked for
