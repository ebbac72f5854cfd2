"""`Objective`: model and loss as one module, so that wrappers of modules, such as DDP, cover the whole forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nextword.data.batch import Batch
from nextword.models.packing import Packing
from nextword.models.recomputation import Recomputing
from nextword.models.transformer import Transformer
from nextword.training.loss import sum_of_nats


class Objective(nn.Module):
    """The loss that a step minimises, for one batch."""

    def __init__(self, model: Transformer, *, z_loss: float, device: torch.device) -> None:
        super().__init__()
        self.model, self.z_loss, self.device = model, z_loss, device

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum the nats of the targets; return the sum without and with the z-loss, to differentiate."""
        token_ids = torch.from_numpy(batch.token_ids).to(self.device)
        targets = torch.from_numpy(batch.targets).to(self.device)
        packing = Packing.of(batch.positions, batch.document_ids, device=self.device)
        with Recomputing():
            hidden = self.model.hidden_states(token_ids, packing=packing)
        return sum_of_nats(
            hidden, targets, self.model.head, soft_cap=self.model.config.logit_soft_cap, z_loss=self.z_loss
        )
