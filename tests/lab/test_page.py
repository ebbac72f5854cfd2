"""The page for everyone: hostile and foreign texts, keys alone, readers of screens, all sizes, a server that ends."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import nextword as nw
from nextword.inference.engine import Engine
from nextword.lab.routes import lab_routes
from nextword.serving.limits import Limits
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.lab.lab_page import LabPage
from tests.serving.client import Client
from tests.serving.faults import FaultyBackend

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser
CITY = "The most beautiful city of Europe is"
_HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u202e\u2066",
    "</text>&amp;",
    "${1}",
    "\x00\x1b",
)


def answer_with(page: Page, path: str, body: Mapping[str, Any]) -> None:
    """Let a route answer with this JSON."""

    def fulfil(route: Route) -> None:
        route.fulfill(json=dict(body))

    page.route(f"**{path}", fulfil)


def row(token_id: int, text: str) -> dict[str, Any]:
    """Return a row of a token as /lab/read gives it."""
    return {"token_id": token_id, "text": text, "log_prob": -1.5, "rank": 7, "entropy": 2.0}


def at_one_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a position of /v1/distribution with these tokens, of which the first is drawn and the last stands."""
    figures = {"probabilities": [0.1], "removed_by": None, "cumulated": [0.0, 0.1], "logit": 1.0}
    step = {"name": "model", "num_tokens": 257, "mass": 1.0, "entropy": 2.0}
    draw = {"token_id": 0, "number": 0.05, "interval": [0.0, 0.1]}
    shown = [one | figures for one in rows]
    return {"position": 1, "token": rows[-1], "entropy": 2.0, "steps": [step], "draw": draw, "rows": shown}


def test_hostile_tokens_stay_text(lab: LabPage) -> None:
    rows = [row(index, text) for index, text in enumerate(_HOSTILE)]
    answer_with(lab.page, "/tokenize", {"tokens": list(range(len(rows)))})
    answer_with(lab.page, "/lab/read", {"tokens": rows})
    answer_with(lab.page, "/v1/distribution", {"positions": [at_one_of(rows)]})
    lab.page.route("**/v1/completions", lambda route: route.fulfill(body="data: [DONE]\n\n"))
    lab.open(prompt="x")
    lab.write()
    lab.choose(1)
    shown = lab.tokens.all_text_contents()
    assert shown[:2] == list(_HOSTILE[:2])
    assert shown[2] == "⟨U+202E⟩⟨U+2066⟩", "what would turn the text is named"
    assert lab.page.locator(".view script, .view img").count() == 0
    labels = [
        one or "" for one in lab.page.locator(".chain .entry").evaluate_all("all => all.map(one => one.ariaLabel)")
    ]
    assert labels[0].startswith(_HOSTILE[0])


@pytest.mark.parametrize("text", ["日本語のテキスト", "مرحبا بالعالم", "naïve 👩‍🚀", "a\tb\n\nc"])
def test_a_text_of_bytes_can_be_read(lab: LabPage, text: str) -> None:
    lab.open(prompt=text, max_tokens=1)
    lab.write()
    assert lab.token_ids[: len(text.encode())] == list(text.encode())
    shown = "".join(lab.tokens.all_text_contents())
    assert ("⟨E" in shown) == any(ord(one) > 0x7FF for one in text)
    lab.page.get_by_label("spaces and bytes").uncheck()
    visible = lab.page.locator(".text-box .tokens").inner_text()
    for part in text.replace("\u200d", " ").split():
        assert part in visible


def test_a_long_text_is_shown_whole(lab: LabPage) -> None:
    answer_with(lab.page, "/tokenize", {"tokens": [7] * 2000})
    answer_with(lab.page, "/lab/read", {"tokens": [row(7, f" word{index}") for index in range(2000)]})
    answer_with(lab.page, "/lab/replay", {"first": None, "token": None})
    answer_with(lab.page, "/v1/distribution", {"positions": [at_one_of([row(7, "x")])]})
    lab.page.route("**/v1/completions", lambda route: route.fulfill(body="data: [DONE]\n\n"))
    lab.open(prompt="x")
    lab.write()
    assert lab.tokens.count() == 2000
    lab.tokens.nth(1500).click()
    lab.page.keyboard.press("ArrowRight")
    assert lab.tokens.nth(1501).get_attribute("aria-selected") == "true"
    assert lab.page.locator(".t[aria-selected=true]").count() == 1


