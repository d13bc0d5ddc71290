"""What a request passes on its way in: the address list, rates, the concurrency cap, quotas; and the audit of it all.

The endpoint asks when a request arrives and when its caller is known; the service asks for every operation. Where
nothing is limited and nothing audited, nobody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doorleaf.access.addresses import Addresses, among, neighbourhood
from doorleaf.access.audit import DENIED, NO_AUDIT, Audit, audit_of
from doorleaf.access.callers import Identity
from doorleaf.access.limits import Concurrency, RateLimits, account
from doorleaf.access.quotas import Quotas
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import DoorleafError, PermissionDenied
from doorleaf.operations import (
    Aggregate,
    BulkWrite,
    Effect,
    InsertMany,
    Operation,
    RunCommand,
)
from doorleaf.results import (
    BulkWriteResult,
    CommandResult,
    DeleteResult,
    DocumentResult,
    InsertManyResult,
    InsertOneResult,
    Result,
    UpdateResult,
)
from doorleaf.settings import Settings

SourceName = Callable[[str | None], str | None]
"""The name of a data source by what a request calls it, None when there is none such."""


def admission_of(settings: Settings, system: SystemStore, source_name: SourceName) -> Admission:
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
        source_name=source_name,
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
        source_name: SourceName = lambda name: name,
    ) -> None:
        self.addresses = addresses
        self.audit = audit
        self._rates = rates
        self._concurrency = concurrency
        self._quotas = quotas
        self._audit_writes = audit_writes
        self._source_name = source_name
        self._rates_sources = rates.limits("data_source")
        self.asks_on_arrival = not addresses.open_to_all or rates.limits("address")
        """Whether :meth:`arrive` has anything to do for every request; for logins it may have."""
        self.locates = self.asks_on_arrival or not addresses.trusts_nobody
        """Whether the address of every request has to be found out."""
        self.asks_callers = rates.limits("key", "user") or concurrency.bounds or quotas.has_general
        """Whether :meth:`enter` has anything to do for every caller; it has for those whose key has limits."""
        self.asks_operations = audit.on or self._rates_sources or quotas.has_general
        """Whether :meth:`before` has anything to do for every caller; it has for those whose key has limits."""

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
        """Let a request from ``address`` in, whoever sent it; ``login`` is one that may begin a session."""
        self.addresses.require(address)
        caller = neighbourhood(address)
        await self._rates.admit("address", caller)
        if login:
            await self._rates.admit("login", caller)

    async def log_in(self, name: str) -> None:
        """Let a login to the account ``name`` be tried."""
        await self._rates.admit("login", account(name))

    async def enter(self, identity: Identity, address: str) -> None:
        """Let a request of a known caller in; whoever was let in must :meth:`leave`."""
        own = identity.limits
        if own is not None and own.addresses is not None and not among(address, own.addresses):
            raise PermissionDenied("this key may not be used from this address", code="AddressNotAllowed")
        if identity.key_name is None:
            await self._rates.admit("user", identity.shown)
        else:
            await self._rates.admit("key", identity.shown, None if own is None else own.rate)
        self._concurrency.enter(identity.shown)
        try:
            self._quotas.begin(identity)
        except DoorleafError:
            self._concurrency.leave(identity.shown)
            raise

    def leave(self, identity: Identity, size: int) -> None:
        """End a request that was let in, whose body and answer had ``size`` bytes."""
        self._concurrency.leave(identity.shown)
        self._quotas.add(identity, bytes=size)

    # --- operations ---

    async def before(self, operation: Operation[Any], identity: Identity) -> None:
        """Let an operation be tried."""
        if self._rates_sources:
            name = self._source_name(operation.namespace.data_source)
            if name is not None:
                await self._rates.admit("data_source", name)
        if writes(operation) and self._quotas.limits_documents(identity):
            if isinstance(operation, Aggregate):
                raise PermissionDenied(
                    "$out and $merge are not available to a key with a quota of documents: nobody can count them"
                )
            self._quotas.require_documents(identity, writes_at_least(operation))

    def after(self, operation: Operation[Any], identity: Identity, outcome: Result | DoorleafError) -> None:
        """Account for an operation that was carried out or refused."""
        error = outcome if isinstance(outcome, DoorleafError) else None
        writing = writes(operation)
        counts = written(operation, outcome) if writing else {}
        if counts:
            self._quotas.add(identity, documents=sum(counts.values()))
        if not self.audit.on:
            return
        administers = operation.effect is Effect.ADMIN
        if administers or (writing and self._audit_writes) or (error is not None and error.status in DENIED):
            command = next(iter(operation.command), "") if isinstance(operation, RunCommand) else ""
            self.audit(
                operation.name,
                identity=identity,
                namespace=str(operation.namespace),
                data_source=self._source_name(operation.namespace.data_source) or "",
                target=command,
                error=error,
                counts=counts,
            )


# --- what an operation writes --------------------------------------------------------------------------------------

_WRITING_COMMANDS = frozenset({"insert", "update", "delete", "findAndModify", "findandmodify"})


def writes(operation: Operation[Any]) -> bool:
    """Whether an operation writes documents."""
    if isinstance(operation, Aggregate):
        last = operation.pipeline[-1] if operation.pipeline else {}
        return isinstance(last, dict) and not {"$out", "$merge"}.isdisjoint(last)
    if isinstance(operation, RunCommand):
        return next(iter(operation.command), "") in _WRITING_COMMANDS
    return operation.effect is Effect.WRITE


def writes_at_least(operation: Operation[Any]) -> int:
    """How many documents an operation writes if it succeeds, as far as it says so itself."""
    if isinstance(operation, InsertMany):
        return len(operation.documents)
    if isinstance(operation, BulkWrite):
        return sum(write.name == "insertOne" for write in operation.operations)
    return 1


_COUNTS = {
    "insertedCount": "inserted",
    "modifiedCount": "modified",
    "upsertedCount": "upserted",
    "deletedCount": "deleted",
}


def written(operation: Operation[Any], outcome: Result | DoorleafError) -> dict[str, int]:
    """How many documents were inserted, modified, upserted and deleted; what is 0 is left out."""
    counts: dict[str, Any]
    match outcome:
        case DoorleafError():
            counts = {word: outcome.fields.get(name, 0) for name, word in _COUNTS.items()}
        case InsertOneResult():
            counts = {"inserted": 1}
        case InsertManyResult():
            counts = {"inserted": len(outcome.inserted_ids)}
        case UpdateResult():
            counts = {"modified": outcome.modified_count, "upserted": int("upsertedId" in outcome.wire())}
        case DeleteResult():
            counts = {"deleted": outcome.deleted_count}
        case BulkWriteResult():
            counts = {word: outcome.wire()[name] for name, word in _COUNTS.items()}
        case DocumentResult():
            counts = _of_one(operation, outcome)
        case CommandResult():
            counts = _of_command(operation, outcome.result)
        case _:
            counts = {}
    return {word: count for word, count in counts.items() if isinstance(count, int) and count > 0}


def _of_one(operation: Operation[Any], result: DocumentResult) -> dict[str, int]:
    if operation.name == "findOneAndDelete":
        return {"deleted": int(result.document is not None)}
    if result.document is not None:
        return {"modified": 1}
    # An upsert that inserted answers null when the document before was asked for.
    return {"upserted": int(getattr(operation, "upsert", False))}


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
