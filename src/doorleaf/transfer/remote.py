"""A running server, spoken to by HTTP: operations become actions there, and their answers results here."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import bson

from doorleaf import ejson
from doorleaf.documents import CODEC, Document, Documents, Encoded, Exact
from doorleaf.errors import (
    CODE_NAMES,
    DataError,
    DoorleafError,
    InvalidParameter,
    PayloadTooLarge,
    PermissionDenied,
    RequestError,
    StoreTimeout,
    StoreUnavailable,
    TooManyRequests,
    Unauthenticated,
    WriteFailed,
    WriteOutcomeUnknown,
)
from doorleaf.operations import BulkWrite, InsertMany, Operation, R, Scan
from doorleaf.operations.parameters import parameters
from doorleaf.operations.results import (
    BulkWriteResult,
    CollectionsResult,
    CommandResult,
    CountResult,
    CreateIndexResult,
    DocumentsResult,
    IndexesResult,
    InsertManyResult,
    OkResult,
    Result,
    ScanResult,
)
from doorleaf.transfer.rows import CHUNK_BYTES

MOST_BODY_BYTES = 12 * 1024 * 1024
"""Documents of one request as text: somewhat less than what a server takes where nothing else is set."""

LINES = "application/x-ndjson; mode=canonical"
"""What a server answers as a document a line, with their types."""

SECONDS = 330.0
"""How long an answer is awaited: somewhat longer than a server lets an operation last."""


class Server:
    """A server at ``url``, to which ``key`` is shown. One request at a time, on a connection that is kept."""

    def __init__(self, url: str, key: str) -> None:
        self._at = urlsplit(url)
        if self._at.scheme not in ("http", "https") or not self._at.hostname:
            raise InvalidParameter("--url: expected http:// or https:// with a host")
        if self._at.query or self._at.fragment or self._at.username:
            raise InvalidParameter("--url: expected the address of a server alone; the key is an option of its own")
        try:
            key.encode("ascii")
        except UnicodeEncodeError:
            raise InvalidParameter("the key has characters that no key has") from None
        self._key = key
        self._connection: HTTPConnection | None = None

    async def execute(self, operation: Operation[R]) -> R:
        """Carry out ``operation``, in several requests where it has much. Raises what a store would."""
        if isinstance(operation, Scan):
            return cast("R", ScanResult(await asyncio.to_thread(self._scan, operation)))
        return cast("R", await asyncio.to_thread(self._carry_out, operation))

    def _scan(self, operation: Scan) -> Lines:
        connection = connect(self._at)
        headers = {**self.headers(), "Accept": LINES}
        path = f"{self._at.path.rstrip('/')}/data/v1/action/{operation.action}"
        try:
            connection.request("POST", path, _body(operation.query), headers)
            response = connection.getresponse()
            if response.status < 400 and (response.getheader("Content-Type") or "").startswith("application/x-ndjson"):
                return Lines(connection, response)
            text = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise StoreUnavailable(f"the server cannot be reached: {error or type(error).__name__}") from None
        connection.close()
        if response.status < 400:
            raise StoreUnavailable("the server does not answer a document a line: it is too old")
        raise error_of(response.status, _read(response, text), response)

    def _carry_out(self, operation: Operation[Any]) -> Result:
        if not isinstance(operation, InsertMany):
            if isinstance(operation, BulkWrite):
                return self._bulk_write(operation)
            return self._asked(operation.name, _body(operation))
        ids: list[Any] = []
        errors: list[Document] = []
        for start, documents in _parts(_texts(operation.documents)):
            try:
                answer = self._asked("insertMany", _joined(operation, b"documents", documents))
                ids += cast("InsertManyResult", answer).inserted_ids
            except WriteFailed as error:
                ids += error.fields.get("insertedIds", [])
                errors += [{**entry, "index": entry["index"] + start} for entry in error.fields["writeErrors"]]
                if operation.ordered:
                    break
        if errors:
            fields = {"insertedCount": len(ids), "insertedIds": ids, "writeErrors": errors}
            raise WriteFailed(errors[0]["message"], number=errors[0]["code"], fields=fields)
        return InsertManyResult(ids)

    def _bulk_write(self, operation: BulkWrite) -> Result:
        total = BulkWriteResult()
        errors: list[Document] = []
        texts = [ejson.dumps({write.name: _fields(write)}, ejson.Mode.CANONICAL) for write in operation.operations]
        for start, writes in _parts(texts):
            try:
                counts = self._asked("bulkWrite", _joined(operation, b"operations", writes)).wire()
            except WriteFailed as error:
                counts = dict(error.fields)
                errors += [{**entry, "index": entry["index"] + start} for entry in counts["writeErrors"]]
            total.matched_count += counts["matchedCount"]
            total.modified_count += counts["modifiedCount"]
            total.upserted_count += counts["upsertedCount"]
            if errors and operation.ordered:
                break
        if errors:
            fields = {**total.wire(), "writeErrors": errors}
            raise WriteFailed(errors[0]["message"], number=errors[0]["code"], fields=fields)
        return total

    def _asked(self, action: str, body: bytes) -> Result:
        response, text = self.post(f"/data/v1/action/{action}", body)
        answer = _read(response, text)
        if response.status >= 400:
            raise error_of(response.status, answer, response)
        return _result(action, answer)

    def post(self, path: str, body: bytes) -> tuple[HTTPResponse, bytes]:
        """The answer to a request, read to its end; nothing is sent twice."""
        connection = self._connection or connect(self._at)
        self._connection = None
        try:
            connection.request("POST", self._at.path.rstrip("/") + path, body, self.headers())
            response = connection.getresponse()
            text = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise WriteOutcomeUnknown(f"the server cannot be reached: {error or type(error).__name__}") from None
        if response.will_close:
            connection.close()
        else:
            self._connection = connection
        return response, text

    def follow(self, path: str) -> Iterator[bytes]:
        """The lines of an answer that goes on, as they come, for as long as they are asked for."""
        connection = connect(self._at)
        try:
            connection.request("GET", self._at.path.rstrip("/") + path, headers=self.headers())
            response = connection.getresponse()
            if response.status >= 400:
                raise error_of(response.status, _read(response, response.read()), response)
            if connection.sock is not None:
                connection.sock.settimeout(None)  # it may say nothing for hours
            while line := response.readline():
                yield line
        except (OSError, HTTPException) as error:
            raise StoreUnavailable(f"the server cannot be reached: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        kind = "application/ejson"
        return {"Content-Type": kind, "Accept": kind, "apiKey": self._key}

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()


class Lines:
    """The documents of an answer that has one on each line, as :class:`DocumentStream`."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self._held: list[bytes] = []
        self._rest = b""

    async def next(self) -> Documents | None:
        """The documents of the next piece that came, but for the last: it may be an error, which the end tells."""
        return await asyncio.to_thread(self._next)

    def _next(self) -> Documents | None:
        while True:
            try:
                piece = self._response.read1(CHUNK_BYTES)
            except (OSError, HTTPException):
                raise self._failure() from None
            *lines, self._rest = (self._rest + piece).split(b"\n")
            lines = self._held + lines
            if not piece:
                self._held = []
                if self._rest:
                    raise self._failure()
            elif lines:
                *lines, last = lines
                self._held = [last]
            if lines:
                return Documents([bson.encode(ejson.loads(line), codec_options=CODEC) for line in lines])
            if not piece:
                return None

    def _failure(self) -> DoorleafError:
        """Why the answer was cut, which its last line says."""
        with contextlib.suppress(DoorleafError):
            for line in self._held:
                told = ejson.loads(line)
                if isinstance(told.get("error"), str) and "_id" not in told:
                    return error_of(500, told, self._response)
        return StoreUnavailable("the server broke off its answer")

    async def close(self) -> None:
        """Let go of the connection; the server reads no further."""
        self._response.close()
        self._connection.close()