def test_keys_alone_suffice(lab: LabPage) -> None:
    lab.open(prompt="The river", seed=1, max_tokens=5)
    keys = lab.page.keyboard
    lab.page.locator("body").press("Tab")
    assert focused(lab.page) == "Skip to the page"
    go_to(lab.page, "Prompt")
    keys.press("Control+Enter")
    lab.wait_until_written()
    first = lab.token_ids
    go_to(lab.page, "The text, token by token")
    keys.press("End")
    keys.press("ArrowLeft")
    keys.press("ArrowUp")
    lab.page.wait_for_selector(".chain")
    keys.press("End")
    lab.page.wait_for_selector(f".head h2:has-text('Token {len(first) - 1}:')")
    keys.press("Enter")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("Enter")
    lab.wait_until_written()
    assert lab.token_ids != first
    assert lab.token_ids[: len(first) - 1] == first[:-1]
    go_to(lab.page, "Branches of the text")
    keys.press("Home")
    assert lab.token_ids == first
    keys.press("d")
    lab.wait_until_written()
    assert lab.token_ids[: len(first)] == first
    assert len(lab.token_ids) == len(first) + 1


def test_keys_alone_move_sliders_search_save_and_compare(lab: LabPage) -> None:
    lab.open(prompt="The river", seed=1, max_tokens=5, at=10)
    page, keys = lab.page, lab.page.keyboard
    go_to(page, "Prompt")
    keys.press("Control+Enter")
    lab.wait_until_written()
    go_to(page, "The text, token by token")
    keys.press("End")
    go_to(page, "temperature")
    keys.press("ArrowLeft")
    page.wait_for_selector(".note:has-text('temperature 0.99')")
    assert focused(page) == "temperature", "the focus stays where the reader is"
    go_to(page, "Find tokens with this text in the whole vocabulary")
    keys.type("~")
    page.wait_for_selector(f".chain .entry[data-token='{ord('~')}']")
    for name in ("SVG", "Save page", "Save"):
        go_to(page, name)
        with page.expect_download():
            keys.press("Enter")
    go_to(page, "Compare")
    keys.press("Enter")
    page.wait_for_selector(".view.compare")
    go_to(page, "Write both")
    keys.press("Enter")
    page.wait_for_selector(".difference:has-text('exts are the same')")
    assert focused(page) == "Write both"


def go_to(page: Page, label: str) -> None:
    """Press Tab until the focus is on something with this name."""
    for _ in range(160):
        if focused(page) == label:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{label} is not reached")


def focused(page: Page) -> str:
    """Return the name of what has the focus."""
    found: str = page.evaluate(
        "() => (one => one.ariaLabel ?? one.labels?.[0]?.textContent ?? one.textContent)(document.activeElement)"
    )
    return found


