"""`nextword export`: what it writes opens, and what it cannot write is refused in one line."""

from __future__ import annotations

from pathlib import Path

from nextword.checkpoints.open_directory import open_model_directory
from tests.cli.conftest import Command


def test_a_folder_in_other_floats_opens(command: Command, tiny: Path, tmp_path: Path) -> None:
    outcome = command("export", tiny, "-o", tmp_path / "half", "--to", "hf", "--weights", "f16")
    assert outcome.code == 0, outcome.err
    size = sum(file.stat().st_size for file in (tmp_path / "half").iterdir())
    assert outcome.err == f"[{tmp_path / 'half'}: {size:,} bytes, weights in F16]\n"
    assert open_model_directory(tmp_path / "half").tensors["embedding.weight"].dtype == "F16"


def test_blocks_in_a_folder_are_refused(command: Command, tiny: Path, tmp_path: Path) -> None:
    outcome = command("export", tiny, "-o", tmp_path / "x", "--to", "hf", "--weights", "q8")
    assert outcome.code == 2
    assert outcome.err == "nextword: weights q8: a Hugging Face folder has floats here; f32, f16 or bf16\n"


def test_a_tokenizer_without_merges_is_refused(command: Command, tiny: Path, tmp_path: Path) -> None:
    outcome = command("export", tiny, "-o", tmp_path / "x.gguf")
    assert outcome.code == 2
    assert outcome.err.startswith("nextword: the tokenizer has no merges")
    assert not (tmp_path / "x.gguf").exists()
