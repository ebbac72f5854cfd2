"""What one writes, sees, changes and branches on the page is what Python computes, to the last shown digit."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import nextword as nw
from nextword.decoding.processors import stages
from nextword.inference.generation import collect
from tests.lab.lab_page import LabPage, fixed, percent
from tests.serving.client import Client

pytestmark = pytest.mark.browser
PROMPT = "The river"
IDS = list(PROMPT.encode())


def settings(draw: random.Random) -> dict[str, Any]:
    """Return random parameters of sampling, of which each is left out half the time."""
    every = {
        "temperature": round(draw.uniform(0.2, 2.0), 2),
        "top_k": draw.randint(2, 120),
        "top_p": round(draw.uniform(0.1, 1.0), 2),
        "min_p": round(draw.uniform(0.0, 0.2), 3),
        "typical_p": round(draw.uniform(0.2, 1.0), 2),
        "epsilon_cutoff": round(draw.uniform(0.0, 0.005), 4),
        "eta_cutoff": round(draw.uniform(0.0, 0.01), 4),
        "top_n_sigma": round(draw.uniform(0.5, 4.0), 1),
    }
    return {name: value for name, value in every.items() if draw.random() < 0.5}


def generated(lm: nw.LanguageModel, prompt: Sequence[int], **params: Any) -> list[int]:
    """Return the prompt and what the model writes after it."""
    request = lm.engine.submit(list(prompt), lm.params(**params))
    lm.engine.run([request])
    return [*prompt, *(token.token_id for token in collect(request, lm.tokenizer).completions[0].tokens)]


@pytest.mark.parametrize("number", range(5))
def test_each_figure_is_pythons(lab: LabPage, lm: nw.LanguageModel, number: int) -> None:
    params = settings(random.Random(number))
    lab.open(prompt=PROMPT, seed=number, max_tokens=6, **params)
    lab.write()
    ids = generated(lm, IDS, seed=number, max_tokens=6, **params)
    assert lab.token_ids == ids
    lab.choose(len(IDS) + 1)
    model = lm.engine.next_distribution(ids[: len(IDS) + 1])
    steps = {"model": model, **dict(stages(model, lm.params(**params)))}
    assert list(lab.steps()) == list(steps)
    for (name, distribution), notes in zip(steps.items(), lab.steps().values(), strict=True):
        assert notes[-1] == f"entropy {fixed(distribution.entropy, 3)}", name
    found = lab.figures()
    assert set(found) >= {token_id for token_id, _ in model.most_probable(25)}
    for token_id, texts in found.items():
        assert texts == expected(token_id, steps)


def expected(token_id: int, steps: Mapping[str, nw.Distribution]) -> list[str]:
    """Return what the row of a token shows."""
    shown: list[str] = []
    for name, distribution in steps.items():
        probability = math.exp(distribution.log_prob(token_id))
        if probability == 0.0:
            return [*shown, f"✕ {name.replace('_', '-')}"]
        shown.append(percent(probability))
    return shown


def test_a_branch_is_the_text_of_that_prefix(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(prompt=PROMPT, seed=3, max_tokens=8, temperature=0.8)
    lab.write()
    first = lab.token_ids
    lab.choose(len(IDS) + 2)
    other = lab.page.locator(".chain .entry:not(.stands)").nth(4)
    prefix = [*first[: len(IDS) + 2], int(other.get_attribute("data-token") or 0)]
    other.click()
    lab.wait_until_written()
    assert lab.token_ids == generated(lm, prefix, seed=3, max_tokens=8, temperature=0.8)
    branches = lab.page.get_by_role("treeitem")
    assert branches.count() == 2
    branches.first.click()
    assert lab.token_ids == first, "nothing is lost"


def test_a_slider_runs_no_step_of_the_model(lab: LabPage, client: Client) -> None:
    lab.open(prompt=PROMPT, seed=1, max_tokens=12)
    lab.write()
    lab.choose(len(IDS) + 1)
    lab.page.wait_for_timeout(300)
    before = steps_of(client)
    assert before > 0
    for value in (0.5, 0.9, 1.3):
        lab.set("temperature", value)
        lab.page.wait_for_selector(f".note:has-text('temperature {value}')")
    slider = lab.page.locator("[data-name=top_k] input[type=range]")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    lab.page.wait_for_selector(".note:has-text('top-k 10')")
    lab.page.wait_for_timeout(300)
    assert steps_of(client) == before


def steps_of(client: Client) -> float:
    """Return how many steps the model has made."""
    lines = client.get("/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("nextword:model_steps_total"))


def test_the_page_says_where_the_seed_would_have_turned(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(prompt=PROMPT, seed=5, max_tokens=12)
    lab.write()
    lab.set("temperature", 0.3)
    lab.page.wait_for_selector(".turn:has-text('would have drawn')")
    other = generated(lm, IDS, seed=5, max_tokens=12, temperature=0.3)
    shared = next(at for at, pair in enumerate(zip(lab.token_ids, other, strict=False)) if pair[0] != pair[1])
    assert f"as token {shared}:" in (lab.page.text_content(".turn") or "")
    lab.page.get_by_role("button", name="Write that").click()
    lab.wait_until_written()
    assert lab.token_ids[: len(other)] == other


def test_a_token_is_found_in_the_whole_vocabulary_and_taken(lab: LabPage, lm: nw.LanguageModel) -> None:
    lab.open(prompt=PROMPT, seed=1, max_tokens=3)
    lab.write()
    lab.choose(len(IDS))
    lab.page.get_by_label("Find tokens").fill("~")
    found = lab.page.locator(f".chain .entry[data-token='{ord('~')}']")
    found.wait_for()
    lab.page.get_by_label("a chosen token is written on from").uncheck()
    found.click()
    lab.page.wait_for_selector(".head h2:has-text('The next token')")
    assert lab.token_ids == [*IDS, ord("~")]


def test_the_drawn_number_is_that_of_the_text(lab: LabPage, client: Client) -> None:
    lab.open(prompt=PROMPT, seed=9, max_tokens=6, top_p=0.9)
    lab.write()
    for index in range(len(IDS), len(IDS) + 6):
        lab.choose(index)
        assert lab.page.locator(".chain .entry.drawn.stands").count() == 1, index
