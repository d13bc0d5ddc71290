"""One JavaScript process: its start, its messages, and its end.

A message is a length (4 bytes), a kind (1 byte) and a number (4 bytes), little-endian, and then UTF-8 text. The process
is trusted with nothing: what it sends is bounded, and a message that has no meaning ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
import tempfile
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import orjson

from doorleaf.errors import DoorleafError, FunctionFailed, FunctionsUnavailable, FunctionTimeout

MAX_MESSAGE = 24 * 1024 * 1024
"""Most bytes of one message: a document of 16 MiB in Extended JSON, more or less."""
MAX_RESULT = 16 * 1024 * 1024
"""Most bytes of what a function answers."""
MOST_WAITING = 1000
"""Things that a function may wait for at once."""
MOST_SLEEPS = 20_000
"""How often timers of one call may go off: each wakes the server."""
START_SECONDS = 20.0
ENDING_SECONDS = 1.0
"""How long a process that has closed its connection may take to end by itself."""
OVERHEAD_BYTES = 704 * 1024 * 1024
"""What a process may reserve beside its heap, of which V8 takes 560 MiB at its start and hardly touches any."""

_GONE = "the JavaScript process of the function has ended"
_UNFIT = 78
"""How a process ends whose Deno has not what ``host.js`` needs."""
_HEAD = struct.Struct("<IBI")
_FOLDER = Path(__file__).parent
_PARTS = (
    *("bson.js", "web.js", "node.js", "keys.js", "ciphers.js", "stream.js", "plain.js", "library.js"),
    *("events.js", "requests.js", "outgoing.js", "context.js"),
)


class Kind(IntEnum):
    """The kinds of messages: below 10 to the process, from 10 on from it."""

    SETUP = 1
    CALL = 2
    REPLY = 3
    CHECK = 4
    WOKEN = 5
    RESULT = 20  # not 10, as ``host.js`` says
    FAILED = 11
    REQUEST = 12
    SEND = 13
    LINE = 14
    ASK = 15
    CHECKED = 16
    SLEEP = 17
    FORGET = 18
    CANCEL = 19


_ANSWERS = frozenset({Kind.RESULT, Kind.FAILED})
_LATE = _ANSWERS | {Kind.LINE, Kind.REQUEST, Kind.SEND, Kind.SLEEP, Kind.FORGET, Kind.CANCEL}
"""What may come of a call that is over."""


class Server(Protocol):
    """The things that a call may ask for. Nothing here raises: a failure is an answer."""

    def request(self, number: int, text: bytes, *, sends: bool = False) -> None:
        """Begin to answer; the answer goes to :meth:`Process.reply`. What is to be sent elsewhere may be cancelled."""

    def cancel(self, number: int) -> None:
        """End the request ``number``, if it is one that sends and goes on; it is answered all the same."""

    def ask(self, text: bytes) -> bytes | None:
        """The answer to something that the function waits for in place; None if it goes to :meth:`Process.answer`."""

    def line(self, text: bytes) -> None:
        """Something for the log."""


@cache
def deno() -> str:
    """Where Deno is. Raises FunctionsUnavailable where it is not installed."""
    try:
        import deno as package
    except ImportError:
        raise FunctionsUnavailable("JavaScript functions need Deno: install doorleaf[functions]") from None
    return str(package.find_deno_bin())


@cache
def prelude() -> str:
    """The program that every call's global scope begins with."""
    parts = [(_FOLDER / name).read_text(encoding="utf-8") for name in _PARTS]
    return '(function (door) { "use strict";\n' + "\n".join(parts) + "\n})"


def command(memory_mb: int) -> list[str]:
    """How a process is started."""
    # The last two keep a process small: each call leaves a scope behind, and what collects in idle time has no turn.
    flags = f"--max-old-space-size={memory_mb},--disallow-code-generation-from-strings"
    flags += ",--no-incremental-marking,--max-semi-space-size=6"
    bound = memory_mb * 1024 * 1024 * 3 // 2 + OVERHEAD_BYTES
    launch = [sys.executable, "-I", "-S", str(_FOLDER / "launch.py"), str(bound), str(os.getpid())]
    options = ["--quiet", "--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", "--cached-only"]
    return [*launch, deno(), "run", *options, "--no-code-cache", f"--v8-flags={flags}", str(_FOLDER / "host.js")]


