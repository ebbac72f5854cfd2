"""Several adapters over one copy of the weights: a request gets what its adapter gives alone, whatever runs beside."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nextword._native")

import nextword as nw  # noqa: E402
from nextword.adapters.attach import attach, save  # noqa: E402
from nextword.adapters.spec import AdapterSpec  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.inference.backend import BackendName, Weights  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from tests.api_model import load_bytes_model  # noqa: E402

SPECS = {
    "low": AdapterSpec(rank=3, targets=("q_proj", "gate_proj", "down_proj")),
    "dora": AdapterSpec(method="dora", rank=2, targets=("v_proj", "o_proj", "up_proj")),
    "ia3": AdapterSpec(method="ia3"),
}
PROMPTS = ["The river", "x", "A longer text, of more bytes than a page of the cache holds: "]
KINDS: list[tuple[BackendName, Weights]] = [
    ("native", "f32"),
    ("native", "bf16"),
    ("native", "q8"),
    ("native", "q4"),
    ("torch", "f32"),
]


def save_adapter(base: Path, target: Path, spec: AdapterSpec, seed: int) -> Path:
    directory = open_model_directory(base)
    model = build_transformer(directory.config, directory.tensors)
    random = torch.Generator().manual_seed(seed)
    for parameter in attach(model, spec):
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=random)
    save(model, target, base=str(base))
    return target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with an adapter of each kind beside it."""
    folder = tmp_path_factory.mktemp("beside")
    load_bytes_model(folder / "base")
    for seed, (name, spec) in enumerate(SPECS.items()):
        save_adapter(folder / "base", folder / name, spec, seed)
    return folder


