"""`pull`: fetch a model of the catalogue or of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from nextword.checkpoints import download
from nextword.checkpoints.catalogue import CATALOGUE
from nextword.checkpoints.hub import PREFIX, parse_hub_name, pull_from_hub
from nextword.checks import checked_arguments
from nextword.errors import DownloadError
from nextword.workflows.progress import OnProgress, Progress, ignore_progress


@checked_arguments
def pull(name: str, *, has_bars: bool = False, on_progress: OnProgress = ignore_progress) -> Path:
    """Fetch a model unless it is here; return its path.

    Args:
        name: a name that `list_models` lists, hf:owner/name, or hf:owner/name/file.gguf.
        has_bars: let huggingface_hub draw its progress bars on standard error.
        on_progress: called with the bytes fetched of a model of the catalogue.

    Raises DownloadError if the name is unknown or the source cannot be reached, MissingExtraError for a name of the Hub
    without huggingface_hub.
    """
    if name.startswith(PREFIX):
        return pull_from_hub(parse_hub_name(name), has_progress=has_bars)
    if name not in CATALOGUE:
        known = ", ".join(CATALOGUE)
        raise DownloadError(f"{name}: not in the catalogue, which has {known}; hf:owner/name names one of the Hub")
    entry = CATALOGUE[name]
    suffix = f"(compressed; the model has {entry.size_bytes / 1e6:.0f} MB)"

    def report(done: int, total: int) -> None:
        line = f"fetched {done / 1e6:.0f} of {total / 1e6:.0f} MB {suffix}"
        on_progress(Progress("bytes fetched", done, total, line=line))

    return download.pull(entry, report=report)