class _Messages(asyncio.Protocol):
    """The connection to a process."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def data_received(self, data: bytes) -> None:
        self._process.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._process.lost(exc)


class Process(asyncio.SubprocessProtocol):
    """A process that runs one call at a time. ``alive`` is false once it has ended or must not be used again, and
    ``begun`` where its last call has certainly not begun, too."""

    def __init__(self, setup: bytes, memory_mb: int) -> None:
        self._setup = setup
        self._memory_mb = memory_mb
        self._transport: Any = None
        self._stream: Any = None
        self._buffer = bytearray()
        self._said = b""
        self._why = _GONE
        self._server: Server | None = None
        self._waiting = self._sleeps = 0
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._killing: asyncio.TimerHandle | None = None
        self._done: asyncio.Future[bytes] | None = None
        self.number = 0
        """The number of its last call, which its answer has."""
        self._ended = asyncio.get_running_loop().create_future()
        self._has_exited = self._is_lost = self._heard = False
        self.alive = True
        self.begun = False

    # --- life ---

    async def start(self) -> None:
        """Start the process. Raises FunctionsUnavailable without Deno, or when it cannot be started."""
        environment = {"DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1", "DENO_DIR": os.devnull}
        loop = asyncio.get_running_loop()
        # One pair of sockets, not two pipes: when the process ends, Linux tells whether it has read all that was sent.
        ours, theirs = socket.socketpair()
        try:
            self._transport, _ = await loop.subprocess_exec(
                lambda: self,
                *command(self._memory_mb),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env=environment,
                cwd=tempfile.gettempdir(),
                close_fds=True,
            )
            ours.setblocking(False)
            self._stream, _ = await loop.create_unix_connection(lambda: _Messages(self), sock=ours)
        except OSError as error:
            self.alive = False
            ours.close()
            raise FunctionsUnavailable("no JavaScript process can be started") from error
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        if self._setup:
            self.send(Kind.SETUP, 0, self._setup)

    @property
    def pid(self) -> int:
        return int(self._transport.get_pid())

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        self.alive = False
        if self._transport is not None:
            self._kill()
            self._transport.close()
        if self._stream is not None:
            self._stream.abort()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._transport.kill()

    async def stop(self) -> None:
        """Kill the process and wait for its end."""
        self.kill()
        if self._transport is not None:
            await self._ended

    # --- calls ---

    async def call(self, text: bytes, server: Server, seconds: float) -> bytes:
        """Call the function and return its answer as JSON, within ``seconds``; then nothing of the call is left to run.

        Raises FunctionFailed with what the function threw, FunctionTimeout, and FunctionsUnavailable when the process
        was ended from outside.
        """
        self.begun = False
        if not self.alive:
            raise FunctionsUnavailable(self._why)
        loop = asyncio.get_running_loop()
        self._server, self._waiting, self._sleeps = server, 0, 0
        self.number = (self.number + 1) & 0xFFFFFFFF
        self._done = loop.create_future()
        limit = loop.call_later(seconds, self._too_long, self._done)
        self.begun, self._heard = True, False
        try:
            self.send(Kind.CALL, self.number, text)
            return await self._done
        finally:
            limit.cancel()
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
            if self._done.cancelled() or not self._done.done():
                self.kill()  # nobody waits for it any more
            self._server = None

    async def check(self, functions: bytes) -> dict[str, str]:
        """Which of ``functions`` (by name, ``{source, file}``) cannot be compiled, and why. FunctionsUnavailable when
        the process ends, or takes too long."""
        self._done = asyncio.get_running_loop().create_future()
        self.send(Kind.CHECK, 0, functions)
        try:
            async with asyncio.timeout(START_SECONDS):
                found: dict[str, str] = orjson.loads(await self._done)
        except TimeoutError:
            raise FunctionsUnavailable("the functions could not be compiled in time") from None
        return found

    def reply(self, number: int, text: bytes) -> None:
        """Answer a request of the call; nothing once that is over."""
        if self._server is not None:
            self._waiting -= 1
            self.send(Kind.REPLY, number, text)

    def answer(self, text: bytes) -> None:
        """Answer what the function waits for in place; nothing once the call is over."""
        if self._server is not None:
            self.send(Kind.REPLY, 0, text)

    def _may_sleep(self, number: int, text: bytes) -> bool:
        taken = number in self._timers or len(self._timers) >= MOST_WAITING
        return not taken and text.isdigit() and len(text) <= 10

    def _sleep(self, number: int, seconds: float) -> None:
        self._sleeps += 1
        if self._sleeps > MOST_SLEEPS:
            self.end(FunctionFailed(f"the timers of a function go off at most {MOST_SLEEPS} times"))
        else:
            self._timers[number] = asyncio.get_running_loop().call_later(seconds, self._wake, number)

    def _wake(self, number: int) -> None:
        self._timers.pop(number, None)
        self.send(Kind.WOKEN, number, b"")

    def send(self, kind: Kind, number: int, text: bytes) -> None:
        if self.alive and self._stream is not None:
            # One that has just ended has a closed connection: process_exited tells whoever waits.
            with contextlib.suppress(RuntimeError):
                self._stream.write(_HEAD.pack(len(text), kind, number) + text)

    # --- messages ---

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._said = (self._said + data)[-4000:]

    def received(self, data: bytes) -> None:
        """Take what the process sends, in whatever pieces."""
        self._heard = True
        buffer = self._buffer
        buffer += data
        position, size = 0, len(buffer)
        while self.alive and size - position >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(buffer, position)
            if length > MAX_MESSAGE or (kind == Kind.RESULT and length > MAX_RESULT):
                self.end(FunctionFailed(f"the function sent more than {MAX_RESULT // 1024 // 1024} MiB at once"))
                break
            end = position + _HEAD.size + length
            if size < end:
                break
            self._take(kind, number, bytes(memoryview(buffer)[position + _HEAD.size : end]))
            position = end
        if position:
            del buffer[:position]

    def _take(self, kind: int, number: int, text: bytes) -> None:
        server, done = self._server, self._done
        if done is None or done.done() or (kind in _ANSWERS and number != self.number):
            if kind not in _LATE:
                self.end(FunctionFailed("the process said something that nobody asked for"))
        elif kind == Kind.RESULT or kind == Kind.CHECKED:
            done.set_result(text)
        elif kind == Kind.FAILED:
            done.set_exception(failure(text))
        elif server is None:
            self.end(FunctionFailed("the process said something that nobody asked for"))
        elif kind == Kind.REQUEST or kind == Kind.SEND:
            self._waiting += 1
            if self._waiting > MOST_WAITING:
                self.end(FunctionFailed(f"the function waits for more than {MOST_WAITING} things at once"))
            else:
                server.request(number, text, sends=kind == Kind.SEND)
        elif kind == Kind.ASK:
            answer = server.ask(text)
            if answer is not None:
                self.answer(answer)
        elif kind == Kind.SLEEP and self._may_sleep(number, text):
            self._sleep(number, int(text) / 1000)
        elif kind == Kind.FORGET:
            if (timer := self._timers.pop(number, None)) is not None:
                timer.cancel()
        elif kind == Kind.CANCEL:
            server.cancel(number)
        elif kind == Kind.LINE:
            server.line(text)
        else:
            self.end(FunctionFailed("the process said something that has no meaning"))

    def _too_long(self, done: asyncio.Future[bytes]) -> None:
        if not done.done():
            self.end(FunctionTimeout("the function took longer than it may"))

    def end(self, error: DoorleafError) -> None:
        """End the call with ``error``, and the process with it."""
        self._fail(error)
        self.kill()

    def _fail(self, error: DoorleafError) -> None:
        done = self._done
        if done is not None and not done.done():
            done.set_exception(error)
            done.exception()  # whether anybody waits for it or not

    def lost(self, error: Exception | None) -> None:
        """Note the end of the connection, with an error where the process has not read all that was sent."""
        self._is_lost = True
        if error is not None and not self._heard:
            self.begun = False
        self.alive = False
        if self._has_exited:
            self._gone()
        else:
            # What it said at its end is still to be read. It nearly always ends by itself, and asyncio may lose how one
            # ended that it kills at that moment.
            self._killing = asyncio.get_running_loop().call_later(ENDING_SECONDS, self._kill)

    def process_exited(self) -> None:
        self._has_exited, self.alive = True, False
        if self._killing is not None:
            self._killing.cancel()
        if self._transport.get_returncode() == _UNFIT:
            self._why = f"JavaScript functions cannot run in Deno {version('deno')}: install doorleaf[functions]"
        if self._is_lost or self._stream is None:
            self._gone()

    def _gone(self) -> None:
        if b"out of memory" in self._said or b"memory allocation of" in self._said:
            self._fail(FunctionFailed(f"the function used more memory than {self._memory_mb} MB"))
        else:
            self._fail(FunctionsUnavailable(self._why))
        if not self._ended.done():
            self._ended.set_result(None)

    @property
    def said(self) -> str:
        """The end of what the process wrote to its standard error."""
        return self._said.decode("utf-8", "replace")


def failure(text: bytes) -> FunctionFailed:
    """The error that a function threw, as it told."""
    try:
        told: Mapping[str, Any] = orjson.loads(text)
        name, message, stack = (told.get(key) for key in ("name", "message", "stack"))
    except (orjson.JSONDecodeError, AttributeError):
        name = message = stack = None
    error = FunctionFailed(message[:2000] if isinstance(message, str) else "the function failed")
    error.thrown = name[:100] if isinstance(name, str) else "Error"
    error.stack = _own_frames(stack[:8000]) if isinstance(stack, str) else ""
    return error


def result(text: bytes) -> dict[str, Any]:
    """The answer of a call: ``{"value"}``, or ``{"said"}`` with a response; FunctionFailed for anything else."""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        told = None
    if type(told) is not dict or type(told.get("said", told)) is not dict:
        raise FunctionFailed("the function answered nothing that can be read")
    return told


def _own_frames(stack: str) -> str:
    """The part of a stack that is the app's."""
    ours = ("doorleaf:prelude", "/sandbox/host.js", "ext:")
    return "\n".join(line for line in stack.split("\n") if not any(place in line for place in ours))
