"""Collections by credentials in the URL: ``/collection/<operation>/<credential>/<collection id>``.

A credential reads one collection or writes it. It may come in the header ``Authorization: Bearer`` or ``apiKey`` too,
so that it is in no URL; the path has no segment for it then. Who has none that is right learns nothing: what is unknown
and what belongs to another collection are answered alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from doorleaf import ejson
from doorleaf.access.callers import Caller, Credentials
from doorleaf.apart import CODING
from doorleaf.dialects.base import (
    LONG_BYTES,
    Decode,
    Dialect,
    Later,
    Reply,
    Request,
    Route,
    header_credentials,
    json,
)
from doorleaf.dialects.connectome import abouts
from doorleaf.dialects.connectome.models import (
    ConnectomeError,
    DeleteQuery,
    NoQuery,
    ReadWithQuery,
    UpdateWithUpsert,
)
from doorleaf.dialects.handling import parameters, require_json
from doorleaf.dialects.ids import by_either_id, object_id
from doorleaf.documents import ABSENT, Document
from doorleaf.ejson import Mode
from doorleaf.errors import (
    DoorleafError,
    InvalidParameter,
    MethodNotAllowed,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unsupported,
)
from doorleaf.operations import (
    DeleteMany,
    Find,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    Scan,
    Transaction,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.fields import described, wrong
from doorleaf.operations.results import (
    DeleteResult,
    DocumentsResult,
    DocumentStream,
    InsertManyResult,
    InsertOneResult,
    Result,
    ScanResult,
    UpdateResult,
)

Execute = Callable[[Any, Caller, int], Awaitable[Any]]
"""Carries out an operation: the service's."""

PREFIX = "/collection"
SECRETIVE = ((b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))
"""An answer stays in no cache, and a page that a URL was opened in tells it to nobody."""
PAGES = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"X-Request-Id, Retry-After"),
)
"""Pages of any origin may read an answer: they have nothing of a visitor's, but the credential that they bring."""
PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"Authorization, apiKey, Content-Type, Accept, X-Request-Id"),
    (b"access-control-max-age", b"600"),
)

PIECE_BYTES = 256 * 1024
PIECE_DOCUMENTS = 250
"""What is written at once."""
_WRITING_SECONDS = 30.0


def connectome(execute: Execute, *, plain: Mode, max_documents: int, pages: bool) -> Dialect:
    """The dialect of collection credentials.

    ``execute`` is the service's; a read of up to ``max_documents`` is one answer, of more a stream. ``plain`` is how
    plain JSON is written. ``pages`` says whether browser pages of any origin may call; otherwise the server's setting
    for all routes decides.
    """
    marks = (*SECRETIVE, *PAGES) if pages else SECRETIVE
    served = _Connectome(execute, plain, max_documents, marks)
    routes: list[Route] = []
    for name, (methods, kind, about) in abouts.OPERATIONS.items():
        decode = _of_kind(kind, getattr(served, name))
        for place in ("{credential}/{collection_id}", "{collection_id}"):
            path = f"{PREFIX}/{name}/{place}"
            for method, described_as in zip(methods, about, strict=True):
                named = f"connectome{name.capitalize()}"
                routes.append(Route(method, path, named, decode=decode, encode=served.encode, about=described_as))
            routes.append(Route("*", path, "connectomeOther", handle=_other(methods, marks), public=True))
    routes.append(Route("*", f"{PREFIX}/{{rest...}}", "connectomeUnknown", handle=_unknown, public=True))
    return Dialect(
        "connectome",
        tuple(routes),
        credentials=_credentials,
        error=lambda error, request: _error(error, request, marks),
        security=[{}, {"bearer": []}],
        problem=ConnectomeError,
        only_json=True,
    )


def _credentials(request: Request) -> Credentials:
    given = request.params.get("credential")
    if given is None:
        shown = header_credentials(request)
        if shown.bearer is not None and shown.api_key not in (None, shown.bearer):
            raise InvalidParameter("the headers Authorization and apiKey differ; send one of them")
        given = shown.bearer or shown.api_key
    if given is None:
        raise Unauthenticated("the credential of the collection is missing: it is in the path, or in Authorization")
    return Credentials(api_key=given, address=request.address, collection=request.params["collection_id"])


def _of_kind(kind: str, decode: Decode) -> Decode:
    """``decode`` for callers whose credential is of this kind."""

    def checked(request: Request) -> Operation[Any] | Later:
        if request.identity.data["kind"] != kind:
            raise PermissionDenied(f"this takes a {kind} credential of the collection")
        if request.body:
            require_json(request)
        return decode(request)

    return checked


