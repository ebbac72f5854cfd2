"""Kinds of matrices in memory keep the values of a file, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("nextword._native")

from nextword.inference.backend import Weights
from nextword.models.stored_tensor import FloatDtype, StoredTensor
from tests.inference.native import CONFIG, logits_of, native, random_text, random_weights


def rounded_to(dtype: FloatDtype) -> dict[str, StoredTensor]:
    """Random matrices stored as `dtype`; the norms stay F32."""
    return {
        name: tensor.encoded_as(dtype) if len(tensor.shape) == 2 else tensor
        for name, tensor in random_weights(CONFIG).items()
    }


def test_float16_takes_two_bytes_and_computes_as_float32_of_the_same_values() -> None:
    halves = rounded_to("F16")
    in_16, in_32 = native(tensors=halves, weights="auto"), native(tensors=halves, weights="f32")
    assert in_16.weight_bytes * 2 == in_32.weight_bytes
    text = random_text(150)
    np.testing.assert_array_equal(logits_of(in_16, text, chunks=[1, 1, 70]), logits_of(in_32, text))


@pytest.mark.parametrize("weights", ["f16", "bf16"])
def test_weights_that_are_asked_for_are_rounded_once(weights: Weights) -> None:
    dtype: FloatDtype = "F16" if weights == "f16" else "BF16"
    text = random_text(40)
    ours = logits_of(native(weights=weights), text)
    np.testing.assert_array_equal(ours, logits_of(native(tensors=rounded_to(dtype), weights="auto"), text))
