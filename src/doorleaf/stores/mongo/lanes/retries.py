"""When a command is sent again: what PyMongo's own loop decides, for the commands that do not go through it.

The rules are those of the drivers' specifications of retryable reads, of retryable writes and of client backpressure:
once after a broken connection or a server that is not the one to ask, and with growing pauses where a server says that
it is overloaded and did nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo import AsyncMongoClient
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from doorleaf.stores.mongo.codes import RETRYABLE

T = TypeVar("T")

_OVERLOADED = "SystemOverloadedError"
_ALWAYS = "RetryableError"
_REPEATABLE = "RetryableWriteError"
_NOTHING_DONE = "NoWritesPerformed"
_PAUSE = 0.1
_LONGEST_PAUSE = 10.0


class Retries:
    """The attempts of one operation so far. ``last`` is what to raise when there can be no other."""

    def __init__(self, client: AsyncMongoClient[Any]) -> None:
        self._options = client.options
        self._attempts = 0
        self._most = 1
        self.last: PyMongoError | None = None

    def _used_up(self) -> bool:
        return self._attempts >= self._most

    def _overloaded(self, error: PyMongoError) -> bool:
        """Whether the server is overloaded; it may then be asked as often as the client is willing to."""
        overloaded = error.has_error_label(_OVERLOADED)
        if overloaded:
            self._most = self._options.max_adaptive_retries
        return overloaded

    async def _pause(self, error: PyMongoError) -> None:
        """Wait before an overloaded server is asked again; raises ``error`` when it was asked often enough."""
        if self._attempts > self._options.max_adaptive_retries:
            raise self.final(error)
        base = getattr(error, "_base_backoff_ms", None)
        pause = _PAUSE if base is None or base < 0 else base / 1000
        await asyncio.sleep(random.random() * min(pause * 2**self._attempts, _LONGEST_PAUSE))  # noqa: S311  # no secret

    def final(self, error: PyMongoError) -> PyMongoError:
        """The error to raise for ``error``, after which there is no other attempt."""
        return error

    def given_up(self) -> PyMongoError:
        """The error to raise when another attempt cannot even begin."""
        return self.final(self.last) if self.last is not None else AutoReconnect("no connection")


class ReadRetries(Retries):
    async def again(self, error: PyMongoError, *, backpressure: bool = True) -> None:
        """Return when the read that failed with ``error`` is to be sent again, or raise it.

        Without ``backpressure`` somebody else has already asked an overloaded server again.
        """
        overloaded = self._overloaded(error)
        always = overloaded and error.has_error_label(_ALWAYS) and backpressure
        worth_it = not isinstance(error, OperationFailure) or error.code in RETRYABLE
        if not self._options.retry_reads or (not always and (self._used_up() or not worth_it)):
            raise error
        self.last = error
        self._attempts += 1
        if overloaded:
            await self._pause(error)


class WriteRetries(Retries):
    """The same for a write. ``able`` says whether its server knows it again when it comes twice."""

    def __init__(self, client: AsyncMongoClient[Any], *, able: bool) -> None:
        super().__init__(client)
        self._able = able
        self._open: PyMongoError | None = None
        """The first attempt's error that leaves open whether the write was carried out."""

    async def again(self, error: PyMongoError) -> None:
        broken = isinstance(error, ConnectionFailure) and not isinstance(error, NotPrimaryError)
        if broken:
            self._open = self._open or error
        overloaded = self._overloaded(error)
        always = overloaded and error.has_error_label(_ALWAYS)
        repeatable = broken or error.has_error_label(_REPEATABLE)
        if not self._options.retry_writes or not (self._able or always):
            raise self.final(error)
        if not always and (not repeatable or self._used_up()):
            raise self.final(error)
        self._attempts += 1
        if self.last is None or not error.has_error_label(_NOTHING_DONE):
            self.last = error
        if overloaded:
            await self._pause(error)

    def final(self, error: PyMongoError) -> PyMongoError:
        """Choose the error to tell: after an attempt that may have written, only a refusal of the write tells more."""
        decided = isinstance(error, OperationFailure) and bool((error.details or {}).get("writeErrors"))
        if self._open is not None and not decided:
            return self._open
        return self.last if error.has_error_label(_NOTHING_DONE) and self.last is not None else error


async def repeated(client: AsyncMongoClient[Any], command: Callable[[], Awaitable[T]]) -> T:
    """Run ``command``, which runs one reading command by the driver, again when that is worth it, and return its
    answer.

    The driver runs its own helpers' reads again, and of commands that it is only given those alone that met an
    overloaded server.
    """
    retries = ReadRetries(client)
    while True:
        try:
            return await command()
        except (ServerSelectionTimeoutError, WaitQueueTimeoutError) as error:
            raise (retries.last or error) from None
        except (ConnectionFailure, OperationFailure) as error:
            await retries.again(error, backpressure=False)
