"""`system_fingerprint` names the weights: the same after a restart, another after a change of any tensor."""

from __future__ import annotations

from pathlib import Path

import pytest

import nextword as nw
from nextword.serving.fingerprint import fingerprint
from tests.api_model import load_bytes_model
from tests.inference.test_adapters_beside import SPECS, save_adapter


def test_the_fingerprint_changes_with_an_adapter_s_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    load_bytes_model(made(tmp_path / "base"))
    base, found = tmp_path / "base" / "tiny", []
    for place, seed in (("first", 1), ("same", 1), ("other", 2)):
        save_adapter(base, tmp_path / place, SPECS["low"], seed)
        found.append(fingerprint(nw.load(base, adapters={"low": tmp_path / place})))
    assert found[0] == found[1] != found[2]
    assert fingerprint(nw.load(base)) not in found


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder / "tiny"


def test_the_fingerprint_changes_with_the_weights_alone(tmp_path: Path) -> None:
    first = fingerprint(load_bytes_model(made(tmp_path / "one")))
    assert fingerprint(nw.load(tmp_path / "one" / "tiny")) == first
    assert fingerprint(load_bytes_model(made(tmp_path / "again"))) == first
    assert fingerprint(load_bytes_model(made(tmp_path / "two"), seed=8)) != first
