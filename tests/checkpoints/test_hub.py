"""Names of the Hub, its cache, and fetching from it: huggingface_hub is replaced by a repository on this machine."""

from __future__ import annotations

import builtins
import fnmatch
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars

from nextword.checkpoints.catalogue import CATALOGUE, chat_defaults, resolve
from nextword.checkpoints.hub import cached_models, cached_path, pull_from_hub
from nextword.checkpoints.hub_catalogue import HUB_CATALOGUE
from nextword.checkpoints.hub_names import HubName, parse_hub_name
from nextword.decoding.params import sampling_params
from nextword.errors import CheckpointError, DownloadError, MissingExtraError, RequestError
from nextword.models.families import FAMILIES
from nextword.workflows.pull import pull
from tests.checkpoints.hub_on_loopback import Hub, hub_on_loopback

COMMIT = "0123abcd"


class FakeHub:
    """One repository; `snapshot_download` writes the cache as huggingface_hub documents its layout."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.error: Exception | None = None

    def model_info(self, repository: str, *, revision: str, timeout: float) -> Any:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=file) for file in self.files])

    def snapshot_download(self, repository: str, *, revision: str, allow_patterns: list[str], cache_dir: Path) -> str:
        wanted = [file for file in self.files if any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns)]
        return str(write_cached(cache_dir, repository, wanted, revision))


def write_cached(cache: Path, repository: str, files: list[str], revision: str = "main") -> Path:
    """A repository in the cache, every file holding its own name."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(COMMIT)
    snapshot = folder / "snapshots" / COMMIT
    for file in files:
        (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / file).write_text(file)
    return snapshot


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


MakeHub = Callable[..., FakeHub]


@pytest.fixture
def make_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHub:
    def make(*files: str) -> FakeHub:
        hub = FakeHub(list(files))
        monkeypatch.setattr(huggingface_hub, "model_info", hub.model_info)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
        return hub

    return make


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("hf:owner/name", HubName("owner/name")),
        ("hf:Qwen/Qwen2.5-0.5B", HubName("Qwen/Qwen2.5-0.5B")),
        ("hf:a_b/c-d/sub/Model-Q4_K_M.gguf", HubName("a_b/c-d", file="sub/Model-Q4_K_M.gguf")),
        ("hf:owner/name:Q4_K_M", HubName("owner/name", quantization="Q4_K_M")),
        ("hf:owner/name@v1.0", HubName("owner/name", revision="v1.0")),
        ("hf:owner/name@refs/pr/3", HubName("owner/name", revision="refs/pr/3")),
        ("hf:owner/name@v1.0:Q8_0", HubName("owner/name", quantization="Q8_0", revision="v1.0")),
        ("hf:owner/name@v1/sub/x.gguf", HubName("owner/name", file="sub/x.gguf", revision="v1")),
    ],
)
def test_a_name_has_a_repository_and_perhaps_a_file(name: str, parts: HubName) -> None:
    assert parse_hub_name(name) == parts
    assert str(parts) == name


@pytest.mark.parametrize(
    "name",
    [
        "hf:",
        "hf:name",
        "hf:/etc/passwd",
        "hf:../../etc",
        "hf:owner/..",
        "hf:owner/.",
        "hf:a..b/c",
        "hf:a--b/c",
        "hf:owner/name/",
        "hf:owner/name/model.safetensors",
        "hf:owner/name/../x.gguf",
        "hf:owner/name//x.gguf",
        "hf:owner/name/.hidden.gguf",
        "hf:owner/name/*.gguf",
        "hf:owner/name/[a].gguf",
        "hf:owner\\name/x",
        "hf:owner/name\n",
        "hf:owner/näme",
        "hf:owner/name:",
        "hf:owner/name:*",
        "hf:owner/name:K_M",
        "hf:owner/name:Q4/x.gguf",
        "hf:owner/name@",
        "hf:owner/name@../x",
        "hf:owner/name@/etc",
        "hf:owner/name@a..b",
    ],
)
def test_what_is_no_name_reaches_no_disk(name: str) -> None:
    with pytest.raises(CheckpointError, match="write hf:owner/name"):
        resolve(name)