def _read(response: HTTPResponse, text: bytes) -> Document:
    try:
        return ejson.loads(text)
    except DoorleafError:
        raise StoreUnavailable(f"the server answered {response.status}, and no JSON") from None


def connect(at: SplitResult) -> HTTPConnection:
    """A connection to the host of ``at``, not yet open."""
    host = at.hostname or ""
    if at.scheme == "https":
        return HTTPSConnection(host, at.port, timeout=SECONDS, context=ssl.create_default_context())
    return HTTPConnection(host, at.port, timeout=SECONDS)


# --- requests --------------------------------------------------------------------------------------------------------


def _texts(documents: Sequence[Document]) -> list[bytes]:
    """Documents as canonical Extended JSON. Raises InvalidParameter for what that cannot hold."""
    return [*map(_exactly, documents.raw)] if isinstance(documents, Encoded) else [*map(_text, documents)]


def _text(document: Document) -> bytes:
    return _exactly(document.raw) if isinstance(document, Exact) else ejson.dumps(document, ejson.Mode.CANONICAL)


def _exactly(document: bytes) -> bytes:
    written = ejson.encode_exactly(document, ejson.Mode.CANONICAL)
    if written is None:
        raise InvalidParameter("the document has values that Extended JSON does not hold exactly")
    return written


