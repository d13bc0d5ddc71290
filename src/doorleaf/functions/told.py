"""What functions did of late: calls, how they went, and lines that they logged. Nothing is stored for long.

Workers of one server have a folder in common. As long as somebody follows, each writes there what it remembers, in a
file that nobody else may read and that goes with the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path

import bson

from doorleaf.documents import CODEC, Document
from doorleaf.observability import REQUEST_ID

KEPT = 500
LOOK_SECONDS = 1.0
"""How often one who follows is told something, if only that there is nothing."""
WANTED_SECONDS = 5.0
"""How long somebody is taken to follow who was there."""
PATIENCE_SECONDS = 3.0
"""How long the other workers have to tell what has been so far."""
_SHARE_SECONDS = 0.5
_MOST_TEXT = 2000
_WANTED = "functions-wanted"
_LOG = logging.getLogger(__name__)


class Told:
    """The last :data:`KEPT` lines of this process; with ``folder`` also those of the other workers."""

    def __init__(self, clock: Callable[[], float] = time.time, folder: Path | None = None) -> None:
        self._clock = clock
        self._lines: deque[Document] = deque(maxlen=KEPT)
        self._number = 0
        self._folder = folder
        self._name = f"functions-{os.getpid()}-{secrets.token_hex(4)}.bson"

    def line(self, function: str, level: int, text: str) -> None:
        """Remember a line of the log."""
        text = text[:_MOST_TEXT].encode("utf-8", "replace").decode()  # half a pair of surrogates cannot be written
        self._add(function, kind="line", level=logging.getLevelName(level).lower(), text=text)

    def call(self, function: str, outcome: str, seconds: float, caller: str) -> None:
        """Remember a call that is over; ``outcome`` is ``ok``, ``cancelled``, or the code of an error."""
        self._add(function, kind="call", outcome=outcome, seconds=round(seconds, 4), caller=caller)

    def _add(self, function: str, **told: object) -> None:
        self._number += 1
        now = datetime.fromtimestamp(self._clock(), UTC).replace(tzinfo=None)
        line: Document = {"number": self._number, "time": now, "function": function, "request": REQUEST_ID.get()}
        self._lines.append(line | told)

    # --- following ---

    async def follow(self) -> AsyncGenerator[list[Document], None]:
        """Yield the lines that there are, and every second those that have come; numbers grow by one."""
        seen: dict[str, int] = {}
        number = 0
        await self._asked()
        while True:
            lines = await asyncio.to_thread(self._all, seen)
            for line in lines:
                number += 1
                line["number"] = number
            yield lines
            await asyncio.sleep(LOOK_SECONDS)

    async def _asked(self) -> None:
        """Wait until the other workers have written what they remember, or have had the time."""
        if self._folder is None:
            return
        wanted = self._want()
        for _ in range(round(PATIENCE_SECONDS / 0.1)):
            if all(changed >= wanted for changed in map(_changed, self._others())):
                return
            await asyncio.sleep(0.1)

    def _want(self) -> int:
        """Let the other workers know that somebody follows; when, in nanoseconds."""
        assert self._folder is not None  # noqa: S101  # nobody else is told
        path = self._folder / _WANTED
        path.touch()
        return path.stat().st_mtime_ns

    def _others(self) -> list[Path]:
        assert self._folder is not None  # noqa: S101
        return [path for path in self._folder.glob("functions-*.bson") if path.name != self._name and _lives(path)]

    def _all(self, seen: dict[str, int]) -> list[Document]:
        """The lines of all workers after those that were ``seen``, by their time."""
        sources = {self._name: [*self._lines]}
        if self._folder is not None:
            self._want()
            for path in self._others():
                with contextlib.suppress(OSError):  # that worker has just ended
                    sources[path.name] = bson.decode(path.read_bytes(), CODEC)["lines"]
        found: list[Document] = []
        for name, lines in sources.items():
            found += [dict(line) for line in lines if line["number"] > seen.get(name, 0)]
            seen[name] = lines[-1]["number"] if lines else 0
        return sorted(found, key=lambda line: line["time"])

    # --- sharing ---

    async def share(self) -> None:
        """Write down what is remembered as long as somebody follows, until cancelled."""
        if self._folder is None:
            return
        written = -1
        try:
            await asyncio.to_thread(self._write, [])
            while True:
                await asyncio.sleep(_SHARE_SECONDS)
                since = self._followed()
                if since and (written != self._number or since > _changed(self._folder / self._name)):
                    written = self._number
                    try:
                        await asyncio.to_thread(self._write, [*self._lines])
                    except OSError as error:
                        _LOG.warning("what functions do is not told to the other workers: %s", error.strerror)
        finally:
            (self._folder / self._name).unlink(missing_ok=True)

    def _followed(self) -> int:
        """Since when somebody was known to follow, in nanoseconds; 0 when nobody does."""
        assert self._folder is not None  # noqa: S101
        try:
            wanted = (self._folder / _WANTED).stat().st_mtime_ns
        except FileNotFoundError:
            return 0
        return wanted if time.time_ns() - wanted < WANTED_SECONDS * 1e9 else 0

    def _write(self, lines: list[Document]) -> None:
        assert self._folder is not None  # noqa: S101
        beside = self._folder / f"{self._name}.new"
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(bson.encode({"lines": lines}, codec_options=CODEC))
        beside.replace(self._folder / self._name)


def _changed(path: Path) -> int:
    """The time of the last change of a file, in nanoseconds; 0 for one that is gone."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _lives(path: Path) -> bool:
    """Whether the worker whose file this is has not ended: one that is killed leaves it."""
    try:
        os.kill(int(path.name.split("-")[1]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
