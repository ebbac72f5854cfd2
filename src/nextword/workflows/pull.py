"""`pull`: fetch a model of the catalogue or of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from nextword.checkpoints import download
from nextword.checkpoints.catalogue import CATALOGUE, hub_name_of
from nextword.checkpoints.hub import pull_from_hub
from nextword.checks import checked_arguments
from nextword.errors import DownloadError, RequestError
from nextword.workflows.progress import OnProgress, Progress, ignore_progress


@checked_arguments
def pull(
    name: str,
    *,
    revision: str | None = None,
    has_bars: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> Path:
    """Fetch a model unless it is here; return its path, of a split GGUF model that of its first file.

    Args:
        name: a name that `list_models` lists, hf:owner/name, hf:owner/name:Q4_K_M, or hf:owner/name/file.gguf.
        revision: branch, tag or commit of the Hub's repository; `load` finds it as hf:owner/name@revision.
        has_bars: let huggingface_hub draw its progress bars on standard error.
        on_progress: called with the bytes fetched of a model of the catalogue.

    Raises DownloadError if the name is unknown or the source cannot be reached, MissingExtraError for a name of the Hub
    without huggingface_hub, RequestError for a revision of another model.
    """
    hub_name = hub_name_of(name)
    if hub_name is not None:
        return pull_from_hub(hub_name.at(revision) if revision else hub_name, has_progress=has_bars)
    if revision is not None:
        raise RequestError(f"revision = {revision!r}: only models of the Hub have revisions, and {name} is none")
    if name not in CATALOGUE:
        raise DownloadError(f"{name}: no such name: `nextword models` lists them; hf:owner/name names one of the Hub")
    entry = CATALOGUE[name]
    suffix = f"(compressed; the model has {entry.size_bytes / 1e6:.0f} MB)"

    def report(done: int, total: int) -> None:
        line = f"fetched {done / 1e6:.0f} of {total / 1e6:.0f} MB {suffix}"
        on_progress(Progress("bytes fetched", done, total, line=line))

    return download.pull(entry, report=report)
