"""`Training`: a tiny model that trains in the page's view, in a process of its own.

One run at a time. Its files lie in a temporary folder, which goes with the next run or with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal

from nextword.atomic_file import write_atomically
from nextword.extras import has_torch
from nextword.lab.training_files import folder_prefix, remove_orphans
from nextword.lab.training_process import STOP, TEXT
from nextword.serving.errors import ApiError

State = Literal["none", "running", "stopped", "finished", "failed"]
DEFAULT_TEXT = Path(__file__).parent / "shakespeare.txt"
"""Plays of Shakespeare, a quarter of a megabyte."""
_STOP_SECONDS = 60.0
"""Time for a step and a checkpoint, after which the process is killed."""
_LONGEST_LINE = 1 << 20
_POLL_SECONDS = 1.0


class Training:
    """The run that the server has, if any. Lives on the event loop."""

    def __init__(self) -> None:
        self.state: State = "none"
        self._events: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._settings: dict[str, Any] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        """Held while a process is started or ended: whoever comes meanwhile finds the state that this leads to."""

    async def start(self, text: str, settings: Mapping[str, Any]) -> None:
        """Begin a run, in the place of an older one. Raises ApiError while one runs, or without PyTorch."""
        async with self._turn:
            self._require("running", is_wanted=False)
            if not has_torch():
                raise ApiError("training needs PyTorch: pip install 'nextword[train]'")
            await self._wait_for_process()
            self._forget()
            remove_orphans()
            self._folder = tempfile.TemporaryDirectory(prefix=folder_prefix(os.getpid()), ignore_cleanup_errors=True)
            self._settings = {**settings, "folder": self._folder.name}
            with write_atomically(Path(self._folder.name) / TEXT) as out:
                out.write(text.encode())
            await self._run()

    async def stop(self) -> None:
        """End the run after its current step, so that it can go on. Raises ApiError if none runs."""
        async with self._turn:
            self._require("running", is_wanted=True)
            await self._end()

    async def go_on(self) -> None:
        """Go on with a stopped run: the same weights, optimizer and order of the data. Raises ApiError for no such."""
        async with self._turn:
            self._require("stopped", is_wanted=True)
            await self._wait_for_process()
            await self._run()

    async def close(self) -> None:
        """End what runs, and remove its files."""
        async with self._turn:
            if self.state == "running":
                await self._end()
            await self._wait_for_process()
            self._forget()

    async def events(self) -> AsyncIterator[dict[str, Any] | None]:
        """Yield the events of the run so far, and those to come until it ends; None after a second of silence."""
        told = 0
        while True:
            self._news.clear()
            events = self._events
            while told < len(events):
                told += 1
                yield events[told - 1]
            if events is not self._events or (events and events[-1]["kind"] == "end") or self.state == "none":
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._news.wait()
                continue
            yield None

    def _require(self, state: State, *, is_wanted: bool) -> None:
        if (self.state == state) != is_wanted:
            words = f"the training is {self.state}" if self.state != "none" else "nothing has been trained yet"
            raise ApiError(f"{words}: it must{'' if is_wanted else ' not'} be {state} for this", status=409)

    async def _run(self) -> None:
        """Start the process, which resumes what it finds in the folder, once the one before has ended."""
        self.state = "running"
        if self._events:
            self._events.pop()  # the end
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "nextword.lab.training_process"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
                env={**os.environ, "TMPDIR": self._settings["folder"]},  # PyTorch leaves files there
                start_new_session=True,  # Ctrl-C is for the server, which ends it
            )
        except OSError as error:
            self._add({"kind": "end", "state": "failed", "message": f"no process can be started: {error.strerror}"})
            return
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._settings).encode() + b"\n")
        self._reading = asyncio.create_task(self._read(self._process))

    async def _end(self) -> None:
        """Tell the process to end, and wait until it has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.write(STOP)
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.shield(self._reading)
        except TimeoutError:
            self._process.kill()
            await self._reading

    async def _wait_for_process(self) -> None:
        """Wait until a process that has told its end has ended, too."""
        if self._reading is not None:
            await self._reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Take the process's events until it has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        async for line in process.stdout:
            self._add(json.loads(line))
        lines = (await complaints).decode(errors="replace").splitlines()
        await process.wait()
        process.stdin.close()
        with contextlib.suppress(OSError):
            await process.stdin.wait_closed()
        if not self._events or self._events[-1]["kind"] != "end":
            reason = lines[-1] if lines else f"exit code {process.returncode}"
            self._add({"kind": "end", "state": "failed", "message": f"the training has failed: {reason}"})
        if self.state != "stopped":
            self._remove_files()

    def _add(self, event: dict[str, Any]) -> None:
        if event["kind"] == "begin":  # also of a run that was stopped before its first checkpoint
            self._events = []
        self._events.append(event)
        if event["kind"] == "end":
            self.state = event["state"]
        self._news.set()

    def _forget(self) -> None:
        self._events, self.state = [], "none"
        self._news.set()
        self._remove_files()

    def _remove_files(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
