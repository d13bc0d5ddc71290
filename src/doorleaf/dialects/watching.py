"""The action ``watch``: changes of a collection, a database or everything as server-sent events."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from doorleaf import ejson
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Reply, Request, envelope
from doorleaf.dialects.bodies import Body
from doorleaf.dialects.events import events_reply, id_line, last_token
from doorleaf.documents import Document
from doorleaf.ejson import Mode, mode_of
from doorleaf.operations import Watch, WatchDatabase, WatchServer
from doorleaf.operations.decode import Decoder
from doorleaf.operations.lasting import BEFORE_CHANGE, FULL_DOCUMENT
from doorleaf.operations.parameters import parameters
from doorleaf.operations.places import Places
from doorleaf.operations.results import ChangesResult

_MEANS = {item.name: item.meaning for item in parameters(Watch)}


def _text(name: str, *values: str) -> Any:
    return Field(default=None, description=_MEANS[name], json_schema_extra={"enum": [*values, None]})


class WatchBody(Body):
    """The place that is watched, and from where on; unknown fields are ignored."""

    model_config = ConfigDict(extra="allow")

    dataSource: Annotated[str | None, Field(description="The data source, by name or alias.")] = None
    database: Annotated[str | None, Field(description="The database; without it and `collection` all are.")] = None
    collection: Annotated[str | None, Field(description="The collection; without it the whole database is.")] = None
    filter: Annotated[Document | None, Field(description=_MEANS["filter"])] = None
    fullDocument: Annotated[str | None, _text("fullDocument", *FULL_DOCUMENT)]
    fullDocumentBeforeChange: Annotated[str | None, _text("fullDocumentBeforeChange", *BEFORE_CHANGE)]
    resumeAfter: Annotated[Document | None, Field(description=_MEANS["resumeAfter"])] = None
    startAfter: Annotated[Document | None, Field(description=_MEANS["startAfter"])] = None
    startAtOperationTime: Annotated[Any, Field(description=_MEANS["startAtOperationTime"])] = None


WATCH = About(
    summary="Watch for changes: server-sent events",
    description=(
        "Each event has a change event of MongoDB in its data, and its resume token as its id, which `Last-Event-ID`"
        " goes on behind. One called `error` ends the stream."
    ),
    tag="Read",
    takes=WatchBody,
    example={"database": "shop", "collection": "orders", "filter": {"operationType": "insert"}},
    gives=Gives(content=str, content_type="text/event-stream", description="Change events, until the caller leaves."),
    refuses=("NoMatchingRuleFound", "MongoDBError"),
)


class Watching:
    """Decodes requests for the action, and writes its answers; ``plain`` and ``silent`` are as for other actions."""

    def __init__(self, places: Places, plain: Mode, silent: Mode) -> None:
        self._collection = Decoder(Watch, places)
        self._database = Decoder(WatchDatabase, places)
        self._server = Decoder(WatchServer, places)
        self._plain = plain
        self._silent = silent

    def decode(self, request: Request) -> Watch:
        body = ejson.loads(request.body or b"{}")
        decoder = self._server
        if body.get("collection") is not None:
            decoder = self._collection
        elif body.get("database") is not None:
            decoder = self._database
        operation = decoder(body)
        assert isinstance(operation, Watch)  # noqa: S101  # what these decoders make
        operation.require_possible()
        token = last_token(request)
        if token is not None:  # an EventSource that comes back asks by the body that it began with
            operation.resume_after, operation.start_after, operation.start_at_operation_time = None, token, None
        return operation

    def encode(self, result: ChangesResult, request: Request) -> Reply:
        mode = mode_of(request.headers.get(b"accept"), self._silent)
        if mode is Mode.PLAIN:
            mode = self._plain

        def write(event: Document) -> bytes:
            return id_line(event.get("_id")) + b"data: " + ejson.dumps(event, mode) + b"\n\n"

        return events_reply(result.changes, ("action", mode), write, lambda error: envelope(error, request).body)
