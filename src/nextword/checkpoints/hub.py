"""Models of the Hugging Face Hub, named `hf:owner/name` or, for one file, `hf:owner/name/file.gguf`.

They are downloaded by huggingface_hub (extra `hub`) into the cache that it shares with other programs, and only the
files that nextword reads: never a pickle. Models in that cache are found without the library and without a network.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nextword.checkpoints.huggingface import CONFIG_NAME, GENERATION_CONFIG_NAME
from nextword.checkpoints.safetensors_file import INDEX_NAME, SINGLE_NAME
from nextword.errors import CheckpointError, DownloadError, MissingExtraError, NextwordError

PREFIX = "hf:"

_SETTINGS = (
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "README.md",
)
"""Small files read beside the weights; README.md for the licence."""
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[.-](?![.-]))*"
"""Pattern of an owner or a name: letters, digits, underscores, single dots and hyphens; no path leads elsewhere."""
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_GGUF_FILE = re.compile(r"(?:\w[\w.+-]*/)*\w[\w.+-]*\.gguf", flags=re.ASCII)
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_COMMIT = re.compile(r"[0-9A-Za-z]+")
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class HubName:
    """Name of a repository of the Hub, or of one GGUF file in it."""

    repository: str
    file: str | None = None

    def __str__(self) -> str:
        return PREFIX + self.repository + (f"/{self.file}" if self.file else "")


def parse_hub_name(name: str) -> HubName:
    """Parse `hf:owner/name` or `hf:owner/name/file.gguf`. Raises CheckpointError for anything else."""
    repository, slash, file = _split_after_repository(name.removeprefix(PREFIX))
    if not _REPOSITORY.fullmatch(repository) or (slash and not _GGUF_FILE.fullmatch(file)):
        raise CheckpointError(f"{name!r} names no model of the Hub: write hf:owner/name or hf:owner/name/file.gguf")
    return HubName(repository, file or None)


def cached_path(name: HubName) -> Path | None:
    """Return the path of a model in the cache, a folder or a GGUF file; None if it was not downloaded."""
    snapshot = _snapshot(_cache_folder() / f"models--{name.repository.replace('/', '--')}")
    if snapshot is None:
        return None
    path = snapshot / name.file if name.file else snapshot
    return path if (path if name.file else path / CONFIG_NAME).is_file() else None


def cached_models() -> Iterator[tuple[HubName, Path]]:
    """Yield name and path of all models in the cache, by name: folders with a config.json, and GGUF files."""
    for folder in sorted(_cache_folder().glob("models--*--*")):
        owner, _, title = folder.name.removeprefix("models--").partition("--")
        snapshot = _snapshot(folder)
        if snapshot is None:
            continue
        if (snapshot / CONFIG_NAME).is_file():
            yield HubName(f"{owner}/{title}"), snapshot
        for file in sorted(snapshot.rglob("*.gguf")):
            yield HubName(f"{owner}/{title}", file.relative_to(snapshot).as_posix()), file


def pull_from_hub(name: HubName, *, has_progress: bool = False) -> Path:
    """Download the missing files of a model; return the path of its folder or GGUF file.

    `has_progress`: let huggingface_hub draw its bars on standard error. Raises MissingExtraError without that library,
    DownloadError if the Hub cannot be reached, has no such model, asks for consent, or holds nothing that is read here.
    """
    try:
        with _quiet_client(has_progress=has_progress):
            snapshot = _fetch_snapshot(name)
    except ImportError as error:
        problem = f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else _first_line(error)
        raise MissingExtraError(f"{problem}: pip install 'nextword[hub]'") from None
    except NextwordError:
        raise
    except Exception as error:  # its own errors, those of its HTTP library, and those of a version that has changed
        raise DownloadError(_reason(name, error)) from error
    return snapshot / name.file if name.file else snapshot


def _fetch_snapshot(name: HubName) -> Path:
    """Download the files of a model that are read here; return the folder of the repository's snapshot."""
    from huggingface_hub import model_info, snapshot_download

    info = model_info(name.repository, timeout=_TIMEOUT_SECONDS)
    files = _files_to_fetch(name, [sibling.rfilename for sibling in info.siblings or ()])
    return Path(snapshot_download(name.repository, allow_patterns=files, cache_dir=_cache_folder()))


@contextmanager
def _quiet_client(*, has_progress: bool) -> Iterator[None]:
    """Keep huggingface_hub from logging each new attempt and, without `has_progress`, from drawing its bars."""
    # Names of lazily loaded submodules are imported: they are no attributes until something else imports them.
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    hides_bars = not has_progress and not are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if hides_bars:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if hides_bars:
            enable_progress_bars()


def _split_after_repository(text: str) -> tuple[str, str, str]:
    """Split a name into owner/name, the slash after it, and the rest."""
    owner, _, rest = text.partition("/")
    title, slash, file = rest.partition("/")
    return f"{owner}/{title}", slash, file


def _cache_folder() -> Path:
    """Return the cache folder of huggingface_hub, from the same environment variables."""
    if own := os.environ.get("HF_HUB_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(shared, "huggingface")
    return Path(home).expanduser() / "hub"


def _snapshot(folder: Path) -> Path | None:
    """Return the cached files of a repository, as of the last download of its main branch; None if there are none."""
    try:
        commit = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if _COMMIT.fullmatch(commit) and snapshot.is_dir() else None


def _files_to_fetch(name: HubName, files: Sequence[str]) -> list[str]:
    """Select the files of a repository that nextword reads. Raises DownloadError if they are no model."""
    gguf = [file for file in files if _GGUF_FILE.fullmatch(file)]
    if name.file:
        if name.file not in gguf:
            has = f"it has {', '.join(gguf)}" if gguf else "it has no GGUF file"
            raise DownloadError(f"{name}: no such file in the repository; {has}")
        return [name.file]
    weights = [file for file in files if file in (SINGLE_NAME, INDEX_NAME) or _SHARD.fullmatch(file)]
    if CONFIG_NAME in files and weights:
        return [*(file for file in files if file in _SETTINGS), *weights]
    if gguf:
        raise DownloadError(f"{name}: holds GGUF files; name the one you want, such as {name}/{gguf[0]}")
    problem = f"no {SINGLE_NAME}" if CONFIG_NAME in files else f"no {CONFIG_NAME}"
    raise DownloadError(f"{name}: {problem}; a model in safetensors or GGUF is needed (pickles are never read)")


def _reason(name: HubName, error: Exception) -> str:
    """Convert an error of huggingface_hub, which may have several lines, to one line that says what to do."""
    # Classes are recognised by name: none has to exist in the installed version.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        page = f"huggingface.co/{name.repository}"
        return f"{name}: requires consent to its terms: give it at {page}, then run `hf auth login`"
    if "RepositoryNotFoundError" in kinds:
        return f"{name}: no such model on the Hub, or a private one: check the name, or run `hf auth login`"
    if "OfflineModeIsEnabled" in kinds:
        return f"{name}: HF_HUB_OFFLINE forbids fetching: unset it"
    return f"fetching {name} stopped ({_first_line(error)}): check the network; running again resumes it"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
