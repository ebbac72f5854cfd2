"""Pages: what is given is shown as it is, nothing is fetched, plots stand inside."""

from __future__ import annotations

import builtins
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from nextword.errors import DataError, MissingExtraError
from nextword.html.page import heading, paragraph, preformatted, table, write_page
from nextword.html.plots import plot


def test_text_is_shown_and_not_read_as_markup(tmp_path: Path) -> None:
    nasty = "<script>alert('1 & 2')</script>"
    parts = [heading(nasty), paragraph(nasty), preformatted(nasty), table([nasty, "n"], [[nasty, 3]])]
    write_page(tmp_path / "page.html", nasty, parts)
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in written
    assert written.count("&lt;script&gt;alert(&#x27;1 &amp; 2&#x27;)&lt;/script&gt;") == 7


def test_a_wide_table_scrolls_in_a_box_and_not_the_page(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "Wide", [table([f"column {number}" for number in range(40)], [range(40)])])
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<div class="box"><table>' in written
    assert ".box { overflow-x: auto;" in written
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in written


def test_a_plot_is_an_svg_within_the_page_and_the_same_each_time() -> None:
    pytest.importorskip("matplotlib")
    figures = [plot(lambda axes: axes.bar(["a", "b"], [1, 2]), caption="Bars < lines") for _ in range(2)]
    assert figures[0] == figures[1]
    root = ElementTree.fromstring(re.sub(r' xmlns(:xlink)?="[^"]*"| xlink:', " ", figures[0]))
    assert root.tag == "figure"
    assert root.find("svg") is not None
    assert root.findtext("figcaption") == "Bars < lines"


def test_a_page_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_page(tmp_path / "page.html", "One file", [plot(lambda axes: axes.plot([1, 2]), caption="A line")])
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"|@import|url\((?!#)', written)


def test_a_page_that_cannot_be_written_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nosuch/page\.html: cannot be written: No such file"):
        write_page(tmp_path / "nosuch" / "page.html", "Nowhere", [])


def test_without_matplotlib_a_plot_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def import_but(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", import_but)
    with pytest.raises(MissingExtraError, match=r"pip install 'nextword\[eval\]'"):
        plot(lambda axes: axes.plot([1, 2]), caption="")
