"""The functions of an app in service: loaded, reloaded when files change, and run."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Protocol, TypeVar

from doorleaf import ejson
from doorleaf.access.app_services.data_api import DataApi
from doorleaf.access.app_services.entries import Problem
from doorleaf.access.callers import SYSTEM, Caller, Identity, Tell, untold
from doorleaf.access.lasting import Identify
from doorleaf.access.rules.conditions import bind, matcher
from doorleaf.access.rules.expressions import parse
from doorleaf.apart import CODING, SMALL_BYTES
from doorleaf.apart.sizes import is_small
from doorleaf.dialects.base import Dialect, Request
from doorleaf.documents import ABSENT, Document
from doorleaf.errors import (
    DoorleafError,
    FunctionFailed,
    FunctionsUnavailable,
    NotFound,
    PermissionDenied,
    TooManyRequests,
)
from doorleaf.functions import python
from doorleaf.functions.call import Call, payload
from doorleaf.functions.database import Database
from doorleaf.functions.judging import DEPTH, judged
from doorleaf.functions.load import SCRIPT, Function, arguments_as_document, load_functions, stamp
from doorleaf.functions.outgoing import Outgoing
from doorleaf.functions.sandbox.process import result
from doorleaf.functions.standing import Standing
from doorleaf.functions.told import Told
from doorleaf.functions.version import DEEPEST, Version, broken, kept, missing
from doorleaf.settings.model import Settings

LOG = logging.getLogger("doorleaf.functions")
_BARE = frozenset({"Error", "MongoError"})
"""What functions throw that clients are told by its message alone."""
T = TypeVar("T")
_VALUE = b'{"value":'
"""How the answer of a function begins that has said nothing with a response object."""

LOOK_SECONDS = 2.0
"""How often it is looked whether a secret has changed."""

Acting = Callable[[Identity | None, str], Awaitable[Identity]]
"""Who acts for a caller: ``system``, or the user or key with this id."""
Observe = Callable[[str, str, float], None]
"""Is told of every call: the function's name, ``ok`` or an error's code, and the seconds."""


class Sealed(Protocol):
    """Where the secrets are."""

    async def all(self) -> dict[str, str]: ...

    async def names(self) -> list[str]: ...

    async def set(self, name: str, value: str, *, by: Request | None = None) -> None: ...

    async def delete(self, name: str, *, by: Request | None = None) -> None: ...


class Functions:
    """Runs functions of the app in the folder ``settings.app``.

    ``acting`` and ``identify`` know callers; ``caller`` gives what ``%%user`` and its kin stand for; ``needed`` are the
    functions that rules call, ``logs_in`` is the one that logs users in; ``audit`` is told of every call; ``shared`` is
    a folder that all workers have in common.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        database: Database,
        secrets: Sealed,
        acting: Acting,
        identify: Identify,
        caller: Callable[[Identity, Request | None], Any],
        observe: Observe = lambda name, outcome, seconds: None,
        needed: Collection[str] = (),
        logs_in: str | None = None,
        audit: Tell = untold,
        shared: Path | None = None,
    ) -> None:
        assert settings.app is not None  # noqa: S101  # without an app there are no functions
        self._folder = settings.app
        self._settings = settings
        self.secrets = secrets
        self._acting = acting
        self._identify = identify
        self._caller = caller
        self._observe = observe
        self._needed = needed
        self._logs_in = logs_in
        self._audit = audit
        self.told = Told(folder=shared)
        self._calls = 0
        self._stamp: object = None
        self._tasks: list[asyncio.Task[None]] = []
        self.database = database
        self.outgoing = Outgoing(settings.functions_http_allow)
        self.version = Version(load_functions(self._folder), {}, settings)

    @property
    def described(self) -> Dialect:
        """The endpoints that are in service, as the OpenAPI document reads them; the same object until they change."""
        return self.version.described

    @property
    def data_api(self) -> DataApi:
        """The needs of requests to actions, as the app says."""
        return self.version.loaded.data_api

    @property
    def busy(self) -> bool:
        """Whether as many calls go on as may."""
        return self._calls >= self._settings.functions_calls

    # --- life ---

    async def start(self, *, watches: bool = True) -> None:
        """Put the app into service, and say what of it is not; with ``watches`` go on as it changes."""
        await self._renew(first=True)
        if not watches:
            return
        self._tasks = [
            asyncio.create_task(self._watch(), name="functions"),
            asyncio.create_task(self._look(), name="secrets"),
            asyncio.create_task(self.told.share(), name="functions told"),
        ]

    async def stop(self) -> None:
        """End all calls and processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.version.retire()

    async def _watch(self) -> None:
        try:
            from watchfiles import awatch
        except ImportError:
            LOG.warning("changed functions take a SIGHUP: install doorleaf[functions] to have them noticed")
            return
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what changed is told here
        while True:
            try:
                async for _ in awatch(self._folder, step=100, debounce=400, yield_on_timeout=True, rust_timeout=1000):
                    # What changed before the watching began is told by no event.
                    if await asyncio.to_thread(stamp, self._folder) != self._stamp:
                        await self._renew()
            except (OSError, RuntimeError) as error:  # the folder was moved away, or the system watches no more
                LOG.error("%s cannot be watched: %s", self._folder, error)
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await self.secrets.all() != self.version.secrets:
                    await self._renew()
            except DoorleafError as error:
                LOG.debug("secrets cannot be read: %s", error.message)

    async def _renew(self, *, first: bool = False) -> None:
        """Read the app again. What is broken stays as it was, and is logged."""
        before = None if first else self.version
        try:
            self._stamp = await asyncio.to_thread(stamp, self._folder)
            loaded = await asyncio.to_thread(load_functions, self._folder)
            if before is not None and any(problem.whole for problem in loaded.problems):
                raise FunctionsUnavailable("; ".join(str(problem) for problem in loaded.problems if problem.whole))
            try:
                faults = await broken(loaded)
            except FunctionsUnavailable as error:
                faults = {}
                loaded.problems.append(Problem("JavaScript functions", error.message))
            kept(loaded, faults, None if before is None else before.loaded)
            loaded.problems += missing(loaded, self._needed, self._logs_in)
            version = Version(loaded, await self._sealed(), self._settings)
        except (DoorleafError, OSError) as error:
            LOG.error("the app stays as it was: %s", error)
            return
        old, self.version = self.version, version
        for problem in loaded.problems:
            LOG.error("not in service: %s", problem)
        count = sum(map(len, loaded.endpoints.values()))
        told = "%d functions, %d endpoints and %d triggers are in service"
        LOG.info(told, len(loaded.functions), count, len(loaded.triggers))
        await old.retire()

    async def _sealed(self) -> dict[str, str]:
        try:
            return await self.secrets.all()
        except DoorleafError as error:
            LOG.error("secrets cannot be read: %s", error.message)
            return dict(self.version.secrets)

    # --- calls ---

    async def call(self, name: str, arguments: list[Any], identity: Identity, request: Request | None) -> Any:
        """Call a function by its name for a client, and return its answer (a BSON value). Raises NotFound where there
        is none for clients, TooManyRequests, and FunctionFailed, also where this client may not call it."""
        function = self.version.loaded.functions.get(name)
        if function is None or function.private:
            raise NotFound(f"function not found: '{name[:100]}'", code="FunctionNotFound")
        async with self.admitted() as version:
            self.require(function, identity, request, arguments)
            acting = await self.acting(version, function, identity, request)
            return await self.carry_out(self.begun(version, function, acting, request), arguments)

    async def run(self, name: str, arguments: list[Any], identity: Identity) -> Any:
        """Call a function as ``identity``, whoever may call it, and return its answer (a BSON value). Raises NotFound
        where there is none, TooManyRequests, FunctionFailed."""
        function = self.version.loaded.functions.get(name)
        if function is None:
            raise NotFound(f"function not found: '{name[:100]}'", code="FunctionNotFound")
        async with self.admitted() as version:
            acting = await self.acting(version, function, identity, None)
            return await self.carry_out(self.begun(version, function, acting, None), arguments)

    async def log_in(self, name: str, shown: Document) -> Any:
        """Call the function ``name`` as the system with ``shown``, the body of a login, and return its answer. Raises
        FunctionsUnavailable where it is not in service, TooManyRequests, FunctionFailed."""
        function = self.version.loaded.functions.get(name)
        if function is None:
            raise FunctionsUnavailable("the function that logs in is not in service")
        async with self.admitted() as version:
            return await self.carry_out(self.begun(version, function, SYSTEM, None), [shown])

    async def judge(self, name: str, arguments: list[Any], caller: Caller, until: float) -> bool:
        """Whether a function answers true to the rules that judge ``caller``; see :func:`judged`."""
        return await judged(self._of_rules, name, arguments, caller, until)

    async def _of_rules(self, name: str, arguments: list[Any], caller: Caller, until: float) -> Any:
        depth = DEPTH.get() + 1
        function = self.version.loaded.functions.get(name)
        if function is None or depth > DEEPEST:
            why = "is not in service" if function is None else f"is called more than {DEEPEST} deep"
            raise FunctionsUnavailable(f"the function {name} of the rules {why}")
        request: Any = caller.request
        # What a function causes takes no place of its own: as many as may could wait for each other.
        async with self.admitted() if depth == 0 else self.entered() as version:
            acting = await self.acting(version, function, caller.identity, request, depth)
            return await self.carry_out(Call(self, version, function, acting, request, until, depth), arguments)

    def listed(self) -> list[Document]:
        """The functions in service: ``name``, ``file``, ``runs_as``, ``private``, and the ``endpoints`` they answer."""
        return self.version.loaded.listed()

    def problems(self) -> list[str]:
        """A line for each part of the app that is not in service, with the reason."""
        return [str(problem) for problem in self.version.loaded.problems]

    def values(self) -> Document:
        """The app's values by name, without those that are secrets, and the secrets that the others are."""
        app = self.version.loaded.app
        return {"values": dict(app.values), "secrets": dict(app.secret_values)}

    def admitted(self) -> _Entered:
        """The version for one call from outside; entering raises TooManyRequests when as many go on as may."""
        return _Entered(self, 1)

    def entered(self) -> _Entered:
        """The version for one call."""
        return _Entered(self, 0)

    def count(self, calls: int) -> None:
        """Count ``calls`` that begin; fewer than none have ended. Raises TooManyRequests."""
        if calls > 0 and self.busy:
            raise TooManyRequests("too many functions run at this moment", headers={"Retry-After": "1"})
        self._calls += calls

    def begun(self, version: Version, function: Function, identity: Identity, request: Request | None) -> Call:
        """A call that begins now. One that runs as who sent ``request`` does so for as long as they may."""
        until = time.monotonic() + self._settings.functions_seconds
        standing = None
        if request is not None and request.shown is not None and identity is request.identity:
            standing = Standing(request, self._identify)
        return Call(self, version, function, identity, request, until, standing=standing)

    async def carry_out(self, call: Call, arguments: list[Any]) -> Any:
        """Run the function of ``call`` with ``arguments`` (BSON values), and return its answer. Raises FunctionFailed,
        FunctionTimeout, FunctionsUnavailable."""
        if call.function.language == "python":
            token = DEPTH.set(call.depth)
            try:
                return await self._observed(call, python.run(call, _stored(arguments)))
            finally:
                DEPTH.reset(token)
        text = await self.javascript(call, arguments=await _written(arguments, call))
        return (await read_answer(text, call)).get("value")

    async def javascript(self, call: Call, **given: bytes) -> bytes:
        """Run the JavaScript function of ``call`` and return what it answered, for :func:`read_answer`. Raises
        FunctionFailed, FunctionTimeout, FunctionsUnavailable."""
        return await self._observed(call, self._in_process(call, payload(call, **given)))

    async def _in_process(self, call: Call, text: bytes) -> bytes:
        try:
            return await call.version.pool(call.depth).call(text, call, call.seconds)
        except BaseException:
            call.end()
            raise

    async def _observed(self, call: Call, running: Awaitable[T]) -> T:
        began, error = time.perf_counter(), None
        outcome = "ok"
        try:
            answer = await running
            if call.over is not None:  # it did not mind
                raise call.over
            return answer
        except DoorleafError as failed:
            failure = call.over or failed
            outcome, error = failure.code, failure
            told = stack = failure.message
            if isinstance(failure, FunctionFailed):
                told = f"{failure.thrown}: {failure.message}"
                stack = failure.stack or told
            call.log(logging.WARNING, f"failed: {stack}", f"failed: {told}")
            if isinstance(failure, FunctionFailed) and failure.thrown not in _BARE and not call.depth:
                failure.message = told
            raise failure from None
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            call.is_over = True
            if call.has_transactions:
                call.end()
                await asyncio.shield(call.settle())
            seconds = time.perf_counter() - began
            self._observe(call.function.name, outcome, seconds)
            self.told.call(call.function.name, outcome, seconds, call.identity.shown)
            self._account(call, error)

    def _account(self, call: Call, error: DoorleafError | None) -> None:
        """Audit a call. Whether its request is accounted for is another question: a function may catch what failed."""
        request = call.http
        audited = request is not None and request.audited
        self._audit("callFunction", identity=call.identity, target=call.function.name, error=error, by=request)
        if request is not None:
            request.audited = audited

    # --- who may, and as whom ---

    async def acting(
        self, version: Version, function: Function, identity: Identity | None, request: Request | None, depth: int = 0
    ) -> Identity:
        """Whom ``function`` acts as when ``identity`` calls it; None is nobody, for functions that need nobody."""
        who = function.runs_as
        if who == "application":
            if identity is None:
                raise PermissionDenied("the function runs as its caller, and there is none")
            return identity
        if who == "script":
            who = await self._by_script(version, function, request, depth)
        return await self._acting(identity, who)

    async def _by_script(self, version: Version, function: Function, request: Request | None, depth: int) -> str:
        script = version.loaded.scripts[SCRIPT + function.name]
        call = Call(self, version, script, SYSTEM, request, time.monotonic() + self._settings.functions_seconds, depth)
        who = await self.carry_out(call, [])
        if isinstance(who, dict) and who.get("runAsSystem") is True:
            return "system"
        if not isinstance(who, str) or not who or who == "system":
            raise FunctionFailed("run_as_user_id_script_source: answered neither a user's id nor {runAsSystem: true}")
        return who

    def require(
        self, function: Function, identity: Identity | None, request: Request | None, arguments: list[Any]
    ) -> None:
        """Raise FunctionFailed unless ``can_evaluate`` of the function holds."""
        allowed = function.can_evaluate
        if allowed in ({}, True):
            return
        tree = parse(arguments_as_document(allowed), "can_evaluate")
        if not self._holds(tree, identity or SYSTEM, request, {"args": _stored(arguments)}):
            raise FunctionFailed(f'rule not matched for function "{function.name}"')

    def holds(self, tree: Any, request: Request) -> bool:
        """Whether the condition ``tree``, as it was parsed, holds for a request and its caller."""
        return tree is True or (tree is not False and self._holds(tree, request.identity, request, {}))

    def _holds(self, tree: Any, identity: Identity, request: Request | None, document: Document) -> bool:
        condition = bind(tree, self._caller(identity, request))
        return condition is True or (condition is not False and matcher(condition)(document, None, ABSENT, ABSENT))


