"""The one door: every operation of every caller goes through :meth:`DataService.execute`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from doorleaf.access.callers import Caller
from doorleaf.access.guards.checks import Guards
from doorleaf.access.guards.scopes import Scopes
from doorleaf.access.limits.admission import Admission
from doorleaf.access.rules.concealing import COMPILING_SECONDS
from doorleaf.access.rules.permit import evaluates
from doorleaf.access.rules.ruleset import Rules
from doorleaf.access.workspaces.confining import confined, revealed
from doorleaf.access.workspaces.metering import Metering
from doorleaf.access.workspaces.subscriptions import Subscriptions
from doorleaf.access.workspaces.tenancy import Tenancy
from doorleaf.apart import CODING, JUDGING, SMALL_BYTES, left, time_limit
from doorleaf.errors import DataError, InvalidParameter, StoreUnavailable, Unsupported
from doorleaf.operations import (
    OWN_TURN,
    Aggregate,
    Effect,
    Find,
    Namespace,
    Operation,
    R,
    RunCommand,
    Scan,
    Transaction,
    Watch,
)
from doorleaf.operations.results import Result
from doorleaf.stores.base import Store, answer_too_large

_LARGE_BYTES = 64 * 1024
_MANY_DOCUMENTS = 100
"""What is hidden in an answer from here on is taken out in a thread."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Numbers that bound every operation; times are in milliseconds, and 0 of the last two is no bound."""

    default_max_time_ms: int = 30_000
    max_time_ms: int = 300_000
    default_limit: int = 1000
    max_documents: int = 50_000
    max_result_bytes: int = 0
    max_scan_documents: int = 0