@pytest.fixture(scope="module", params=KINDS, ids=["-".join(kind) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def log_probs(distribution: nw.Distribution) -> Any:
    return np.log(distribution.probabilities())


def load(folder: Path, kind: tuple[BackendName, Weights], *names: str) -> nw.LanguageModel:
    adapters = {name: folder / name for name in names}
    return nw.load(folder / "base", adapters=adapters, backend=kind[0], weights=kind[1])


def test_a_request_in_company_is_bit_for_bit_what_its_adapter_gives_alone(
    folder: Path, kind: tuple[BackendName, Weights]
) -> None:
    together = load(folder, kind, *SPECS)
    choices = [None, *SPECS, "low", None]
    prompts = [prompt for prompt in PROMPTS for _ in choices]
    chosen = choices * len(PROMPTS)
    answers = together.generate_batch(prompts, adapter=chosen, temperature=1.0, seed=3, max_tokens=20, logprobs=3)
    for name in (None, *SPECS):
        alone = load(folder, kind, *([] if name is None else [name]))
        for prompt, adapter, answer in zip(prompts, chosen, answers, strict=True):
            if adapter == name:
                expected = alone.generate(prompt, adapter=name, temperature=1.0, seed=3, max_tokens=20, logprobs=3)
                assert answer.completions == expected.completions
    assert len({answer.text for answer in answers[: len(SPECS) + 1]}) == len(SPECS) + 1


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("name", SPECS)
def test_an_adapter_beside_gives_the_logits_of_the_merged_one(folder: Path, name: str, backend: BackendName) -> None:
    beside = load(folder, (backend, "f32"), name)
    merged = nw.load(folder / "base", adapter=folder / name, backend=backend, weights="f32")
    for prompt in PROMPTS:
        expected = log_probs(merged.next(prompt))
        np.testing.assert_allclose(log_probs(beside.next(prompt, adapter=name)), expected, atol=1e-4)
        assert np.abs(log_probs(beside.next(prompt)) - expected).max() > 1e-3


@pytest.mark.parametrize("weights", ["q8", "q4"])
def test_a_quantised_base_stays_quantised(folder: Path, weights: Weights) -> None:
    """An adapter beside it is exact: its logits are as far from PyTorch's in float32 as those of the base alone."""
    beside, exact = load(folder, ("native", weights), *SPECS), load(folder, ("torch", "f32"), *SPECS)
    plain = nw.load(folder / "base", backend="native", weights=weights)
    assert beside.engine.backend.weight_bytes == plain.engine.backend.weight_bytes
    assert beside.engine.backend.adapter_bytes > 0  # type: ignore[attr-defined]

    prompts = [PROMPTS[2][start : start + 9] for start in range(40)]  # on average: single ones differ tenfold

    def error(adapter: str | None) -> float:
        pairs = ((log_probs(model.next(prompt, adapter=adapter)) for model in (beside, exact)) for prompt in prompts)
        return float(np.mean([np.abs(ours - theirs).max() for ours, theirs in pairs]))

    assert all(error(name) < 2 * error(None) for name in SPECS)
    assert all(np.array_equal(log_probs(beside.next(one)), log_probs(plain.next(one))) for one in PROMPTS)


def test_stored_prefixes_are_of_one_adapter(folder: Path) -> None:
    model, prompt = load(folder, ("native", "f32"), *SPECS), PROMPTS[2] * 1
    first = {name: log_probs(model.next(prompt, adapter=name)) for name in (None, *SPECS)}
    backend = model.engine.backend
    token_ids = model.tokenizer.encode(prompt)
    for name in (None, *SPECS):
        cache_id = backend.open_cache(token_ids, adapter=name)
        assert backend.cache_length(cache_id) == 32
        backend.close_cache(cache_id)
        assert np.array_equal(log_probs(model.next(prompt, adapter=name)), first[name])


def test_threads_ask_for_different_adapters(folder: Path) -> None:
    model = load(folder, ("native", "q8"), *SPECS)
    names = [None, *SPECS] * 3
    expected = [model.generate("The river", adapter=name, temperature=0.0, max_tokens=12).text for name in names]
    seen: list[str] = [""] * len(names)

    def ask(index: int) -> None:
        seen[index] = model.generate("The river", adapter=names[index], temperature=0.0, max_tokens=12).text

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == expected


def test_every_way_of_asking_takes_an_adapter(folder: Path) -> None:
    model = load(folder, ("native", "f32"), "low")
    assert model.adapters == ("low",)
    messages = [{"role": "user", "content": "Hi"}]
    base, low = ({"temperature": 0.0, "max_tokens": 12, "adapter": name} for name in (None, "low"))
    assert model.chat(messages, **low).text != model.chat(messages, **base).text  # type: ignore[arg-type]
    assert "".join(model.stream("A", **low)) == model.generate("A", **low).text  # type: ignore[arg-type]
    assert "".join(model.stream_chat(messages, **low)) == model.chat(messages, **low).text  # type: ignore[arg-type]
    assert "".join(model.conversation(**low).ask("Hi")) == model.chat(messages, **low).text  # type: ignore[arg-type]
    assert model.score("A river", adapter="low") != model.score("A river")
    steps = model.next_steps("A", adapter="low", top_k=3)
    assert np.array_equal(log_probs(steps["model"]), log_probs(model.next("A", adapter="low")))


def test_an_unknown_adapter_is_refused(folder: Path) -> None:
    model = load(folder, ("native", "f32"), "low", "ia3")
    with pytest.raises(nw.RequestError, match="adapter 'high': the model was loaded with adapters low, ia3; None is"):
        model.generate("A", adapter="high")
    with pytest.raises(nw.RequestError, match=r"with adapters \(none\)"):
        load(folder, ("native", "f32")).next("A", adapter="low")
    with pytest.raises(nw.RequestError, match="2 prompts but 1 adapters"):
        model.generate_batch(["A", "B"], adapter=["low"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "a trained prompt cannot share a base"),
        ({"peft_type": "LOHA"}, "peft_type LOHA has updates as large as the base's weights"),
    ],
)
def test_what_needs_a_base_of_its_own_is_refused(
    folder: Path, tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    adapter = save_adapter(folder / "base", tmp_path, SPECS["low"], 1)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    with pytest.raises(nw.CheckpointError, match=message):
        nw.load(folder / "base", adapters={"a": adapter})
    with pytest.raises(nw.CheckpointError, match="has an adapter already"):
        nw.load(folder / "low", adapters={"a": folder / "ia3"})
