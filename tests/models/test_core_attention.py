"""Attention in the core is attention with one mask over everything, and so are its gradients."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("nextword._native", reason="the C++ core was not built")

from nextword.models.attention import packed_causal_attention
from nextword.models.core_attention import core_attention, has_kernel, runs_in_core
from nextword.native import core

LENGTHS = ((1,), (70, 1, 2, 64), (129,), (17, 200))


def rows(dtype: torch.dtype, lengths: tuple[int, ...], head_dim: int) -> list[Tensor]:
    """Queries with 6 heads, keys and values with 2, and the gradient of what is mixed."""
    random = torch.Generator().manual_seed(1)
    shapes = [(sum(lengths), heads, head_dim) for heads in (6, 2, 2, 6)]
    return [torch.randn(shape, generator=random, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def plain(tensors: list[Tensor], lengths: tuple[int, ...], window: int | None) -> list[Tensor]:
    queries, keys, values, grad = (tensor.double() for tensor in tensors)
    document = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    distance = torch.arange(sum(lengths))[:, None] - torch.arange(sum(lengths))
    is_seen = (document[:, None] == document) & (distance >= 0) & (distance < (window or 1 << 20))
    scores = torch.einsum("qhd,khd->hqk", queries, keys.repeat_interleave(3, dim=1)) * 0.3
    weights = scores.masked_fill(~is_seen, -torch.inf).softmax(dim=-1)
    mixed = torch.einsum("hqk,khd->qhd", weights, values.repeat_interleave(3, dim=1))
    return [mixed.detach(), *torch.autograd.grad(mixed, tensors[:3], grad)]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("window", [None, 1, 65])
@pytest.mark.parametrize("head_dim", [16, 80])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 0.01)])
def test_values_and_gradients_are_those_of_one_mask_over_everything(
    lengths: tuple[int, ...], window: int | None, head_dim: int, dtype: torch.dtype, tolerance: float
) -> None:
    tensors = rows(dtype, lengths, head_dim)
    queries, keys, values, _ = tensors
    mixed = core_attention(queries, keys, values, lengths, scale=0.3, window=window)
    found = [mixed, *torch.autograd.grad(mixed, tensors[:3], tensors[3])]
    for value, expected in zip(found, plain(tensors, lengths, window), strict=True):
        assert value.dtype == dtype
        size = float(expected.norm()) + expected.numel() ** 0.5  # where all weights are 1, the gradients cancel
        assert float(torch.dist(value.detach().double(), expected)) <= tolerance * size


def test_bits_do_not_depend_on_the_threads() -> None:
    tensors, results, before = rows(torch.bfloat16, (70, 1, 200), 32), [], torch.get_num_threads()
    try:
        for number in (1, 2, 4):
            torch.set_num_threads(number)
            queries, keys, values, _ = tensors
            mixed = core_attention(queries, keys, values, (70, 1, 200), scale=0.3, window=None)
            results.append([mixed, *torch.autograd.grad(mixed, tensors[:3], tensors[3])])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))


def test_a_large_score_leaves_the_others_no_weight() -> None:
    queries, keys, values = torch.full((3, 1, 16), 100.0), torch.zeros(3, 1, 16), torch.arange(48.0).view(3, 1, 16)
    keys[1] = 100.0
    mixed = core_attention(queries, keys, values, (3,), scale=1.0, window=None)
    assert torch.equal(mixed, values[[0, 1, 1]])


def test_the_core_attends_where_it_can() -> None:
    queries, keys = torch.zeros(1, 8, 4, 32), torch.zeros(1, 8, 2, 32)
    many = (1,) * torch.get_num_threads()
    assert runs_in_core(queries, keys, many, soft_cap=None)
    assert not runs_in_core(queries, keys, many, soft_cap=30.0)
    assert not runs_in_core(queries[..., :24], keys[..., :24], many, soft_cap=None)
    assert not runs_in_core(queries.double(), keys.double(), many, soft_cap=None)


def test_both_ways_of_attention_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys, values, _ = (tensor[None] for tensor in rows(torch.float32, (5, 150), 16))
    settings = {"scale": 0.25, "window": 40, "soft_cap": None}
    in_core = packed_causal_attention(queries, keys, values, (5, 150), **settings)  # type: ignore[arg-type]
    monkeypatch.setattr("nextword.models.attention.runs_in_core", lambda *_, **__: False)
    in_blocks = packed_causal_attention(queries, keys, values, (5, 150), **settings)  # type: ignore[arg-type]
    torch.testing.assert_close(in_core, in_blocks)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"starts": np.array([0, 3])}, "starts do not divide the tokens into documents"),
        ({"starts": np.array([0, 2, 2, 4])}, "starts do not divide the tokens into documents"),
        ({"starts": np.array([0, 5, 4])}, "starts do not divide the tokens into documents"),
        ({"window": 0}, "queries attend to no key: window = 0"),
        ({"keys": np.zeros((4, 3, 16), np.float32)}, "values has 128 elements instead of 192"),
        ({"queries": np.zeros((4, 3, 16), np.float32)}, "keys do not fit the queries"),
        ({"mixed": np.zeros(5, np.float32)}, "mixed has 5 elements instead of 256"),
        ({"log_sums": np.zeros(5, np.float32)}, "log_sums has 5 elements instead of 16"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, object], problem: str) -> None:
    def zeros(*shape: int) -> object:
        return np.zeros(shape, np.float32)

    arrays = {"queries": zeros(4, 4, 16), "keys": zeros(4, 2, 16), "values": zeros(4, 2, 16)}
    arguments = {**arrays, "starts": np.array([0, 4]), "window": 4, "scale": 1.0}
    with pytest.raises(ValueError, match=problem):
        core.attend(**{**arguments, "mixed": zeros(4, 4, 16), "log_sums": zeros(4, 4), **changed})  # type: ignore[arg-type]


def test_matrix_tiles_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextword.models.core_attention._has_tiles", lambda: True)
    assert not has_kernel(64, torch.bfloat16, soft_cap=None)
    assert has_kernel(64, torch.float32, soft_cap=None)


WITHOUT_MEMORY = """
import resource

import numpy as np
import torch

from nextword.native import core

torch.set_num_threads(2)
torch.ones(3_000_000).sum()  # its threads are there
length, dim = 60_000, 64
queries = np.zeros((length, 1, dim), np.float32)
keys, values, mixed = queries.copy(), queries.copy(), np.empty_like(queries)
starts, log_sums = np.array([0, length // 2, length], np.int64), np.empty(length, np.float32)
attend = lambda: core.attend(queries, keys, values, starts, 64, 0.1, mixed, log_sums)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 2**22, -1))  # a thread's buffers take twice as much
try:
    attend()
except MemoryError:
    print("no memory")
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
torch.ones(3_000_000).sum()
attend()
print("again")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
def test_memory_that_runs_out_in_a_thread_is_an_error_after_which_all_goes_on() -> None:
    ran = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("no memory\nagain\n", 0), ran.stderr
