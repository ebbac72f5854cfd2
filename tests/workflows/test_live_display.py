"""In the kernel of a notebook an object shows itself anew while it changes; elsewhere nothing is imported or shown."""

from __future__ import annotations

import sys
import time
import types

import pytest

from nextword.workflows.live_display import LiveDisplay


class Handle:
    """A cell's output, as IPython gives it."""

    def __init__(self) -> None:
        self.drawn: list[object] = []

    def update(self, shown: object) -> None:
        self.drawn.append(shown)


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """A kernel is running."""
    handle = Handle()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    vars(ipython).update(get_ipython=lambda: types.SimpleNamespace(kernel=object()))
    vars(display).update(display=lambda shown, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return handle


def test_it_is_drawn_at_most_once_a_second_and_at_the_end(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with LiveDisplay("run") as shown:
        for _ in range(20):
            now += 0.25
            shown.update()
    assert handle.drawn == ["run"] * 6


def test_without_a_kernel_nothing_happens(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    vars(sys.modules["IPython"]).update(get_ipython=lambda: None)
    with LiveDisplay("run") as shown:
        shown.update()
    monkeypatch.delitem(sys.modules, "IPython")
    with LiveDisplay("run") as shown:
        shown.update()
    assert "IPython" not in sys.modules
    assert handle.drawn == []
