"""Trained prompts against the peft library, on both backends, and behind texts that know nothing of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from nextword.adapters.adapter_files import CONFIG_NAME  # noqa: E402
from nextword.adapters.attach_prompt import attach_prompt, save_trained_prompt  # noqa: E402
from nextword.adapters.open import open_adapted, open_merged  # noqa: E402
from nextword.adapters.spec import PromptSpec  # noqa: E402
from nextword.checkpoints.open_directory import open_model_directory  # noqa: E402
from nextword.errors import CheckpointError, ConfigError  # noqa: E402
from nextword.inference.backend import Backend, BackendName, Chunk  # noqa: E402
from nextword.inference.open_backend import open_backend  # noqa: E402
from nextword.models.build import build_transformer  # noqa: E402
from tests.peers.test_families import VARIANTS, prompts, random_model  # noqa: E402

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::FutureWarning")]

NUM_VIRTUAL = 5
TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=["llama-biases", "gpt2", "gemma2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tied or not, with learned positions, with scaled embeddings and capped logits."""
    folder: Path = tmp_path_factory.mktemp("base") / request.param
    random_model(*VARIANTS[request.param]).save_pretrained(folder)
    return folder


def save_ours(base: Path, folder: Path) -> Any:
    """A prompt saved from a model in training, which is returned."""
    directory = open_model_directory(base)
    model = build_transformer(directory.config, directory.tensors)
    prompt = attach_prompt(model, PromptSpec(num_virtual_tokens=NUM_VIRTUAL), seed=3)
    prompt.data += 0.1
    save_trained_prompt(model.state_dict(), folder, config=directory.config, base=str(base))
    return model


def their_base(base: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")


def with_their_prompt(base: Path) -> Any:
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=NUM_VIRTUAL)
    return peft.get_peft_model(their_base(base), config)


def their_logits(model: Any, token_ids: Any) -> Any:
    with torch.no_grad():
        return model(token_ids).logits[0, NUM_VIRTUAL:].numpy()


def open_prompted(folder: Path, backend: BackendName) -> Backend:
    directory = open_adapted(str(folder))
    return open_backend(
        directory.config,
        directory.tensors,
        backend=backend,
        weights="f32",
        num_virtual_tokens=directory.num_virtual_tokens,
    )


def our_logits(backend: Backend, token_ids: Any) -> Any:
    text = token_ids[0].tolist()
    cache_id = backend.open_cache(text)
    (logits,) = backend.step([Chunk(cache_id, text[backend.cache_length(cache_id) :], len(text))])
    backend.close_cache(cache_id)
    return logits


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_peft_opens_ours_and_gives_the_same_logits(base: Path, backend: Any, tmp_path: Path) -> None:
    save_ours(base, tmp_path)
    token_ids = prompts(1)
    theirs = their_logits(peft.PeftModel.from_pretrained(their_base(base), tmp_path).eval(), token_ids)
    ours = our_logits(open_prompted(tmp_path, backend), token_ids)
    assert np.abs(ours - their_base(base)(token_ids).logits[0].detach().numpy()).max() > 0.01
    assert np.abs(ours - theirs).max() < TOLERANCE


def test_what_peft_saved_gives_the_same_logits_here(base: Path, tmp_path: Path) -> None:
    theirs = with_their_prompt(base)
    theirs.save_pretrained(tmp_path)
    token_ids = prompts(1)
    ours = our_logits(open_prompted(tmp_path, "native"), token_ids)
    assert np.abs(ours - their_logits(theirs.eval(), token_ids)).max() < TOLERANCE


def test_what_p_tuning_saved_gives_the_same_logits_here(base: Path, tmp_path: Path) -> None:
    config = peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=NUM_VIRTUAL, encoder_hidden_size=16)
    peft.get_peft_model(their_base(base), config).save_pretrained(tmp_path)
    theirs = peft.PeftModel.from_pretrained(their_base(base), tmp_path).eval()
    token_ids = prompts(1)
    ours = our_logits(open_prompted(tmp_path, "native"), token_ids)
    assert np.abs(ours - their_logits(theirs, token_ids)).max() < TOLERANCE


def test_loss_and_gradient_are_those_of_peft(base: Path, tmp_path: Path) -> None:
    model, token_ids = save_ours(base, tmp_path), prompts(1)
    theirs = with_their_prompt(base)
    vectors = theirs.prompt_encoder["default"].embedding.weight
    vectors.data.copy_(model.embedding.prompt.data)
    expected = theirs(input_ids=token_ids, labels=token_ids).loss
    expected.backward()
    first = model.config.vocab_size
    logits = model(torch.cat([torch.arange(first, first + NUM_VIRTUAL)[None], token_ids], dim=1))
    loss = torch.nn.functional.cross_entropy(logits[0, NUM_VIRTUAL - 1 : -1], token_ids[0])
    loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["embedding.prompt"]
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(model.embedding.prompt.grad, vectors.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_scores_are_those_of_the_logits_and_never_of_virtual_tokens(base: Path, backend: Any, tmp_path: Path) -> None:
    save_ours(base, tmp_path)
    token_ids = prompts(1)
    prompted = open_prompted(tmp_path, backend)
    logits = our_logits(prompted, token_ids).astype(np.float64)
    text = token_ids[0].tolist()
    cache_id = prompted.open_cache(text)
    rest = text[prompted.cache_length(cache_id) :]
    (scores,) = prompted.score([Chunk(cache_id, rest[:-1], len(rest) - 1)], [rest[1:]])
    rows = logits[-len(rest) : -1]
    log_sums = np.log(np.exp(rows - rows.max(axis=1, keepdims=True)).sum(axis=1)) + rows.max(axis=1)
    expected = log_sums - rows[np.arange(len(rest) - 1), rest[1:]]
    np.testing.assert_allclose(scores.nats, expected, atol=1e-4)
    assert prompted.vocab_size == logits.shape[1]


def test_a_prompt_stands_before_every_text_and_takes_of_the_context(base: Path, tmp_path: Path) -> None:
    save_ours(base, tmp_path)
    prompted = open_prompted(tmp_path, "native")
    assert prompted.max_seq_len == open_model_directory(base).config.max_seq_len - NUM_VIRTUAL
    first = prompted.open_cache()
    assert prompted.cache_length(first) == 0
    prompted.step([Chunk(first, [1, 2], 1)])
    fork = prompted.fork_cache(first)
    assert (prompted.cache_length(first), prompted.cache_length(fork)) == (2, 2)
    prompted.close_cache(first)
    prompted.close_cache(fork)


def test_what_no_prompt_can_be_is_refused(base: Path, tmp_path: Path) -> None:
    save_ours(base, tmp_path)
    with pytest.raises(CheckpointError, match="changes no weight, so it cannot be merged"):
        open_merged(str(base), str(tmp_path))
    path = tmp_path / CONFIG_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_virtual_tokens": 4}))
    with pytest.raises(CheckpointError, match=r"prompt_embeddings has shape \[5, "):
        open_adapted(str(tmp_path))
    with pytest.raises(ConfigError, match="virtual_tokens must be at least 1"):
        PromptSpec(num_virtual_tokens=0)
