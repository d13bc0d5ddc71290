"""Changes of a workspace as they happen: what is asked for, how an event is told, and server-sent events of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from doorleaf import ejson
from doorleaf.apart import JUDGING
from doorleaf.dialects.base import Reply, Route
from doorleaf.dialects.events import events_reply, id_line, last_token
from doorleaf.dialects.workspaces import abouts
from doorleaf.dialects.workspaces.door import Asked, Door
from doorleaf.dialects.workspaces.envelope import HIDDEN, correlated, workspace_error
from doorleaf.dialects.workspaces.query import check_filter, read
from doorleaf.documents import Document, is_string
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.operations import Watch, altered
from doorleaf.operations.results import ChangeStream, Events

CHANGES = "/collections/{collection}/changes"
_SECONDS = 1.0
"""What judging the events that came together by a caller's predicates may take."""

KINDS = {"INSERT": ("insert",), "UPDATE": ("update", "replace"), "DELETE": ("delete",), "REPLACE": ("replace",)}
"""The operations that may be asked for, and the kinds of change events that each is."""

_BEFORE = "fullDocumentBeforeChange"
_UNKNOWN = "beforeUnknown"

Open = Callable[[Watch], Awaitable[ChangeStream]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events come: ``kinds`` of change events, and changes of documents that ``predicates`` match."""

    kinds: frozenset[str] = frozenset(("insert", "update", "replace", "delete"))
    predicates: Document = field(default_factory=dict)


def kinds_of(operations: Iterable[Any]) -> frozenset[str]:
    """The kinds of change events that names of operations mean."""
    found: set[str] = set()
    for name in operations:
        kinds = KINDS.get(name.upper()) if is_string(name) else None
        if kinds is None:
            raise InvalidParameter(f"operations: expected some of {', '.join(KINDS)}")
        found.update(kinds)
    if not found:
        raise InvalidParameter(f"operations: expected some of {', '.join(KINDS)}")
    return frozenset(found)


class Following:
    """The changes that a subscription is told of, behind drops of what it watches too.

    Predicates choose documents: a change that takes one out of what they match is a deletion, one that brings it in an
    insertion.
    """

    def __init__(self, changes: ChangeStream, operation: Watch, wanted: Wanted, opening: Open) -> None:
        self._changes = changes
        self._operation = operation
        self._wanted = wanted
        self._opening = opening

    @property
    def token(self) -> Document | None:
        """Where to go on from here."""
        return self._changes.token

    async def next(self) -> list[Document] | None:
        """Answer as :meth:`doorleaf.operations.results.ChangeStream.next`."""
        events = await self._changes.next()
        if events is None:
            return None
        if events and events[-1]["operationType"] == "invalidate":
            await self._changes.close()
            self._changes = await self._opening(altered(self._operation, start_after=events[-1]["_id"]))
        if events and self._wanted.predicates:
            return await JUDGING.run(_SECONDS, self._judged, events)
        return self._of_kinds(events)

    def _of_kinds(self, events: list[Document]) -> list[Document]:
        kinds = self._wanted.kinds
        if type(events) is not Events:
            return [event for event in events if event["operationType"] in kinds]
        if kinds not in events.told:
            events.told[kinds] = Events(event for event in events if event["operationType"] in kinds)
        found: Events = events.told[kinds]
        return found

    async def close(self) -> None:
        """Close the stream below."""
        await self._changes.close()

    def _judged(self, events: list[Document]) -> list[Document]:
        matches = compile_filter(self._wanted.predicates, Context(time.monotonic() + _SECONDS))
        told = (_judged(event, matches) for event in events if "documentKey" in event)
        return [event for event in told if event is not None and event["operationType"] in self._wanted.kinds]


def _judged(event: Document, matches: Callable[[Document], bool]) -> Document | None:
    """The event that a change is to whoever sees the documents that match alone; None for no event."""
    kind, document, before = event["operationType"], event.get("fullDocument"), event.get(_BEFORE)
    was = False if kind == "insert" else None if before is None else matches(before)
    if kind == "delete":
        return None if was is False else event
    if document is None or not matches(document):
        return {**event, "operationType": "delete"} if was else None
    return {**event, "operationType": "insert"} if was is False else event


async def check(wanted: Wanted) -> None:
    """Raise what is wrong with the predicates of a subscription."""
    _require_unnamed(wanted.predicates)
    if wanted.predicates:
        context = Context(time.monotonic() + _SECONDS)
        await JUDGING.run(_SECONDS, compile_filter, wanted.predicates, context)


def _require_unnamed(filter: Document) -> None:
    """Raise PermissionDenied for a filter that names what is hidden: events are judged without it."""
    for name, value in filter.items():
        if name in ("$and", "$or", "$nor") and isinstance(value, list):
            for part in value:
                if isinstance(part, dict):
                    _require_unnamed(part)
        elif name.partition(".")[0] in HIDDEN:
            raise PermissionDenied(f"the fields {' and '.join(HIDDEN)} are not the caller's")


async def follow(operation: Watch, wanted: Wanted, opening: Open) -> Following:
    """Open a subscription to what was checked; raises why it cannot be."""
    operation.full_document, operation.full_document_before_change = "updateLookup", "whenAvailable"
    return Following(await opening(operation), operation, wanted, opening)


def told(event: Document) -> Document:
    """An event as clients know it: a deletion has the document as it was, or its ``_id`` where nobody knows that."""
    kind = event["operationType"]
    document = event.get(_BEFORE) if kind == "delete" else event.get("fullDocument")
    at = event.get("wallTime")
    moment = at if isinstance(at, datetime) else datetime.fromtimestamp(event["clusterTime"].time, UTC)
    made: Document = {
        "operation": "UPDATE" if kind == "replace" else kind.upper(),
        "collection": event["ns"]["coll"],
        "document": event["documentKey"] if document is None else document,
        "operationType": kind,
        "documentId": event["documentKey"]["_id"],
        "timestamp": moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z",
        "correlationId": str(uuid.uuid4()),
    }
    if "_id" in event:
        made["resumeToken"] = event["_id"]["_data"]
    if kind == "update" and "updateDescription" in event:
        made["updateDescription"] = event["updateDescription"]
    return made | ({_UNKNOWN: True} if event.get(_UNKNOWN) else {})


# --- server-sent events ----------------------------------------------------------------------------------------------


def changes_route(door: Door) -> Route:
    """The route of a collection's changes."""
    return door.live(CHANGES, "workspaceChanges", _listen, abouts.CHANGES)


async def _listen(asked: Asked) -> Reply:
    request, mode = asked.request, asked.mode
    operation = Watch(namespace=asked.namespace(), start_after=last_token(request))

    async def opening(watch: Watch) -> ChangeStream:
        return (await asked.run(watch)).changes

    def write(event: Document) -> bytes:
        return id_line(event.get("_id")) + b"data: " + ejson.dumps(told(event), mode) + b"\n\n"

    wanted = _asked(request.query)
    await check(wanted)
    changes = await follow(operation, wanted, opening)
    reply = events_reply(
        changes, ("changes", mode), write, lambda error: workspace_error(error, request).body.replace(b"\n", b" ")
    )
    reply.headers = (*reply.headers, correlated(request))
    return reply


def _asked(query: bytes) -> Wanted:
    """What a query string asks for: ``operations``, and filters as for documents."""
    predicates = check_filter(read(query).filter)  # which knows what is wrong with the query string
    operations = dict(parse_qsl(query.decode("latin-1"))).get("operations")
    return Wanted(Wanted().kinds if operations is None else kinds_of(operations.split(",")), predicates)
