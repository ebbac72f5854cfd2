"""Training of the families with parts that Llama has not got: loss and gradients are those of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from nextword.data.batch import IGNORED  # noqa: E402
from nextword.models.recomputation import Recomputing  # noqa: E402
from nextword.training.loss import sum_of_nats  # noqa: E402
from tests.peers.test_families import VARIANTS, largest_difference, opened, prompts, random_model  # noqa: E402

pytestmark = pytest.mark.peer

LENGTH = 20
FAMILIES = ("arcee", "cohere2", "glm4", "granite", "nemotron", "olmo-clipped", "opt", "phi", "stablelm-parallel")


@pytest.mark.parametrize("name", FAMILIES)
def test_loss_and_the_gradient_of_the_embedding_are_the_peers(name: str, tmp_path: Path) -> None:
    peer, token_ids = random_model(*VARIANTS[name]), prompts(2, LENGTH)
    peer.save_pretrained(tmp_path)
    logits = peer(token_ids).logits[:, :-1].flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, token_ids[:, 1:].flatten(), reduction="sum")
    expected.backward()
    model = opened(tmp_path).train().requires_grad_(True)
    targets = torch.cat((token_ids[:, 1:], torch.full((2, 1), IGNORED)), dim=1)
    with Recomputing():
        hidden = model.hidden_states(token_ids)
    nats, objective = sum_of_nats(hidden, targets, model.head)
    objective.backward()  # type: ignore[no-untyped-call]
    gradient = peer.get_input_embeddings().weight.grad
    assert float(nats) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert largest_difference(model.embedding.weight.grad, gradient) < 1e-5 * float(gradient.abs().max())
