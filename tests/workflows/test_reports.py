"""Workflows from Python: what the verbs print, as values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import nextword as nw
from nextword.inference.backend import Chunk
from nextword.workflows.progress import Progress


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    path = tmp_path / "dialogues.jsonl"
    records = [
        {"dialogue": "A: Shall we go to the river?\nB: Yes.", "summary": "A and B go to the river."},
        {"dialogue": "A: It rains.\nB: It does."},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_rouge_takes_a_loaded_model_and_reports_progress(tiny: Path, dialogues: Path) -> None:
    pytest.importorskip("rouge_score")
    seen: list[Progress] = []
    lm = nw.load(tiny)
    result = nw.rouge(lm, dialogues, setting=["greedy"], skip_bad=True, on_progress=seen.append)
    assert (result.num_bad, len(result.texts), list(result.reports)) == (1, 1, ["greedy"])
    assert [str(progress) for progress in seen] == ["0 of 1 texts, greedy", "1 of 1 texts, greedy"]
    assert str(result).splitlines()[1].startswith("greedy")
    by_name = nw.rouge(str(tiny), dialogues, setting=["greedy"], skip_bad=True)
    assert by_name.to_json() == {**result.to_json(), "model": str(tiny)}


def test_decoding_report_takes_prompts_or_their_file(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("nltk")
    (tmp_path / "prompts.txt").write_text("The river\n\nOnce upon\n")
    lm = nw.load(tiny)
    listed, read = (
        nw.decoding_report(lm, prompts, setting=["greedy", "temperature=2"], samples=2, max_tokens=4)
        for prompts in (["The river", "Once upon"], tmp_path / "prompts.txt")
    )
    assert listed == read
    assert (listed.num_texts, len(str(listed).splitlines())) == (8, 3)


def test_a_decoding_report_measures_what_people_wrote_in_the_same_way(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("nltk")
    lm, prompts = nw.load(tiny), ["The river", "Once upon"]
    (tmp_path / "human.txt").write_text("ran to the sea.\n a time there was.\nA third line.\n")
    asked = {"setting": ["greedy"], "samples": 2, "max_tokens": 6}
    report = nw.decoding_report(lm, prompts, references=tmp_path / "human.txt", **asked)  # type: ignore[arg-type]
    assert report.human is not None
    assert report.num_texts == 4, "references are none of the texts generated"
    written = [" ran to the sea.", " a time there was."]
    nats = []
    for prompt, after in zip(prompts, written, strict=True):
        start, rest = lm.tokenizer.encode_prompt(prompt), lm.tokenizer.encode_continuation(after)[:6]
        rows = lm.engine.backend.step([chunk_of(lm, [*start, *rest])])[0]
        for at, token_id in enumerate(rest, len(start) - 1):
            nats.append(float(np.logaddexp.reduce(rows[at].astype(np.float64)) - rows[at][token_id]))
    assert report.human.perplexity == pytest.approx(math.exp(sum(nats) / len(nats)), rel=1e-4)
    assert report.human.self_bleu is None
    assert str(report).splitlines()[-1].startswith("human")
    with pytest.raises(nw.DataError, match="references: 1 line for 2 prompts: one for each"):
        nw.decoding_report(lm, prompts, references=["only one"], **asked)  # type: ignore[arg-type]
    with pytest.raises(nw.DataError, match="there is no reference"):
        nw.decoding_report(lm, prompts, references=[" "], **asked)  # type: ignore[arg-type]


def chunk_of(lm: nw.LanguageModel, token_ids: list[int]) -> Chunk:
    return Chunk(lm.engine.backend.open_cache(), token_ids, len(token_ids))


def test_options_of_loading_are_refused_with_a_loaded_model(tiny: Path) -> None:
    pytest.importorskip("nltk")
    with pytest.raises(nw.RequestError, match="weights: the model is loaded already"):
        nw.decoding_report(nw.load(tiny), ["a"], weights="f32")


def test_listed_models_can_be_loaded_and_printed(tiny: Path) -> None:
    (model,) = nw.list_models(tiny)
    assert (model.family, model.is_local, model.problem) == ("llama", True, None)
    assert nw.load(model.name).generate("a", max_tokens=1).text is not None
    assert str(nw.list_models(tiny)).splitlines()[1].split()[:2] == [str(tiny), "llama"]


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(nw.RequestError, match=r"paths\[0\] = None: must be a string or a path"):
        nw.list_models(None)  # type: ignore[arg-type]


def test_pull_refuses_unknown_names() -> None:
    with pytest.raises(nw.DownloadError, match="nosuch: no such name"):
        nw.pull("nosuch")


def test_workflows_print_nothing(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nw.list_models(tiny)
    assert capsys.readouterr() == ("", "")


def test_classify_takes_labels_as_a_list_or_a_mapping(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "reviews.tsv").write_text("a fine day\tfine\na bad day\tbad\n")
    (tmp_path / "numbers.tsv").write_text("a fine day\t1\na bad day\t0\n")
    lm = nw.load(tiny)
    named = nw.classify(lm, tmp_path / "reviews.tsv", labels=["fine", "bad"])
    numbered = nw.classify(lm, tmp_path / "numbers.tsv", labels={"fine": "1", "bad": "0"})
    assert named.choices == numbered.choices
    assert named.report is not None
    assert named.report == numbered.report
    assert [text.label for text in numbered.texts] == ["fine", "bad"]


def test_compare_of_a_model_with_itself_finds_no_difference(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The river ran past the mill.")
    lm = nw.load(tiny)
    result = nw.compare(lm, lm, tmp_path / "text.txt")
    assert result.comparison.difference == 0.0
    assert result.comparison.verdict in str(result)
    assert result.models == (str(tiny), str(tiny))


def test_surprise_is_that_of_the_method_and_writes_a_page(tiny: Path, tmp_path: Path) -> None:
    lm, text = nw.load(tiny), "The river ran."
    report = nw.surprise(lm, text, html=tmp_path / "page.html")
    assert report.text == text
    assert report.nats_per_token == lm.surprise(text).nats_per_token
    assert (tmp_path / "page.html").read_text().count("title=") == len(text)


def test_perplexity_of_files_is_that_of_their_texts(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTWORD_CACHE", str(tmp_path / "cache"))
    texts = ["The river ran past the mill.", "On to the sea."]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    lm, files = nw.load(tiny), [tmp_path / "0.txt", tmp_path / "1.txt"]
    expected = lm.perplexity(texts, context=8)
    for model in (lm, tiny):
        result = nw.perplexity(model, files, context=8)
        assert result.report.perplexity == expected.perplexity
        assert [place for place, _ in result.results[0].documents] == [f"{file}:1" for file in files]
        assert len(list(result.results[0].documents)) == 2
        assert f"{expected.perplexity:.4f}" in str(result)
        assert result.to_json()["num_unreadable"] == 0
    assert not any((tmp_path / "cache" / "perplexity").iterdir())


def test_perplexity_without_a_result_is_an_error(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The river.")
    with pytest.raises(nw.RequestError, match="context = 2"):
        nw.perplexity(nw.load(tiny), tmp_path / "text.txt", context=2)


def test_results_show_themselves_in_notebooks(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTWORD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text("The river ran past the mill.")
    (tmp_path / "texts.tsv").write_text("a <fine> day\n")
    lm = nw.load(tiny)
    results = (
        nw.list_models(tiny),
        nw.perplexity(lm, tmp_path / "text.txt"),
        nw.compare(lm, lm, tmp_path / "text.txt"),
        nw.classify(lm, tmp_path / "texts.tsv", labels="good,bad"),
    )
    shown = [result._repr_html_() for result in results]
    assert all("<table" in one for one in shown)
    assert "a &lt;fine&gt; day" in shown[-1]
