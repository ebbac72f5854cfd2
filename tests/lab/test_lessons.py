"""Each lesson's claim on SmolLM2: the page finds that it holds, and its figures are Python's, digit for digit."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import nextword as nw
from nextword.lab.page_files import PAGE
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from tests.lab.lab_page import fixed, look, percent
from tests.lab.lab_page import nats as in_nats
from tests.serving.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.model]

ITALY = "The capital of Italy is"
FLAT, PEAKED = "My name is", "The Statue of Liberty stands in New"


@pytest.fixture(scope="module")
def lm() -> nw.LanguageModel:
    return nw.load("smollm2-135m")


@pytest.fixture(scope="module")
def client(lm: nw.LanguageModel) -> Iterator[Client]:
    with ServerThread(Service(lm), routes=lab_routes()) as server:
        yield Client(server.url)


def open_lesson(page: Page, client: Client, lesson: str, values: str = "") -> Locator:
    """Open a lesson by its link; returns its claim, once it is judged."""
    page.goto(f"{client.url}/lab/#view=lessons&lesson={lesson}{values}")
    page.wait_for_selector(".claim[data-holds]")
    return page.locator(".claim")


def held(claim: Locator) -> str:
    """Return the figures of a claim that holds, once it is judged: the claim shown before is cleared first."""
    claim.page.locator(".claim[data-holds=true]").wait_for()
    return claim.locator(".figures").inner_text()


def cells(page: Page, row: str) -> list[str]:
    """Return the texts of the cells of one row of the lesson's table."""
    return page.locator(f".positions {row} :is(th, td)").all_inner_texts()


def surprisals(tokens: Iterable[nw.ChosenToken]) -> list[float]:
    """Return the surprisals of tokens, in nats."""
    return [-token.log_prob for token in tokens if token.log_prob is not None]


def probability(lm: nw.LanguageModel, prompt: str, token: str) -> float:
    """Return the probability of a token, given as text, after a prompt."""
    (token_id,) = lm.tokenizer.encode(token, add_special_tokens=False)
    return math.exp(lm.next(prompt).log_prob(token_id))


