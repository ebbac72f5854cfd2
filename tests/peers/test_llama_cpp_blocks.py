"""Blocks of every kind that llama.cpp's quantizer makes have the values that it gives them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("xllamacpp")

from nextword.checkpoints.gguf.types import BLOCK_TYPES
from nextword.models.stored_tensor import StoredTensor
from tests.peers.requantize import dequantized, quantized

pytestmark = pytest.mark.peer

NOT_WEIGHTS = ("Q8_1", "Q8_K")
"""Formats of activations, not of weights, within llama.cpp."""
KINDS = [of.name for of in BLOCK_TYPES.values() if of.num_values > 1 and of.name not in NOT_WEIGHTS]


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_llama_cpp(kind: str) -> None:
    values = np.random.default_rng(4).standard_normal((6, 768), dtype=np.float32) * np.float32(0.05)
    encoded = quantized(values, kind)
    tensor = StoredTensor("x", kind, values.shape, encoded)
    expected = dequantized(encoded, kind, values.shape)
    np.testing.assert_array_equal(tensor.to_float32(), expected)
    assert np.corrcoef(expected.ravel(), values.ravel())[0, 1] > 0.7  # they are of these values at all
