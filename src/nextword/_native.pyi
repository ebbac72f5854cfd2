"""The extension module: what native/bindings.cpp and the bind_*.cpp beside it define."""

import enum
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

class WeightKind(enum.Enum):
    F32 = 0
    F16 = 1
    BF16 = 2
    Q8 = 3
    Q4 = 4
    Q4_MIN = 5
    Q5 = 6
    Q5_MIN = 7
    IQ4 = 8
    Q2_K = 9
    Q3_K = 10
    Q4_K = 11
    Q5_K = 12
    Q6_K = 13
    IQ4_XS = 14

class Encoding(enum.Enum):
    F32 = 0
    F16 = 1
    BF16 = 2
    Q8_0 = 3
    Q4_0 = 4
    Q4_1 = 5
    Q5_0 = 6
    Q5_1 = 7
    IQ4_NL = 8
    Q2_K = 9
    Q3_K = 10
    Q4_K = 11
    Q5_K = 12
    Q6_K = 13
    IQ4_XS = 14

class CacheKind(enum.Enum):
    F32 = 0
    BF16 = 1
    Q8 = 2

class QKNorm(enum.Enum):
    NONE = 0
    PER_HEAD = 1
    ALL_HEADS = 2

class Activation(enum.Enum):
    SILU = 1
    GELU = 2
    GELU_TANH = 3
    RELU = 4
    RELU2 = 5

def choose_isa(isa: str, /) -> str: ...

class Rope:
    frequencies: list[float]
    long_frequencies: list[float]
    factor: float

class Experts:
    count: int
    per_token: int
    intermediate_size: int
    is_normalized: bool
    shared_size: int
    has_shared_gate: bool
    layers: list[int]

class Shape:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_seq_len: int
    is_layer_norm: bool
    norm_eps: float
    norm_weight: bool
    norm_bias: bool
    has_pre_norm: bool
    has_post_norm: bool
    qk_norm: QKNorm
    activation: Activation
    is_gated: bool
    is_parallel: bool
    is_norm_shared: bool
    is_tied: bool
    has_position_embedding: bool
    position_offset: int
    qkv_clip: float
    attention_scale: float
    attention_soft_cap: float
    logit_soft_cap: float
    embedding_scale: float
    residual_scale: float
    logit_scale: float
    ropes: list[Rope]
    layer_ropes: list[int]
    layer_windows: list[int]
    experts: Experts

class CacheFullError(MemoryError): ...

class Packing:
    def __init__(
        self, model: Model, parts: Sequence[tuple[str, int, int, Encoding, npt.NDArray[np.uint8], bool]], /
    ) -> None: ...
    def run(self, seconds: float, /) -> bool: ...
    def close(self) -> None: ...
    @property
    def num_packed(self) -> int: ...

class Chunk:
    def __init__(self, cache_id: int, token_ids: Sequence[int], num_logits: int, num_drafted: int = 0) -> None: ...

