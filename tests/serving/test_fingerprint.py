"""`system_fingerprint` names the weights: the same after a restart, another after a change of any tensor."""

from __future__ import annotations

from pathlib import Path

import nextword as nw
from nextword.serving.fingerprint import fingerprint
from tests.api_model import load_bytes_model


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder / "tiny"


def test_the_fingerprint_changes_with_the_weights_alone(tmp_path: Path) -> None:
    first = fingerprint(load_bytes_model(made(tmp_path / "one")))
    assert fingerprint(nw.load(tmp_path / "one" / "tiny")) == first
    assert fingerprint(load_bytes_model(made(tmp_path / "again"))) == first
    assert fingerprint(load_bytes_model(made(tmp_path / "two"), seed=8)) != first
