"""Adapters of peft on the kinds of models that its own tests take: merged, beside the base, several in one batch."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from nextword.adapters.beside import open_beside  # noqa: E402
from nextword.adapters.folder import open_adapter  # noqa: E402
from nextword.adapters.merge import with_adapter  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.checkpoints.save_directory import save_model_directory  # noqa: E402
from nextword.errors import CheckpointError  # noqa: E402
from nextword.inference.backend import BackendName, Chunk  # noqa: E402
from nextword.inference.open_backend import open_backend  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from tests.peers.test_families import VARIANTS, largest_difference, prompts, random_model  # noqa: E402

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("without_gradients"),
]

TOLERANCE = 1e-4
FAMILIES = ("opt", "gpt2", "gptj", "llama", "qwen2", "gemma3")
BACKENDS: tuple[BackendName, ...] = ("native", "torch")
NORMS = ["self_attn_layer_norm", "input_layernorm", "ln_1", "ln_f", "norm", "final_layer_norm"]


@dataclass(frozen=True)
class Case:
    """A configuration of peft, without the modules it is for: those are peft's own choice for each family."""

    kind: str
    settings: Mapping[str, Any]
    shares_base: bool = True
    """False if it replaces weights or has dense updates, and so cannot stand beside the base."""
    not_for: tuple[str, ...] = ()
    """Families without such layers, or with none that peft adapts."""


CASES = {
    "peft's own choice": Case("LoraConfig", {"r": 8, "lora_alpha": 32, "lora_dropout": 0.05}),
    "one layer": Case("LoraConfig", {"r": 4, "layers_to_transform": [1], "use_rslora": True}),
    "all linear": Case("LoraConfig", {"r": 3, "lora_alpha": 7, "target_modules": "all-linear", "use_dora": True}),
    "all biases": Case(
        "LoraConfig", {"target_modules": "all-linear", "bias": "all"}, False, not_for=("llama", "gemma3")
    ),
    "patterns": Case(
        "LoraConfig",
        {
            "target_modules": "all-linear",
            "rank_pattern": {r".*\.1\..*": 2},
            "alpha_pattern": {r".*\.0\..*": 3, "q_proj": 5, "c_proj": 5},
            "init_lora_weights": "orthogonal",
        },
    ),
    "trained tokens": Case("LoraConfig", {"trainable_token_indices": [0, 1, 3]}, shares_base=False),
    "(IA)³": Case("IA3Config", {}),
    "AdaLoRA": Case("AdaLoraConfig", {"total_step": 1}),
    "VeRA": Case("VeraConfig", {"r": 8, "projection_prng_key": 0xFF, "d_initial": 0.1}),
    "LoHa": Case("LoHaConfig", {"target_modules": "all-linear"}, shares_base=False, not_for=("gpt2",)),
    "LoKr": Case("LoKrConfig", {"target_modules": "all-linear"}, shares_base=False, not_for=("gpt2",)),
    "norms": Case("LNTuningConfig", {"target_modules": NORMS}, shares_base=False),
    "tokens": Case("TrainableTokensConfig", {"token_indices": [0, 1, 3]}, shares_base=False),
}


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("base") / request.param
    random_model(*VARIANTS[request.param]).save_pretrained(folder)
    return folder


@pytest.fixture
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@functools.cache
def _read(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def their_base(folder: Path) -> Any:
    """Return a model of its own, since peft changes the one that it gets; copying is faster than reading."""
    return copy.deepcopy(_read(folder))


def save_theirs(base: Path, target: Path, case: Case, *, name: str = "default", seed: int = 3) -> Any:
    """Save an adapter as after training; return it as peft opens it again."""
    config = getattr(peft, case.kind)(task_type="CAUSAL_LM", **case.settings)
    model = peft.get_peft_model(their_base(base), config, adapter_name=name)
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=random)
    model.save_pretrained(target)
    return peft.PeftModel.from_pretrained(their_base(base), target if name == "default" else target / name).eval()


