"""The picture of a distribution before and after temperature and top-p, which README shows."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled
from nextword.cli import run
from nextword.decoding.distribution import Distribution
from nextword.errors import RequestError
from nextword.workflows.next_plot import save_next_plot

pytest.importorskip("matplotlib")
IMAGE = Path(__file__).parents[2] / "docs" / "images" / "next.png"
WORDS = [" sky", "$$", " west"]


def steps() -> dict[str, Distribution]:
    model = Distribution.from_logits([2.0, 1.0, 0.0], token_text=WORDS.__getitem__)
    return {"model": model, "top_p": model.top_p(0.8)}


def size_of(png: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    return width, height


def test_each_token_and_each_step_is_named(tmp_path: Path) -> None:
    save_next_plot(tmp_path / "next.svg", "costs $5 or $6", steps(), top=3)
    drawn = (tmp_path / "next.svg").read_text()
    for text in (
        "' sky'",
        "' west'",
        "model: 3 tokens, entropy 0.83 nats",
        "top-p: 2 tokens, entropy 0.58 nats",
        "0.73",
    ):
        assert text in drawn


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"next\.pdf: a plot ends in \.png or \.svg"):
        save_next_plot(tmp_path / "next.pdf", "hi", steps())
    with pytest.raises(RequestError, match="at least one distribution"):
        save_next_plot(tmp_path / "next.png", "hi", {})
    with pytest.raises(RequestError):
        save_next_plot(tmp_path / "next.png", "hi", steps(), top=-1)


@pytest.mark.model
def test_the_picture_of_the_readme_is_still_drawn_by_the_command_it_names(tmp_path: Path) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    line = ["next", "smollm2-135m", "The sun rises in the", "--temperature", "0.7", "--top-p", "0.9", "--top", "8"]
    assert run([*line, "--plot", str(tmp_path / "next.png")]) == 0
    assert size_of(tmp_path / "next.png") == size_of(IMAGE)
