"""The view Compare, and the choice of a model: one text as two models read it, with equal tokens and with others."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.api_model import load_bytes_model
from tests.lab.lab_page import LabPage, nats
from tests.lab.test_compare import pair_tokenizer
from tests.serving.client import Client

pytestmark = pytest.mark.browser
TEXT = "abab, dé"
Models = dict[str, nw.LanguageModel]


@pytest.fixture(scope="module")
def lms(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A model, one with the same tokens and other weights, and one with other tokens."""
    folder = tmp_path_factory.mktemp("compare_page")
    load_bytes_model(folder / "pairs", seed=9)
    pair_tokenizer().save(folder / "pairs")
    tuned, first = load_bytes_model(folder / "tuned", seed=8), load_bytes_model(folder / "first")
    return {"first": first, "tuned": tuned, "pairs": nw.load(folder / "pairs")}


@pytest.fixture(scope="module")
def client(lms: Models) -> Iterator[Client]:
    """A client of a lab that serves all of them."""
    first, *others = lms.values()
    service = Service(first)
    for other in others:
        service.serve_beside(other)
    with ServerThread(service, routes=lab_routes()) as server:
        yield Client(server.url)


def surprisals(lm: nw.LanguageModel, text: str) -> list[float]:
    """Return the surprisals of a text's tokens from the second on, in nats."""
    return [-token.log_prob for token in lm.score(text).tokens if token.log_prob is not None]


def test_a_text_is_read_by_two_models(lab: LabPage, lms: Models) -> None:
    page = lab.open(view="compare", prompt=TEXT).page
    assert page.locator("section[aria-label=B] select").first.input_value() == "tuned", "B is the second model"
    page.get_by_role("button", name="Read by both").click()
    a, b = (surprisals(lms[name], TEXT) for name in ("first", "tuned"))
    difference = math.fsum(b) - math.fsum(a)
    words = f"B gives this text {nats(abs(difference))} {'more' if difference > 0 else 'less'} surprisal than A."
    page.locator(f".difference:has-text('{words}')").wait_for()
    spans = page.locator(".difference .t")
    assert spans.count() == len(TEXT.encode())
    spans.nth(3).click()
    page.locator(".pair .head h2:has-text('Token 3:') >> nth=1").wait_for()
    spans.nth(3).hover()
    assert str(spans.nth(3).get_attribute("title")).startswith(f"surprisal {nats(a[2])} in A, {nats(b[2])} in B")


def test_models_with_other_tokens_are_compared_by_stretches(lab: LabPage) -> None:
    page = lab.open(view="compare", prompt=TEXT).page
    page.locator("section[aria-label=B] select").first.select_option("pairs")
    page.get_by_role("button", name="Read by both").click()
    spans = page.locator(".difference .t")
    spans.first.wait_for()
    assert spans.all_inner_texts() == ["ab", "ab", ",", " ", "⟨64 C3⟩", "⟨A9⟩dé"]
    spans.nth(1).click()
    page.locator("section[aria-label=A] .head h2:has-text('Token 2: a')").wait_for()
    page.locator("section[aria-label=B] .head h2:has-text('Token 2: ab')").wait_for()
    page.wait_for_url("**token=**")  # it is written a moment later
    before = page.locator(".difference").inner_text()
    page.reload()
    spans.nth(5).wait_for()
    assert page.locator(".difference").inner_text() == before
    page.locator("section[aria-label=B] .head h2:has-text('Token 2: ab')").wait_for()


def test_each_side_writes_with_its_own_model(lab: LabPage, lms: Models) -> None:
    page = lab.open(view="compare", prompt="ab", seed=3, max_tokens=5).page
    page.locator("section[aria-label=B] select").first.select_option("pairs")
    page.get_by_role("button", name="Write both").click()
    page.locator(".difference:has-text('The texts are the same up to')").wait_for()
    for side, name in (("A", "first"), ("B", "pairs")):
        (completion,) = lms[name].generate("ab", seed=3, max_tokens=5).completions
        shown = page.locator(f"section[aria-label={side}] .t:not(.of-prompt)")
        found = shown.evaluate_all("all => all.map(one => Number(one.dataset.token))")
        assert found == [token.token_id for token in completion.tokens]


def test_the_model_of_the_page_is_chosen(lab: LabPage, lms: Models) -> None:
    page = lab.open(prompt="ab", seed=3, max_tokens=4).page
    lab.write()
    text = lab.token_ids
    choice = page.locator("#model select")
    choice.select_option("tuned")
    page.wait_for_url("**model=tuned**")
    lab.tokens.first.wait_for()
    assert lab.token_ids == text, "the same tokens: the text stays, as the other model reads it"
    lab.choose(3)
    log_prob = lms["tuned"].engine.next_distribution(text[:3]).log_prob(text[3])
    assert f"surprisal {nats(-log_prob)}" in page.locator(".head .figures").inner_text()
    choice.select_option("pairs")
    page.wait_for_url("**model=pairs**")
    page.wait_for_function("() => document.querySelectorAll('.write .tokens .t').length === 0")
    lab.write()
    assert lab.token_ids == [
        *lms["pairs"].tokenizer.encode("ab"),
        *(token.token_id for token in lms["pairs"].generate("ab", seed=3, max_tokens=4).completions[0].tokens),
    ]
    page.go_back()
    lab.tokens.nth(5).wait_for()
    assert (choice.input_value(), lab.token_ids) == ("tuned", text)