def _parts(texts: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Take as many as fit one request, with the place of the first."""
    start = size = 0
    for place, text in enumerate(texts):
        if size and size + len(text) > MOST_BODY_BYTES:
            yield start, texts[start:place]
            start, size = place, 0
        size += len(text) + 1
    yield start, texts[start:]


def _joined(operation: InsertMany | BulkWrite, name: bytes, texts: list[bytes]) -> bytes:
    ordered = b"true" if operation.ordered else b"false"
    return b'{%b,"ordered":%b,"%b":[%b]}' % (_place(operation)[1:-1], ordered, name, b",".join(texts))


def _place(operation: Operation[Any]) -> bytes:
    at = operation.namespace
    place = {"dataSource": at.data_source, "database": at.database, "collection": at.collection}
    return ejson.dumps({name: value for name, value in place.items() if value}, ejson.Mode.CANONICAL)


def _fields(operation: Operation[Any]) -> Document:
    """The fields of ``operation`` that are not as they are by themselves, by their names on the wire."""
    listed = ((item.name, getattr(operation, item.attribute), item.default) for item in parameters(type(operation)))
    return {name: value for name, value, default in listed if value != default and value is not None}


def _body(operation: Operation[Any]) -> bytes:
    fields = ejson.dumps(_fields(operation), ejson.Mode.CANONICAL)
    return _place(operation)[:-1] + (b"," + fields[1:] if fields != b"{}" else b"}")


# --- answers ---------------------------------------------------------------------------------------------------------


def _result(action: str, answer: Document) -> Result:
    if action == "find":
        return DocumentsResult(Documents.decoded_as(answer["documents"]))
    if action == "insertMany":
        return InsertManyResult(answer["insertedIds"])
    if action == "estimatedDocumentCount":
        return CountResult(answer["count"])
    if action == "bulkWrite":
        counts = ("matchedCount", "modifiedCount", "upsertedCount")
        matched, modified, upserted = (answer[name] for name in counts)
        return BulkWriteResult(matched_count=matched, modified_count=modified, upserted_count=upserted)
    if action == "runCommand":
        return CommandResult(answer["result"])
    if action == "listIndexes":
        return IndexesResult(answer["indexes"])
    if action == "listCollections":
        return CollectionsResult(answer["collections"])
    if action == "createIndex":
        names = ("createdCollectionAutomatically", "numIndexesBefore", "numIndexesAfter")
        return CreateIndexResult(*(answer[name] for name in names))
    return OkResult()


_BY_STATUS: dict[int, type[DoorleafError]] = {
    401: Unauthenticated,
    403: PermissionDenied,
    413: PayloadTooLarge,
    429: TooManyRequests,
    503: StoreUnavailable,
    504: StoreTimeout,
}
_NUMBERS = {name: number for number, name in CODE_NAMES.items()}


def error_of(status: int, answer: Mapping[str, Any], response: HTTPResponse) -> DoorleafError:
    """The error that an answer tells, as the store raised it there."""
    message, code = str(answer.get("error", "")), str(answer.get("error_code", ""))
    fields = {name: value for name, value in answer.items() if name not in ("error", "error_code", "link")}
    if isinstance(fields.get("writeErrors"), list) and fields["writeErrors"]:
        return WriteFailed(message, number=fields["writeErrors"][0]["code"], fields=fields)
    if status in _BY_STATUS:
        headers = {"Retry-After": response.getheader("Retry-After") or ""}
        return _BY_STATUS[status](message, code=code or None, headers=headers)
    if code == "InvalidParameter":
        return InvalidParameter(message)
    if code in _NUMBERS:
        return DataError(message, number=_NUMBERS[code])
    if status >= 500:
        return StoreUnavailable(f"the server answered {status}: {message}")
    return RequestError(message, code=code or None)
