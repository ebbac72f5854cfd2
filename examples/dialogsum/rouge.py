"""ROUGE of a model's summaries of dialogues: python examples/dialogsum/rouge.py MODEL test.jsonl.

MODEL is a name, a folder or an adapter's folder. The file has `dialogue` and `summary` in each line.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

import nextword as nw

ASKED = "Summarise the dialogue in one or two sentences.\n\n{dialogue}"
KINDS = ("rouge1", "rouge2", "rougeL")


def main(name: str, path: str) -> None:
    """Print the mean F-measures, as percentages, and the standard error of ROUGE-L."""
    model, scorer = nw.load(name), RougeScorer(KINDS, use_stemmer=True)
    scores: dict[str, list[float]] = {kind: [] for kind in KINDS}
    words = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        messages = [{"role": "user", "content": ASKED.replace("{dialogue}", record["dialogue"])}]
        summary = model.chat(messages, temperature=0, max_tokens=100).text
        words.append(len(summary.split()))
        for kind, score in scorer.score(record["summary"], summary).items():
            scores[kind].append(100 * score.fmeasure)
    error = statistics.stdev(scores["rougeL"]) / len(words) ** 0.5
    means = "  ".join(f"{kind} {statistics.mean(values):.1f}" for kind, values in scores.items())
    print(f"{means} (standard error {error:.1f})  {len(words)} summaries of {statistics.mean(words):.0f} words")


if __name__ == "__main__":
    main(*sys.argv[1:])
