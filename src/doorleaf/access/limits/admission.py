"""What a request passes on its way in: the address list, rates, the concurrency cap, quotas; and the audit of it all.

The endpoint asks when a request arrives and when its caller is known; the service asks for every operation. Where
nothing is limited and nothing audited, nobody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from doorleaf.access.addresses import Addresses, among, neighbourhood
from doorleaf.access.audit import DENIED, NO_AUDIT, Audit, audit_of
from doorleaf.access.callers import Caller, Identity
from doorleaf.access.identity.mistakes import Mistakes
from doorleaf.access.limits.quotas import Quotas
from doorleaf.access.limits.rates import Concurrency, RateLimits, account
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import DoorleafError, PermissionDenied, StoreError
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    Effect,
    EndTransaction,
    InsertMany,
    Operation,
    RenameCollection,
    RunCommand,
    Transaction,
)
from doorleaf.operations.capabilities import Upserting
from doorleaf.operations.results import (
    CommandResult,
    DocumentResult,
    Result,
    TransactionResult,
)
from doorleaf.settings.model import Settings


def admission_of(settings: Settings, system: SystemStore) -> Admission:
    """The limits and the audit that ``settings`` ask for; ValueError for what cannot be had here."""
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url else None
    rates = {**settings.rate_limits, "login": settings.login_rate}
    return Admission(
        addresses=Addresses(settings.ip_access_list, settings.trusted_proxies),
        rates=RateLimits(rates, redis_url=redis_url),
        concurrency=Concurrency(settings.max_concurrent_requests),
        quotas=Quotas(system, settings.quotas),
        audit=audit_of(settings, system),
        audit_writes=settings.audit_writes,
        default_source=settings.default_source,
    )


class Admission:
    """All limits of one server.

    The properties that begin with ``asks`` say whether there is anything to do for everybody.
    """

    def __init__(
        self,
        *,
        addresses: Addresses,
        rates: RateLimits,
        concurrency: Concurrency,
        quotas: Quotas,
        audit: Audit = NO_AUDIT,
        audit_writes: bool = False,
        default_source: str = "",
    ) -> None:
        self.addresses = addresses
        self.audit = audit
        self.mistakes = Mistakes(rates)
        self._rates = rates
        self._concurrency = concurrency
        self._quotas = quotas
        self._audit_writes = audit_writes
        self._default_source = default_source
        self._rates_sources = rates.limits("data_source")
        self.asks_on_arrival = not addresses.open_to_all or rates.limits("address")
        """Whether :meth:`arrive` has anything to do for every request; for logins it may have."""
        self.locates = self.asks_on_arrival or not addresses.trusts_nobody
        """Whether the address of every request has to be found out."""
        self.asks_callers = rates.limits("key", "user") or concurrency.bounds or quotas.has_general
        """Whether :meth:`enter` has anything to do for every caller; it has for those whose key has limits."""
        self.asks_operations = audit.on or self._rates_sources or quotas.has_general
        """Whether :meth:`around` has anything to do for every caller; it has for those whose key has limits."""

    async def start(self) -> None:
        """Begin to count and to audit."""
        await self.audit.start()
        await self._quotas.start()

    async def stop(self) -> None:
        """Write what was counted and audited."""
        await self._quotas.stop()
        await self.audit.stop()
        await self._rates.close()

    # --- requests ---

    async def arrive(self, address: str, *, login: bool) -> None:
        """Let a request from ``address`` in, whoever sent it; ``login`` is one that counts by the rate of logins."""
        self.addresses.require(address)
        caller = neighbourhood(address)
        await self._rates.admit("address", caller)
        if login:
            await self._rates.admit("login", caller)

    async def send_mail(self, name: str) -> None:
        """Let a mail be sent to the account ``name``."""
        await self._rates.admit("login", f"mail {account(name)}")

    async def enter(self, identity: Identity, address: str) -> None:
        """Let a request of a known caller in; whoever was let in must :meth:`leave`."""
        await self._let_in(identity, address)
        self._concurrency.enter(identity.shown)
        try:
            await self._quotas.begin(identity)
        except BaseException:
            self._concurrency.leave(identity.shown)
            raise

    async def log_in_by_key(self, identity: Identity, address: str) -> None:
        """Let a key begin or renew a session, which counts as one of its requests."""
        await self._let_in(identity, address)
        await self._quotas.begin(identity)

    async def _let_in(self, identity: Identity, address: str) -> None:
        """Raise what the caller's addresses and rates refuse."""
        own = identity.limits
        if own is not None and own.addresses is not None and not among(address, own.addresses):
            raise PermissionDenied("this key may not be used from this address", code="AddressNotAllowed")
        if identity.key_name is None:
            await self._rates.admit("user", identity.shown)
        else:
            await self._rates.admit("key", identity.shown, None if own is None else own.rate)

    def leave(self, identity: Identity, size: int) -> None:
        """End a request that was let in, whose body and answer had ``size`` bytes."""
        self._concurrency.leave(identity.shown)
        self._quotas.add(identity, bytes=size)

    # --- operations ---

    @asynccontextmanager
    async def around(self, operation: Operation[Any], caller: Caller) -> AsyncIterator[Callable[[Result], None]]:
        """Carry out an operation within this, and tell what is yielded its result.

        What it writes is reserved before and settled after. Raises what refuses it.
        """
        identity = caller.identity
        outcomes: list[Result | DoorleafError] = []
        reserved = 0
        try:
            async with AsyncExitStack() as stack:
                limited = await self._before(operation, identity)
                if limited:
                    if not says_all(operation):
                        await stack.enter_async_context(self._quotas.one_at_a_time(identity))
                    reserved = max(1, writes_at_least(operation))
                    await self._quotas.take(identity, "documents", reserved)
                try:
                    yield outcomes.append
                except DoorleafError as error:
                    outcomes.append(error)
                    raise
                finally:
                    counts = written(operation, outcomes[-1]) if outcomes and writes(operation) else {}
                    if limited or counts:
                        # Nobody knows what an operation wrote that was cut short: then what was reserved is used.
                        unknown = not outcomes or isinstance(outcomes[-1], StoreError)
                        total = reserved if unknown else sum(counts.values())
                        await self._quotas.settle(identity, reserved, total)
        except DoorleafError as error:
            self._account(operation, caller, error)
            raise
        if outcomes:
            self._account(operation, caller, outcomes[-1])

    async def _before(self, operation: Operation[Any], identity: Identity) -> bool:
        """Let an operation be tried; whether it writes documents of which there is a quota."""
        if isinstance(operation, EndTransaction):
            return False  # its parts were let in, and what nobody may end would stay open
        if self._rates_sources:
            await self._rates.admit("data_source", operation.namespace.data_source or self._default_source)
        if not writes(operation) or not self._quotas.limits_documents(identity):
            return False
        if isinstance(operation, Aggregate):
            raise PermissionDenied(
                "$out and $merge are not available to a key with a quota of documents: nobody can count them"
            )
        return True

    def _account(self, operation: Operation[Any], caller: Caller, outcome: Result | DoorleafError) -> None:
        """Audit an operation that was carried out or refused."""
        error = outcome if isinstance(outcome, DoorleafError) else None
        writing = writes(operation)
        counts = written(operation, outcome) if writing else {}
        if not self.audit.on:
            return
        administers = operation.effect is Effect.ADMIN
        if administers or (writing and self._audit_writes) or (error is not None and error.status in DENIED):
            self.audit(
                operation.action,
                identity=caller.identity,
                by=caller.request,
                namespace=str(operation.namespace),
                data_source=operation.namespace.data_source or self._default_source,
                target=_target(operation),
                error=error,
                counts=counts,
            )


