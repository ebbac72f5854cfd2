"""The lab of a model of bytes with random weights, a client of it, and pages of a browser that look at it."""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.lab.lab_page import LabPage
from tests.serving.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
WAIT = 30_000
"""Milliseconds after which what a page should show is missing."""


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> nw.LanguageModel:
    """The model that is looked at; it may be used in process at the same time."""
    return load_bytes_model(tmp_path_factory.mktemp("lab") / "tiny")


@pytest.fixture(scope="session")
def client(lm: nw.LanguageModel) -> Iterator[Client]:
    """A client of the running lab."""
    with ServerThread(Service(lm), routes=lab_routes()) as server:
        yield Client(server.url)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window; skips the tests where it is not installed.

    It ends with this folder's tests: while Playwright runs, its event loop is that of the main thread.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    started = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
    yield started
    started.close()
    playwright.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its pipes to the garbage collector
        del playwright, started
        gc.collect()


@pytest.fixture
def context(browser: Browser, client: Client) -> Iterator[BrowserContext]:
    """A browser without a past; fails on errors in its pages, and on requests for anything but the lab's server."""
    made = browser.new_context(
        viewport={"width": 1400, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
    )
    made.set_default_timeout(WAIT)
    faults: list[str] = []
    made.on("console", lambda one: faults.append(one.text) if one.type in ("error", "warning") else None)
    made.on("weberror", lambda one: faults.append(str(one.error)))
    own = (f"{client.url}/", "blob:", "data:")
    made.on("request", lambda one: None if one.url.startswith(own) else faults.append(one.url))
    yield made
    made.close()
    assert faults == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page; `page.goto(client.url + "/lab/")` opens the lab."""
    return context.new_page()


@pytest.fixture
def lab(page: Page, client: Client) -> LabPage:
    """The lab in that page, not opened yet."""
    return LabPage(page, client.url)
