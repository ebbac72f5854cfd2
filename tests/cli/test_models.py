"""`models` and `pull`: what is on this machine, also where it is damaged; and what is fetched."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from nextword.checkpoints import download
from nextword.checkpoints.catalogue import CATALOGUE, CatalogueEntry
from nextword.checkpoints.download import Report
from nextword.cli.console import ProgressLine
from tests.cli.conftest import Command

COMMIT = "0123abcd"
FIELDS = {"name", "path", "family", "size_bytes", "format", "weights", "license", "is_local", "problem", "is_verified"}


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of our own and of the Hub, side by side."""
    monkeypatch.setenv("NEXTWORD_CACHE", str(tmp_path / "nextword"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def collection(tmp_path: Path, tiny: Path) -> Path:
    """A whole model with another inside, a damaged one, one of an unknown kind, a damaged file, something else."""
    shutil.copytree(tiny, tmp_path / "whole")
    shutil.copytree(tiny, tmp_path / "whole" / "checkpoint-1")
    shutil.copytree(tiny, tmp_path / "nested" / "cut")
    weights = tmp_path / "nested" / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    shutil.copytree(tiny, tmp_path / "unknown")
    (tmp_path / "unknown" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "cut.gguf").write_bytes(b"GGUF" + bytes(40))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    return tmp_path


def write_cached(caches: Path, repository: str, folder: Path) -> Path:
    """A model in the Hub's cache, as huggingface_hub lays it out."""
    target = caches / "hub" / f"models--{repository.replace('/', '--')}"
    (target / "refs").mkdir(parents=True)
    (target / "refs" / "main").write_text(COMMIT)
    return Path(shutil.copytree(folder, target / "snapshots" / COMMIT))


def test_a_catalogue_model_that_is_not_here_says_how_to_get_it(command: Command, caches: Path) -> None:
    head, line, *others = command("models").out.splitlines()
    assert head.split() == ["model", "family", "size", "format", "weights", "licence", "remark"]
    assert line.endswith("not here: nextword pull smollm2-135m")
    assert all("not tested here; not here: nextword pull" in other for other in others)
    row, *_ = json.loads(command("models", "--json").out)
    assert set(row) == FIELDS
    assert (row["name"], row["is_local"], row["path"]) == ("smollm2-135m", False, None)


def test_models_of_the_hubs_cache_are_listed_and_opened_by_name(command: Command, caches: Path, tiny: Path) -> None:
    snapshot = write_cached(caches, "owner/tiny", tiny)
    row = json.loads(command("models", "--json").out)[-1]
    assert row == {
        "name": "hf:owner/tiny",
        "path": str(snapshot),
        "family": "llama",
        "size_bytes": (tiny / "model.safetensors").stat().st_size,
        "format": "hf",
        "weights": "F32",
        "license": "mit",
        "is_local": True,
        "problem": None,
        "is_verified": None,
    }
    assert command("tokenize", "hf:owner/tiny", "a").code == 0


def test_a_damaged_model_is_a_row_that_says_so(command: Command, collection: Path) -> None:
    done = command("models", collection, "--json")
    assert (done.code, done.err) == (0, "")
    rows = {Path(row["name"]).relative_to(collection).as_posix(): row for row in json.loads(done.out)}
    assert sorted(rows) == ["cut.gguf", "nested/cut", "unknown", "whole"]
    assert rows["whole"]["problem"] is None
    assert "model.safetensors" in rows["nested/cut"]["problem"]
    assert "bert" in rows["unknown"]["problem"]
    assert "cut.gguf" in rows["cut.gguf"]["problem"]


def test_the_table_is_aligned_and_has_a_line_for_each_model(command: Command, collection: Path) -> None:
    lines = command("models", collection).out.splitlines()
    assert len(lines) == 5
    start = lines[0].index("family")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines)


def test_a_folder_or_file_itself_may_be_named(command: Command, collection: Path, tiny: Path) -> None:
    rows = json.loads(command("models", tiny, collection / "cut.gguf", "--json").out)
    assert [row["name"] for row in rows] == [str(tiny), str(collection / "cut.gguf")]


def test_a_folder_without_models_gives_no_line_and_says_so(command: Command, tmp_path: Path) -> None:
    done = command("models", tmp_path)
    assert (done.code, done.out, done.err) == (0, "", f"[no models in {tmp_path}]\n")
    assert command("models", tmp_path, "--json").out == "[]\n"


def test_pull_fetches_from_the_hub_and_prints_the_path(
    command: Command, caches: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def model_info(repository: str, *, revision: str, timeout: float) -> Any:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=path.name) for path in tiny.iterdir()])

    def snapshot_download(repository: str, *, revision: str, allow_patterns: list[str], cache_dir: Path) -> str:
        assert set(allow_patterns) == {path.name for path in tiny.iterdir()}
        assert cache_dir == caches / "hub"
        return str(write_cached(caches, repository, tiny))

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    done = command("pull", "hf:owner/tiny")
    assert done.code == 0
    assert done.out == f"{caches}/hub/models--owner--tiny/snapshots/{COMMIT}\n"
    assert done.err == ""
    assert command("generate", "hf:owner/tiny", "hi", "--max-tokens", "1").code == 0


