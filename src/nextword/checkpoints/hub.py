"""Models of the Hugging Face Hub: what is in its cache on this machine, and fetching what is not.

They are downloaded by huggingface_hub (extra `hub`) into the cache that it shares with other programs, and only the
files that nextword reads: never a pickle. Weights are checked against the SHA-256 that the Hub gives for them. What is
in that cache is found without the library and without a network. `hub_names` describes the names.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nextword.checkpoints.hub_names import CACHED, MAIN, HubName, gguf_models, is_complete
from nextword.checkpoints.huggingface import CONFIG_NAME, GENERATION_CONFIG_NAME
from nextword.checkpoints.safetensors_file import INDEX_NAME, SINGLE_NAME
from nextword.errors import CheckpointError, DownloadError, MissingExtraError, NextwordError
from nextword.json_file import read_json_object

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
    "tokenizer.model",
    "README.md",
)
"""Small files read beside the weights; README.md for the licence."""
_TEMPLATE = re.compile(r"additional_chat_templates/[^/]+\.jinja")
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_COMMIT = re.compile(r"[0-9A-Za-z]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIMEOUT_SECONDS = 30.0


def cached_path(name: HubName) -> Path | None:
    """Return the path of a model in the cache, a folder or the first GGUF file; None if it was not downloaded whole."""
    snapshot = _snapshot(_cache_folder() / name.cache_folder_name, name.revision)
    if snapshot is None:
        return None
    if not name.is_gguf:
        return snapshot if _is_model_folder(snapshot) else None
    parts = name.gguf_files(_gguf_below(snapshot))
    return snapshot / parts[0] if parts and is_complete(parts) else None


def cached_models() -> Iterator[tuple[HubName, Path]]:
    """Yield name and path of all models in the cache, by name: folders with a config.json, and GGUF models."""
    for folder in sorted(_cache_folder().glob(f"{CACHED}*--*")):
        owner, _, title = folder.name.removeprefix(CACHED).partition("--")
        snapshot = _snapshot(folder, MAIN)
        if snapshot is None:
            continue
        if _is_model_folder(snapshot):
            yield HubName(f"{owner}/{title}"), snapshot
        for parts in gguf_models(_gguf_below(snapshot)):
            if is_complete(parts):
                yield HubName(f"{owner}/{title}", file=parts[0]), snapshot / parts[0]


def _is_model_folder(snapshot: Path) -> bool:
    """True if a folder has a config and all its weights; an interrupted download lacks some."""
    if not (snapshot / CONFIG_NAME).is_file():
        return False
    if (snapshot / SINGLE_NAME).is_file():
        return True
    try:
        shards = read_json_object(snapshot / INDEX_NAME).get("weight_map")
    except CheckpointError:
        return False
    return isinstance(shards, dict) and all((snapshot / str(shard)).is_file() for shard in set(shards.values()))


def _gguf_below(snapshot: Path) -> list[str]:
    return [file.relative_to(snapshot).as_posix() for file in snapshot.rglob("*.gguf") if file.is_file()]


def pull_from_hub(name: HubName, *, has_progress: bool = False) -> Path:
    """Download the missing files of a model; return the path of its folder or first GGUF file.

    `has_progress`: let huggingface_hub draw its bars on standard error. Raises MissingExtraError without that library,
    DownloadError if the Hub cannot be reached, has no such model, asks for consent, sends what has another SHA-256 than
    it says, or holds nothing that is read here.
    """
    try:
        with _quiet_client(has_progress=has_progress):
            return _fetch(name)
    except ImportError as error:
        problem = f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else _first_line(error)
        raise MissingExtraError(f"{problem}: pip install 'nextword[hub]'") from None
    except NextwordError:
        raise
    except Exception as error:  # its own errors, those of its HTTP library, and those of a version that has changed
        raise DownloadError(_reason(name, error)) from error


def _fetch(name: HubName) -> Path:
    """Download the files of a model that are read here, and check those that were not here before; return its path."""
    from huggingface_hub import model_info, snapshot_download

    info = model_info(name.repository, revision=name.revision, timeout=_TIMEOUT_SECONDS)
    files = _files_to_fetch(name, [sibling.rfilename for sibling in info.siblings or ()])
    before = _blobs(name)
    snapshot = Path(
        snapshot_download(name.repository, revision=name.revision, allow_patterns=files, cache_dir=_cache_folder())
    )
    for file in files:
        if (blob := (snapshot / file).resolve()).name not in before:
            _check_blob(name, file, blob)
    return snapshot / files[0] if name.is_gguf else snapshot


def _blobs(name: HubName) -> set[str]:
    """Return the names of the files in the cache of a repository, by which they are stored once for all revisions."""
    return {blob.name for blob in (_cache_folder() / name.cache_folder_name / "blobs").glob("*")}


def _check_blob(name: HubName, file: str, blob: Path) -> None:
    """Raise DownloadError and delete the file if its content is not what its name, the SHA-256 of large files, says."""
    if not _SHA256.fullmatch(blob.name):
        return
    with blob.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != blob.name:
        blob.unlink()
        raise DownloadError(f"{name}: {file} has SHA-256 {found}, not {blob.name}: deleted, run again")


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


def _cache_folder() -> Path:
    """Return the cache folder of huggingface_hub, from the same environment variables."""
    if own := os.environ.get("HF_HUB_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(shared, "huggingface")
    return Path(home).expanduser() / "hub"


def _snapshot(folder: Path, revision: str) -> Path | None:
    """Return the cached files of a repository, as of the last download of a revision; None if there are none."""
    try:
        commit = (folder / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision  # a commit has no file of its own
    snapshot = folder / "snapshots" / commit
    return snapshot if _COMMIT.fullmatch(commit) and snapshot.is_dir() else None


def _files_to_fetch(name: HubName, files: Sequence[str]) -> list[str]:
    """Select the files of a repository that nextword reads. Raises DownloadError if they are no model."""
    gguf = gguf_models(files)
    if name.is_gguf:
        parts = name.gguf_files(files)
        if not parts:
            has = f"it has {', '.join(model[0] for model in gguf)}" if gguf else "it has no GGUF file"
            raise DownloadError(f"{name}: no such file in the repository; {has}")
        if not is_complete(parts):
            raise DownloadError(f"{name}: the repository lacks parts of it; it has {', '.join(parts)}")
        return parts
    weights = [file for file in files if file in (SINGLE_NAME, INDEX_NAME) or _SHARD.fullmatch(file)]
    if CONFIG_NAME in files and weights:
        settings = [file for file in files if file in _SETTINGS or _TEMPLATE.fullmatch(file)]
        return [*settings, *weights]
    if gguf:
        names = ", ".join(str(HubName(name.repository, file=model[0], revision=name.revision)) for model in gguf)
        raise DownloadError(f"{name}: holds GGUF files; name the one you want: {names}")
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
