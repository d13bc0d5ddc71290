"""A pool of JavaScript processes with functions given as text, and a server that records what they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from doorleaf.functions.sandbox.pool import Pool
from doorleaf.functions.sandbox.process import Process, prelude, result


class Recorder:
    """Answers every request with ``reply``, and everything that is asked in place with an error."""

    def __init__(self, reply: bytes = b'{"value":null}', later: float | None = 0) -> None:
        self.process: Process | None = None
        self.requests: list[Any] = []
        self.cancelled: list[int] = []
        self.asked: list[Any] = []
        self.lines: list[str] = []
        self._reply, self._later = reply, later

    def request(self, number: int, text: bytes, *, sends: bool = False) -> None:
        self.requests.append(orjson.loads(text))
        process = self.process
        assert process is not None
        if self._later is not None:
            asyncio.get_running_loop().call_later(self._later, process.reply, number, self._reply)

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def ask(self, text: bytes) -> bytes | None:
        self.asked.append(orjson.loads(text))
        return b'{"error":"refused"}'

    def line(self, text: bytes) -> None:
        self.lines.append(orjson.loads(text)["text"])


def setup(functions: Mapping[str, str], apart: tuple[str, ...] = (), **shared: Any) -> bytes:
    """What a process is set up with."""
    known = {"values": {}, "environment": {}, "app": {}, "sources": ["mongodb-atlas"], **shared}
    known["functions"] = {name: {"apart": "other" if name in apart else ""} for name in functions}
    files = {name: {"source": source, "file": f"functions/{name}.js"} for name, source in functions.items()}
    return orjson.dumps({"prelude": prelude(), "functions": files, "shared": known})


def call(name: str, *arguments: Any) -> bytes:
    """The text of a call."""
    parts: tuple[Any, ...] = (name, False, {"id": "u1"}, None, {}, list(arguments))
    return b"\n".join(orjson.dumps(part) for part in parts)


class Sandbox:
    """Functions that can be run."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def run(self, name: str, *arguments: Any, seconds: float = 30.0, server: Recorder | None = None) -> Any:
        """What the function answers, as JSON."""
        return result(await self.pool.call(call(name, *arguments), server or Recorder(), seconds)).get("value")


@asynccontextmanager
async def sandbox(
    functions: Mapping[str, str], most: int = 1, memory_mb: int = 128, **more: Any
) -> AsyncIterator[Sandbox]:
    pool = Pool(setup(functions, **more), most=most, memory_mb=memory_mb)
    try:
        yield Sandbox(pool)
    finally:
        await pool.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that no event tells of."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def run(functions: Mapping[str, str], work: Callable[[Sandbox], Any], **more: Any) -> Any:
    """What ``work`` answers with these functions."""

    async def running() -> Any:
        async with sandbox(functions, **more) as made:
            return await work(made)

    return asyncio.run(running())


def expressions_answer(answers: Sequence[tuple[str, Any]]) -> None:
    """Assert what expressions come to, as JSON."""
    functions = {
        f"f{index}": f"exports = async () => JSON.stringify(await {text})" for index, (text, _) in enumerate(answers)
    }

    async def work(made: Sandbox) -> list[Any]:
        return [orjson.loads(await made.run(name)) for name in functions]

    for (text, expected), answer in zip(answers, run(functions, work), strict=True):
        assert answer == expected, text