def _target(operation: Operation[Any]) -> str:
    """What the audit says of an operation beside its namespace."""
    if isinstance(operation, RunCommand):
        return next(iter(operation.command), "")
    if isinstance(operation, RenameCollection):
        return operation.to
    if isinstance(operation, EndTransaction):
        return "commit" if operation.commit else "abort"
    return ""


# --- what an operation writes --------------------------------------------------------------------------------------

_WRITING_COMMANDS = frozenset({"insert", "update", "delete", "findAndModify", "findandmodify"})


def writes(operation: Operation[Any]) -> bool:
    """Whether an operation writes documents."""
    if isinstance(operation, Aggregate):
        last = operation.pipeline[-1] if operation.pipeline else {}
        return isinstance(last, dict) and not {"$out", "$merge"}.isdisjoint(last)
    if isinstance(operation, RunCommand):
        return next(iter(operation.command), "") in _WRITING_COMMANDS
    if isinstance(operation, Transaction):
        return any(map(writes, operation.parts))
    return operation.effect is Effect.WRITE


def writes_at_least(operation: Operation[Any]) -> int:
    """How many documents an operation writes if it succeeds, as far as it says so itself."""
    if isinstance(operation, InsertMany):
        return len(operation.documents)
    if isinstance(operation, BulkWrite):
        return sum(write.name == "insertOne" for write in operation.operations)
    if isinstance(operation, Transaction):
        return sum(map(writes_at_least, filter(writes, operation.parts)))
    return 1


