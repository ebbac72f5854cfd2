"""Train on a Ray cluster: python examples/ray_train.py NUM_WORKERS pretrain /shared/recipe.yaml -o /shared/run

What follows the number of workers is a command line of nextword, which every worker runs; its paths have to be
absolute, and seen by all nodes. Needs the extra: pip install 'nextword[train,scale]'.
"""

from __future__ import annotations

import sys

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

USE_GPU = False
"""One GPU for each worker."""


def train(arguments: dict[str, list[str]]) -> None:
    """What each worker does; Ray has joined them in torch.distributed by then."""
    from nextword.cli import run

    if run(arguments["command"]) != 0:
        raise RuntimeError("nextword has said why")


def main() -> None:
    num_workers, *command = sys.argv[1:]
    trainer = TorchTrainer(
        train,
        train_loop_config={"command": command},
        scaling_config=ScalingConfig(num_workers=int(num_workers), use_gpu=USE_GPU),
        # A worker that is lost is replaced, and the run resumes from its last checkpoint.
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