def _other(methods: Sequence[str], marks: tuple[tuple[bytes, bytes], ...]) -> Callable[[Request], Awaitable[Reply]]:
    """What answers methods that an operation does not have, and preflights where pages may call."""
    allowed = ", ".join(methods)

    async def other(request: Request) -> Reply:
        if request.method == "OPTIONS" and b"access-control-request-method" in request.headers and PAGES[0] in marks:
            return Reply(204, headers=(*marks, *PREFLIGHT))
        raise MethodNotAllowed(f"{request.method} is not allowed here; use {allowed}", headers={"Allow": allowed})

    return other


async def _unknown(request: Request) -> Reply:
    raise NotFound(f"there is no such operation; there are {', '.join(abouts.OPERATIONS)}")


def _error(error: DoorleafError, request: Request, marks: tuple[tuple[bytes, bytes], ...]) -> Reply:
    if request.namespace is not None and error.code == PermissionDenied.code:
        # The caller may, or there would be no operation yet: what is refused is an operator in what they sent.
        error = InvalidParameter(error.message)
    fields = dict(error.fields)
    inserted = {"inserted": fields.pop("insertedCount")} if "insertedCount" in fields else {}
    content = {"success": False, "error": error.code, "message": error.message, **inserted, **fields}
    body = ejson.dumps(content, Mode.PLAIN) if fields else json(content)
    headers = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()]
    return Reply(error.status, body, headers=(*headers, *marks))


class _Connectome:
    """Reads requests and writes answers; its methods that decode are called as their operations are."""

    def __init__(self, execute: Execute, plain: Mode, max_documents: int, marks: tuple[tuple[bytes, bytes], ...]):
        self._execute = execute
        self._plain = Mode.BARE if plain is Mode.PLAIN else plain
        self._max_documents = max_documents
        self._marks = marks

    def read(self, request: Request) -> Operation[Any]:
        _no_parameters(request)
        if request.body.strip() and _object(request, "read takes no body; use readwithquery"):
            raise InvalidParameter("read takes no body, and answers everything; use readwithquery")
        return Scan.of(Find(namespace=_place(request)))

    def readwithquery(self, request: Request) -> Operation[Any]:
        _no_parameters(request)
        given = ReadWithQuery.read(_object(request) if request.body.strip() else {})
        find = Find(
            namespace=_place(request),
            filter=by_either_id(given.query or {}),
            projection=given.project,
            sort=given.sort,
            skip=given.skip or 0,
            limit=given.limit or 0,
        )
        return find if 0 < find.limit <= self._max_documents else Scan.of(find)

    def write(self, request: Request) -> Operation[Any]:
        _no_parameters(request)
        return InsertOne(namespace=_place(request), document=_object(request, "use batchwrite for several documents"))

    def batchwrite(self, request: Request) -> Later:
        _no_parameters(request)
        insert = InsertMany(namespace=_place(request), documents=_documents(request))

        async def reply() -> Reply:
            request.namespace = insert.namespace
            size = len(request.body)
            try:
                done = await self._execute(Transaction.of([insert]), request.caller, size)
                result: Result = done.results[0]
            except Unsupported:  # a single server has no transactions: then its error says how many went in before
                result = await self._execute(insert, request.caller, size)
            return self.encode(result, request)

        return Later(reply)

    def updatewithupsert(self, request: Request) -> Operation[Any]:
        _no_parameters(request)
        given = UpdateWithUpsert.of(_object(request))
        update = _update(given.data, given.search)
        meant = object_id(given.search.get("_id"))
        only_new = update.get("$setOnInsert", {})
        if given.upsert and meant is not None and type(only_new) is dict:
            update["$setOnInsert"] = {"_id": meant, **only_new}
        change = UpdateOne if given.multi is False else UpdateMany
        return change(
            namespace=_place(request),
            filter=by_either_id(given.search),
            update=update,
            upsert=given.upsert or False,
        )

    def batchdelete(self, request: Request) -> Operation[Any]:
        confirmed = DeleteQuery.read(parameters(request)).confirm is not None
        query = _object(request) if request.body.strip() else {}
        if not query and not confirmed:
            raise InvalidParameter("the body is the query and must not be empty; ?confirm=all deletes every document")
        return DeleteMany(namespace=_place(request), filter=by_either_id(query))

    def encode(self, result: Result, request: Request) -> Reply:
        mode = ejson.mode_of(request.headers.get(b"accept"))
        mode = self._plain if mode is Mode.PLAIN else mode
        if isinstance(result, ScanResult):
            stream = result.documents
            pieces = _array(stream, mode)
            return Reply(200, b"", mode.content_type, self._marks, pieces=pieces, compressible=True, close=stream.close)
        if isinstance(result, DocumentsResult):
            documents = result.documents
            if documents.size < LONG_BYTES:
                body = ejson.encode_documents(documents, mode)
                return Reply(200, body, mode.content_type, self._marks, compressible=True)
            parts = ejson.encode_pieces(documents, mode, bare=True)
            return Reply(200, b"", mode.content_type, self._marks, pieces=parts, compressible=True)
        return Reply(200, ejson.dumps(_told(result), mode), mode.content_type, self._marks)