def says_all(operation: Operation[Any]) -> bool:
    """Whether :func:`writes_at_least` is also the most that an operation writes."""
    if isinstance(operation, BulkWrite):
        return all(write.name == "insertOne" for write in operation.operations)
    if isinstance(operation, Transaction):
        return all(map(says_all, filter(writes, operation.parts)))
    return not isinstance(operation, RunCommand) and not operation.many


_COUNTS = {
    "insertedCount": "inserted",
    "modifiedCount": "modified",
    "upsertedCount": "upserted",
    "deletedCount": "deleted",
}


def written(operation: Operation[Any], outcome: Result | DoorleafError) -> dict[str, int]:
    """How many documents were inserted, modified, upserted and deleted; what is 0 is left out."""
    counts: dict[str, Any]
    if isinstance(outcome, DoorleafError):
        counts = {word: outcome.fields.get(name, 0) for name, word in _COUNTS.items()}
    elif isinstance(outcome, DocumentResult):
        counts = _of_one(operation, outcome)
    elif isinstance(outcome, CommandResult):
        counts = _of_command(operation, outcome.result)
    elif isinstance(outcome, TransactionResult):
        counts = _of_all(operation.parts, outcome.results)
    else:
        counts = outcome.written
    return {word: count for word, count in counts.items() if isinstance(count, int) and count > 0}


def _of_all(parts: Sequence[Operation[Any]], results: Sequence[Result]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part, result in zip(parts, results, strict=True):
        if writes(part):
            total.update(written(part, result))
    return total


def _of_one(operation: Operation[Any], result: DocumentResult) -> dict[str, int]:
    if operation.deletes:
        return {"deleted": int(result.document is not None)}
    if result.document is not None:
        return {"modified": 1}
    # An upsert that inserted answers null when the document before was asked for.
    return {"upserted": int(isinstance(operation, Upserting) and operation.upsert)}


def _of_command(operation: Operation[Any], reply: dict[str, Any]) -> dict[str, Any]:
    name = next(iter(operation.command), "") if isinstance(operation, RunCommand) else ""
    match name:
        case "insert":
            return {"inserted": reply.get("n", 0)}
        case "update":
            return {"modified": reply.get("nModified", 0), "upserted": len(reply.get("upserted") or ())}
        case "delete":
            return {"deleted": reply.get("n", 0)}
        case "findAndModify" | "findandmodify":
            return {"modified": (reply.get("lastErrorObject") or {}).get("n", 0)}
    return {}