class _Entered:
    """The version of ``functions`` in service, from the beginning of a call to its end; ``calls`` count as from
    outside. A class is a fifth of what a generator costs, and every call has one."""

    def __init__(self, functions: Functions, calls: int) -> None:
        self._functions = functions
        self._calls = calls
        self._version = functions.version

    async def __aenter__(self) -> Version:
        self._functions.count(self._calls)
        version = self._version = self._functions.version
        version.enter()
        return version

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._version.leave()
        finally:
            self._functions.count(-self._calls)


def _stored(arguments: list[Any]) -> list[Any]:
    """``arguments`` with null for those that are missing."""
    return [None if argument is ABSENT else argument for argument in arguments]


async def read_answer(text: bytes, call: Call) -> dict[str, Any]:
    """The answer of a JavaScript function: ``{"value"}`` with BSON values, or ``{"said"}`` with a response. Raises
    FunctionFailed."""
    if not text.startswith(_VALUE) and "said" in (told := await _read(text, result, call)):
        return told
    try:
        return {"value": (await _read(text, ejson.loads, call)).get("value")}
    except (DoorleafError, ValueError) as error:
        raise FunctionFailed(f"the function answered what is no value: {error}") from None


def object_answer(text: bytes, mode: ejson.Mode) -> bytes | None:
    """The short object that a JavaScript function answered, as most do, in ``mode``, without values made of it in
    between; None for any other answer, which :func:`read_answer` reads."""
    # An object whose first member begins with a dollar sign may be a wrapper of Extended JSON, which is another value.
    if len(text) >= SMALL_BYTES or not text.startswith(b'{"value":{"') or text[11:12] == b"$" or text[-2:] != b"}}":
        return None
    found = ejson.loads_bson(text[len(_VALUE) : -1])
    return None if found is None else ejson.encode_document(found, mode)


async def _read(text: bytes, reader: Callable[[bytes], dict[str, Any]], call: Call) -> dict[str, Any]:
    """What ``reader`` makes of ``text``; a long one is read in a thread."""
    return reader(text) if len(text) < SMALL_BYTES else await CODING.run(call.seconds, reader, text)


async def _written(arguments: list[Any], call: Call) -> bytes:
    """``arguments`` as Extended JSON; large ones, a change event of the database perhaps, are written in a thread."""
    if ABSENT in arguments:
        parts = [b'{"$undefined":true}' if it is ABSENT else await _written_all([it], call) for it in arguments]
        return b"[" + b",".join(part if part.startswith(b"{") else part[1:-1] for part in parts) + b"]"
    return await _written_all(arguments, call)


async def _written_all(arguments: list[Any], call: Call) -> bytes:
    if is_small(arguments):
        return ejson.dumps(arguments, ejson.Mode.JAVASCRIPT)
    return await CODING.run(call.seconds, ejson.dumps, arguments, ejson.Mode.JAVASCRIPT)
