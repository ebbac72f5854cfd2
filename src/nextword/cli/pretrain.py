"""`nextword pretrain`: files of text in, a model made of them out, with its tokenizer."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.corpus import CorpusArgument
from nextword.cli.extras import needs_extra
from nextword.cli.report import note
from nextword.cli.training_progress import TrainingProgress
from nextword.errors import DataError
from nextword.training.pretrain_recipe import DEFAULT_PRETRAIN_RECIPE, PretrainRecipe

if TYPE_CHECKING:
    from nextword.models.config import ModelConfig
    from nextword.models.transformer import Transformer
    from nextword.training.pretrain import Corpus
    from nextword.training.processes import Processes
    from nextword.training.trainer import Callbacks

_MOST_VALIDATION_TOKENS = 50_000
"""Looking at the held-out text is not to take longer than the training between two looks."""
_BYTES_PER_WEIGHT = 16
"""Weight, gradient, and the two averages of AdamW, in float32."""
_LIKELY_SHARE_OF_PEAK = 0.5


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a model from nothing: nextword pretrain tinyshakespeare.txt. A recipe.yaml among the files gives options.

    The folder gets the model, and what a stopped run needs to go on: the same command does so.
    """

    files: CorpusArgument
    output: Annotated[str | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    """Folder of the run; its subfolder model is what to open. None: named after the first file."""
    prompt: str = "\n"
    """What the sample texts begin with."""
    dry_run: bool = False
    """Say what would be trained, in which memory and time, and end."""
    recipe: Annotated[PretrainRecipe, tyro.conf.OmitArgPrefixes] = DEFAULT_PRETRAIN_RECIPE


def run(options: Options) -> None:
    """Train, then print a text that the model writes."""
    with needs_extra("train"):
        from nextword.training.processes import joined_processes

    with joined_processes() as processes:
        _run(options, processes)


def _run(options: Options, processes: Processes) -> None:
    with needs_extra("train"):
        from nextword.training.pretrain import prepare_pretraining, pretraining

    if not options.files:
        raise DataError("no CORPUS: name files or folders with text")
    folder = Path(options.output or Path(options.files[0]).stem)
    recipe = options.recipe
    if options.dry_run:
        _print_plan(recipe)
        return
    corpus = prepare_pretraining(options.files, recipe, folder=folder, processes=processes)
    note(f"{corpus.training.num_tokens:,} tokens to train on, {corpus.validation.num_tokens:,} held out")
    config = recipe.model.config(vocab_size=corpus.tokenizer.vocab_size, context=recipe.data.context)
    callbacks = _callbacks(corpus, options, config)
    pretraining(corpus, recipe, folder=folder, callbacks=callbacks, processes=processes).run()
    if processes.is_first:
        note(f"the model is {folder / 'model'}: nextword generate {folder / 'model'} ...")
        _print_sample(folder / "model", options.prompt)


def _callbacks(corpus: Corpus, options: Options, config: ModelConfig) -> Callbacks:
    from nextword.training.model_output import export_model
    from nextword.training.trainer import Callbacks

    progress = TrainingProgress(options.recipe.run.steps)
    documents = corpus.validation_documents()
    return Callbacks(
        on_step=progress.on_step,
        validate=functools.partial(_validation_loss, documents) if documents else None,
        sample=functools.partial(_sample, corpus, options.prompt) if options.recipe.run.keeping.sample_every else None,
        export=functools.partial(export_model, config=config, tokenizer=corpus.tokenizer),
        note=progress.note,
    )


def _validation_loss(documents: list[list[int]], model: Transformer) -> float:
    """Nats per token of the held-out documents, as `nextword.load(...).perplexity` scores texts."""
    from nextword.evaluation.perplexity import sum_nats
    from nextword.evaluation.windows import sliding_windows
    from nextword.inference.torch_backend import TorchBackend

    backend = TorchBackend(model)
    total_nats, num_tokens = 0.0, 0
    for document in documents:
        document = document[: _MOST_VALIDATION_TOKENS - num_tokens]
        windows = sliding_windows(document, context=backend.max_seq_len, stride=backend.max_seq_len)
        nats, count = sum_nats(backend, windows)
        total_nats, num_tokens = total_nats + nats, num_tokens + count
    return total_nats / num_tokens


def _sample(corpus: Corpus, prompt: str, model: Transformer) -> str:
    from nextword.decoding.params import sampling_params
    from nextword.inference.engine import Engine
    from nextword.inference.torch_backend import TorchBackend

    engine = Engine(TorchBackend(model), corpus.tokenizer)
    request = engine.submit(corpus.tokenizer.encode(prompt), sampling_params({}, max_tokens=60, seed=0))
    text = "".join(piece.text for piece in engine.stream(request))
    note(f"sample: {text!r}")
    return text


def _print_sample(model: Path, prompt: str) -> None:
    from nextword.language_model import load

    for piece in load(model).stream(prompt, max_tokens=120, temperature=0.8, seed=0):
        print(piece, end="", flush=True)
    print()


def _print_plan(recipe: PretrainRecipe) -> None:
    """Parameters, memory and time of a run, from its settings and this machine's speed alone."""
    from nextword.models.weights import weight_shapes
    from nextword.training.machine import choose_dtype, operations_per_token, peak_rate

    config = recipe.model.config(vocab_size=recipe.data.vocab_size, context=recipe.data.context)
    num_weights = sum(math.prod(shape) for shape in weight_shapes(config).values())
    rows, steps = recipe.data.batch_size * recipe.run.compute.accumulation, recipe.run.steps
    num_tokens = steps * rows * recipe.data.context
    dtype = choose_dtype(recipe.run.compute.precision)
    operations = num_tokens * operations_per_token(config, length=recipe.data.context)
    peak = peak_rate(dtype)
    minutes = operations / (_LIKELY_SHARE_OF_PEAK * peak) / 60
    print(f"parameters      {num_weights:,}")
    print(f"memory          {num_weights * _BYTES_PER_WEIGHT / 1e6:,.0f} MB for weights and optimizer, and a batch's")
    print(f"steps           {steps:,} of {rows} x {recipe.data.context} tokens, {num_tokens:,} in all")
    print(f"products in     {str(dtype).removeprefix('torch.')}")
    print(f"estimated time  {minutes:.1f} minutes, at {_LIKELY_SHARE_OF_PEAK:.0%} of {peak / 1e9:.0f} GFLOP/s")
