"""`lm_eval --model nextword`: models of nextword in lm-eval's own command.

Releases of lm-eval that look for plugins find `NextwordLM` by the entry point that pyproject.toml declares; for others
`nextword.lm_eval_hook` registers it.
"""

from __future__ import annotations

from nextword.evaluation.lm_eval_model import EngineLM
from nextword.inference.backend import BackendName, Weights
from nextword.loading import load


class NextwordLM(EngineLM):
    """A model by name, folder or file; the keywords are those of `--model_args`."""

    def __init__(
        self,
        pretrained: str,
        *,
        adapter: str | None = None,
        backend: BackendName = "auto",
        weights: Weights = "auto",
        num_threads: int | None = None,
        max_length: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        """Load a model: `pretrained` and the next four as in `nextword.load`, `max_length` as in `EngineLM`.

        The last three are lm-eval's and have no effect: the engine forms its own batches.
        """
        model = load(pretrained, adapter=adapter, backend=backend, weights=weights, num_threads=num_threads)
        super().__init__(model.engine, name=pretrained, max_length=max_length)
