"""The transformer and its cache by their own laws; agreement with other libraries is tested in tests/peers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nextword.errors import CheckpointError, RequestError
from nextword.models.build import build_transformer
from nextword.models.config import ModelConfig
from nextword.models.kv_cache import KVCache
from nextword.models.packing import Packing
from nextword.models.rope import Rope
from nextword.models.stored_tensor import StoredTensor
from nextword.models.transformer import Transformer
from nextword.models.weights import weight_shapes

CONFIG = ModelConfig(
    family="llama",
    vocab_size=13,
    hidden_size=16,
    intermediate_size=24,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=4,
    max_seq_len=600,
    norm_eps=1e-5,
    rope=Rope(theta=100.0, rotary_dim=4),
    attention_scale=0.5,
)
WINDOW = dataclasses.replace(CONFIG, sliding_window=5, sliding_layers=(0,))
CAPPED = dataclasses.replace(CONFIG, attention_soft_cap=2.0, sliding_window=5, sliding_layers=(1,))


def random_weights(config: ModelConfig) -> dict[str, StoredTensor]:
    random = np.random.default_rng(2)
    arrays = {name: random.standard_normal(shape).astype(np.float32) for name, shape in weight_shapes(config).items()}
    return {name: StoredTensor(name, "F32", array.shape, array) for name, array in arrays.items()}


def tokens(length: int, rows: int = 1) -> torch.Tensor:
    return torch.randint(0, 13, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _without_gradients() -> object:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("config", [CONFIG, WINDOW, CAPPED], ids=["full", "window", "capped"])
def test_a_text_in_pieces_through_the_cache_gives_the_logits_of_the_whole(config: ModelConfig) -> None:
    transformer = build_transformer(config, random_weights(config))
    token_ids = tokens(560)  # more than two blocks of masked queries
    whole = transformer(token_ids)
    cache = KVCache(config)
    pieces = [transformer(piece, kv_cache=cache) for piece in torch.split(token_ids, [3, 1, 300, 1, 1, 254], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=2e-4, rtol=1e-4)
    assert cache.length == 560


def test_only_the_rows_asked_for_pass_the_output_head() -> None:
    transformer = build_transformer(CONFIG, random_weights(CONFIG))
    torch.testing.assert_close(transformer(tokens(9, 2), last_rows=2), transformer(tokens(9, 2))[:, -2:])


def test_a_token_does_not_see_what_comes_after_it() -> None:
    transformer = build_transformer(WINDOW, random_weights(WINDOW))
    token_ids = tokens(20)
    changed = token_ids.clone()
    changed[0, 12] = (changed[0, 12] + 1) % 13
    difference = (transformer(token_ids) - transformer(changed)).abs().amax(-1)[0]
    assert float(difference[:12].max()) == 0.0
    assert float(difference[12]) > 0.0


def test_a_sliding_window_in_every_layer_forgets_what_is_beyond_all_windows() -> None:
    config = dataclasses.replace(WINDOW, sliding_layers=(0, 1))
    transformer = build_transformer(config, random_weights(config))
    token_ids = tokens(30)
    changed = token_ids.clone()
    changed[0, 0] = (changed[0, 0] + 1) % 13
    reach = 2 * (5 - 1)  # each layer looks back four positions
    difference = (transformer(token_ids) - transformer(changed)).abs().amax(-1)[0]
    assert float(difference[reach]) > 0.0
    assert float(difference[reach + 1 :].max()) == 0.0


def test_a_fork_of_the_cache_goes_its_own_way() -> None:
    transformer = build_transformer(CONFIG, random_weights(CONFIG))
    cache = KVCache(CONFIG)
    transformer(tokens(70), kv_cache=cache)
    fork = cache.fork()
    transformer(torch.tensor([[1, 2]]), kv_cache=cache)
    assert (cache.length, fork.length) == (72, 70)
    alone = transformer(torch.cat((tokens(70), torch.tensor([[3]])), dim=1))[:, -1:]
    torch.testing.assert_close(transformer(torch.tensor([[3]]), kv_cache=fork), alone, atol=1e-4, rtol=1e-4)


def test_a_truncated_cache_goes_on_from_where_it_was_cut() -> None:
    transformer = build_transformer(CONFIG, random_weights(CONFIG))
    cache = KVCache(CONFIG)
    transformer(tokens(70), kv_cache=cache)
    cache.truncate(30)
    again = transformer(tokens(70)[:, 30:], kv_cache=cache)
    torch.testing.assert_close(again, transformer(tokens(70))[:, 30:], atol=1e-4, rtol=1e-4)


def test_positions_beyond_the_context_are_refused_and_change_nothing() -> None:
    transformer = build_transformer(CONFIG, random_weights(CONFIG))
    cache = KVCache(CONFIG)
    transformer(tokens(599), kv_cache=cache, last_rows=1)
    with pytest.raises(RequestError, match="601 positions needed, the context of the model is 600"):
        transformer(tokens(2), kv_cache=cache)
    assert cache.length == 599


def test_names_and_shapes_of_the_module_are_those_the_config_implies() -> None:
    state = Transformer(CONFIG).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == weight_shapes(CONFIG)


@pytest.mark.parametrize(
    ("dtype", "stored"), [(torch.bfloat16, "BF16"), (torch.float16, "F16"), (torch.float32, "F32")]
)
def test_weights_are_held_in_the_type_asked_for_without_loss(dtype: torch.dtype, stored: str) -> None:
    weights = {name: tensor.encoded_as(stored) for name, tensor in random_weights(CONFIG).items()}  # type: ignore[arg-type]
    transformer = build_transformer(CONFIG, weights, dtype=dtype)
    for name, parameter in transformer.named_parameters():
        assert parameter.dtype == dtype
        np.testing.assert_array_equal(parameter.float().numpy(), weights[name].to_float32())


def test_the_weights_do_not_share_the_memory_of_the_file() -> None:
    weights = random_weights(CONFIG)
    frozen = weights["final_norm.weight"].data
    frozen.flags.writeable = False
    transformer = build_transformer(CONFIG, weights)
    transformer.get_parameter("final_norm.weight").fill_(9.0)
    assert float(np.asarray(frozen, dtype=np.float32).max()) < 9.0


def test_a_missing_an_unexpected_and_a_misshaped_tensor_are_refused_by_name() -> None:
    weights = random_weights(CONFIG)
    without = {name: tensor for name, tensor in weights.items() if name != "layers.1.mlp.up_proj.weight"}
    with pytest.raises(CheckpointError, match=r"missing tensor layers\.1\.mlp\.up_proj\.weight"):
        build_transformer(CONFIG, without)
    with pytest.raises(CheckpointError, match=r"unexpected tensor extra\.weight"):
        build_transformer(CONFIG, {**weights, "extra.weight": weights["final_norm.weight"]})
    with pytest.raises(CheckpointError, match=r"final_norm\.weight has shape \[13, 16\]"):
        build_transformer(CONFIG, {**weights, "final_norm.weight": weights["embedding.weight"]})


def test_without_a_head_in_the_file_the_embedding_is_the_head() -> None:
    weights = random_weights(CONFIG)
    del weights["output_head.weight"]
    transformer = build_transformer(CONFIG, weights)
    assert transformer.config.is_tied
    untied = {**weights, "output_head.weight": weights["embedding.weight"].renamed("output_head.weight")}
    torch.testing.assert_close(transformer(tokens(7)), build_transformer(CONFIG, untied)(tokens(7)))


def packing_of(*rows: list[int]) -> Packing | None:
    """Rows of documents of these lengths."""
    positions = np.array([[position for length in row for position in range(length)] for row in rows])
    document_ids = np.array([[index for index, length in enumerate(row) for _ in range(length)] for row in rows])
    return Packing.of(positions, document_ids)


@pytest.mark.parametrize("config", [CONFIG, WINDOW, CAPPED], ids=["full", "window", "capped"])
def test_packed_documents_get_the_hidden_states_they_get_alone(config: ModelConfig) -> None:
    transformer = build_transformer(config, random_weights(config))
    token_ids = tokens(20, 2)
    packed = transformer.hidden_states(token_ids, packing=packing_of([7, 1, 12], [20]))
    for row, first, last in ((0, 0, 7), (0, 7, 8), (0, 8, 20), (1, 0, 20)):
        alone = transformer.hidden_states(token_ids[row : row + 1, first:last])
        torch.testing.assert_close(packed[row : row + 1, first:last], alone, atol=1e-5, rtol=1e-4)


def test_packed_documents_have_learned_positions_of_their_own() -> None:
    config = dataclasses.replace(CONFIG, rope=None, max_seq_len=12)
    transformer = build_transformer(config, random_weights(config))
    packed = transformer.hidden_states(tokens(20), packing=packing_of([8, 12]))  # the row may be longer than a document
    torch.testing.assert_close(packed[:, 8:], transformer.hidden_states(tokens(20)[:, 8:]), atol=1e-5, rtol=1e-4)
    with pytest.raises(RequestError, match="13 positions needed, the context of the model is 12"):
        transformer.hidden_states(tokens(20), packing=packing_of([7, 13]))


def test_rows_of_one_document_need_no_packing() -> None:
    assert packing_of([5], [5]) is None
    assert packing_of([5], [2, 3]) is not None
    continued = np.array([[3, 4]])  # the rest of a document whose beginning stands in another row
    assert Packing.of(continued, np.zeros((1, 2), np.int64)) is not None


@pytest.mark.parametrize("is_tied", [False, True])
def test_hidden_states_and_head_give_the_logits(is_tied: bool) -> None:
    weights = random_weights(CONFIG)
    if is_tied:
        del weights["output_head.weight"]
    transformer = build_transformer(CONFIG, weights)
    logits = torch.nn.functional.linear(transformer.hidden_states(tokens(9)), *transformer.head)
    torch.testing.assert_close(logits, transformer(tokens(9)))
