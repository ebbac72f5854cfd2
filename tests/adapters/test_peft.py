"""Adapters against the peft library on tiny models of transformers: theirs opened by us, ours opened by them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from nextword.adapters.attach import attach, attach_saved, save  # noqa: E402
from nextword.adapters.folder import open_adapter  # noqa: E402
from nextword.adapters.merge import with_adapter  # noqa: E402
from nextword.adapters.spec import AdapterSpec  # noqa: E402
from nextword.checkpoints.catalogue import CATALOGUE, is_pulled, resolve  # noqa: E402
from nextword.checkpoints.model_directory import ModelDirectory  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.checkpoints.save_directory import save_opened  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from nextword.models.transformer import Transformer  # noqa: E402
from tests.peers.test_families import VARIANTS, largest_difference, prompts, random_model  # noqa: E402

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TOLERANCE = 1e-4
FAMILIES = ("llama-biases", "gpt2", "gpt_neox", "phi3", "qwen3", "gemma2", "glm", "phi")
SPECS = {
    "lora": AdapterSpec(method="lora", rank=3, alpha=9.0),
    "rslora": AdapterSpec(method="lora", rank=4, alpha=6.0, is_rank_stabilized=True, targets=("o_proj", "up_proj")),
    "dora": AdapterSpec(method="dora", rank=2, alpha=4.0, targets=("q_proj", "down_proj")),
    "ia3": AdapterSpec(method="ia3"),
}


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model of transformers, and its folder."""
    model = random_model(*VARIANTS[request.param])
    folder = tmp_path_factory.mktemp("base") / request.param
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> AdapterSpec:
    return SPECS[request.param]


@pytest.fixture
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def our_model(folder: Path) -> Transformer:
    directory = open_model_directory(folder)
    return build_transformer(directory.config, directory.tensors)


def disturb(parameters: Any) -> None:
    """Values as after training: an adapter that changes nothing shows nothing."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.1 * torch.randn(parameter.shape, generator=random)


def save_ours(folder: Path, spec: AdapterSpec, target: Path) -> Transformer:
    model = our_model(folder)
    disturb(attach(model, spec))
    save(model, target, base=str(folder))
    return model


def their_model(folder: Path, adapter: Path, *, is_trainable: bool = False) -> Any:
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return peft.PeftModel.from_pretrained(base, adapter, is_trainable=is_trainable)


def save_theirs(folder: Path, ours: Path, target: Path) -> Any:
    """An adapter that peft wrote, of the settings of ours."""
    config = peft.PeftConfig.from_pretrained(ours)
    config.inference_mode = False
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    model = peft.get_peft_model(base, config)
    disturb(parameter for parameter in model.parameters() if parameter.requires_grad)
    model.save_pretrained(target)
    return model.eval()


def merged_logits(directory: ModelDirectory, token_ids: Any) -> Any:
    return build_transformer(directory.config, directory.tensors)(token_ids)


@pytest.mark.usefixtures("without_gradients")
def test_peft_opens_ours_and_gives_the_same_logits(base: Any, spec: AdapterSpec, tmp_path: Path) -> None:
    model, token_ids = save_ours(base[1], spec, tmp_path), prompts(2)
    theirs = their_model(base[1], tmp_path)
    assert largest_difference(model(token_ids), base[0](token_ids).logits) > 0.01
    assert largest_difference(model(token_ids), theirs(token_ids).logits) < TOLERANCE
    merged = with_adapter(open_model_directory(base[1]), open_adapter(tmp_path))
    expected = theirs.merge_and_unload()(token_ids).logits
    assert largest_difference(merged_logits(merged, token_ids), expected) < TOLERANCE


@pytest.mark.usefixtures("without_gradients")
def test_what_peft_saved_gives_the_same_logits_here(base: Any, spec: AdapterSpec, tmp_path: Path) -> None:
    save_ours(base[1], spec, tmp_path / "ours")
    theirs, token_ids = save_theirs(base[1], tmp_path / "ours", tmp_path / "theirs"), prompts(2)
    adapter, model = open_adapter(tmp_path / "theirs"), our_model(base[1])
    attach_saved(model, adapter)
    assert largest_difference(model(token_ids), theirs(token_ids).logits) < TOLERANCE
    merged = with_adapter(open_model_directory(base[1]), adapter)
    assert largest_difference(merged_logits(merged, token_ids), theirs(token_ids).logits) < TOLERANCE


def test_gradients_are_those_of_peft(base: Any, spec: AdapterSpec, tmp_path: Path) -> None:
    save_ours(base[1], spec, tmp_path)
    model, theirs, token_ids = our_model(base[1]), their_model(base[1], tmp_path, is_trainable=True), prompts(2)
    trained = attach_saved(model, open_adapter(tmp_path))
    for logits in (model(token_ids), theirs(token_ids).logits):
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten()).backward()
    expected = {
        name.removeprefix("base_model.model.").replace(".default", ""): parameter.grad
        for name, parameter in theirs.named_parameters()
        if parameter.requires_grad
    }
    seen = {
        name.partition("values.")[2].replace("/", "."): parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    assert len(seen) == len(trained) == len(expected)
    for name, gradient in expected.items():
        own = seen[name.replace("magnitude_vector.weight", "magnitude_vector")]
        assert own is not None
        scale = float(gradient.abs().max())
        np.testing.assert_allclose(own.numpy(), gradient.numpy(), rtol=1e-3, atol=1e-4 * max(scale, 1e-3))
    assert sum(parameter.requires_grad for parameter in model.parameters()) == len(trained)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.usefixtures("without_gradients")
def test_peft_agrees_on_smollm2(tmp_path: Path) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    directory = open_model_directory(resolve("smollm2-135m"))
    save_opened(tmp_path / "base", directory)
    model = build_transformer(directory.config, directory.tensors)
    random = torch.Generator().manual_seed(3)
    for parameter in attach(model, AdapterSpec(method="dora", rank=4)):
        parameter.add_(0.01 * torch.randn(parameter.shape, generator=random))
    save(model, tmp_path / "adapter", base=str(tmp_path / "base"))
    token_ids = torch.tensor([directory.tokenizer.encode("Once upon a time, the river ran")])
    plain = build_transformer(directory.config, directory.tensors)(token_ids)
    theirs = their_model(tmp_path / "base", tmp_path / "adapter")(token_ids).logits
    assert largest_difference(model(token_ids), plain) > 0.1
    assert largest_difference(model(token_ids), theirs) < 2 * TOLERANCE  # of logits up to 30