class DataService:
    """Checks, bounds and runs operations. It changes the bounds of an operation in place, and nothing else of it."""

    __slots__ = ("_admission", "_bounds", "_guards", "_metering", "_rules", "_scopes", "_store", "_subscriptions")

    def __init__(
        self,
        store: Store,
        guards: Guards,
        bounds: Bounds | None = None,
        rules: Rules | None = None,
        admission: Admission | None = None,
        scopes: Scopes | None = None,
        metering: Metering | None = None,
        subscriptions: Subscriptions | None = None,
    ) -> None:
        self._store = store
        self._admission = admission
        self._guards = guards
        self._bounds = bounds or Bounds()
        self._rules = rules or Rules({}, default_source="")
        self._scopes = scopes or Scopes()
        self._metering = metering
        self._subscriptions = subscriptions

    def execute(
        self, operation: Operation[R], caller: Caller, size: int = 0, spent: float = 0.0
    ) -> Coroutine[Any, Any, R]:
        """The result of ``operation``, which ``caller`` asks for. Raises DoorleafError.

        ``size`` is the number of bytes that the operation came in, ``spent`` the seconds of its time that are over.
        """
        admission = self._admission
        if admission is None or not (admission.asks_operations or caller.identity.limits is not None):
            return self._execute(operation, caller, size, spent)
        return self._accounted(admission, operation, caller, size, spent)

    async def _accounted(
        self, admission: Admission, operation: Operation[R], caller: Caller, size: int, spent: float
    ) -> R:
        async with admission.around(operation, caller) as done:
            result = await self._execute(operation, caller, size, spent)
            done(result)
        return result

    async def _execute(self, operation: Operation[R], caller: Caller, size: int, spent: float) -> R:
        identity = caller.identity
        if size < SMALL_BYTES:
            self._guards.check(operation)
            if identity.scope is not None:
                self._scopes.check(identity.scope, operation)
            self._bound(operation)
        else:
            began = time.monotonic() - spent
            await CODING.run(self._bounds.default_max_time_ms / 1000, self.check, operation, caller)
            self._bound(operation)
            operation.max_time_ms = _milliseconds(began + time_limit(operation))
        operation.turn = identity.turn
        tenancy = identity.tenancy
        if operation.within is not None and tenancy is not None:
            raise Unsupported("transactions over several operations are not available to users of workspaces")
        if tenancy is not None and not self._rules.concern(operation):
            result = await self._stored(operation, tenancy)
        elif identity.admin:
            result = await self._store.execute(operation)
            if operation.scope != "collection":
                self._guards.redact(result)
        else:
            result = await self._permitted(operation, caller, size)
        most = self._bounds.max_result_bytes
        if most and operation.effect is not Effect.WRITE and result.size() > most:  # what is written is written
            raise answer_too_large(most)
        return result

    async def _stored(self, operation: Operation[R], tenancy: Tenancy | None) -> R:
        """What the store answers; a caller in a workspace is kept inside."""
        if tenancy is None:
            return await self._store.execute(operation)
        inside, metering = confined(operation, tenancy), self._metering
        if metering is not None and metering.concerns(inside, tenancy.workspace):
            return await metering.carry_out(inside, tenancy.workspace, self._store.execute)  # type: ignore[no-any-return]
        if isinstance(operation, Watch) and self._subscriptions is not None:
            return await self._watched(operation, inside, tenancy, self._subscriptions)  # type: ignore[return-value]
        return revealed(await self._store.execute(inside), tenancy, operation)  # type: ignore[return-value]

    async def _watched(
        self, operation: Watch, inside: Operation[Any], tenancy: Tenancy, subscriptions: Subscriptions
    ) -> Result:
        """The changes that a caller in a workspace watches, which count as one of its subscriptions."""
        subscription = await subscriptions.enter(tenancy.workspace)
        try:
            result = await self._store.execute(inside)
        except BaseException:
            await subscription.leave()
            raise
        return revealed(result, tenancy, operation, subscription)

    def check(self, operation: Operation[Any], caller: Caller) -> None:
        """Raise what is refused before rules are asked: by the guards, and by the scope of the caller's key."""
        self._guards.check(operation)
        scope = caller.identity.scope
        if scope is not None:
            self._scopes.check(scope, operation)

    async def _permitted(self, operation: Operation[R], caller: Caller, size: int) -> R:
        """What a caller with rules gets. Nothing that it wrote is evaluated on the event loop."""
        until = time.monotonic() + time_limit(operation)
        if self._rules.calls:
            await self._rules.ask(operation, caller, until)
        if size < SMALL_BYTES and not evaluates(operation):
            permit = self._rules.permit(operation, caller)
        else:
            permit = await JUDGING.run(left(until), self._rules.permit, operation, caller)
            permit.operation.max_time_ms = _milliseconds(until)
        permit.operation.within = operation.within
        try:
            result = await self._stored(permit.operation, caller.identity.tenancy)
        except DataError as error:
            if permit.conceal is None:
                raise
            raise await JUDGING.run(COMPILING_SECONDS, permit.conceal, error) from None
        redact = permit.redact
        if redact is None:
            return result  # type: ignore[no-any-return]
        if permit.context is not None:
            permit.context.deadline = until
        elif not result.is_large(_LARGE_BYTES, _MANY_DOCUMENTS):
            return redact(result)  # type: ignore[return-value]
        try:
            return await JUDGING.run(left(until), redact, result)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            if permit.context is not None:
                permit.context.deadline = time.monotonic()  # nobody waits for the rest
            raise

    async def ping(self, seconds: float = 2.0) -> str:
        """Return if the default data source answers within ``seconds``, with what it notes about itself, mostly "";
        raises StoreError or DataError."""
        limit = max(1, int(seconds * 1000))
        operation = RunCommand(namespace=Namespace("admin"), command={"ping": 1}, max_time_ms=limit, turn=OWN_TURN)
        try:
            async with asyncio.timeout(seconds):
                answer = await self._store.execute(operation)
        except TimeoutError:
            raise StoreUnavailable("the database cannot be reached") from None
        return str(answer.result.get("note", ""))

    def _bound(self, operation: Operation[Any]) -> None:
        bounds = self._bounds
        if not operation.max_time_ms:
            operation.max_time_ms = bounds.default_max_time_ms
        elif operation.max_time_ms > bounds.max_time_ms:
            raise InvalidParameter(f"maxTimeMS: {operation.max_time_ms} is above the cap of {bounds.max_time_ms}")
        if bounds.max_scan_documents:
            operation.max_scan = bounds.max_scan_documents
        if bounds.max_result_bytes:
            operation.max_bytes = bounds.max_result_bytes
        if type(operation) is Find:
            if operation.limit > bounds.max_documents:
                raise InvalidParameter(f"limit: {operation.limit} is above the cap of {bounds.max_documents}")
            operation.limit = operation.limit or bounds.default_limit
        elif type(operation) is Aggregate:
            operation.cap = bounds.max_documents
        elif type(operation) is Scan:
            operation.query.max_scan = operation.max_scan  # a store that explains it looks at the query alone
            operation.max_bytes = None  # it is never in memory as a whole
        elif type(operation) is Transaction:
            for part in operation.operations:
                part.max_time_ms = operation.max_time_ms
                self._bound(part)


def _milliseconds(until: float) -> int:
    return int(left(until) * 1000) + 1
