"""What is kept: the URL gives the same page again, so does the saved file; texts and pictures are files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.lab_page import LabPage
from tests.serving.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.browser


def branched(lab: LabPage) -> LabPage:
    """Write a text with a branch, and choose one of its tokens."""
    lab.open(prompt="The river", seed=4, max_tokens=6, temperature=0.9, top_k=50, colour="entropy")
    lab.write()
    lab.choose(11)
    lab.page.locator(".chain .entry:not(.stands)").nth(3).click()
    lab.wait_until_written()
    lab.choose(12)
    lab.page.wait_for_url("**at=12**")
    return lab


def shown(lab: LabPage) -> list[str]:
    """Return what the page shows."""
    lab.page.wait_for_selector(".chain")
    lab.page.wait_for_selector(".text-box .tokens:not([aria-busy])")
    parts = (".text-box .tokens", ".branches", ".position .head", ".position p.note", ".chain")
    html = [lab.page.locator(f".write {part}").inner_html() for part in parts]
    html = [re.sub(r'tokens\d+-| title="[^"]*"', "", one) for one in html]
    return [*html, *(box.input_value() for box in lab.page.locator(".write input[type=number], .write textarea").all())]


def test_the_url_gives_the_same_page(lab: LabPage, context: BrowserContext) -> None:
    before = shown(branched(lab))
    lab.page.reload()
    assert shown(lab) == before
    other = LabPage(context.new_page(), lab.url)
    other.page.goto(lab.page.url)
    assert shown(other) == before


def test_the_saved_file_gives_the_same_page(lab: LabPage, context: BrowserContext, tmp_path: Path) -> None:
    before = shown(branched(lab))
    with lab.page.expect_download() as download:
        lab.page.get_by_role("button", name="Save", exact=True).click()
    download.value.save_as(tmp_path / "lab.json")
    other = LabPage(context.new_page(), lab.url).open()
    other.page.get_by_label("File to open").set_input_files(tmp_path / "lab.json")
    other.page.wait_for_selector(".tokens .t")
    assert shown(other) == before


def test_a_file_that_is_none_of_the_labs_is_refused_in_words(lab: LabPage, tmp_path: Path) -> None:
    lab.open()
    refused = {
        "no JSON": "no JSON",
        "[1]": "“format”",
        '{"prompt": "a"}': "“format”",
        '{"format": "nextword lab 0"}': "export it again",
        '{"format": "nextword lab 1", "tree": 5, "seed": "x", "messages": [1], "params": {"foo": 1}}': "“foo”",
    }
    for content, reason in refused.items():
        (tmp_path / "other.json").write_text(content)
        lab.page.get_by_label("File to open").set_input_files(tmp_path / "other.json")
        lab.page.wait_for_selector(f"#message:has-text('{reason}')")


@pytest.mark.parametrize(
    "hash_text",
    [
        "view=nothing&seed=abc&at=-3&colour=nothing&temperature=1e999&top_k=&tree=!!",
        "tree=q1ZKzs9JVbJSKkktLlGqBQA&at=99&prompt=%00%EF%BF%BD&max_tokens=0.5&seed=-1",
        "temperature=-4&constructor=1&__proto__=2&toString=3",
    ],
)
def test_a_damaged_url_opens_a_page_that_works(lab: LabPage, hash_text: str) -> None:
    lab.page.goto(f"{lab.url}/lab/#{hash_text}")
    lab.page.wait_for_selector(".view.write")
    lab.page.get_by_role("button", name="random", exact=True).click()
    lab.page.get_by_label("Seed", exact=True).fill("3")
    lab.page.get_by_label("Number of tokens to write").fill("4")
    lab.page.get_by_label("Number of tokens to write").press("Tab")
    lab.write("Now")
    assert len(lab.token_ids) == len("Now") + 4


def test_the_text_is_saved_as_a_page_of_its_own(lab: LabPage, browser: Browser, tmp_path: Path) -> None:
    lab.open(prompt="<b>The</b> & river", seed=2, max_tokens=4)
    lab.write()
    with lab.page.expect_download() as download:
        lab.page.get_by_role("button", name="Save page").click()
    download.value.save_as(tmp_path / "text.html")
    other = browser.new_page(java_script_enabled=False, offline=True)
    other.goto((tmp_path / "text.html").as_uri())
    assert (other.text_content(".text") or "").startswith("<b>The</b> & river")
    assert other.locator(".text span").count() == len(lab.token_ids)
    assert other.locator("script, link, .text b").count() == 0
    other.close()


def test_a_distribution_is_saved_as_a_picture(lab: LabPage, tmp_path: Path) -> None:
    branched(lab)
    with lab.page.expect_download() as download:
        lab.page.get_by_role("button", name="SVG").click()
    root = ElementTree.parse(download.value.path()).getroot()
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    for figures in lab.figures().values():
        assert set(figures) <= set(texts)
    assert all(one.get("fill") for one in root.iter("{http://www.w3.org/2000/svg}rect"))
    with lab.page.expect_download() as download:
        lab.page.get_by_role("button", name="PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG\r\n")


def test_two_tabs_have_a_text_each(lab: LabPage, context: BrowserContext, client: Client) -> None:
    other = LabPage(context.new_page(), client.url)
    lab.open(prompt="One", max_tokens=3)
    other.open(prompt="Another", max_tokens=3)
    lab.write()
    other.write()
    assert (len(lab.token_ids), len(other.token_ids)) == (6, 10)
    lab.page.reload()
    lab.page.wait_for_selector(".tokens .t")
    assert len(lab.token_ids) == 6


def test_back_gives_the_text_before(lab: LabPage) -> None:
    lab.open(prompt="One", max_tokens=3)
    lab.write()
    first = lab.token_ids
    lab.write("Two")
    assert lab.token_ids[:3] == list(b"Two")
    lab.page.go_back()
    lab.page.wait_for_selector(f".t[data-token='{ord('O')}']")
    assert lab.token_ids == first