class Model:
    def __init__(
        self, shape: Shape, cache_kind: CacheKind, max_cache_bytes: int, num_threads: int, isa: str
    ) -> None: ...
    def make_matrix(self, name: str, kind: WeightKind, /) -> None: ...
    def load_vector(self, name: str, values: npt.NDArray[np.float32], /) -> None: ...
    def step(self, chunks: Sequence[Chunk], logits: npt.NDArray[np.float32]) -> None: ...
    def score(
        self,
        chunks: Sequence[Chunk],
        targets: Sequence[int],
        nats: npt.NDArray[np.float64],
        entropies: npt.NDArray[np.float64],
        ranks: npt.NDArray[np.int32],
        largest: npt.NDArray[np.int32],
    ) -> None: ...
    def add_adapter(self) -> int: ...
    def load_adapter(
        self,
        adapter: int,
        name: str,
        rank: int,
        down: npt.NDArray[np.float32],
        up: npt.NDArray[np.float32],
        input_factor: npt.NDArray[np.float32],
        factor: npt.NDArray[np.float32],
        offset: npt.NDArray[np.float32],
    ) -> None: ...
    def open_cache(self, prompt: Sequence[int], is_long: bool, adapter: int = 0) -> int: ...
    def fork_cache(self, cache_id: int, /) -> int: ...
    def close_cache(self, cache_id: int, /) -> None: ...
    def truncate_cache(self, cache_id: int, length: int, /) -> None: ...
    def cache_length(self, cache_id: int, /) -> int: ...
    @property
    def max_positions(self) -> int: ...
    @property
    def cache_bytes_held(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def adapter_bytes(self) -> int: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def isa(self) -> str: ...

def softmax_weights(
    logits: npt.NDArray[np.float32], highest: float, divisor: float, bits: int, out: npt.NDArray[np.float32]
) -> float: ...
def largest(keys: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]: ...
def smallest_set(
    keys: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], wanted: float, total: float
) -> npt.NDArray[np.intp]: ...
def keep_allowed(
    logits: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]
) -> None: ...
def argmax(logits: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8] | None = None) -> int: ...
def draw(
    logits: npt.NDArray[np.float32],
    divisor: float,
    top_k: int,
    top_p: float,
    seed: int,
    sample_index: int,
    position: int,
    mask: npt.NDArray[np.uint8] | None = None,
) -> int: ...
def choose(
    model: Model,
    rows: Sequence[npt.NDArray[np.float32]],
    draws: Sequence[tuple[float, int, float, int, int, int]],
) -> list[int]: ...
def position_at(weights: npt.NDArray[np.float32], target: int) -> int: ...
def merges_from_scores(tokens: list[str], scores: list[float]) -> tuple[list[str], list[str]]: ...
def read_strings(data: npt.NDArray[np.uint8] | memoryview, position: int, count: int) -> tuple[list[str], int]: ...
def skip_strings(data: npt.NDArray[np.uint8] | memoryview, position: int, count: int) -> int: ...
def split_strings(
    data: npt.NDArray[np.uint8] | memoryview, position: int, count: int, tokens: list[str]
) -> tuple[list[str], list[str], bool]: ...
def trim_heap() -> None: ...

class MappingGuard:
    def __init__(self, mapped: object, /) -> None: ...
    @property
    def has_lost_bytes(self) -> bool: ...

# Training's kernels: models/passes.py. Arrays are contiguous, float32, or bfloat16 as uint16; results are written into
# arrays of the caller. TypeError for another dtype, ValueError for shapes and values that do not fit.
_Elements = npt.NDArray[np.float32] | npt.NDArray[np.uint16]

def rms_norm(x: _Elements, weight: _Elements, eps: float, out: _Elements, inverse: npt.NDArray[np.float32]) -> None: ...
def rms_norm_backward(
    x: _Elements,
    weight: _Elements,
    inverse: npt.NDArray[np.float32],
    grad: _Elements,
    x_grad: _Elements,
    weight_grad: npt.NDArray[np.float32],
) -> None: ...
def rotate(
    heads: _Elements, cosine: _Elements, sine: _Elements, num_heads: int, is_backward: bool, out: _Elements
) -> None: ...
def activate(x: _Elements, gated: _Elements | None, activation: Activation, out: _Elements) -> None: ...
def activate_backward(
    x: _Elements,
    gated: _Elements | None,
    grad: _Elements,
    activation: Activation,
    x_grad: _Elements,
    gated_grad: _Elements | None,
) -> None: ...
def softmax(scores: _Elements, first: npt.NDArray[np.int32], last: npt.NDArray[np.int32], scale: float) -> None: ...
def softmax_backward(
    weights: _Elements, grads: _Elements, first: npt.NDArray[np.int32], last: npt.NDArray[np.int32], scale: float
) -> None: ...
def cross_entropy(
    logits: _Elements,
    targets: npt.NDArray[np.int64],
    z_loss: float,
    has_grad: bool,
    log_sums: npt.NDArray[np.float32],
    target_logits: npt.NDArray[np.float32],
) -> None: ...
def attend(
    queries: _Elements,
    keys: _Elements,
    values: _Elements,
    starts: npt.NDArray[np.int64],
    window: int,
    scale: float,
    mixed: _Elements,
    log_sums: npt.NDArray[np.float32],
) -> None: ...
def attend_backward(
    queries: _Elements,
    keys: _Elements,
    values: _Elements,
    starts: npt.NDArray[np.int64],
    window: int,
    scale: float,
    mixed: _Elements,
    log_sums: npt.NDArray[np.float32],
    grad: _Elements,
    query_grad: _Elements,
    key_grad: _Elements,
    value_grad: _Elements,
) -> None: ...
