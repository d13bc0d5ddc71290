"""The one door: every operation of every caller goes through :meth:`DataService.execute`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import bson

from doorleaf.access.admission import Admission
from doorleaf.access.guards import Guards
from doorleaf.access.identity import Identity
from doorleaf.access.rules.ruleset import Rules
from doorleaf.access.scopes import Scopes
from doorleaf.documents import CODEC
from doorleaf.errors import DataError, DoorleafError, InvalidParameter, StoreUnavailable
from doorleaf.operations import Aggregate, Effect, Find, Namespace, Operation, R, RunCommand
from doorleaf.results import CommandResult, DistinctResult, DocumentResult, DocumentsResult, Result
from doorleaf.stores.base import Store, answer_too_large


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

    __slots__ = ("_admission", "_bounds", "_guards", "_rules", "_scopes", "_store")

    def __init__(
        self,
        store: Store,
        guards: Guards,
        bounds: Bounds | None = None,
        rules: Rules | None = None,
        admission: Admission | None = None,
        scopes: Scopes | None = None,
    ) -> None:
        self._store = store
        self._admission = admission
        self._guards = guards
        self._bounds = bounds or Bounds()
        self._rules = rules or Rules({}, default_source="")
        self._scopes = scopes or Scopes()

    async def execute(self, operation: Operation[R], identity: Identity) -> R:
        """The result of ``operation``, which ``identity`` asks for. Raises DoorleafError."""
        admission = self._admission
        if admission is None or not (admission.asks_operations or identity.limits is not None):
            return await self._execute(operation, identity)
        try:
            await admission.before(operation, identity)
            result = await self._execute(operation, identity)
        except DoorleafError as error:
            admission.after(operation, identity, error)
            raise
        admission.after(operation, identity, result)  # type: ignore[arg-type]  # R is always a Result
        return result

    async def _execute(self, operation: Operation[R], identity: Identity) -> R:
        self.check(operation, identity)
        self._bound(operation)
        if identity.admin:
            result = await self._store.execute(operation)
            self._guards.redact(result)  # type: ignore[arg-type]  # R is always a Result
        else:
            result = await self._permitted(operation, identity)
        if self._bounds.max_result_bytes and operation.effect is not Effect.WRITE:  # what is written is written
            _require_small(result, self._bounds.max_result_bytes)  # type: ignore[arg-type]  # as above
        return result

    def check(self, operation: Operation[Any], identity: Identity) -> None:
        """Raise what is refused before rules are asked: by the guards, and by the scope of the caller's key."""
        self._guards.check(operation)
        if identity.scope is not None:
            self._scopes.check(identity.scope, operation)

    async def _permitted(self, operation: Operation[R], identity: Identity) -> R:
        """What a caller with rules gets."""
        permit = self._rules.permit(operation, identity)
        try:
            result = await self._store.execute(permit.operation)
        except DataError as error:
            if permit.conceal is None:
                raise
            raise permit.conceal(error) from None
        return result if permit.redact is None else permit.redact(result)  # type: ignore[return-value]

    async def ping(self, seconds: float = 2.0) -> None:
        """Return if the default data source answers within ``seconds``; raises StoreError or DataError."""
        operation = RunCommand(
            namespace=Namespace("admin"), command={"ping": 1}, max_time_ms=max(1, int(seconds * 1000))
        )
        try:
            async with asyncio.timeout(seconds):
                await self._store.execute(operation)
        except TimeoutError:
            raise StoreUnavailable("the database cannot be reached") from None

    def _bound(self, operation: Operation[Any]) -> None:
        bounds = self._bounds
        if not operation.max_time_ms:
            operation.max_time_ms = bounds.default_max_time_ms
        elif operation.max_time_ms > bounds.max_time_ms:
            raise InvalidParameter(f"maxTimeMS: {operation.max_time_ms} is above the cap of {bounds.max_time_ms}")
        if bounds.max_scan_documents:
            operation.max_scan = bounds.max_scan_documents
        if type(operation) is Find:
            if operation.limit > bounds.max_documents:
                raise InvalidParameter(f"limit: {operation.limit} is above the cap of {bounds.max_documents}")
            operation.limit = operation.limit or bounds.default_limit
        elif type(operation) is Aggregate:
            operation.cap = bounds.max_documents


def _require_small(result: Result, most: int) -> None:
    """Raise ReadSizeLimitExceeded for a result of more than ``most`` bytes of BSON."""
    size = 0
    if isinstance(result, DocumentsResult):
        size = sum(map(len, result.documents.batches))
    elif isinstance(result, DocumentResult) and result.document is not None:
        document = result.document
        size = len(document if isinstance(document, bytes) else bson.encode(document, codec_options=CODEC))
    elif isinstance(result, DistinctResult):
        size = len(bson.encode({"values": result.values}, codec_options=CODEC))
    elif isinstance(result, CommandResult):
        size = len(bson.encode(result.result, codec_options=CODEC))
    if size > most:
        raise answer_too_large(most)
