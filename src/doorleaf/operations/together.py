"""Several operations as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from doorleaf.errors import InvalidParameter
from doorleaf.operations import results
from doorleaf.operations.base import Effect, Operation
from doorleaf.operations.capabilities import Guard
from doorleaf.operations.registry import (
    Aggregate,
    BulkWrite,
    CountDocuments,
    DeleteMany,
    DeleteOne,
    Distinct,
    Find,
    FindOne,
    FindOneAndDelete,
    FindOneAndReplace,
    FindOneAndUpdate,
    InsertMany,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)

MOST_TOGETHER = 1_000
"""Operations that one transaction may have."""

TOGETHER: frozenset[type[Operation[Any]]] = frozenset(
    (
        *(FindOne, Find, Aggregate, CountDocuments, Distinct, InsertOne, InsertMany, UpdateOne, UpdateMany, ReplaceOne),
        *(DeleteOne, DeleteMany, FindOneAndUpdate, FindOneAndReplace, FindOneAndDelete, BulkWrite),
    )
)
"""What may be part of a transaction: reads and writes of documents. A pipeline that writes may not."""

_OUTPUTS = frozenset({"$out", "$merge"})


@dataclass(kw_only=True)
class Transaction(Operation[results.TransactionResult]):
    """All of ``operations``, in their order, or nothing of any: each sees what those before it have written.

    They may act on several collections of one data source; ``namespace`` is the first one's. ``max_time_ms`` is for all
    together, and ``max_bytes`` for what all answer. The error of one that fails names it: ``index`` among the error's
    fields. A MongoDB that is a single server has no transactions and refuses.
    """

    name = "transaction"
    effect = Effect.WRITE
    summary = "Run several operations, or none"
    result = results.TransactionResult

    operations: list[Operation[Any]] = field(default_factory=list)

    @property
    def parts(self) -> Sequence[Operation[Any]]:
        return self.operations

    @property
    def guards(self) -> Sequence[Guard]:
        return [guard for part in self.operations for guard in part.guards]

    @classmethod
    def of(cls, operations: Sequence[Operation[Any]], *, max_time_ms: int | None = None) -> Transaction:
        """``operations``, one at least, as a transaction."""
        if not operations:
            raise InvalidParameter("operations: must provide at least one")
        return cls(namespace=operations[0].namespace, operations=list(operations), max_time_ms=max_time_ms)

    def require_possible(self) -> None:
        """Raise InvalidParameter for what cannot be in one transaction."""
        if not 0 < len(self.operations) <= MOST_TOGETHER:
            raise InvalidParameter(f"operations: expected 1 to {MOST_TOGETHER} of them, got {len(self.operations)}")
        for index, part in enumerate(self.operations):
            require_part(part, f"operations[{index}]: ")
            if part.namespace.data_source != self.namespace.data_source:
                raise InvalidParameter(f"operations[{index}]: acts on another data source than the first one")


@dataclass(kw_only=True)
class EndTransaction(Operation[results.OkResult]):
    """Make what was done ``within`` a transaction last, or with ``commit`` off take it back.

    ``namespace`` is that of one of its operations.
    """

    name = "endTransaction"
    effect = Effect.WRITE
    summary = "Commit or abort a transaction"
    result = results.OkResult

    commit: bool = False


def require_part(operation: Operation[Any], where: str = "") -> None:
    """Raise InvalidParameter for what cannot be done within a transaction."""
    if type(operation) not in TOGETHER:
        raise InvalidParameter(f"{where}{operation.name} cannot be part of a transaction")
    if isinstance(operation, Aggregate) and operation.pipeline and not _OUTPUTS.isdisjoint(operation.pipeline[-1]):
        raise InvalidParameter(f"{where}$out and $merge cannot be part of a transaction")
