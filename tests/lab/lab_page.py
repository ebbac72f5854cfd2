"""`LabPage`: the lab in a browser as a person has it: a text is written, a token is chosen, a slider is moved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

_SMALL = 1e-4
_NO_BREAK = "\u00a0"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class LabPage:
    """A page of the lab at `url`, the address of its server."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url

    def open(self, **state: object) -> LabPage:
        """Open the lab with these fields in its URL."""
        self.page.goto(f"{self.url}/lab/#{urlencode(state)}")
        self.page.wait_for_selector(".view")
        return self

    def write(self, prompt: str | None = None) -> None:
        """Write after a prompt, or on at the end, and wait until the text is written and read."""
        if prompt is not None:
            self.page.get_by_label("Prompt", exact=True).fill(prompt)
        self.page.get_by_role("button", name="Write", exact=True).and_(self.page.locator(".main")).click()
        self.wait_until_written()

    def wait_until_written(self) -> None:
        """Wait until nothing is written."""
        self.page.wait_for_selector("button.main:enabled")

    @property
    def tokens(self) -> Locator:
        """The tokens of the text."""
        return self.page.locator(".write .tokens .t")

    @property
    def token_ids(self) -> list[int]:
        """The token ids of the text, those of the prompt first."""
        found: list[int] = self.tokens.evaluate_all("all => all.map(one => Number(one.dataset.token))")
        return found

    def choose(self, index: int) -> None:
        """Click a token and wait for its distribution."""
        self.tokens.nth(index).click()
        self.page.wait_for_selector(f".head h2:has-text('Token {index}:')")

    def set(self, parameter: str, value: object) -> None:
        """Type the value of a parameter."""
        box = self.page.locator(f"[data-name={parameter}] input[type=number]")
        box.fill(str(value))
        box.press("Tab")

    def figures(self) -> dict[int, list[str]]:
        """Return what each row shows by token id: its figures up to the step that removed it, then that step's name."""
        found = self.page.locator(".chain .entry").evaluate_all(
            "rows => rows.map(row => [row.dataset.token, "
            "[...row.querySelectorAll('.figure, .reason')].map(one => one.textContent)])"
        )
        return {int(token_id): texts for token_id, texts in found}

    def steps(self) -> dict[str, list[str]]:
        """Return the notes of each column by the step's name."""
        found = self.page.locator(".chain .step").evaluate_all(
            "steps => steps.map(step => [step.dataset.step, "
            "[...step.querySelectorAll('.note')].map(note => note.textContent)])"
        )
        return dict(found)

    def state(self) -> Mapping[str, Any]:
        """Return the state as the page would save it."""
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="Save", exact=True).click()
        found: Mapping[str, Any] = json.loads(download.value.path().read_text())
        return found


def look(page: Page, pictures: Path, name: str) -> list[str]:
    """Take a picture; return what is wrong: wider than the screen, or barred to readers of screens, as axe finds."""
    page.screenshot(path=pictures / f"{name}.png", full_page=True)
    width = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    found: list[str] = page.evaluate(
        "() => axe.run().then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes[0].html}`))"
    )
    return [f"{name}: {one}" for one in [*found, *(["is wider than its screen"] if width > 0 else [])]]


def percent(probability: float) -> str:
    """Return a probability as the page shows it: JavaScript rounds the exact value of a double half up."""
    value = Decimal(100 * probability)
    if probability >= _SMALL:
        return f"{value.quantize(Decimal('0.01'), ROUND_HALF_UP)}{_NO_BREAK}%"
    digits, power = f"{100 * probability:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPTS)} %".replace(" ", _NO_BREAK)


def nats(value: float) -> str:
    """Return nats as the page shows them."""
    return f"{fixed(value, 3)}{_NO_BREAK}nats"


def fixed(value: float, digits: int) -> str:
    """Return a number as `toFixed` of JavaScript writes it."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