def test_only_files_that_are_read_are_fetched(make_hub: MakeHub, cache: Path) -> None:
    read = {"config.json", "tokenizer.json", "added_tokens.json", "model.safetensors.index.json"}
    read |= {"model-00001-of-00002.safetensors"}
    left = {"pytorch_model.bin", "consolidated.safetensors", "original/config.json", "tf_model.h5", "code.py"}
    make_hub(*read, *left)
    assert files_below(pull_from_hub(HubName("owner/name"))) == read


def test_of_a_repository_with_many_gguf_files_the_named_one_is_fetched(make_hub: MakeHub) -> None:
    make_hub("a-Q4_0.gguf", "sub/a-Q8_0.gguf", "README.md")
    path = pull_from_hub(HubName("owner/name", file="sub/a-Q8_0.gguf"))
    assert path.read_text() == "sub/a-Q8_0.gguf"
    assert files_below(path.parents[1]) == {"sub/a-Q8_0.gguf"}


def test_every_file_of_a_tokenizer_is_fetched(make_hub: MakeHub) -> None:
    read = {
        "tokenizer.model",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.jinja",
        "tokenizer_config.json",
    }
    make_hub("config.json", "model.safetensors", *read, "x/tokenizer.model", "additional_chat_templates/x/y.jinja")
    path = pull_from_hub(HubName("owner/name"))
    assert files_below(path) == {"config.json", "model.safetensors", *read}


def test_what_was_fetched_is_found_again(make_hub: MakeHub, cache: Path) -> None:
    make_hub("config.json", "model.safetensors")
    with pytest.raises(CheckpointError, match="nextword pull hf:owner/name"):
        resolve("hf:owner/name")
    path = pull_from_hub(HubName("owner/name"))
    assert resolve("hf:owner/name") == path


SPLIT = [f"sub/a-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("name", "fetched"),
    [
        ("hf:a/b:q8_0", ["a.Q8_0.gguf"]),
        ("hf:a/b:Q4_K_M", SPLIT),
        (f"hf:a/b/{SPLIT[0]}", SPLIT),
        (f"hf:a/b/{SPLIT[2]}", SPLIT),
        ("hf:a/b:F16", ["a-F16.gguf"]),
        ("hf:a/b:Q5_0", None),
    ],
)
def test_a_quantization_names_one_model_with_all_its_parts(
    make_hub: MakeHub, cache: Path, name: str, fetched: list[str] | None
) -> None:
    make_hub("a.Q8_0.gguf", "a-F16.gguf", "mmproj-a-F16.gguf", *SPLIT, "README.md", "config.json")
    if fetched is None:
        with pytest.raises(
            DownloadError, match=r"no such file in the repository; it has a-F16\.gguf, a\.Q8_0\.gguf, sub"
        ):
            pull_from_hub(parse_hub_name(name))
        return
    path = pull_from_hub(parse_hub_name(name))
    assert path.as_posix().endswith(fetched[0])
    assert files_below(cache / "models--a--b" / "snapshots" / COMMIT) == set(fetched)
    assert resolve(name) == path


def test_a_quantization_of_several_models_is_refused_with_their_names(make_hub: MakeHub) -> None:
    make_hub("big-Q8_0.gguf", "small-Q8_0.gguf")
    with pytest.raises(CheckpointError, match=r"several files have this quantization: name one of big-.*, small-"):
        pull_from_hub(parse_hub_name("hf:a/b:Q8_0"))


def test_a_split_model_that_lacks_a_part_is_refused(make_hub: MakeHub, cache: Path) -> None:
    make_hub(*SPLIT[:2])
    with pytest.raises(DownloadError, match="the repository lacks parts of it"):
        pull_from_hub(parse_hub_name("hf:a/b:Q4_K_M"))
    write_cached(cache, "a/b", SPLIT[:2])
    assert cached_path(parse_hub_name("hf:a/b:Q4_K_M")) is None


def test_a_revision_is_found_under_its_own_name_alone(make_hub: MakeHub) -> None:
    make_hub("config.json", "model.safetensors")
    path = pull("hf:a/b", revision="v1.0")
    assert resolve("hf:a/b@v1.0") == resolve(f"hf:a/b@{COMMIT}") == path
    with pytest.raises(CheckpointError, match="nextword pull hf:a/b"):
        resolve("hf:a/b")


@pytest.mark.parametrize("revision", ["../x", "", "a b", "/etc", "x..y"])
def test_what_is_no_revision_is_refused(revision: str) -> None:
    with pytest.raises(CheckpointError, match="must be a branch, tag or commit"):
        HubName("a/b").at(revision)


