"""Adapters are models of their own names, and requests for several of them run together."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("torch")

import nextword as nw
from nextword.cli.arguments import named_folders
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.inference.test_adapters_beside import SPECS, save_adapter
from tests.serving.client import Client


def test_adapters_are_models_by_their_names(tmp_path: Path) -> None:
    load_bytes_model(tmp_path / "base")
    folders = {name: save_adapter(tmp_path / "base", tmp_path / name, SPECS[name], 1) for name in ("low", "ia3")}
    lm = nw.load(tmp_path / "base", adapters=folders)
    expected = {
        name: lm.generate("abc", max_tokens=20, seed=1, adapter=adapter).text
        for name, adapter in {"main": None, "low": "low", "ia3": "ia3"}.items()
    }
    assert len(set(expected.values())) == 3
    found: dict[str, str] = {}
    with ServerThread(Service(lm, alias="main")) as server:
        client = Client(server.url)
        listed = client.get("/v1/models").json["data"]
        assert [(model["id"], model.get("parent")) for model in listed] == [
            ("main", None),
            ("low", "main"),
            ("ia3", "main"),
        ]

        def ask(name: str) -> None:
            answer = client.complete("abc", model=name, max_tokens=20, seed=1)
            assert answer["model"] == name
            found[name] = answer["choices"][0]["text"]

        threads = [threading.Thread(target=ask, args=(name,)) for name in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == expected
        refused = client.post("/v1/score", {"model": "low", "prompt": "a", "continuations": ["b"]})
        assert (refused.status, refused.error["param"]) == (400, "model")


@pytest.mark.parametrize(
    ("alias", "name", "message"),
    [("main", "main", "is the name of the model itself"), (None, " a", "is no name"), (None, "a\nb", "is no name")],
)
def test_a_name_that_no_client_could_use_is_refused(tmp_path: Path, alias: str | None, name: str, message: str) -> None:
    load_bytes_model(tmp_path / "base")
    lm = nw.load(tmp_path / "base", adapters={name: save_adapter(tmp_path / "base", tmp_path / "low", SPECS["low"], 1)})
    with pytest.raises(nw.RequestError, match=message):
        Service(lm, alias=alias)


def test_names_and_folders_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_bytes_model(tmp_path / "base")
    save_adapter(tmp_path / "base", tmp_path / "of = legal", SPECS["low"], 1)
    monkeypatch.chdir(tmp_path)
    lm = nw.load("base", adapters=named_folders(["my adapter=of = legal", "other=./of = legal"]))
    with ServerThread(Service(lm)) as server:
        client = Client(server.url)
        assert client.complete("abc", model="my adapter", max_tokens=2)["model"] == "my adapter"
        assert client.get("/v1/models/my%20adapter").json["parent"] == "base"
    for arguments in (["a"], ["=b"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(nw.RequestError, match="--adapter"):
            named_folders(arguments)
