"""The options that say what computes a model."""

from __future__ import annotations

from pathlib import Path

import pytest

import nextword as nw
from nextword.cli import run

VERBS = {
    "generate": ["hi", "--max-tokens", "1"],
    "next": ["hi"],
    "score": ["hi there"],
    "summarize": [__file__],
    "chat": [],
}


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_backend_and_weights_are_those_asked_for(tiny: Path, backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nextword._native", reason="the C++ core was not built")
    expected = nw.load(tiny, backend=backend, weights="f32").score("hi there")  # type: ignore[arg-type]
    assert run(["score", str(tiny), "hi there", "--backend", backend, "--weights", "f32", "--threads", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[0] == f"{expected.log_prob:.4f}"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threads", "0"], "nextword: 0 threads: at least 1 is needed\n"),
        (["--threads", "3000000000"], "nextword: 3000000000 threads: at most 1024 are supported;"),
        (["--backend", "torch", "--weights", "q4"], "nextword: weights q4: PyTorch computes with f32 or bf16 here;"),
    ],
    ids=["no threads", "too many threads", "weights"],
)
def test_what_cannot_compute_is_refused_in_one_line(
    tiny: Path, verb: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, str(tiny), *VERBS[verb], *options]) == 2
    assert message in capsys.readouterr().err


def test_an_instruction_set_that_is_not_here_is_refused_with_those_that_are(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nextword._native", reason="the C++ core was not built")
    monkeypatch.setenv("NEXTWORD_ISA", "mmx")
    assert run(["score", str(tiny), "hi there"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("nextword: NEXTWORD_ISA = mmx: this processor runs portable")
    assert message.endswith("; name one of them, or unset it\n")


def test_a_text_that_the_memory_cannot_hold_is_refused_in_one_line(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    native_backend = pytest.importorskip("nextword.inference.native_backend", reason="the C++ core was not built")
    monkeypatch.setattr(native_backend, "free_bytes", lambda: 0)
    assert run(["generate", str(tiny), "hi", "--max-tokens", "200"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("nextword: the request may need room for ")
    assert message.endswith(": lower max_tokens or n\n")
