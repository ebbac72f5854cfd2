"""Held-out loss after equal steps, beside LitGPT: the same shape, batches, learning rates and precision.

    nextword pretrain examples/tinyshakespeare/recipe.yaml examples/tinyshakespeare/tinyshakespeare.txt -o run
    python -m benchmarks.train_to_loss run

The first command is nextword's side: its figures are read from run/metrics.jsonl. Here LitGPT's GPT is trained in a
plain loop on the batches that nextword's source gives for run/tokens, in the same order, with AdamW and the settings of
the run; first weights are those of LitGPT's own pretraining script. Both are scored on the same windows of the held-out
text. Wants an environment with both packages.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nextword.checkpoints.open_directory import open_model_directory
from nextword.data.pretraining import PretrainingSource
from nextword.data.shards import TokenShards
from nextword.data.token_view import TokenView, split_validation
from nextword.evaluation.scoring.windows import sliding_windows
from nextword.models.config import ModelConfig
from nextword.training.metrics import read_metrics
from nextword.training.recipe import Recipe, lr_share, recipe_from_json


def litgpt_model(config: ModelConfig, *, seed: int) -> Any:
    """LitGPT's GPT of the same shape, tied as the config says."""
    from litgpt import GPT, Config

    torch.manual_seed(seed)
    model = GPT(
        Config(
            n_layer=config.num_layers,
            n_head=config.num_heads,
            n_query_groups=config.num_kv_heads,
            n_embd=config.hidden_size,
            intermediate_size=config.intermediate_size,
            block_size=config.max_seq_len,
            vocab_size=config.vocab_size,
            padded_vocab_size=config.vocab_size,
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
            norm_eps=config.norm_eps,
            mlp_class_name="LLaMAMLP",
        )
    )
    draw_first_weights(model, config)
    if config.is_tied:
        model.lm_head.weight = model.transformer.wte.weight
    return model


def draw_first_weights(model: Any, config: ModelConfig) -> None:
    """Draw initial weights as `initialize_weights` of litgpt/pretrain.py does."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            into_residual = name.endswith(("attn.proj.weight", "mlp.proj.weight"))
            wide = math.sqrt(2.0 / 5 / config.hidden_size)
            narrow = 1 / math.sqrt(config.hidden_size) / config.num_layers
            torch.nn.init.normal_(parameter, std=narrow if into_residual else wide)


def train(model: Any, source: PretrainingSource, recipe: Recipe, held_out: TokenView) -> None:
    """Train in a plain loop, with a line for each validation."""
    settings = recipe.optimization
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    start = time.perf_counter()
    for step in range(recipe.steps):
        if step % recipe.checkpointing.validate_every == 0:
            show(step, held_out_loss(model, held_out), start)
        batch = source.next_batch()
        lr = settings.lr * lr_share(step, recipe.steps, recipe.scheduling)
        for group in optimizer.param_groups:
            group["lr"] = lr
        logits = model(torch.from_numpy(batch.token_ids))
        loss = F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        optimizer.step()
    show(recipe.steps, held_out_loss(model, held_out), start)


@torch.no_grad()
def held_out_loss(model: Any, view: TokenView) -> float:
    """Nats per token in windows side by side, as nextword scores them."""
    nats, num_tokens = 0.0, 0
    for document in view.documents():
        for window in sliding_windows(document, context=model.max_seq_length, stride=model.max_seq_length):
            logits: Tensor = model(torch.tensor([window.token_ids[:-1]]))[0, -window.num_scored :]
            nats += float(F.cross_entropy(logits, torch.tensor(window.scored), reduction="sum"))
            num_tokens += window.num_scored
    return nats / num_tokens


def show(step: int, loss: float, start: float) -> None:
    """Print a line of the table."""
    print(f"litgpt    step {step:5}  held out {loss:.4f}  after {time.perf_counter() - start:6.0f} s", flush=True)


def main() -> None:
    """Print the validation losses of nextword's run, then train LitGPT's model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run of nextword pretrain")
    parser.add_argument("--validation", type=float, default=0.1, help="share held out, as in the run")
    arguments = parser.parse_args()
    run = arguments.run
    (state,) = (run / "checkpoints").glob("step-*/state.json")
    recipe = recipe_from_json(json.loads(state.read_text())["recipe"])
    config = open_model_directory(run / "model").config
    data = json.loads(state.read_text())["data"]
    for entry in read_metrics(run / "metrics.jsonl"):
        if "validation_loss" in entry:
            print(f"nextword  step {entry['step']:5}  held out {entry['validation_loss']:.4f}")
    shards = TokenShards(run / "tokens")
    training, held_out = split_validation(shards, arguments.validation, seed=recipe.seed)
    batch_size = int(data["next_row"]) // recipe.steps
    source = PretrainingSource(training, batch_size=batch_size, seq_len=config.max_seq_len, seed=recipe.seed)
    if source.state()["num_tokens"] != data["num_tokens"]:
        raise SystemExit(f"--validation {arguments.validation} is not that of the run")
    train(litgpt_model(config, seed=recipe.seed), source, recipe, held_out)


if __name__ == "__main__":
    main()
