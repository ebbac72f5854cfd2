"""`load`: a name, folder or file in, a `LanguageModel` out; `load_tokenizer`: its tokenizer alone.

What a model needs besides its weights, which is its tokenizer and the modules that generate, comes while other
threads pack them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from nextword.adapters.open import AdapterFolders, open_adapted
from nextword.checkpoints.catalogue import resolve
from nextword.checkpoints.model_directory import ModelDirectory
from nextword.checkpoints.open_directory import open_tokenizer
from nextword.checks import checked_arguments
from nextword.errors import RequestError
from nextword.inference.backend import WHOLE_CACHE, Backend, BackendName, OnProgress, Weights, ignore_progress
from nextword.inference.open_backend import open_backend
from nextword.native import native
from nextword.plain_text import printable

if TYPE_CHECKING:
    from nextword.inference.engine import Engine
    from nextword.language_model import LanguageModel
    from nextword.models.linear_change import Changes
    from nextword.text.tokenizer import Tokenizer


class _Opening(TypedDict, total=False):
    """Keywords of `open_backend` that both a model and a smaller one beside it are opened with."""

    backend: BackendName
    weights: Weights
    num_threads: int | None
    cache_share: float


@checked_arguments
def load(
    name: str | Path,
    *,
    adapter: str | Path | None = None,
    adapters: AdapterFolders | None = None,
    backend: BackendName = "auto",
    weights: Weights = "auto",
    num_threads: int | None = None,
    speculation: bool = True,
    amateur: str | Path | None = None,
    draft_model: str | Path | None = None,
    on_progress: OnProgress = ignore_progress,
) -> LanguageModel:
    """Load a model by catalogue name, Hugging Face folder, .gguf file, or name of the Hub (hf:owner/name) once pulled.

    `adapter`: a folder in peft's format, merged into the weights; such a folder can be the name, too. `adapters`:
    folders by the names under which requests choose one of them, computed beside one copy of the weights. `backend`,
    `weights` and `num_threads` as in `open_backend`, `speculation` as in `Engine`. `amateur`: a smaller model with
    the same tokens, for `contrastive_alpha`; `draft_model`: one that proposes tokens for this model to verify.
    `on_progress`: called with the share of the weights that is loaded. Raises CheckpointError naming file and field,
    BackendError or MissingExtraError if the backend cannot run, RequestError for a second model that cannot be used.
    """
    directory = open_adapted(str(name), None if adapter is None else str(adapter))
    chosen: BackendName = ("torch" if native is None else "native") if backend == "auto" else backend
    how: _Opening = {"backend": backend, "weights": weights, "num_threads": num_threads}
    how["cache_share"] = _cache_share(draft_model, chosen, speculation=speculation)
    drafting = _open_second("draft_model", draft_model, directory, **how)
    opened = open_backend(
        directory.config,
        directory.tensors,
        **how,
        num_virtual_tokens=directory.num_virtual_tokens,
        adapters=_open_beside(directory, adapters or {}),
        on_progress=on_progress,
        meanwhile=(lambda: directory.tokenizer, _import_what_generates),
    )
    make_engine, make_model = _import_what_generates()
    weaker = _open_second("amateur", amateur, directory, **how)
    engine = make_engine(opened, directory.tokenizer, speculation=speculation, amateur=weaker, draft_model=drafting)
    return make_model(directory, engine, name=printable(str(name)), backend=chosen, weights=weights, adapters=adapters)


def _import_what_generates() -> tuple[type[Engine], type[LanguageModel]]:
    from nextword.inference.engine import Engine
    from nextword.language_model import LanguageModel

    return Engine, LanguageModel


def _cache_share(draft_model: str | Path | None, backend: BackendName, *, speculation: bool) -> float:
    """Return each model's share of the cache. Raises RequestError for a draft model that nobody would verify."""
    if draft_model is None:
        return WHOLE_CACHE
    if not speculation:
        raise RequestError("draft_model: its drafts are verified only with speculation")
    if backend == "torch":
        raise RequestError('draft_model: PyTorch verifies no drafts; load with backend="native"')
    return WHOLE_CACHE / 2


def _open_second(
    option: str, name: str | Path | None, model: ModelDirectory, **how: Unpack[_Opening]
) -> Backend | None:
    """Load the smaller model that an option of `load` names, if any. Raises RequestError if it has other tokens."""
    if name is None:
        return None
    from nextword.text.same_tokenizer import other_token

    directory = open_adapted(str(name))
    token_id = other_token(model.tokenizer, directory.tokenizer)
    if token_id is not None:
        raise RequestError(
            f"{option} {str(name)!r}: token {token_id} is another one than the model's: choose a model with the same "
            "tokens, such as a smaller one of the same family"
        )
    return open_backend(directory.config, directory.tensors, num_virtual_tokens=directory.num_virtual_tokens, **how)


def _open_beside(directory: ModelDirectory, adapters: AdapterFolders) -> dict[str, Changes]:
    if not adapters:
        return {}
    from nextword.adapters.beside import open_beside  # opening a model without adapters stays quick

    return open_beside(directory, adapters)


@checked_arguments
def load_tokenizer(name: str | Path) -> Tokenizer:
    """Load the tokenizer of a model alone, or of a .gguf file that holds nothing else; no weights are read.

    `name` and errors as in `load`.
    """
    path = resolve(str(name))
    return open_tokenizer(path) if path.is_file() else open_adapted(str(name)).tokenizer