@pytest.mark.parametrize("name", CASES)
def test_an_adapter_gives_the_logits_of_peft_merged_and_beside_the_base(base: Path, name: str, tmp_path: Path) -> None:
    case, token_ids = CASES[name], prompts(2)
    if base.name in case.not_for:
        pytest.skip("the family has no such layers")
    theirs = save_theirs(base, tmp_path / "adapter", case)
    expected = theirs(token_ids).logits
    directory = open_model_directory(base)
    merged = with_adapter(directory, open_adapter(tmp_path / "adapter"))
    assert largest_difference(build_transformer(merged.config, merged.tensors)(token_ids), expected) < TOLERANCE
    assert largest_difference(expected, their_base(base)(token_ids).logits) > 0.01
    save_model_directory(tmp_path / "merged", config=merged.config, tensors=merged.tensors, tokenizer=None)
    assert largest_difference(their_base(tmp_path / "merged")(token_ids).logits, expected) < TOLERANCE
    if not case.shares_base:
        with pytest.raises(CheckpointError, match="load it alone, as adapter"):
            open_beside(directory, {"a": tmp_path / "adapter"})
        return
    for backend in BACKENDS:
        opened = open_backend(
            directory.config,
            directory.tensors,
            backend=backend,
            weights="f32",
            adapters=open_beside(directory, {"a": tmp_path / "adapter"}),
        )
        ours = opened.step([Chunk(opened.open_cache(adapter="a"), row.tolist(), len(row)) for row in token_ids])
        assert largest_difference(torch.from_numpy(ours[1]), expected[1]) < TOLERANCE


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_batch_of_several_adapters_and_the_base_has_the_logits_of_each(
    base: Path, backend: BackendName, tmp_path: Path
) -> None:
    """As peft's batches of mixed adapters, whose base is the model with its adapters disabled."""
    names = ["peft's own choice", "all linear", "one layer", "(IA)³", "AdaLoRA", "VeRA"]
    models = {name: save_theirs(base, tmp_path / str(seed), CASES[name], seed=seed) for seed, name in enumerate(names)}
    directory, token_ids = open_model_directory(base), prompts(1)[0]
    folders = {name: tmp_path / str(seed) for seed, name in enumerate(names)}
    changes = open_beside(directory, folders)
    opened = open_backend(directory.config, directory.tensors, backend=backend, weights="f32", adapters=changes)
    batch = [None, *names, None, *reversed(names)]
    rows = [(name, token_ids[: len(token_ids) - at]) for at, name in enumerate(batch)]
    chunks = [Chunk(opened.open_cache(adapter=name), row.tolist(), len(row)) for name, row in rows]
    for (name, row), ours in zip(rows, opened.step(chunks), strict=True):
        theirs = models[name or names[0]]
        with contextlib.nullcontext() if name else theirs.disable_adapter():
            expected = theirs(row[None]).logits[0]
        assert largest_difference(torch.from_numpy(ours), expected) < TOLERANCE, name


@pytest.mark.parametrize("name", ["other", "q_proj", "lora_A", "weight", "0"])
@pytest.mark.parametrize("base", ["llama"], indirect=True)
def test_an_adapter_may_have_any_name_in_peft(base: Path, name: str, tmp_path: Path) -> None:
    """Peft puts it into a folder of that name and takes the name out of those of the tensors."""
    expected = save_theirs(base, tmp_path, CASES["all linear"], name=name)(prompts(2)).logits
    merged = with_adapter(open_model_directory(base), open_adapter(tmp_path / name))
    assert largest_difference(build_transformer(merged.config, merged.tensors)(prompts(2)), expected) < TOLERANCE


@pytest.mark.parametrize(("dtype", "half_unit"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
@pytest.mark.parametrize("base", ["llama", "gpt2"], indirect=True)
def test_an_adapter_merged_with_halves_is_rounded_once(
    base: Path, dtype: str, half_unit: float, tmp_path: Path
) -> None:
    """Peft adds to float32 here, and we round what it has."""
    their_base(base).to(getattr(torch, dtype)).save_pretrained(tmp_path / "halves")
    for name in ("all linear", "patterns", "(IA)³", "VeRA"):
        theirs = save_theirs(tmp_path / "halves", tmp_path / name, CASES[name]).merge_and_unload()
        theirs.save_pretrained(tmp_path / f"{name}, merged")
        expected = open_model_directory(tmp_path / f"{name}, merged").tensors
        merged = with_adapter(open_model_directory(tmp_path / "halves"), open_adapter(tmp_path / name)).tensors
        for tensor, exact in expected.items():
            values = exact.to_float32()
            error = abs(merged[tensor].to_float32() - values)
            assert (error <= half_unit * abs(values) + 1e-7).all(), (name, tensor)
