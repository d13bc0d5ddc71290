"""Function calls of the App Services client API: the service calls that the SDKs' collection objects make.

A call is ``{name, arguments, service}`` with one argument, an object of ``database``, ``collection`` and the call's own
fields, in Extended JSON. The answer is the bare value in canonical Extended JSON: a document, an array, a count, or an
object such as ``{"deletedCount": …}``.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from bson import Int64

from doorleaf import ejson
from doorleaf.apart import CODING
from doorleaf.apart.sizes import is_small
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Later, Reply, Request, Route
from doorleaf.dialects.client import watch as client_watch
from doorleaf.dialects.client.auth import TAG
from doorleaf.dialects.client.models import FunctionCall, StreamedCall
from doorleaf.documents import ABSENT, Document
from doorleaf.errors import InvalidParameter, MissingParameter, NotFound, Unsupported
from doorleaf.operations import (
    Aggregate,
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
    Operation,
    UpdateMany,
    UpdateOne,
    Watch,
)
from doorleaf.operations.decode import Decoder
from doorleaf.operations.fields import wrong
from doorleaf.operations.places import Places
from doorleaf.operations.results import CountResult, DistinctResult, DocumentResult, DocumentsResult, Result

PATH = "/api/client/v2.0/app/{app_id}/functions/call"

_QUERY = {"query": "filter"}
_SHAPE = {"project": "projection"}

CALLS: Mapping[str, tuple[type[Operation[Any]], Mapping[str, str]]] = {
    "find": (Find, _QUERY | _SHAPE),
    "findOne": (FindOne, _QUERY | _SHAPE),
    "findOneAndUpdate": (FindOneAndUpdate, _QUERY | _SHAPE),
    "findOneAndReplace": (FindOneAndReplace, _QUERY | _SHAPE | {"update": "replacement"}),
    "findOneAndDelete": (FindOneAndDelete, _QUERY | _SHAPE),
    "aggregate": (Aggregate, {}),
    "count": (CountDocuments, _QUERY),
    "distinct": (Distinct, _QUERY | {"field": "key"}),
    "insertOne": (InsertOne, {}),
    "insertMany": (InsertMany, {}),
    "updateOne": (UpdateOne, _QUERY),
    "updateMany": (UpdateMany, _QUERY),
    "deleteOne": (DeleteOne, _QUERY),
    "deleteMany": (DeleteMany, _QUERY),
}
"""The calls: each an operation, and what the clients call its fields beside the operation's own names."""

_REFUSES = (
    "FunctionNotFound",
    "ServiceNotFound",
    "NotCallable",
    "NoMatchingRuleFound",
    "FieldNotReadable",
    "MongoDBError",
)
CALL = About(
    summary="Call a function of a service: read or write documents",
    description="Answers are canonical Extended JSON, whatever `Accept` says.",
    tag=TAG,
    takes=FunctionCall,
    example={
        "name": "find",
        "arguments": [{"database": "shop", "collection": "orders", "query": {"status": "open"}}],
        "service": "mongodb-atlas",
    },
    gives=Gives(content=Any, description="The value: a document, an array, a number, or what a write did."),
    refuses=(*_REFUSES, "SchemaValidationFailedWrite", "WriteOutcomeUnknown"),
)
STREAM = About(
    summary="Watch a collection: changes as server-sent events",
    tag=TAG,
    query=StreamedCall,
    gives=Gives(content=str, content_type="text/event-stream", description="Change events, until the caller leaves."),
    refuses=_REFUSES,
)


_WRITING_SECONDS = 30.0
"""What writing the answer of a function may take."""

Run = Callable[[str, list[Any], Any, Request], Awaitable[Any]]
"""Runs a function of the app: its name, its arguments, with ABSENT for those left out, the caller's identity, and the
request."""


def function_routes(*, places: Places, max_documents: int, run: Run | None = None) -> tuple[Route, ...]:
    """The routes of function calls. ``max_documents`` is the ``limit`` of a find without one; ``run`` runs the app's
    own functions, None where there are none."""
    call = _Calls(places, max_documents, run)
    return (
        Route("POST", PATH, "callFunction", decode=call, encode=_encode, about=CALL),
        Route("GET", PATH, "streamFunction", decode=call.watch, encode=client_watch.stream, about=STREAM),
    )


