"""One call of a function: who it acts for, how long it may take, and what it is given when it asks for something."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from typing import Any, Protocol

import orjson

from doorleaf import ejson
from doorleaf.access.callers import SYSTEM, Identity
from doorleaf.apart import CODING, SMALL_BYTES
from doorleaf.dialects.base import Request
from doorleaf.dialects.client.functions import encoded
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, FunctionTimeout, InternalError, InvalidParameter
from doorleaf.functions import ciphers, keys, packing, signatures
from doorleaf.functions.database import Database, Session, described
from doorleaf.functions.judging import DEPTH
from doorleaf.functions.load import Function
from doorleaf.functions.outgoing import Outgoing
from doorleaf.functions.request import headers_told, request_facts
from doorleaf.functions.sandbox.process import Process
from doorleaf.functions.standing import Standing
from doorleaf.functions.told import Told
from doorleaf.functions.version import DEEPEST, Version
from doorleaf.operations.results import Result

LOG = logging.getLogger("doorleaf.functions")
AT_ONCE = 25
"""Requests of one call that are carried out at once; the others wait."""
MOST_CANCELLED = 100
"""Requests of one call that end before their time; more go on, since a name that is looked up is so to its end."""
MOST_TRANSACTIONS = 10
MOST_ENDED = 100_000
"""Transactions that one call may have one after the other."""
SETTLING_SECONDS = 5.0
"""How long it may take to abort a transaction, also when the time of its function is over."""
MOST_ASKED = 1024 * 1024
"""Bytes of what a function may ask and wait for in place."""
_SYSTEM_USER = ejson.dumps(SYSTEM.user, ejson.Mode.JAVASCRIPT)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Running(Protocol):
    """The functions in service, as far as a call needs them."""

    database: Database
    outgoing: Outgoing
    told: Told

    async def acting(
        self, version: Version, function: Function, identity: Identity | None, request: Request | None, depth: int = 0
    ) -> Identity: ...

    async def carry_out(self, call: Call, arguments: list[Any]) -> Any: ...


class Call:
    """A call of ``function`` by ``identity`` until ``until`` (``time.monotonic()``), which ``request`` caused."""

    def __init__(
        self,
        functions: Running,
        version: Version,
        function: Function,
        identity: Identity,
        request: Request | None,
        until: float,
        depth: int = 0,
        standing: Standing | None = None,
    ) -> None:
        self.process: Process | None = None
        self.version = version
        self.function = function
        self.identity = identity
        self.http = request
        self.until = until
        self.depth = depth
        self.standing = standing
        """How its caller stands; None where it does not run as one who showed who they are."""
        self.limit: asyncio.Timeout | None = None
        """What ends a function in Python."""
        self.custom_data = True
        """Whether the function is told the caller's custom data."""
        self.is_over = False
        """Whether the function has ended, so that no more transactions begin."""
        self._sessions: dict[int, Session] = {}
        self._ended: set[int] = set()
        self._numbers = 0
        self._functions = functions
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._cancelled = 0
        self._context = contextvars.copy_context()
        self._context.run(DEPTH.set, depth)

    @property
    def user(self) -> Document:
        """The user object that the function is given."""
        user = self.identity.user
        return user if self.custom_data else {**user, "custom_data": {}}

    @property
    def over(self) -> DoorleafError | None:
        """The error that says why its caller may go on no longer; None while they may."""
        return None if self.standing is None else self.standing.over

    @property
    def has_transactions(self) -> bool:
        """Whether any transaction is open."""
        return bool(self._sessions)

    @property
    def seconds(self) -> float:
        """The seconds that are left of its time. Raises FunctionTimeout."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise FunctionTimeout("the function took longer than it may")
        return left

    # --- what a JavaScript process asks for ---

    def request(self, number: int, text: bytes, *, sends: bool = False) -> None:
        """Begin to answer; the answer goes to the process. What ``sends`` can be cancelled."""
        task = asyncio.get_running_loop().create_task(self._answer(number, text, sends=sends), context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if sends:
            self._sending[number] = task
            task.add_done_callback(lambda _: self._sending.pop(number, None))

    def cancel(self, number: int) -> None:
        """End the request to another server that has this number, if there is one; nobody looks at its answer."""
        task = self._sending.pop(number, None) if self._cancelled < MOST_CANCELLED else None
        if task is not None and task.cancel() and self.process is not None:
            self._cancelled += 1
            self.process.reply(number, b'{"value":null}')

    async def _answer(self, number: int, text: bytes, *, sends: bool) -> None:
        try:
            async with self._turns:
                answer = b'{"value":' + await self._value(text, sends=sends) + b"}"
        except DoorleafError as error:
            answer = orjson.dumps({"error": described(error)})
            if self.over is not None and self.process is not None:
                self.process.end(self.over)
        except Exception:
            LOG.exception("function %s: internal error", self.function.name)
            answer = orjson.dumps({"error": described(InternalError("internal error"))})
        if self.process is not None:
            self.process.reply(number, answer)

    async def _value(self, text: bytes, *, sends: bool) -> bytes:
        if len(text) < SMALL_BYTES:
            asked = ejson.loads(text)
        else:
            asked = await CODING.run(self.seconds, ejson.loads, text)
        match asked.get("to"):
            case "database":
                result = await self.run(asked, asked.get("session"), asked.get("begins"), size=len(text))
                if len(text) < SMALL_BYTES:
                    return encoded(result, ejson.Mode.JAVASCRIPT)
                return await CODING.run(self.seconds, encoded, result, ejson.Mode.JAVASCRIPT)
            case "function":
                given = asked.get("arguments")
                value = await self.execute(str(asked.get("name")), given if isinstance(given, list) else [])
                return ejson.dumps(value, ejson.Mode.JAVASCRIPT)
            case "transaction":
                await self.end_transaction(asked.get("session"), commit=asked.get("commit") is True)
                return b"null"
            case "http" if sends:
                return orjson.dumps(await self.send(asked))
        raise InvalidParameter("the function asked for something that does not exist")

    def ask(self, text: bytes) -> bytes | None:
        """The answer to something that the function waits for in place: modules, hashes, keys, tokens.

        None for what keys make long, and large input: a thread answers.
        """
        if len(text) > MOST_ASKED:
            error = InvalidParameter(f"expected at most {MOST_ASKED // 1024 // 1024} MiB")
            return orjson.dumps({"error": described(error)})
        try:
            asked = ejson.loads(text)
            if len(text) < SMALL_BYTES and not signatures.is_long(asked):
                return self._answered(asked)
        except DoorleafError as error:
            return orjson.dumps({"error": described(error)})
        task = asyncio.get_running_loop().create_task(self._answer_apart(asked), context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _answer_apart(self, asked: Document) -> None:
        try:
            answer = await CODING.run(self.seconds, self._answered, asked)
        except DoorleafError as error:
            answer = orjson.dumps({"error": described(error)})
        if self.process is not None:
            self.process.answer(answer)

    def _answered(self, asked: Document) -> bytes:
        """The answer to :meth:`ask`."""
        try:
            match asked.get("to"):
                case "module":
                    file, source = self.version.modules.find(str(asked.get("id")), str(asked.get("from")))
                    return orjson.dumps({"value": {"file": file, "text": source}})
                case "crypto":
                    value = signatures.compute(asked)
                case "keys":
                    value = keys.compute(asked)
                case "ciphers":
                    value = ciphers.compute(asked)
                case "zlib":
                    value = packing.compute(asked)
                case "jwt":
                    value = signatures.token(asked)
                case _:
                    raise InvalidParameter("the function asked for something that does not exist")
            return ejson.dumps({"value": value}, ejson.Mode.JAVASCRIPT)
        except DoorleafError as error:
            return orjson.dumps({"error": described(error)})
        except (OSError, ValueError, TypeError, KeyError):
            LOG.exception("function %s: internal error", self.function.name)
            return orjson.dumps({"error": described(InternalError("internal error"))})

    def line(self, text: bytes) -> None:
        """A line of ``console``."""
        try:
            told = orjson.loads(text)
            self._context.run(self.log, _LEVELS.get(told["level"], logging.INFO), str(told["text"])[:5000])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            self._context.run(self.log, logging.WARNING, "a line that cannot be read")

    # --- what every function may ask for ---

    def log(self, level: int, text: str, shown: str = "") -> None:
        """Write a line to the log; administrators are told ``shown`` where that is less."""
        LOG.log(level, "%s: %s", self.function.name, text, extra={"fields": {"function": self.function.name}})
        self._functions.told.line(self.function.name, level, shown or text)

    async def require_caller(self) -> None:
        """Go on with the rights that its caller has by now. AccessError where they may go on no longer."""
        standing = self.standing
        if standing is None:
            return
        if standing.due <= time.monotonic():
            try:
                await standing.look()
            except DoorleafError:
                if self.limit is not None:
                    with contextlib.suppress(RuntimeError):  # what it left behind may ask as well
                        self.limit.reschedule(0.0)  # whatever it does with the error
                raise
        self.identity = standing.identity  # which another call for the same caller may have looked at

    async def execute(self, name: str, arguments: list[Any]) -> Any:
        """Call another function for this one."""
        await self.require_caller()
        if self.depth + 1 > DEEPEST:
            raise InvalidParameter(f"functions call each other at most {DEEPEST} deep")
        function = self.version.loaded.functions.get(name)
        if function is None:
            raise InvalidParameter(f"function not found: '{name[:100]}'")
        depth, caller = self.depth + 1, self.identity
        identity = await self._functions.acting(self.version, function, caller, self.http, depth)
        standing = self.standing if identity is caller else None
        inner = Call(self._functions, self.version, function, identity, self.http, self.until, depth, standing)
        return await self._functions.carry_out(inner, arguments)

    @property
    def database(self) -> Database:
        """The databases as functions see them."""
        return self._functions.database

    async def run(self, asked: Document, number: Any = None, begins: Any = None, *, size: int = 0) -> Result:
        """The result of a call of the database, a part of the transaction ``number``, which ``begins`` with options:
        whichever comes first begins it."""
        await self.require_caller()
        session = None if number is None else self._session(number, begins)
        return await self.database.run(
            asked, self.identity, self.http, size=size, seconds=self.seconds, session=session
        )

    def number(self) -> int:
        """A number for another transaction."""
        self._numbers += 1
        return self._numbers

    def _session(self, number: Any, begins: Any) -> Session:
        session = self._sessions.get(number) if type(number) is int else None
        if session is not None:
            return session
        if type(number) is not int or type(begins) is not dict or number in self._ended or self.is_over:
            raise InvalidParameter("session: there is no such transaction")
        if len(self._sessions) >= MOST_TRANSACTIONS:
            raise InvalidParameter(f"a function may have {MOST_TRANSACTIONS} transactions at once")
        if len(self._ended) >= MOST_ENDED:
            raise InvalidParameter(f"a function may have {MOST_ENDED} transactions")
        session = self._sessions[number] = Session(begins)
        return session

    async def end_transaction(self, number: Any, *, commit: bool) -> None:
        """Commit the transaction ``number``, or abort it, if any operation has begun it."""
        if commit:
            await self.require_caller()
        seconds = self.seconds if commit else SETTLING_SECONDS
        session = self._sessions.pop(number, None) if type(number) is int else None
        if session is not None:
            self._ended.add(number)
            await self.database.end(session, self.identity, self.http, commit=commit, seconds=seconds)
        elif commit:
            raise InvalidParameter("session: there is no such transaction")

    async def settle(self) -> None:
        """Abort the transactions that the function has left open."""
        ending = [self.end_transaction(number, commit=False) for number in self._sessions]
        for failed in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(failed, BaseException):
                LOG.warning("function %s: a transaction could not be aborted: %s", self.function.name, failed)

    async def send(self, asked: Document) -> Document:
        """The answer of another server."""
        await self.require_caller()
        return await self._functions.outgoing.send(asked, self.seconds)

    def end(self) -> None:
        """Cancel what is not done: nobody waits for it."""
        for task in self._tasks:
            task.cancel()


def payload(call: Call, *, arguments: bytes = b"", incoming: bytes = b"\n") -> bytes:
    """The message that tells a JavaScript process of ``call``: a line of JSON for each part, which it reads when the
    function asks for it. It has ``arguments``, or is an endpoint's with ``incoming``: the query, and in the next line
    the body."""
    headers = None if call.http is None else headers_told(call.http)
    user = _SYSTEM_USER if call.identity is SYSTEM else ejson.dumps(call.user, ejson.Mode.JAVASCRIPT)
    lines = (
        orjson.dumps(call.function.name),
        b"true" if call.identity.kind == "system" else b"false",
        user,
        orjson.dumps(headers),
        b"{}" if call.http is None or headers is None else orjson.dumps(request_facts(call.http, headers)),
        arguments,
        incoming,
    )
    return b"\n".join(lines)
