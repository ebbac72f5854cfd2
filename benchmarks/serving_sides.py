"""Sides of `serving`: our server and llama.cpp's, each in a process of its own, and our engine without a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving_load import Body, numbered
from nextword.inference.generation import collect
from nextword.language_model import LanguageModel

OURS, PEER, IN_PROCESS = "nextword serve", "llama.cpp's server", "in process"
SLOTS = 16
POSITIONS = 2304
"""Positions of a slot of the peer: ours share what memory there is."""
SAMPLING: Mapping[str, Any] = {"temperature": 1.0, "top_k": 40, "top_p": 0.95}
_TEXT = Path(__file__).parents[1] / "examples" / "article.txt"


class ServerProcess:
    """A server that is there until `close`."""

    def __init__(self, side: str, model: Path, threads: int, *options: str) -> None:
        """`options`: of `nextword serve`."""
        ours = [str(Path(sys.executable).parent / "nextword"), "serve", str(model), "--threads", str(threads)]
        peer = [sys.executable, "-m", "benchmarks.peers.xllamacpp_server", str(model), str(threads), str(SLOTS)]
        command = [*ours, "--port", "0", *options] if side == OURS else [*peer, str(POSITIONS)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 -- as long as the process
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self._log, stderr=subprocess.STDOUT)
        while (found := re.search(rb"http://127\.0\.0\.1:(\d+)", self._said())) is None:
            if self._process.poll() is not None:
                raise RuntimeError(f"{side} does not start: {self._said().decode()[-500:]}")
            time.sleep(0.05)
        self.port = int(found.group(1))

    @property
    def resident_bytes(self) -> int:
        """Memory of the process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _said(self) -> bytes:
        return os.pread(self._log.fileno(), 100_000, 0)


def forget_pages(path: Path) -> None:
    """Let the system drop a file's pages from memory, so that it is read from the disk again."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def in_process(lm: LanguageModel, bodies: Sequence[Body], num_streams: int) -> tuple[float, int]:
    """Do what `generate` (one stream) or `generate_batch` does for these requests; return seconds and tokens."""
    begin = time.perf_counter()
    groups = [[body] for body in bodies] if num_streams == 1 else [bodies]
    generations = [generation for group in groups for generation in _generate(lm, group)]
    seconds = time.perf_counter() - begin
    return seconds, sum(len(one.tokens) for generation in generations for one in generation.completions)


def _generate(lm: LanguageModel, bodies: Sequence[Body]) -> Iterator[Any]:
    """Yield the generations of some prompts together, none of which ends before `max_tokens`."""
    requests = []
    for body in bodies:
        named = {name: body[name] for name in ("max_tokens", "seed", *SAMPLING)}
        prompt = lm.tokenizer.encode_prompt(body["prompt"])
        requests.append(lm.engine.submit(prompt, lm.params(**named), end_token_ids=()))
    lm.engine.run(requests)
    yield from (collect(request, lm.tokenizer) for request in requests)


def bodies_of(lm: LanguageModel, num_prompt_tokens: int, num_new_tokens: int) -> Iterator[Body]:
    """Yield requests without end, each with a prompt and a seed of its own, so that no cache knows how it begins."""
    token_ids = lm.tokenizer.encode(_TEXT.read_text())
    token_ids *= 1 + num_prompt_tokens // len(token_ids)
    fixed = {**SAMPLING, "max_tokens": num_new_tokens, "ignore_eos": True, "stream": True}
    prompts = (
        f"{number} {lm.tokenizer.decode(token_ids[number % 97 : number % 97 + num_prompt_tokens - 4])}"
        for number in range(sys.maxsize)
    )
    asked = ({**fixed, "stream_options": {"include_usage": True}, "prompt": prompt} for prompt in prompts)
    return numbered(asked)
