"""A user's script passes `mypy --strict` and pyright; one of mistakes fails in both, at the lines meant to fail."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nextword.checkpoints.catalogue import CATALOGUE, is_pulled

ROOT = Path(__file__).parents[1]

SCRIPT = '''\
"""Script of a user: load, generate, stream, chat, inspect, measure."""

import nextword as nw

lm = nw.load("smollm2-135m", weights="q8", num_threads=2)
generation = lm.generate("The sun rises in the", temperature=0.7, top_p=0.9, max_tokens=20, seed=7, stop=["."])
text: str = generation.text
for completion in generation.completions:
    reason: str = completion.finish_reason
    numbers: list[float] = [token.log_prob for token in completion.tokens if token.log_prob is not None]
several: list[nw.Generation] = lm.generate_batch(["One", "Two"], max_tokens=5, logit_bias={3: -1.0})
stream = lm.stream("Once upon a time", top_k=50, min_p=0.1)
pieces: list[str] = list(stream)
seed: int = stream.generation.seed
answer: str = lm.chat([{"role": "user", "content": "Hello"}], max_tokens=None, order="vllm").text
distribution = lm.next("The capital of France is").temperature(0.7).top_k(50).top_p(0.9)
token_id: int = distribution.sample(seed=0)
entropy: float = distribution.entropy
rows = [(row.text, row.probability) for row in distribution.table(5).rows]
score: float = lm.score("The sun rises in the east.", alternatives=2).log_prob
report = lm.perplexity(["One text.", "Another text."], convention="sliding", context=64)
interval: nw.Interval | None = report.perplexity_interval
low: float = 0.0 if interval is None else interval.low
figures: tuple[float, float] = (report.perplexity, report.bits_per_byte)
summary = lm.summarize(text, length="short", style="bullets")
is_complete: bool = summary.is_complete
choice = lm.classify("A fine film.", ["good", "bad"], calibration="none")
probability: float = choice.probabilities[choice.label]
try:
    params: nw.SamplingParams = lm.params(temperature=0)
except nw.RequestError as error:
    print(error)
'''

TRAINING = '''\
"""Script of a user who trains, compares and measures files."""

from pathlib import Path

import nextword as nw

lm = nw.load("smollm2-135m")
run: nw.TrainingRun = nw.finetune(lm, "chats.jsonl", output="run", method="lora", rank=4, steps=10, lr=1e-4, context=64)
weights: int = run.plan.num_weights
for step in run.steps():
    figures: tuple[int, float, float] = (step.step, step.loss, step.tokens_per_second)
steps, losses = run.curve("validation_loss")
best: nw.LanguageModel = run.load("best")
tiny = nw.pretrain(["a.txt", Path("b.txt")], output=Path("tiny"), hidden_size=64, tokenizer_kind="characters").load()
comparison: nw.Comparison = lm.compare(best, "A text that neither has seen.", context=128)
difference: float = comparison.difference
interval: nw.Interval | None = comparison.interval
words: list[tuple[str, float]] = [(one.text, one.nats_b - one.nats_a) for one in comparison.differences]
surprise: nw.SurpriseReport = lm.surprise("The cat sat on the mat.")
pieces: list[tuple[str, float | None]] = [(piece.text, piece.nats) for piece in surprise.pieces]
report: nw.FilePerplexity = nw.perplexity(lm, "heldout.txt", convention="llama.cpp", on_progress=print)
folder: Path = nw.export("run/model", output="model.gguf", to="gguf").path
'''

WRONG = """\
import nextword as nw

lm = nw.load("smollm2-135m", weights="q5")  # wrong
lm.generate("Hello", temprature=0.7)  # wrong
lm.generate("Hello", temperature="hot")  # wrong
lm.generate(["a", "b"])  # wrong
lm.generate("Hello", temperature=0.7, top_k=5)
lm.chat("Hello")  # wrong
lm.stream("Hello", order="alphabetical")  # wrong
lm.summarize("Hello", length="tiny")  # wrong
lm.classify("Hello", ["a", "b"], calibrate="none")  # wrong
print(lm.generate("Hello").txt)  # wrong
nw.laod("smollm2-135m")  # wrong
nw.finetune(lm, "chats.jsonl", output="run", method="lroa")  # wrong
nw.finetune(lm, "chats.jsonl", output="run", leraning_rate=1e-4)  # wrong
nw.finetune(lm, "chats.jsonl", output="run").load("first")  # wrong
lm.compare("smollm2-135m", "Hello")  # wrong
number: str = lm.next("Hello").entropy  # wrong
"""


def lines_with_errors(checker: str, script: Path) -> set[int]:
    """The lines of a script that a type checker complains of."""
    commands = {
        "mypy": ["mypy", "--strict", "--config-file=", f"--cache-dir={ROOT / '.mypy_cache' / 'api'}", str(script)],
        "pyright": ["pyright", "--pythonpath", sys.executable, str(script)],
    }
    done = subprocess.run(
        [sys.executable, "-m", *commands[checker]], capture_output=True, text=True, cwd=script.parent, timeout=600
    )
    found = re.findall(rf"{re.escape(script.name)}:(\d+)(?::\d+)?:? (?:- )?error", done.stdout)
    assert done.returncode == bool(found), done.stdout + done.stderr
    return {int(line) for line in found}


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_users_script_passes_and_one_with_mistakes_fails(checker: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: pip install 'nextword[dev]'")
    for name, source in (("right.py", SCRIPT), ("training.py", TRAINING), ("mistaken.py", WRONG)):
        (tmp_path / name).write_text(source)
        expected = {number for number, line in enumerate(source.splitlines(), 1) if line.endswith("# wrong")}
        assert lines_with_errors(checker, tmp_path / name) == expected, name


@pytest.mark.slow
@pytest.mark.model
def test_the_users_script_runs(tmp_path: Path) -> None:
    if not is_pulled(CATALOGUE["smollm2-135m"]):
        pytest.skip("smollm2-135m is not in the cache: nextword pull smollm2-135m")
    (tmp_path / "right.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "-W", "error", "right.py"], check=True, cwd=tmp_path, timeout=300)
