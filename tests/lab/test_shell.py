"""The shell of the page: it opens, each module can be read by the browser, and nothing is written into the markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from nextword.lab.page_files import PAGE
from tests.serving.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_the_page_opens_with_the_name_of_the_model(page: Page, client: Client) -> None:
    page.goto(f"{client.url}/lab/")
    page.wait_for_selector(".view")
    assert page.text_content("#model") == client.get("/lab/info").json["model"]


def test_the_browser_can_read_each_module(page: Page, client: Client) -> None:
    page.goto(f"{client.url}/lab/")
    for path in sorted(PAGE.glob("*.js")):
        page.evaluate("name => import(name).then(() => null)", f"/lab/{path.name}")


def test_the_markup_holds_no_script_and_no_style() -> None:
    markup = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", markup)
    for path in PAGE.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text()), path
