"""Every command and snippet of README.md and docs/ is run on the real model, and shows what really comes out."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import nextword.loading
from nextword import LanguageModel, SamplingParams
from nextword.checkpoints.catalogue import CATALOGUE, is_pulled
from nextword.cli import VERBS
from tests.docs.page import read_steps
from tests.docs.run_page import find_lies

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.fixture(scope="module")
def loaded_once() -> Iterator[None]:
    """The pages load the model some hundred times; once is enough, since no text depends on what came before it."""
    load = nextword.loading.load
    cached = functools.cache(load)

    def load_once(source: str, *, adapters: Mapping[str, str] | None = None, **options: object) -> LanguageModel:
        return load(source, adapters=adapters, **options) if adapters else cached(source, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nextword.loading, "load", load_once)
        yield


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_shows_what_really_comes_out(page: Path, loaded_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    pytest.importorskip("nextword._native", reason="pages show what the C++ core computes, which was not built")
    monkeypatch.chdir(ROOT)
    lies = find_lies(page)
    assert not lies, "\n".join(lies)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get: lower case, punctuation dropped, spaces as hyphens."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_sampling_parameter_is_explained() -> None:
    page = (ROOT / "docs" / "sampling.md").read_text(encoding="utf-8")
    missing = [field.name for field in dataclasses.fields(SamplingParams) if f"`{field.name}`" not in page]
    assert not missing


def test_every_public_name_is_explained() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    missing = [name for name in nextword.__all__ if not re.search(rf"\b{name}\b", page)]
    assert not missing


def test_every_verb_is_shown() -> None:
    commands = [step.source for page in PAGES for step in read_steps(page.read_text(encoding="utf-8"))]
    missing = [verb.name for verb in VERBS if not any(f"nextword {verb.name}" in command for command in commands)]
    assert not missing
