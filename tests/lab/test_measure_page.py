"""The views Measure, Summarise, Chat and Inside show Python's figures, with keys alone and in words for all readers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

import nextword as nw
from tests.lab.lab_page import LabPage, fixed, percent
from tests.lab.lab_page import nats as in_nats
from tests.serving.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

TEXT = "Der Fluß trug <b>ein</b> Klavier vorbei."


@pytest.fixture
def lab(page: Page, client: Client) -> LabPage:
    """The lab, not opened yet."""
    return LabPage(page, client.url)


def surprisals(lm: nw.LanguageModel, text: str) -> list[float]:
    """Return the surprisals of a text's tokens from the second on, in nats."""
    return [-token.log_prob for token in lm.score(text).tokens if token.log_prob is not None]


def test_a_text_is_measured_by_each_convention(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(view="measure", text=TEXT)
    for name in ("sliding", "lm-eval"):
        report = lm.perplexity(TEXT, convention=name)
        shown = lab.page.locator("tr", has=lab.page.get_by_role("rowheader", name=name, exact=True)).locator("td")
        perplexity, interval, num_tokens = shown.all_inner_texts()[:3]
        assert (perplexity, num_tokens) == (fixed(report.perplexity, 3), str(report.num_tokens))
        known = report.perplexity_interval
        assert interval == ("–" if known is None else f"{fixed(known.low, 3)} to {fixed(known.high, 3)}")
    figures = lab.page.locator("dl.figures dd").all_inner_texts()
    nats = surprisals(lm, TEXT)
    bits = math.fsum(nats) / math.log(2)
    assert figures[0] == fixed(bits / len(TEXT[1:].encode()), 4)
    assert figures[1] == fixed(bits / len(TEXT[1:]), 4)
    curve = str(lab.page.locator(".plot svg").get_attribute("aria-label"))
    assert f"from {in_nats(nats[0])} to {in_nats(math.fsum(nats) / len(nats))}" in curve


def test_the_most_surprising_token_leads_to_its_distribution(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(view="measure", text=TEXT)
    nats = surprisals(lm, TEXT)
    row = lab.page.locator("section[aria-label='Most surprising tokens'] tbody tr").first
    assert row.locator("td").nth(1).inner_text() == in_nats(max(nats))
    row.get_by_role("button").press("Enter")
    heading = lab.page.locator(".position h2")
    heading.wait_for()
    assert heading.inner_text().startswith(f"Token {1 + nats.index(max(nats))}:")
    assert percent(math.exp(-max(nats))) in lab.page.locator(".position .figures").inner_text()


def test_a_selection_has_its_share(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(view="measure", text=TEXT)
    field = lab.page.get_by_label("Text to measure")
    field.press("Control+Home")
    for _ in range(8):
        field.press("Shift+ArrowRight")
    nats = surprisals(lm, TEXT)
    own = math.fsum(nats[: len(TEXT[:8].encode()) - 1])
    share = f"{in_nats(own)}, {percent(own / math.fsum(nats))} of the text"
    lab.page.locator(f".share:has-text('{share}')").wait_for()


def test_a_text_too_short_to_measure_is_refused_in_words(browser: Browser, client: Client) -> None:
    page = browser.new_page()
    page.goto(f"{client.url}/lab/#view=measure&text=a")
    page.get_by_role("alert").get_by_text("two are needed").wait_for()
    page.close()


def test_an_answer_of_a_chat_is_pythons(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(view="chat", max_tokens=12, seed=5, temperature=1)
    field = lab.page.get_by_label("Your message")
    field.fill("Hi <b>")
    field.press("Enter")
    lab.page.locator(".turns .assistant .t").nth(11).wait_for()
    lab.page.get_by_role("button", name="Send").and_(lab.page.locator(":enabled")).wait_for()
    written = lm.chat([{"role": "user", "content": "Hi <b>"}], max_tokens=12, seed=5, temperature=1, logprobs=0)
    (completion,) = written.completions
    shown = lab.page.locator(".turns .assistant .t")
    assert shown.evaluate_all("all => all.map(one => Number(one.dataset.token))") == [
        token.token_id for token in completion.tokens
    ]
    lab.page.wait_for_timeout(500)  # the URL follows a moment after the state
    lab.page.reload()
    shown.nth(3).click()
    heading = lab.page.locator(".position .figures")
    heading.wait_for()
    assert f"surprisal {in_nats(-(completion.tokens[3].log_prob or 0.0))}" in heading.inner_text()


def test_one_sees_where_heads_look_and_what_layers_guess(lab: LabPage, lm: nw.LanguageModel) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    lab.page.set_default_timeout(60_000)  # PyTorch is imported
    lab.open(view="inside", text="The river")
    last = lab.page.locator(".inside-result tbody tr").first
    last.wait_for()
    (best,) = lm.next("The river").table(1).rows
    guess = last.locator(".guess").first
    assert guess.inner_text() == str(best.text).replace("<0x", "⟨").replace(">", "⟩")
    assert guess.get_attribute("title") == percent(best.probability)
    lab.page.get_by_role("combobox", name="Head").press("ArrowDown")
    seen = lab.page.locator(".attended span").evaluate_all("all => all.map(one => parseFloat(one.title))")
    assert len(seen) == len("The river")
    assert math.fsum(seen) == pytest.approx(100, abs=0.1)
    assert "head 1 looks most at token" in str(lab.page.locator("canvas").get_attribute("aria-label"))
    lab.page.locator(".tokens .t").nth(2).click()
    lab.page.get_by_text("Of 3 tokens, it looks at").wait_for()
    found = axe.run(lab.page)
    assert found.violations_count == 0, found.generate_report()