def test_progress_counts_what_is_fetched_and_names_the_models_size(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(entry: CatalogueEntry, *, report: Report) -> Path:
        report(12_000_000, 93_000_000)
        return Path("model.gguf")

    monkeypatch.setattr(download, "pull", pull)
    monkeypatch.setattr(ProgressLine, "show", lambda line, text: print(text, file=sys.stderr))
    done = command("pull", "smollm2-135m")
    assert (done.out, done.err) == ("model.gguf\n", "fetched 12 of 93 MB (compressed; the model has 98 MB)\n")


def test_no_network_is_one_line(command: Command, caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(repository: str, *, revision: str, timeout: float) -> Any:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "model_info", no_network)
    done = command("pull", "hf:owner/tiny")
    expected = "fetching hf:owner/tiny stopped (Name or service not known): check the network; running again resumes it"
    assert (done.code, done.out, done.err) == (2, "", f"nextword: {expected}\n")


@pytest.mark.model
def test_the_pulled_catalogue_model_is_described_from_its_file(command: Command) -> None:
    if not Path(json.loads(command("models", "--json").out)[0]["path"] or "").is_file():
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    row = json.loads(command("models", "--json").out)[0]
    entry = CATALOGUE["smollm2-135m"]
    assert (row["family"], row["size_bytes"], row["license"]) == (entry.family, entry.size_bytes, entry.license)
    assert (row["format"], row["weights"], row["problem"]) == ("gguf", "Q4_1", None)
    assert command("models").out.splitlines()[1].endswith("chat: temperature 0.2, top-p 0.9")


def test_weights_that_changed_after_the_download_are_found_when_asked(
    command: Command, caches: Path, tiny: Path
) -> None:
    snapshot = caches / "hub" / "models--acme--tiny" / "snapshots" / COMMIT
    shutil.copytree(tiny, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    weights = snapshot / "model.safetensors"
    blob = snapshot.parents[1] / "blobs" / hashlib.sha256(weights.read_bytes()).hexdigest()
    blob.parent.mkdir()
    weights.rename(blob)
    weights.symlink_to(blob)

    def row(*flags: str) -> dict[str, Any]:
        (found,) = (one for one in json.loads(command("models", "--json", *flags).out) if "acme" in one["name"])
        return dict(found)

    assert row()["is_verified"] is None
    assert row("--verify")["is_verified"] is True
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    assert row()["problem"] is None
    assert (
        "model.safetensors: another SHA-256 than published: delete it, then nextword pull" in row("--verify")["problem"]
    )
