"""Operations whose results go on: streams, which whoever has them closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson.timestamp import Timestamp

from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations import results
from doorleaf.operations.base import Operation
from doorleaf.operations.fields import wrong
from doorleaf.operations.parameters import Kind, parameter
from doorleaf.operations.registry import Aggregate, Find

FULL_DOCUMENT = ("default", "updateLookup", "whenAvailable", "required")
BEFORE_CHANGE = ("off", "whenAvailable", "required")


@dataclass(kw_only=True)
class Watch(Operation[results.ChangesResult]):
    """Changes of a collection as they happen. ``filter`` is over change events, and says which of them come."""

    name = "watch"
    lasts = True
    summary = "Watch a collection for changes"
    result = results.ChangesResult

    filter: Document = parameter(Kind.DOCUMENT, "Which change events; `{}` are all.", default={})
    full_document: str = parameter(
        Kind.STRING,
        "What updates come with as `fullDocument`: nothing (`default`), the document as it is when the event is read"
        " (`updateLookup`), or as the change left it, where the database keeps that (`whenAvailable`, `required`).",
        default="updateLookup",
    )
    full_document_before_change: str = parameter(
        Kind.STRING,
        "Whether events come with the document as it was, where the database keeps that: `off`, `whenAvailable`,"
        " `required`.",
        default="off",
    )
    resume_after: Document | None = parameter(
        Kind.DOCUMENT, "The resume token, `_id`, of the event to go on behind; not that of an `invalidate`."
    )
    start_after: Document | None = parameter(Kind.DOCUMENT, "The same; that of an `invalidate` too.")
    start_at_operation_time: Timestamp | None = parameter(
        Kind.VALUE, "The time of the cluster to begin at, a timestamp."
    )
    wait_ms: int = 1_000
    """How long the stream waits for an event, at most that second, before it says that there is none."""

    def require_possible(self) -> None:
        """Raise InvalidParameter for options that cannot be."""
        for name, value, known in (
            ("fullDocument", self.full_document, FULL_DOCUMENT),
            ("fullDocumentBeforeChange", self.full_document_before_change, BEFORE_CHANGE),
        ):
            if value not in known:
                raise InvalidParameter(f"{name}: expected one of {', '.join(known)}, got another string")
        starts = ("resumeAfter", self.resume_after), ("startAfter", self.start_after)
        given = [name for name, value in (*starts, ("startAtOperationTime", self.start_at_operation_time)) if value]
        if len(given) > 1:
            raise InvalidParameter(f"{given[1]}: a stream begins at one place, which {given[0]} says")
        for name, token in starts:
            if token is not None and not isinstance(token.get("_data"), str):
                raise InvalidParameter(f"{name}: expected a resume token, an object with the text _data")
        time = self.start_at_operation_time
        if time is not None and not isinstance(time, Timestamp):
            raise wrong("startAtOperationTime", "a timestamp", time)


@dataclass(kw_only=True)
class WatchDatabase(Watch):
    """Changes of all collections of a database."""

    scope = "database"
    summary = "Watch a database for changes"


@dataclass(kw_only=True)
class WatchServer(Watch):
    """Changes of all databases but the server's own."""

    scope = "server"
    summary = "Watch all databases for changes"


@dataclass(kw_only=True)
class Scan(Operation[results.ScanResult]):
    """The documents of ``query`` as they are taken: any number of them, in the memory of a few.

    Neither a default limit nor a cap bounds them. ``max_time_ms`` is for each batch, ``max_bytes`` for all together.
    When it is answered the first batch is there, so that what is wrong with a query is told at once. The embedded
    database reads one snapshot; MongoDB reads as its cursors do. A query that writes (``$out``, ``$merge``) is no scan.
    """

    name = "scan"
    lasts = True
    summary = "Read all documents of a query"
    result = results.ScanResult

    query: Find | Aggregate

    @property
    def action(self) -> str:
        return self.query.name

    @property
    def parts(self) -> Sequence[Operation[Any]]:
        return (self.query,)

    @staticmethod
    def suits(query: Find | Aggregate) -> bool:
        """Whether ``query`` has documents to read on: a pipeline that ends in ``$out`` or ``$merge`` writes them."""
        return isinstance(query, Find) or not query.pipeline or {"$out", "$merge"}.isdisjoint(query.pipeline[-1])

    @classmethod
    def of(cls, query: Find | Aggregate) -> Scan:
        """``query`` as a scan, with its comment and its time."""
        return cls(namespace=query.namespace, comment=query.comment, max_time_ms=query.max_time_ms, query=query)
