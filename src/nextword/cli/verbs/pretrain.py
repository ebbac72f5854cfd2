"""`nextword pretrain`: files of text in, a model made of them out, with its tokenizer."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nextword.cli.arguments import CorpusArgument
from nextword.cli.console import note
from nextword.cli.training_output import Looks, train
from nextword.cli.training_plan import print_plan
from nextword.cli.verbs.prepare import preparing
from nextword.errors import DataError
from nextword.extras import needs_extra
from nextword.training.pretrain_recipe import DEFAULT_PRETRAIN_RECIPE, PretrainRecipe
from nextword.workflows.training_hooks import documents_loss, most_tokens, written_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nextword.models.config import ModelConfig
    from nextword.training.pretrain import Corpus
    from nextword.training.processes import Processes


@dataclasses.dataclass(frozen=True)
class Options:
    """Train a model from nothing: nextword pretrain tinyshakespeare.txt. A recipe.yaml among the files gives options.

    What nextword prepare wrote can stand in place of a corpus. The folder of the run gets the model, and what a stopped
    run needs to go on: the same command does so.
    """

    files: CorpusArgument
    output: Annotated[str | None, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = None
    """Folder of the run; its subfolder model is what to open. None: named after the first file or folder."""
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
    folder, recipe = _folder(options), options.recipe
    if options.dry_run:
        _print_plan(options.files, recipe)
        return
    with preparing() as show:
        corpus = prepare_pretraining(options.files, recipe, folder=folder, on_progress=show, processes=processes)
    config = recipe.model.config(vocab_size=corpus.tokenizer.vocab_size, context=recipe.data.context)
    _note_corpus(corpus, recipe, config)
    train(
        lambda callbacks: pretraining(corpus, recipe, folder=folder, callbacks=callbacks, processes=processes),
        _looks(corpus, options, config),
        folder=folder,
        num_steps=recipe.run.steps,
        title=f"Pretraining on {', '.join(options.files)}",
        settings=dataclasses.asdict(recipe),
    )
    if not processes.is_rank_zero:
        return
    note(f"the model is {folder / 'model'}, and writes:")
    _print_sample(folder / "model", options.prompt)
    note(f'more: nextword generate {folder / "model"} "..."')


def _folder(options: Options) -> Path:
    """The one asked for, or one of the first file's name; a folder that is read is not written to."""
    first = Path(options.files[0])
    return Path(options.output or (f"{first.name}-run" if first.is_dir() else first.stem))


def _looks(corpus: Corpus, options: Options, config: ModelConfig) -> Looks:
    from nextword.inference.torch_backend import TorchBackend
    from nextword.training.model_output import export_model

    documents, recipe = corpus.validation.documents(), options.recipe
    limits = {
        "context": recipe.data.context,
        "most_tokens": most_tokens(
            recipe.run.checkpointing, tokens_per_step=recipe.data.batch_size * recipe.data.context
        ),
    }
    prompt = corpus.tokenizer.encode(options.prompt)
    return Looks(
        validate=(lambda model: documents_loss(documents, TorchBackend(model), **limits)) if documents else None,
        sample=lambda model: written_text(prompt, corpus.tokenizer, TorchBackend(model)),
        export=functools.partial(export_model, config=config, tokenizer=corpus.tokenizer),
        prompt=options.prompt,
        shows_samples=recipe.run.checkpointing.sample_every > 0,
    )


def _note_corpus(corpus: Corpus, recipe: PretrainRecipe, config: ModelConfig) -> None:
    from nextword.models.weights import weight_shapes

    num_weights = sum(math.prod(shape) for shape in weight_shapes(config).values())
    seen = recipe.run.steps * recipe.data.batch_size * recipe.run.compute.accumulation * recipe.data.context
    note(
        f"{corpus.training.num_tokens:,} tokens of {config.vocab_size:,} kinds to train on, "
        f"{corpus.validation.num_tokens:,} held out"
    )
    note(
        f"a model of {num_weights:,} parameters; it will see every token {seen / corpus.training.num_tokens:.1f} times"
    )


def _print_sample(model: Path, prompt: str) -> None:
    from nextword.language_model import load

    for piece in load(model).stream(prompt, max_tokens=120, temperature=0.8, seed=0):
        print(piece, end="", flush=True)
    print()


def _print_plan(files: Sequence[str], recipe: PretrainRecipe) -> None:
    from nextword.training.plan import plan_run
    from nextword.training.pretrain import likely_vocab_size

    config = recipe.model.config(vocab_size=likely_vocab_size(files, recipe.data), context=recipe.data.context)
    print_plan(plan_run(config, recipe.run, batch_size=recipe.data.batch_size, row_length=recipe.data.context))