def test_two_revisions_are_refused() -> None:
    with pytest.raises(CheckpointError, match="names the revision 'v1', not 'v2'"):
        pull("hf:a/b@v1", revision="v2")
    with pytest.raises(RequestError, match="only models of the Hub have revisions"):
        pull("smollm2-135m", revision="v2")


def test_a_short_name_stands_for_an_address(make_hub: MakeHub, cache: Path) -> None:
    make_hub("Qwen3-0.6B-Q8_0.gguf", "README.md")
    with pytest.raises(CheckpointError, match=r"'qwen3-0\.6b' is not .*: run `nextword pull qwen3-0\.6b`"):
        resolve("qwen3-0.6b")
    path = pull("qwen3-0.6b")
    assert resolve("qwen3-0.6b") == resolve("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0") == path
    assert chat_defaults(path) == HUB_CATALOGUE["qwen3-0.6b"].chat_defaults


def test_every_short_name_is_an_address_of_a_family_that_is_read() -> None:
    for entry in HUB_CATALOGUE.values():
        assert str(entry.hub_name) == entry.address
        assert entry.family in FAMILIES
        sampling_params(entry.chat_defaults)
    assert not set(HUB_CATALOGUE) & set(CATALOGUE)


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        (["config.json", "pytorch_model.bin"], "hf:a/b", "no model.safetensors; .*pickles are never read"),
        (["x-Q4_0.gguf"], "hf:a/b", "name the one you want: hf:a/b/x-Q4_0.gguf"),
        (["notes.txt"], "hf:a/b", r"no config\.json"),
        (["x.gguf"], "hf:a/b/y.gguf", r"no such file in the repository; it has x\.gguf"),
    ],
)
def test_a_repository_without_a_model_is_refused_before_anything_is_fetched(
    make_hub: MakeHub, cache: Path, files: list[str], name: str, message: str
) -> None:
    make_hub(*files)
    with pytest.raises(DownloadError, match=message):
        pull_from_hub(parse_hub_name(name))
    assert not cache.exists()


class HTTPLibraryError(Exception):
    """What the HTTP library below raises, which is another one from version to version."""


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (errors.GatedRepoError, r"consent to its terms: give it at huggingface\.co/a/b, then run `hf auth login`"),
        (errors.RepositoryNotFoundError, "no such model on the Hub, or a private one"),
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE"),
        (HTTPLibraryError, r"stopped \(Name or service not known\): check the network"),
        (OSError, r"stopped \(Name or service not known\): check the network"),
    ],
)
def test_the_hubs_refusals_are_one_line(make_hub: MakeHub, kind: type[Exception], message: str) -> None:
    hub = make_hub()
    text = "Name or service not known.\n\nMore about it:\nhttps://..."
    is_answer = issubclass(kind, errors.HfHubHTTPError)
    hub.error = kind(text, response=MagicMock()) if is_answer else kind(text)  # type: ignore[call-arg]
    with pytest.raises(DownloadError, match=message) as caught:
        pull_from_hub(HubName("a/b"))
    assert "\n" not in str(caught.value)


def test_an_error_of_another_version_is_one_line(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    make_hub("config.json", "model.safetensors")

    def without_this_keyword(repository: str) -> str:
        raise AssertionError(repository)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", without_this_keyword)
    with pytest.raises(DownloadError, match="unexpected keyword argument"):
        pull_from_hub(HubName("owner/name"))


def test_a_name_that_another_version_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", ModuleType("huggingface_hub.utils"))
    with pytest.raises(MissingExtraError, match=r"cannot import name .*: pip install 'nextword\[hub\]'"):
        pull_from_hub(HubName("owner/name"))


def pull_in_a_fresh_process(hub: Hub, name: str, cache: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """`nextword pull` with the real huggingface_hub, neither of whose streams is a terminal."""
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "nextword", "pull", name, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **settings})


