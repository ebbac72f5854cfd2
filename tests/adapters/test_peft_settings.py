"""Every setting of an adapter that peft can write gives peft's logits, or is refused by its name."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
from safetensors.torch import load_file, save_file  # noqa: E402

from nextword.adapters.beside import open_beside  # noqa: E402
from nextword.adapters.folder import open_adapter  # noqa: E402
from nextword.adapters.merge import with_adapter  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.errors import BackendError, CheckpointError  # noqa: E402
from nextword.inference.backend import BackendName, Chunk  # noqa: E402
from nextword.inference.open_backend import open_backend  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from tests.peers.test_families import VARIANTS, largest_difference, prompts, random_model  # noqa: E402

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
]

COMPUTED: Mapping[str, list[dict[str, Any]]] = {
    "r": [{"r": 3}],
    "lora_alpha": [{"lora_alpha": 5}],
    "use_rslora": [{"use_rslora": True}],
    "use_dora": [{"use_dora": True}, {"use_dora": True, "target_modules": "all-linear", "use_rslora": True}],
    "rank_pattern": [
        {"rank_pattern": {"layers.1.self_attn.q_proj": 2}},
        {"rank_pattern": {r"layers\.(0|1).*v_proj": 5, "v_proj": 1}, "use_dora": True},
    ],
    "alpha_pattern": [
        {"alpha_pattern": {"v_proj": 32}},
        {"alpha_pattern": {"^model.layers.1.*": 3, "q_proj": 7}, "rank_pattern": {"q_proj": 2}, "use_rslora": True},
    ],
    "bias": [{"bias": "all"}, {"bias": "lora_only"}],
    "lora_bias": [{"lora_bias": True}, {"lora_bias": True, "target_modules": "all-linear"}],
    "modules_to_save": [
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"modules_to_save": ["input_layernorm", "norm", "down_proj"]},
    ],
    "trainable_token_indices": [
        {"trainable_token_indices": [5, 6, 2]},
        {"trainable_token_indices": {"embed_tokens": [1], "lm_head": [7, 3]}},
    ],
    "ensure_weight_tying": [
        {"ensure_weight_tying": True, "modules_to_save": ["embed_tokens"]},
        {"ensure_weight_tying": True, "modules_to_save": ["lm_head"]},
        {"ensure_weight_tying": True, "target_modules": ["q_proj", "embed_tokens"]},
        {"ensure_weight_tying": True, "target_modules": ["q_proj", "lm_head"]},
        {"ensure_weight_tying": True, "trainable_token_indices": [1, 2]},
    ],
    "target_modules": [
        {"target_modules": "all-linear"},
        {"target_modules": r".*layers\.1.*(q|o)_proj"},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["lm_head", "embed_tokens"], "alpha_pattern": {"embed_tokens": 3}},
    ],
    "exclude_modules": [{"exclude_modules": ["o_proj"], "target_modules": "all-linear"}],
    "layers_to_transform": [{"layers_to_transform": [1]}, {"layers_to_transform": 0}],
    "layers_pattern": [{"layers_to_transform": [1], "layers_pattern": "layers"}],
    "lora_dropout": [{"lora_dropout": 0.5}],
    "fan_in_fan_out": [{"fan_in_fan_out": True}],
    "init_lora_weights": [{"init_lora_weights": kind} for kind in (False, "gaussian", "orthogonal", "mica")],
    "task_type": [{"task_type": None}],
    "revision": [{"revision": "main"}],
    "inference_mode": [{"inference_mode": False}],
    "use_qalora": [{"use_qalora": True, "qalora_group_size": 8}],
    "qalora_group_size": [{"qalora_group_size": 8}],
    "runtime_config": [{"runtime_config": peft.LoraRuntimeConfig(ephemeral_gpu_offload=True)}],
    "auto_mapping": [{"auto_mapping": {"base_model_class": "x", "parent_library": "y"}}],
    "loftq_config": [{"loftq_config": {"loftq_bits": 4}}],
    "eva_config": [{"eva_config": None}],
    "corda_config": [{"corda_config": None}],
    "lora_ga_config": [{"lora_ga_config": None}],
    "megatron_core": [{"megatron_core": "megatron.core"}],
}
REFUSED: Mapping[str, dict[str, Any]] = {
    "layer_replication": {"layer_replication": [[0, 2], [1, 2]]},
    "alora_invocation_tokens": {"alora_invocation_tokens": [8, 9]},
    "arrow_config": {"arrow_config": {"top_k": 2}},
    "use_bdlora": {"use_bdlora": {"nblocks": 2}},
    "kasa_config": {"kasa_config": {"beta": 1e-4}},
    "monteclora_config": {"monteclora_config": {"num_samples": 2}},
    "velora_config": {"velora_config": {"num_groups": 2}},
    "target_parameters": {"target_parameters": ["q_proj.weight"]},
    "megatron_config": {"megatron_config": {"x": 1}},
}
WRITTEN_BY_PEFT = {"peft_type", "peft_version", "base_model_name_or_path"}
OTHER_KINDS: Mapping[str, list[tuple[str, dict[str, Any]]]] = {
    "IA3Config": [
        ("", {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
        ("", {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": []}),
        ("", {"target_modules": ["q_proj", "o_proj", "gate_proj"], "feedforward_modules": ["o_proj", "gate_proj"]}),
        ("", {"target_modules": ["k_proj"], "feedforward_modules": [], "modules_to_save": ["lm_head"]}),
    ],
    "AdaLoraConfig": [("", {"target_modules": ["q_proj", "up_proj"], "total_step": 9, "init_r": 5, "lora_alpha": 3})],
    "LoHaConfig": [("", {"r": 3, "alpha": 5, "target_modules": ["q_proj", "down_proj"]})],
    "LoKrConfig": [
        ("", {"r": 2, "alpha": 5, "target_modules": ["q_proj", "down_proj"]}),
        ("", {"r": 2, "decompose_both": True, "decompose_factor": 4, "target_modules": ["v_proj", "up_proj"]}),
        ("", {"r": 64, "target_modules": ["q_proj"], "rank_pattern": {"q_proj": 1}, "alpha_pattern": {"q_proj": 3}}),
    ],
    "VeraConfig": [
        ("", {"r": 6, "target_modules": ["q_proj", "down_proj", "up_proj"]}),
        ("save_projection", {"r": 6, "target_modules": ["q_proj"], "save_projection": False}),
    ],
    "LNTuningConfig": [("", {})],
    "TrainableTokensConfig": [("", {"token_indices": [3, 1, 7]})],
    "OFTConfig": [("peft_type", {"r": 0, "oft_block_size": 4, "target_modules": ["q_proj"]})],
    "HRAConfig": [("peft_type", {"r": 4, "target_modules": ["q_proj"]})],
}


@pytest.fixture(scope="module", params=["llama-biases", "tied"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a model of transformers, with biases or with a tied head."""
    kind, settings = VARIANTS["llama-biases"]
    if request.param == "tied":
        settings = {**settings, "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False}
    folder = tmp_path_factory.mktemp("base") / request.param
    random_model(kind, settings).save_pretrained(folder)
    return folder


def their_model(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def save_theirs(folder: Path, target: Path, config: Any, *, vocab_size: int | None = None) -> Any:
    """The adapter as peft saves it, and the model with it as peft opens it again."""
    base = their_model(folder)
    if vocab_size is not None:
        base.resize_token_embeddings(vocab_size)
    model = peft.get_peft_model(base, config)
    random = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=random)
    model.save_pretrained(target)
    again = their_model(folder)
    if vocab_size is not None:
        again.resize_token_embeddings(vocab_size)
    return peft.PeftModel.from_pretrained(again, target).eval()


def difference(folder: Path, adapter: Path, theirs: Any) -> float:
    merged = with_adapter(open_model_directory(folder), open_adapter(adapter))
    with torch.no_grad():
        ours = build_transformer(merged.config, merged.tensors)(prompts(2))
        return largest_difference(ours, theirs(prompts(2)).logits)


def lora(**settings: Any) -> Any:
    plain = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    return peft.LoraConfig(**{**plain, **settings})


def test_every_field_is_in_the_table() -> None:
    fields = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert fields == {*COMPUTED, *REFUSED, *WRITTEN_BY_PEFT}


@pytest.mark.parametrize(
    "settings", list(itertools.chain.from_iterable(COMPUTED.values())), ids=lambda settings: str(settings)[:60]
)
def test_a_setting_gives_the_logits_of_peft(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    theirs = save_theirs(base, tmp_path, lora(**settings))
    assert difference(base, tmp_path, theirs) < 1e-4


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_is_not_computed_is_refused_by_its_name(base: Path, tmp_path: Path, name: str) -> None:
    import json

    save_theirs(base, tmp_path, lora())
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **REFUSED[name]}))
    with pytest.raises(CheckpointError, match=f"adapter_config.json: {name} is"):
        open_adapter(tmp_path)


