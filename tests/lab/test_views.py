"""For every view: a reload gives the same page, texts go on in Write, and leaving in mid-stream loses nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import nextword as nw
from nextword.inference.engine import Engine
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.lab.lab_page import LabPage, look
from tests.lab.test_page import answer_with, row
from tests.serving.client import Client
from tests.serving.faults import FaultyBackend

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
MESSAGE = "Hi"
SUMMARY = "Anna went to the shop. It was closed."


def fill_samples(page: Page) -> None:
    page.get_by_label("texts").select_option("2")
    page.get_by_role("button", name="Write all").click()
    page.locator(".samples-grid:has-text('nats each') section >> nth=1").wait_for()
    page.locator("button.main:enabled").wait_for()


def fill_compare(page: Page) -> None:
    page.get_by_role("button", name="Write both").click()
    page.locator(".pair .t").nth(11).click()
    page.locator(".pair .head h2 >> nth=1").wait_for()


def fill_measure(page: Page) -> None:
    page.locator(".measured .tokens .t").nth(4).click()
    page.locator(".position h2").wait_for()


def fill_summary(page: Page) -> None:
    rows = [row(token_id, chr(token_id)) for token_id in SUMMARY.encode()]
    ids = [one["token_id"] for one in rows]
    whole = {"token_ids": ids, "prompt_length": 9, "tokens": rows, "num_parts": 1, "is_complete": True}
    answer_with(page, "/lab/summarize", whole)
    page.get_by_label("form").select_option("bullets")
    page.get_by_role("button", name="Summarise", exact=True).and_(page.locator(".main")).click()
    page.locator(".tokens .t").nth(2).click()
    page.locator(".position h2").wait_for()


def fill_chat(page: Page) -> None:
    page.get_by_label("Your message").fill(MESSAGE)
    page.get_by_label("Your message").press("Enter")
    page.locator(".turns .assistant .t").nth(5).wait_for()
    page.locator("button.main:enabled").wait_for()


def fill_inside(page: Page) -> None:
    page.set_default_timeout(60_000)  # PyTorch is imported
    page.locator(".tokens .t").nth(6).click()
    page.get_by_text("Of 7 tokens, it looks at").wait_for()
    page.get_by_role("combobox", name="Layer").select_option("1")
    page.get_by_role("combobox", name="Head").select_option("1")


FILLED = {
    "samples": fill_samples,
    "compare": fill_compare,
    "measure": fill_measure,
    "summarize": fill_summary,
    "chat": fill_chat,
    "inside": fill_inside,
}


def settled(page: Page) -> str:
    """Return the markup of the view when two looks at it find the same."""
    before = ""
    for _ in range(100):
        page.wait_for_timeout(250)
        found = re.sub(r'tokens\d+-| (title|style|aria-selected)="[^"]*"', "", page.locator("#view").inner_html())
        if found == before and "under way" not in found:
            return found
        before = found
    raise AssertionError("the page does not come to rest")


@pytest.mark.parametrize("view", FILLED)
def test_each_view_is_the_same_after_a_reload(lab: LabPage, view: str) -> None:
    if view == "inside":
        pytest.importorskip("torch")
    lab.open(view=view, prompt="The river", text=SUMMARY, seed=2, max_tokens=6, top_k=50)
    FILLED[view](lab.page)
    before = settled(lab.page)
    lab.page.reload()
    lab.page.wait_for_selector(f".view.{view}")
    if view == "chat":
        lab.page.locator(".turns .t").nth(5).wait_for()
    assert settled(lab.page) == before


def test_a_token_of_a_measured_text_is_another_one_in_write(lab: LabPage) -> None:
    lab.open(view="measure", text="The river")
    lab.page.locator(".measured .tokens .t").nth(6).click()
    lab.page.get_by_role("button", name="Open in Write").click()
    lab.page.locator(".write .head h2:has-text('Token 6:')").wait_for()
    assert lab.token_ids == list(b"The river")
    lab.page.go_back()
    lab.page.locator(".measured .tokens .t").nth(6).click()
    other = lab.page.locator(".chain .entry:not(.stands)").first
    token_id = int(other.get_attribute("data-token") or 0)
    other.click()
    lab.page.locator(".write .branches li").wait_for()
    assert lab.token_ids == [*b"The ri", token_id]


def test_an_answer_of_a_chat_goes_on_in_write(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(view="chat", max_tokens=6, seed=5)
    fill_chat(lab.page)
    answer = lm.chat([{"role": "user", "content": MESSAGE}], max_tokens=6, seed=5).completions[0]
    lab.page.locator(".turns .assistant .t").nth(2).click()
    lab.page.get_by_role("button", name="Open in Write").click()
    lab.page.locator(".write .branches li").wait_for()
    prompt = lm.engine.tokenizer.encode_prompt(lab.page.get_by_label("Prompt", exact=True).input_value())
    assert lab.token_ids == [*prompt, *(token.token_id for token in answer.tokens)]
    lab.write()
    assert lab.token_ids[: len(prompt) + 6] == [*prompt, *(token.token_id for token in answer.tokens)]
    assert lab.page.get_by_role("treeitem").count() == 1, "it goes on where it stands"


def test_a_ghost_that_was_written_once_is_shown_whole(lab: LabPage) -> None:
    lab.open(prompt="The river", seed=5, max_tokens=12)
    lab.write()
    first = lab.token_ids
    lab.set("temperature", 0.3)
    lab.page.get_by_role("button", name="Write that").click()
    lab.wait_until_written()
    other = lab.token_ids
    lab.page.get_by_role("treeitem").first.click()
    lab.page.locator(".t").nth(len(first) - 1).wait_for()
    lab.set("temperature", 0.3)
    lab.page.get_by_role("button", name="Show that text").click()
    lab.page.locator(".branches li[aria-selected=true][data-index='1']").wait_for()
    assert lab.token_ids == other


def test_what_was_not_checked_is_said(lab: LabPage) -> None:
    answer_with(lab.page, "/lab/replay", {"first": None, "token": None, "checked": 3, "complete": False})
    lab.open(prompt="The river", seed=5, max_tokens=6)
    lab.write()
    lab.page.locator(".turn:has-text('The first 3 of 6 tokens were checked')").wait_for()


@pytest.fixture
def slow(lm: nw.LanguageModel) -> Iterator[Client]:
    """A client of a lab whose model takes its time."""
    backend = FaultyBackend(delay=0.03)
    with ServerThread(
        Service(nw.LanguageModel(lm.directory, Engine(backend, lm.tokenizer), name="slow")), routes=lab_routes()
    ) as server:
        yield Client(server.url)


def test_leaving_in_mid_stream_loses_nothing(browser: Browser, slow: Client) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    lab = LabPage(page, slow.url).open(prompt="One", seed=1, max_tokens=100)
    page.locator("button.main").click()
    page.locator(".tokens .t").nth(8).wait_for()
    for name in ("Lessons", "Samples", "Write"):
        page.locator("#views").get_by_role("button", name=name, exact=True).click()
    page.locator(".view.write .tokens .t").nth(8).wait_for()
    lab.wait_until_written()
    kept = lab.token_ids
    page.get_by_label("Prompt", exact=True).fill("Two")
    page.locator("button.main").click()
    page.locator(f".tokens .t[data-token='{ord('T')}']").wait_for()
    page.locator(".tokens .t").nth(6).wait_for()
    page.go_back()
    page.locator(f".tokens .t[data-token='{ord('O')}']").wait_for()
    page.wait_for_timeout(200)
    assert lab.token_ids == kept
    lab.wait_until_written()
    assert errors == []
    page.close()


@pytest.mark.parametrize(("width", "theme"), [(320, "light"), (1400, "dark"), (3840, "light")])
def test_every_view_is_open_to_all(lab: LabPage, tmp_path: Path, width: int, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = lab.page
    page.set_viewport_size({"width": width, "height": max(700, width * 9 // 16)})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    pictures = Path(os.environ.get("NEXTWORD_SCREENSHOTS", tmp_path))
    pictures.mkdir(exist_ok=True)
    lab.open(text="The river")
    axe.run(page)
    faults = look(page, pictures, f"empty-{width}-{theme}")
    for view in ("Samples", "Compare", "Chat", "Measure", "Summarise"):
        page.locator("#views").get_by_role("button", name=view, exact=True).click()
        page.locator(f".view.{'summarize' if view == 'Summarise' else view.lower()}").wait_for()
        if view == "Measure":
            fill_measure(page)
        faults += look(page, pictures, f"{view.lower()}-{width}-{theme}")
    assert faults == []