def test_1_1_the_prompt_alone_decides_on_the_answer(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    figures = held(open_lesson(page, client, "1.1"))
    shown = [("A wonderful film.", "positive"), ("A waste of time.", "negative")]
    examples = "\n\n".join(f"Review: {review}\nThis review is {answer}." for review, answer in shown)
    for review in ("I like Jackie Chan.", "I hate Jackie Chan."):
        prompt = f"{examples}\n\nReview: {review}\nThis review is"
        for answer in ("positive", "negative"):
            assert f"“{answer}” {percent(probability(lm, prompt, f' {answer}'))}" in figures


def test_1_2_greedy_decoding_grows_surer_with_each_round(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    figures = held(open_lesson(page, client, "1.2"))
    written = lm.generate("The dog ran and ran and", temperature=0, max_tokens=96, logprobs=0)
    sentence = " dog ran again.\n\nThe"
    assert written.text.endswith(sentence * 13 + " dog ran again.")
    assert page.locator(".tokens").inner_text().count("dog ran again") == written.text.count("dog ran again")
    tokens = written.completions[0].tokens
    ids, probabilities = [token.token_id for token in tokens], [math.exp(-nats) for nats in surprisals(tokens)]
    period = len(lm.tokenizer.encode(sentence, add_special_tokens=False))
    start = next(at for at in range(96) if ids[at:-period] == ids[at + period :])
    ends = range(start + period, len(ids) + 1, period)
    rounds = [math.fsum(probabilities[end - period : end]) / period for end in ends]
    assert rounds == sorted(rounds)
    assert figures.startswith(f"A loop of {period} tokens, {len(rounds)} rounds")
    assert f"from {percent(rounds[0])} to {percent(rounds[-1])}" in figures


def test_2_1_the_number_falls_on_the_drawn_token(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    for seed in (7, 8):
        figures = held(open_lesson(page, client, "2.1", f"&lesson.seed={seed}"))
        token = lm.generate(ITALY, temperature=1, seed=seed, max_tokens=1).text
        assert f"Seed {seed} draws “{token.replace(' ', '·')}”" in page.locator(".drawn-word").inner_text()
        assert f"its probability is {percent(probability(lm, ITALY, token))}" in figures


def test_2_2_another_token_changes_what_comes_next(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    figures = held(open_lesson(page, client, "2.2"))
    for first, written in zip((" a", " her"), page.locator(".written").all_inner_texts(), strict=True):
        prompt = f"She opened the door and saw{first}"
        (best,) = lm.next(prompt).table(1).rows
        assert f"{str(best.text).replace(' ', '·')} ({percent(best.probability)})" in figures
        assert written == prompt + lm.generate(prompt, temperature=0, max_tokens=16).text


def test_2_3_shares_of_draws_follow_the_probabilities(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    held(open_lesson(page, client, "2.3"))
    drawn: Counter[str] = Counter()
    for seed in range(1, 9):
        drawn.update(one.text for one in lm.generate(ITALY, n=16, seed=seed, max_tokens=1).completions)
    assert drawn.total() == 128
    figure = page.locator(".bars li", has_text="Rome").first.locator(".figure").inner_text()
    assert figure == f"{percent(drawn[' Rome'] / 128)} of {percent(probability(lm, ITALY, ' Rome'))}"


@pytest.mark.parametrize(
    ("lesson", "name", "value"), [("2.3.1", "top_k", 10), ("2.3.1", "top_k", 1), ("2.3.2", "top_p", 0.9)]
)
def test_2_3_truncations_differ_on_a_flat_and_a_peaked_context(
    page: Page, client: Client, lm: nw.LanguageModel, lesson: str, name: str, value: float
) -> None:
    figures = held(open_lesson(page, client, lesson, f"&lesson.{name[-1]}={value}"))
    for prompt in (FLAT, PEAKED):
        steps = lm.next_steps(prompt, **{name: value})  # type: ignore[arg-type]
        model, left = steps["model"], steps[name]
        assert left.kept is not None
        assert percent(math.fsum(math.exp(model.log_prob(int(one))) for one in left.kept)) in figures
        assert f"{len(left):,} token" in figures
    assert ("greedy" in figures) == (value == 1)


def test_2_3_3_temperature_goes_from_greedy_to_the_model(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    figures = held(open_lesson(page, client, "2.3.3", "&lesson.temperature=0.5"))
    coldest = lm.next_steps(ITALY, temperature=0.05)["temperature"].table(1).rows[0].probability
    assert coldest > 0.99
    assert figures.count(percent(probability(lm, ITALY, " Rome"))) == 1
    assert percent(coldest) in figures
    for row in lm.next_steps(ITALY, temperature=0.5)["temperature"].table(3).rows:
        shown = page.locator(f'.bars li[data-label="{str(row.text).replace(" ", "·")}"] .figure')
        assert shown.inner_text() == percent(row.probability)


def test_3_1_the_loss_is_the_mean_under_teacher_forcing(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    figures = held(open_lesson(page, client, "3.1"))
    score = lm.score("The capital of Italy is Rome, and the capital of France is Paris.")
    losses = surprisals(score.tokens)
    shown = page.locator(".positions tbody tr td:last-child").all_inner_texts()
    assert shown == [fixed(loss, 4) for loss in losses]
    loss = math.fsum(losses) / len(losses)
    assert cells(page, "tfoot tr")[-1] == fixed(loss, 4)
    assert figures.count(in_nats(loss)) == 2


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_3_2_lora_has_as_many_weights_as_pefts(page: Page, client: Client) -> None:
    peft, torch, transformers = (pytest.importorskip(name) for name in ("peft", "torch", "transformers"))
    figures = held(open_lesson(page, client, "3.2", "&lesson.rank=16"))
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=16, target_modules="all-linear"))
    trained, total = adapted.get_nb_trainable_parameters()
    assert f"trains {trained:,} of {total - trained:,} weights: {percent(trained / (total - trained))}" in figures


def test_4_1_perplexity_is_the_root_of_the_product(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    text = "The capital of France is Paris."
    figures = held(open_lesson(page, client, "4.1"))
    probabilities = [math.exp(-nats) for nats in surprisals(lm.score(text).tokens)]
    root = math.prod(1 / p for p in probabilities) ** (1 / len(probabilities))
    assert root == pytest.approx(lm.perplexity(text).perplexity, rel=1e-6)
    assert figures.count(fixed(root, 4)) == 2
    assert cells(page, "tbody tr:last-child")[-1] == fixed(root, 3)


def test_a_link_opens_a_lesson_in_a_state_and_the_state_is_kept(page: Page, client: Client) -> None:
    open_lesson(page, client, "2.3.1", "&lesson.k=3&lesson.flat=I+think+that")
    slider = page.get_by_role("slider", name="k")
    assert slider.input_value() == "3"
    slider.press("ArrowRight")
    page.locator(".summary", has_text="4 tokens").first.wait_for()
    page.wait_for_url(re.compile(r"lesson\.k=4"))
    page.reload()
    page.locator(".summary", has_text="4 tokens").first.wait_for()
    assert page.get_by_role("textbox", name="A flat context").input_value() == "I think that"


def test_keys_alone_lead_through_the_lessons(page: Page, client: Client) -> None:
    open_lesson(page, client, "1.1")
    page.locator(".lesson-list button").nth(5).press("Enter")
    page.locator("h2", has_text="Top-k").wait_for()
    assert page.evaluate("() => document.activeElement.tagName") == "H2"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("h2", has_text="Random sampling").wait_for()
    page.go_back()
    page.locator("h2", has_text="Top-k").wait_for()


def test_a_summary_is_pythons_beside_its_prompt(page: Page, client: Client, lm: nw.LanguageModel) -> None:
    text = "The library will close for six weeks. Its roof is to be replaced."
    page.goto(f"{client.url}/lab/#view=summarize&text={text}")
    page.get_by_role("button", name="Summarise").and_(page.locator(".main")).click()
    panel = page.locator("section[aria-label=Summary]")
    panel.locator(".t").first.wait_for()
    assert panel.locator(".tokens").inner_text() == lm.summarize(text, length="short").text
    panel.get_by_text("The prompt that asks for it").click()
    assert text in panel.locator(".prompt").inner_text()
    panel.locator(".t").nth(2).click()
    panel.locator(".position h2").wait_for()


def test_pages_fit_all_widths_and_readers(page: Page, client: Client) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    kept = os.environ.get("NEXTWORD_SCREENSHOTS")
    states = {
        **{
            f"lesson {lesson}": (f"lessons&lesson={lesson}", ".claim[data-holds]")
            for lesson in ("1.2", "2.1", "2.3.1", "3.1")
        },
        "training": ("lessons&lesson=3.1-live", ".claim[data-holds]"),
        "measure": ("measure", ".measured tbody tr"),
        "chat": ("chat", ".turns"),
        "summarize": ("summarize", ".row button.main"),
    }
    for index, (name, (state, ready)) in enumerate(states.items()):
        page.emulate_media(color_scheme="dark" if index % 2 else "light")
        page.set_viewport_size({"width": 1400, "height": 900})
        page.goto(f"{client.url}/lab/?{name}#view={state}")
        page.wait_for_selector(ready, state="attached")
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        for width in (320, 3840, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (name, width)
            if kept is not None:
                page.screenshot(path=Path(kept) / f"{name} {width}.png", full_page=True)


@pytest.mark.parametrize(("width", "theme"), [(320, "dark"), (3840, "light")])
def test_every_lesson_is_open_to_all(page: Page, client: Client, tmp_path: Path, width: int, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.set_viewport_size({"width": width, "height": max(700, width * 9 // 16)})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    pictures = Path(os.environ.get("NEXTWORD_SCREENSHOTS", tmp_path))
    pictures.mkdir(exist_ok=True)
    open_lesson(page, client, "1.1")
    axe.run(page)
    faults: list[str] = []
    for path in sorted(PAGE.glob("lesson_*.js")):
        for lesson in re.findall(r'\n  id: "(.+?)"', path.read_text()):
            page.evaluate("lesson => { location.hash = `view=lessons&lesson=${lesson}`; }", lesson)
            page.locator(f".lesson[data-lesson='{lesson}'] .claim[data-holds]").wait_for()
            faults += look(page, pictures, f"lesson-{lesson}-{width}-{theme}")
    assert faults == []