@pytest.mark.parametrize(
    ("kind", "refused", "settings"),
    [(kind, refused, settings) for kind, cases in OTHER_KINDS.items() for refused, settings in cases],
)
def test_another_kind_gives_the_logits_of_peft_or_is_refused(
    base: Path, tmp_path: Path, kind: str, refused: str, settings: dict[str, Any]
) -> None:
    theirs = save_theirs(base, tmp_path, getattr(peft, kind)(task_type="CAUSAL_LM", **settings))
    if refused:
        with pytest.raises(CheckpointError, match=f"adapter_config.json: {refused} is"):
            open_adapter(tmp_path)
    else:
        assert difference(base, tmp_path, theirs) < 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
    ],
)
def test_a_grown_vocabulary_is_that_of_the_adapter(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    size = their_model(base).config.vocab_size + 9
    theirs = save_theirs(base, tmp_path, lora(**settings), vocab_size=size)
    merged = with_adapter(open_model_directory(base), open_adapter(tmp_path))
    assert merged.config.vocab_size == size
    assert difference(base, tmp_path, theirs) < 1e-4


@pytest.mark.parametrize(
    "settings", [{"target_modules": ["q_proj", "embed_tokens"]}, {"trainable_token_indices": [3, 101]}]
)
def test_a_grown_vocabulary_without_its_values_is_refused(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    """Peft saves one of two matrices, or none: the new rows of the other are random each time the base is resized."""
    theirs = save_theirs(base, tmp_path, lora(**settings), vocab_size=their_model(base).config.vocab_size + 9)
    if base.name == "tied" and "target_modules" in settings:
        assert difference(base, tmp_path, theirs) < 1e-4
    else:
        with pytest.raises(
            CheckpointError, match=r"(the vocabulary has 108 tokens, and|trainable_token_indices has 101)"
        ):
            difference(base, tmp_path, theirs)


@pytest.mark.parametrize("variant", ["granite", "cohere-untied-biases"])
@pytest.mark.parametrize("settings", [{"lora_bias": True}, {"use_dora": True}, {}], ids=str)
def test_an_adapted_head_gives_the_logits_of_peft_where_the_model_scales_them(
    tmp_path: Path, variant: str, settings: dict[str, Any]
) -> None:
    """The factor on the logits is one on the adapter's bias as well."""
    folder, adapter = tmp_path / "base", tmp_path / "adapter"
    random_model(*VARIANTS[variant]).save_pretrained(folder)
    theirs = save_theirs(folder, adapter, lora(target_modules=["lm_head"], **settings))
    assert difference(folder, adapter, theirs) < 1e-4
    path = adapter / "adapter_model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if "lora_" in name}  # not the base's own matrix
    save_file(kept, path)
    directory = open_model_directory(folder)
    changes = open_beside(directory, {"a": adapter})
    expected = theirs(prompts(1)).logits[0].detach().numpy()
    backends: tuple[BackendName, ...] = ("native", "torch")
    for backend in backends:
        opened = open_backend(directory.config, directory.tensors, backend=backend, adapters=changes)
        token_ids = prompts(1)[0].tolist()
        (ours,) = opened.step([Chunk(opened.open_cache(adapter="a"), token_ids, len(token_ids))])
        assert largest_difference(torch.from_numpy(ours), torch.from_numpy(expected)) < 1e-4


def test_an_adapter_of_a_shared_expert_beside_the_base_is_refused_by_the_native_backend(tmp_path: Path) -> None:
    folder, adapter = tmp_path / "base", tmp_path / "adapter"
    random_model(*VARIANTS["qwen2_moe"]).save_pretrained(folder)
    theirs = save_theirs(folder, adapter, lora(target_modules=r".*shared_expert\.(up|down)_proj"))
    assert difference(folder, adapter, theirs) < 1e-4
    directory = open_model_directory(folder)
    with pytest.raises(BackendError, match=r"shared_expert.*merge the adapter, or load with backend=\"torch\""):
        open_backend(
            directory.config,
            directory.tensors,
            backend="native",
            adapters=open_beside(directory, {"a": adapter}),
        )