class _Calls:
    """Decodes calls."""

    def __init__(self, places: Places, max_documents: int, run: Run | None) -> None:
        self._run = run
        self._places = places
        self._max_documents = max_documents
        self._decoders = {name: Decoder(operation, places, names=names) for name, (operation, names) in CALLS.items()}
        self._watches = Decoder(Watch, places)

    def __call__(self, request: Request) -> Operation[Any] | Later:
        body = ejson.loads(request.body or b"{}")
        if self._run is not None and body.get("service") is None:
            return _later(self._run, body, request)
        name, source = self._called(body)
        if name not in self._decoders:
            raise _only_a_stream() if name == "watch" else _no_function(name)
        fields = _argument(body)
        name = _meant(name, fields)
        return self._operation(name, self._decoders[name], source, fields)

    def watch(self, request: Request) -> Operation[Any]:
        """The one call that is a stream."""
        body = client_watch.called(request)
        name, source = self._called(body)
        if name != "watch":
            raise _no_stream(name) if name in CALLS else _no_function(name)
        fields = _argument(body)
        for field in fields:
            if field not in (*_PLACE, "ids", "filter"):
                raise InvalidParameter(f"{field[:100]}: watch has no such argument")
        namespace = self._watches.namespace({**_place(fields), "dataSource": source})
        return Watch(namespace=namespace, filter=client_watch.event_filter(fields))

    def _called(self, body: Document) -> tuple[str, str]:
        """The name and the data source of a call."""
        name = body.get("name")
        if type(name) is not str or not name:
            raise InvalidParameter("name: expected the name of a function")
        service = body.get("service")
        if service is None:
            raise _no_function(name)
        if type(service) is not str or not service:
            raise wrong("service", "a non-empty string", service)
        source = self._places.find(service)
        if source is None:
            raise NotFound(f"service not found: '{service[:100]}'", code="ServiceNotFound")
        return name, source

    def _operation(self, name: str, decoder: Decoder, source: str, fields: Document) -> Operation[Any]:
        for field in fields:
            if field not in decoder.names and field not in ("database", "collection"):
                raise InvalidParameter(f"{field[:100]}: {name} has no such argument")
        if name == "findOneAndReplace" and fields.get("update") is None and fields.get("replacement") is None:
            raise MissingParameter("update is required: the document to replace with")
        returns = fields.get("returnNewDocument") is None and fields.get("returnDocument") is None
        if returns and "returnNewDocument" in decoder.names:
            # Clients of this API get the document before the change unless they ask for the other.
            fields = {**fields, "returnNewDocument": False}
        namespace = decoder.namespace({**_place(fields), "dataSource": source})
        operation = decoder.decode({key: value for key, value in fields.items() if key not in _PLACE}, namespace)
        if type(operation) is Find:
            operation.limit = operation.limit or self._max_documents
        return operation


def _later(run: Run, body: Document, request: Request) -> Later:
    """The reply that a function of the app makes."""
    name, arguments = body.get("name"), body.get("arguments")
    if type(name) is not str or not name:
        raise InvalidParameter("name: expected the name of a function")
    if arguments is None:
        arguments = []
    if type(arguments) is not list:
        raise wrong("arguments", "an array", arguments)

    if b"$undefined" in request.body:
        arguments = _with_missing(arguments, request.body)

    async def reply() -> Reply:
        value = await run(name, arguments, request.identity, request)
        if is_small(value):
            return Reply(200, ejson.dumps(value, ejson.Mode.CANONICAL))
        return Reply(200, await CODING.run(_WRITING_SECONDS, ejson.dumps, value, ejson.Mode.CANONICAL))

    return Later(reply)


def _with_missing(arguments: list[Any], body: bytes) -> list[Any]:
    """``arguments`` with ABSENT for those that the client left out, which is not what null says."""
    written = orjson.loads(body.removeprefix(BOM_UTF8))["arguments"]
    return [ABSENT if text == {"$undefined": True} else it for it, text in zip(arguments, written, strict=True)]


_PLACE = ("database", "collection")


def _meant(name: str, fields: Document) -> str:
    """The call that is meant: the clients of this API say some by the name of another.

    A ``findOneAndUpdate`` with a plain document replaces. ``realm-web`` asks for a ``findOneAndDelete`` by the name
    ``findOneAndReplace``, with a filter and nothing that only a replacement has.
    """
    if name == "findOneAndUpdate" and _is_plain(fields.get("update")):
        return "findOneAndReplace"
    if name == "findOneAndReplace" and fields.keys().isdisjoint(_OF_REPLACEMENTS):
        return "findOneAndDelete"
    return name


_OF_REPLACEMENTS = frozenset({"update", "replacement", "upsert", "returnNewDocument", "returnDocument"})


def _is_plain(update: Any) -> bool:
    return type(update) is dict and not any(key.startswith("$") for key in update)


def _place(fields: Document) -> Document:
    return {name: fields[name] for name in _PLACE if name in fields}


def _argument(body: Document) -> Document:
    """The one argument of a service call."""
    arguments = body.get("arguments")
    if type(arguments) is not list:
        raise wrong("arguments", "an array with one object", arguments)
    if len(arguments) != 1:
        raise InvalidParameter(f"arguments: expected an array with one object, got {len(arguments)} arguments")
    if type(arguments[0]) is not dict:
        raise wrong("arguments[0]", "an object", arguments[0])
    fields: Document = arguments[0]
    return fields


def _encode(result: Result, request: Request) -> Reply:
    # JSON by its name and Extended JSON by its content: what the clients expect whatever they accept.
    return Reply(200, encoded(result), compressible=True)


def encoded(result: Result, mode: ejson.Mode = ejson.Mode.CANONICAL) -> bytes:
    """The bare value of a result, as Extended JSON."""
    value: Any
    if type(result) is DocumentResult:
        document = result.document
        if isinstance(document, bytes):
            return ejson.encode_document(document, mode)
        value = document
    elif type(result) is DocumentsResult:
        return ejson.encode_documents(result.documents, mode)
    elif type(result) is CountResult:
        value = Int64(result.count)
    elif type(result) is DistinctResult:
        value = result.values
    else:
        value = result.wire()
    return ejson.dumps(value, mode)


def _only_a_stream() -> Unsupported:
    return Unsupported("watch is a stream: ask for it with GET", code="NotCallable")


def _no_stream(name: str) -> Unsupported:
    return Unsupported(f"{name} is not a stream: call it with POST", code="NotCallable")


def _no_function(name: str) -> NotFound:
    return NotFound(f"function not found: '{name[:100]}'", code="FunctionNotFound")