@pytest.mark.parametrize("colour", ["probability", "rank", "surprisal", "entropy", "gltr"])
def test_each_colouring_shows_pythons_figure(lab: LabPage, lm: nw.LanguageModel, colour: str) -> None:
    """The first colour of ten is for the most expected: rank 1, probability 1, no surprisal, no entropy."""
    lab.open(prompt="The river", seed=1, max_tokens=20, colour=colour)
    lab.write()
    assert lab.page.locator(".legend .step").count() >= 4
    shown = lab.tokens.evaluate_all("all => all.map(one => [...one.classList].find(name => /^[heg][0-9]$/.test(name)))")
    ids = lab.token_ids
    for position in range(1, len(ids)):
        distribution = lm.engine.next_distribution(ids[:position])
        log_prob = distribution.log_prob(ids[position])
        rank = 1 + [one for one, _ in distribution.most_probable(257)].index(ids[position])
        shares = {
            "probability": 1 - math.exp(log_prob),
            "rank": math.log(rank) / math.log(10_000),
            "surprisal": -log_prob / 12,
            "entropy": distribution.entropy / 8,
        }
        if colour == "gltr":
            assert shown[position] == f"g{1 + (rank > 10) + (rank > 100) + (rank > 1000)}"
        else:
            level = 9 * min(max(shares[colour], 0.0), 1.0)
            assert abs(int(shown[position][1]) - level) <= 0.5 + 1e-6


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1400, 3840])
def test_the_page_fits_its_screen(lab: LabPage, tmp_path: Path, theme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = lab.page
    page.set_viewport_size({"width": width, "height": max(700, width * 9 // 16)})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    lab.open(prompt="The river", seed=1, max_tokens=12, temperature=0.8, top_k=40, top_p=0.9)
    lab.write()
    lab.choose(12)
    pictures = Path(os.environ.get("NEXTWORD_SCREENSHOTS", tmp_path))
    pictures.mkdir(exist_ok=True)
    for view in ("Write", "Samples", "Compare"):
        page.locator("#views").get_by_role("button", name=view, exact=True).click()
        page.wait_for_selector(f".view.{view.lower()}")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, f"{view} is wider than its screen"
        page.screenshot(path=pictures / f"{view.lower()}-{width}-{theme}.png", full_page=True)
        found = Axe().run(page).response["violations"] if width != 3840 else []
        assert [(one["id"], one["nodes"][0]["target"]) for one in found] == [], view


def test_a_stream_that_breaks_off_leaves_its_tokens_and_a_way_on(lab: LabPage) -> None:
    chunk = '{"choices":[{"index":0,"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[-1.0]},"token_ids":[97]}]}'
    page = lab.page
    page.route("**/v1/completions", lambda route: route.fulfill(body=f"data: {chunk}\n\n"))
    lab.open(prompt="The river", seed=1, max_tokens=4)
    lab.write()
    page.wait_for_selector("#message:has-text('does not answer')")
    assert lab.token_ids == list(b"The rivera")
    page.unroute("**/v1/completions")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".tokens .t >> nth=10")
    lab.wait_until_written()
    assert page.text_content("#message") == ""


def test_what_cannot_be_written_is_said(lab: LabPage) -> None:
    lab.open(prompt="The river", max_tokens=1000)
    lab.write()
    lab.page.wait_for_selector("#message:has-text('fills the model')")
    seed = lab.page.get_by_label("Seed", exact=True)
    seed.fill("9" * 23)
    lab.page.locator("button.main").click()
    lab.page.wait_for_selector("#message:has-text('Seed: must be a whole number from 0 to 9007199254740991')")
    assert focused(lab.page) == "Seed"
    seed.fill("9007199254740991")
    lab.write("Now")
    lab.page.wait_for_selector("#message:has-text('fills the model')")


def test_the_servers_end_is_told(browser: Browser, lm: nw.LanguageModel) -> None:
    """The pages of the other tests may have no errors on their console; a lost connection is one."""
    slow = nw.LanguageModel(lm.directory, Engine(FaultyBackend(delay=0.05), lm.tokenizer), name="slow")
    page = browser.new_page()
    with ServerThread(Service(slow, limits=Limits(drain=0.01)), routes=lab_routes()) as server:
        lab = LabPage(page, server.url).open(prompt="The river", seed=1, max_tokens=2000)
        page.locator("button.main").click()
        page.wait_for_selector(".tokens .t >> nth=12")
    page.wait_for_selector("#message p")
    assert len(lab.token_ids) > len("The river"), "what was written stays"
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("#message:has-text('does not answer')")
    page.close()


def test_samples_are_the_texts_of_their_seeds(lab: LabPage, client: Client) -> None:
    lab.open(view="samples", prompt="The river", seed=5, max_tokens=6)
    lab.page.get_by_role("button", name="Write all").click()
    lab.wait_until_written()
    for offset in range(4):
        body = {"prompt": "The river", "seed": 5 + offset, "max_tokens": 6, "return_token_ids": True}
        wanted = client.post("/v1/completions", body).json["choices"][0]["token_ids"]
        card = lab.page.get_by_label(f"Text of seed {5 + offset}", exact=True).first
        found = card.locator(".t").evaluate_all("all => all.map(one => Number(one.dataset.token))")
        assert found == wanted
    lab.page.get_by_role("button", name="Take").nth(2).click()
    lab.page.wait_for_selector(".view.write .t >> nth=10")
    assert lab.page.get_by_label("Seed", exact=True).input_value() == "7"


def test_two_settings_are_compared_on_one_prompt(lab: LabPage) -> None:
    lab.open(view="compare", prompt="The river", seed=5, max_tokens=6)
    lab.page.locator(".pair section:nth-child(2) [data-name=temperature] input[type=number]").fill("0.1")
    lab.page.locator(".pair section:nth-child(2) [data-name=temperature] input[type=number]").press("Tab")
    lab.page.get_by_role("button", name="Write both").click()
    lab.page.wait_for_selector(".difference:has-text('The texts are the same up to token')")
    lab.page.get_by_role("button", name="Read by both").click()
    lab.page.wait_for_selector(".difference:has-text('Both give the same probability')")


@pytest.mark.model
def test_the_picture_of_the_readme(browser: Browser, tmp_path: Path) -> None:
    """docs/images/lab.png was taken by this test; the run's own picture lies with the other screenshots."""
    page = browser.new_page(viewport={"width": 1400, "height": 640})
    with ServerThread(Service(nw.load("smollm2-135m")), routes=lab_routes()) as server:
        params = {"temperature": 0.8, "top_k": 40, "top_p": 0.9}
        lab = LabPage(page, server.url).open(prompt=CITY, seed=5, max_tokens=40, **params)
        lab.write()
        lab.choose(11)
        pictures = Path(os.environ.get("NEXTWORD_SCREENSHOTS", tmp_path))
        pictures.mkdir(exist_ok=True)
        page.evaluate("() => scrollTo(0, 0)")
        page.screenshot(path=pictures / "lab.png")
        assert (pictures / "lab.png").stat().st_size < 200_000
    page.close()