def _told(result: Result) -> Document:
    """What a write answers. Raises NotFound for an update that found nothing."""
    match result:
        case UpdateResult(matched_count=matched, modified_count=modified, upserted_id=upserted):
            if not matched and upserted is ABSENT:
                raise NotFound('no document matches the "search query"', code="DocumentNotFound")
            inserted = upserted is not ABSENT
            told = {"matched": matched, "modified": modified, "upserted": int(inserted)}
            return {"success": True, **told, "upserted_id": upserted if inserted else None}
        case InsertManyResult(inserted_ids=ids):
            return {"success": True, "inserted": len(ids), "inserted_ids": ids}
        case InsertOneResult(inserted_id=identifier):
            return {"success": True, "inserted": 1, "inserted_id": identifier}
        case DeleteResult(deleted_count=deleted):
            return {"success": True, "deleted": deleted}
    raise TypeError(f"no answer is made of {type(result).__name__}")


async def _array(documents: DocumentStream, mode: Mode) -> AsyncIterator[bytes]:
    """A JSON array of documents as they are read; one that fails in the middle has no end, so that nobody takes it for
    whole."""
    before = b"["
    while (found := await documents.next()) is not None:
        for part in found.parts(PIECE_BYTES, PIECE_DOCUMENTS):
            written = await CODING.run(_WRITING_SECONDS, ejson.encode_documents, part, mode)
            yield before + written[1:-1]
            before = b","
    yield b"]" if before == b"," else b"[]"


# --- what requests bring ---


def _place(request: Request) -> Namespace:
    place = request.identity.data
    return Namespace(place["database"], place["collection"], place["data_source"])


def _no_parameters(request: Request) -> None:
    if request.query:
        NoQuery.read(parameters(request))


def _object(request: Request, instead: str = "") -> Document:
    """The body, which has to be an object; ``instead`` says what there is for an array."""
    if instead and request.body.lstrip()[:1] == b"[":
        raise InvalidParameter(f"the body must be a JSON object, got an array; {instead}")
    return ejson.loads(request.body)


def _documents(request: Request) -> list[Document]:
    """The documents of a batch: a bare array, or one that is alone in ``data`` or ``documents``."""
    if not request.body.strip():
        raise InvalidParameter("the body must be an array of documents")
    found = ejson.loads_documents(request.body)
    if type(found) is dict and len(found) == 1 and next(iter(found)) in ("data", "documents"):
        [found] = found.values()
    if type(found) is not list:
        raise InvalidParameter(f"the body must be an array of documents, got {described(found)}")
    if not found:
        raise InvalidParameter("the body must be an array of documents, and has none")
    for index, document in enumerate(found):
        if type(document) is not dict:
            raise wrong(f"[{index}]", "a document", document)
    return found


def _update(data: Document, search: Document) -> Document:
    """``data`` as an update: the fields that it sets, or its operators. No ``_id`` can be changed."""
    operators = [name for name in data if name.startswith("$")]
    if not data:
        raise InvalidParameter("data: must not be empty")
    if operators:
        if len(operators) < len(data):
            raise InvalidParameter("data: has both fields and update operators; give one kind")
        return dict(data)
    if "_id" in data and ("_id" not in search or data["_id"] != search["_id"]):
        raise InvalidParameter("data._id: cannot be changed; what it is to be stands in the search query")
    fields = {name: value for name, value in data.items() if name != "_id"}
    if not fields:
        raise InvalidParameter("data: has nothing to set beside the _id")
    return {"$set": fields}
