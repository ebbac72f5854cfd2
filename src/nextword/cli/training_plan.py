"""What `--dry-run` prints of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nextword.workflows.training_page import duration

if TYPE_CHECKING:
    from nextword.training.plan import Plan


def print_plan(plan: Plan) -> None:
    """Parameters, memory, steps and time, one a line."""
    from nextword.training.plan import LIKELY_SHARE_OF_PEAK

    trained = "" if plan.num_trained == plan.num_weights else f", of which {plan.num_trained:,} are trained"
    total = plan.state_bytes + plan.batch_bytes
    print(f"parameters      {plan.num_weights:,}{trained}")
    print(
        f"memory          about {_megabytes(total)} besides PyTorch's own: "
        f"{_megabytes(plan.state_bytes)} for weights and optimizer, {_megabytes(plan.batch_bytes)} for a batch"
    )
    print(
        f"steps           {plan.steps:,} of {plan.rows_per_step} x {plan.row_length} tokens, {plan.num_tokens:,} in all"
    )
    print(f"products in     {str(plan.dtype).removeprefix('torch.')}")
    print(
        f"estimated time  {duration(plan.seconds)}, at {LIKELY_SHARE_OF_PEAK:.0%} of the "
        f"{plan.peak_rate / 1e9:.0f} GFLOP/s measured here"
    )


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
