"""A tiny model trains in view: its loss falls, it stops and goes on, and another page sees the same run."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest

from tests.serving.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_loss_falls_in_view_and_the_run_stops_and_goes_on(page: Page, client: Client) -> None:
    pytest.importorskip("torch")
    page.set_default_timeout(120_000)
    page.goto(f"{client.url}/lab/#view=lessons&lesson=3.1-live")
    claim = page.locator(".claim")
    page.get_by_role("button", name="Start").click()
    page.locator(".claim[data-holds=true]").wait_for()
    first, last = (float(number) for number in re.findall(r"(\d\.\d{3})", claim.locator(".figures").inner_text()))
    assert last < first < math.log(67) + 0.5
    page.locator(".training-texts pre").first.wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator(".progress:has-text('The training is stopped')").wait_for()
    stopped = steps(page)
    page.get_by_role("button", name="Go on").click()
    page.locator(".progress").filter(has_text=re.compile(rf"Step (?!{stopped}:)\d+: loss")).wait_for()
    page.reload()
    page.locator(".progress").filter(has_text=re.compile(r"Step \d+: loss")).wait_for()
    assert steps(page) >= stopped
    page.get_by_role("button", name="Stop").click()
    page.locator(".progress:has-text('The training is stopped')").wait_for()


def steps(page: Page) -> int:
    """Return the number of the last step that the page shows."""
    found = re.search(r"Step (\d+)", page.locator(".progress").inner_text())
    assert found is not None
    return int(found[1])