def test_without_a_terminal_pull_prints_the_path_alone(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"pickle"}
    with hub_on_loopback("owner/name", files) as hub:
        done = pull_in_a_fresh_process(hub, "hf:owner/name", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert files_below(Path(done.stdout.strip())) == {"config.json", "model.safetensors"}


def test_all_parts_of_a_quantization_come_from_a_real_client(tmp_path: Path) -> None:
    """And the second call fetches nothing, for its parts are there."""
    files = {"x-Q8_0-00001-of-00002.gguf": b"one", "x-Q8_0-00002-of-00002.gguf": b"two", "x-Q4_0.gguf": b"other"}
    with hub_on_loopback("owner/name", files) as hub:
        for _ in range(2):
            done = pull_in_a_fresh_process(hub, "hf:owner/name:Q8_0", tmp_path)
            assert (done.returncode, done.stderr) == (0, "")
            assert Path(done.stdout.strip()).read_bytes() == b"one"
        revised = pull_in_a_fresh_process(hub, "hf:owner/name:Q8_0", tmp_path, "--revision", "v1")
    assert files_below(Path(done.stdout.strip()).parent) == {"x-Q8_0-00001-of-00002.gguf", "x-Q8_0-00002-of-00002.gguf"}
    assert revised.returncode == 0
    assert (tmp_path / "models--owner--name" / "refs" / "v1").read_text() == (
        tmp_path / "models--owner--name" / "refs" / "main"
    ).read_text()


def test_a_file_with_another_hash_than_the_hub_says_is_deleted(tmp_path: Path) -> None:
    with hub_on_loopback("owner/name", {"x-Q8_0.gguf": b"weights"}, sent={"x-Q8_0.gguf": b"weighty"}) as hub:
        done = pull_in_a_fresh_process(hub, "hf:owner/name:Q8_0", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "x-Q8_0.gguf has SHA-256" in done.stderr
    assert "deleted, run again" in done.stderr
    assert not [*(tmp_path / "models--owner--name" / "blobs").glob("*")]


def test_without_a_terminal_a_refusal_is_one_line(tmp_path: Path) -> None:
    with hub_on_loopback("owner/name", {}) as hub:
        done = pull_in_a_fresh_process(hub, "hf:owner/other", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "no such model on the Hub" in done.stderr


def test_pulling_leaves_the_clients_settings_as_they_were(make_hub: MakeHub) -> None:
    make_hub("config.json", "model.safetensors")
    enable_progress_bars()
    pull_from_hub(HubName("owner/name"))
    assert not are_progress_bars_disabled()


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def import_without_hub(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "huggingface_hub":
            raise ModuleNotFoundError("No module named 'huggingface_hub'", name="huggingface_hub")
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", import_without_hub)
    with pytest.raises(MissingExtraError, match=r"huggingface_hub is not installed: pip install 'nextword\[hub\]'"):
        pull_from_hub(HubName("owner/name"))


def test_the_cache_is_listed_by_name(cache: Path) -> None:
    folder = write_cached(cache, "a/folder", ["config.json", "model.safetensors"])
    files = write_cached(cache, "b/files", ["x.gguf", "sub/y.gguf"])
    write_cached(cache, "c/nothing", ["README.md"])
    write_cached(cache, "d/interrupted", ["config.json"])
    write_cached(cache, "e/interrupted", ["x-00001-of-00002.gguf", "mmproj-f16.gguf"])
    assert list(cached_models()) == [
        (HubName("a/folder"), folder),
        (HubName("b/files", file="sub/y.gguf"), files / "sub" / "y.gguf"),
        (HubName("b/files", file="x.gguf"), files / "x.gguf"),
    ]


@pytest.mark.parametrize("commit", ["../../..", "/", "", "\udcff"])
def test_a_damaged_reference_in_the_cache_is_no_model(cache: Path, commit: str) -> None:
    write_cached(cache, "a/b", ["config.json", "model.safetensors"])
    (cache / "models--a--b" / "refs" / "main").write_text(commit, errors="surrogateescape")
    (cache.parent / "config.json").write_text("not of the cache")
    assert cached_path(HubName("a/b")) is None


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HOME": "{}/home"}, "home/hub"),
        ({"XDG_CACHE_HOME": "{}/xdg"}, "xdg/huggingface/hub"),
        ({"HF_HUB_CACHE": "{}/own", "HF_HOME": "{}/home"}, "own"),
    ],
)
def test_the_cache_lies_where_huggingface_hub_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    snapshot = write_cached(tmp_path / folder, "a/b", ["config.json", "model.safetensors"])
    assert cached_path(HubName("a/b")) == snapshot
