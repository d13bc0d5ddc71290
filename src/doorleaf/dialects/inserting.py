"""``insertMany`` with a document on each line of its body, which are put in as they come.

The namespace is in the query string. What is in memory is a batch, whatever the length of the body; a few bodies have
a batch at a time, and the others wait with their clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from doorleaf.access.callers import Caller
from doorleaf.apart import CODING
from doorleaf.dialects.base import Reply, Request, Route, Upload
from doorleaf.documents import Document
from doorleaf.ejson import Mode, dumps, mode_of
from doorleaf.errors import DoorleafError, InvalidParameter, TooManyRequests, WriteFailed
from doorleaf.operations import InsertMany, Namespace
from doorleaf.operations.decode import Decoder
from doorleaf.operations.places import Places
from doorleaf.transfer import ndjson
from doorleaf.transfer.rows import Row

LINES = "application/x-ndjson"
MOST_BYTES = 1 << 40
"""What one body may have."""

MOST_LINE_BYTES = 16 * 1024 * 1024 + 64 * 1024
BATCH_BYTES = 1024 * 1024
BATCH_LINES = 2_000

MOST_HELD_BYTES = 128 * 1024 * 1024
"""What all lines of more than a batch, of which the end has not come, may take together."""

AT_ONCE = 4
"""Bodies that have a batch at the same time."""

_DECODING_SECONDS = 30.0

MOST_ERRORS = 100
"""Lines that were not put in which an answer names."""

Execute = Callable[[InsertMany, Caller, int], Awaitable[Any]]


class Inserting:
    """Handles such requests: ``execute`` is the service's, ``status`` that of an insert."""

    def __init__(self, execute: Execute, places: Places, status: int, plain: Mode, silent: Mode) -> None:
        self._execute = execute
        self._decoder = Decoder(InsertMany, places)
        self._status = status
        self._plain = plain
        self._silent = silent
        self._room = _Room()

    async def __call__(self, request: Request) -> Reply:
        namespace, ordered = self._query(request)
        request.namespace = namespace
        assert request.upload is not None  # noqa: S101  # the route reads it as it comes
        done = _Done(ordered)
        async with aclosing(_Lines(request.upload, self._room).batches()) as batches:
            async for batch in batches:
                await self._insert(request, namespace, batch, done)
                if done.over:
                    break
        if done.errors:
            raise done.error()
        mode = mode_of(request.headers.get(b"accept"), self._silent)
        mode = self._plain if mode is Mode.PLAIN else mode
        return Reply(self._status, dumps({"insertedCount": done.inserted}, mode), mode.content_type)

    def _query(self, request: Request) -> tuple[Namespace, bool]:
        try:
            pairs = parse_qsl(request.query.decode(), keep_blank_values=True, strict_parsing=True, errors="strict")
        except (ValueError, UnicodeDecodeError):
            raise InvalidParameter("the query string is malformed") from None
        given = dict(pairs)
        given.pop("secret", None)  # an app's Data API may want one, and has looked at it
        for name in given:
            if name not in ("dataSource", "database", "collection", "ordered"):
                raise InvalidParameter(f"{name[:100]}: expected dataSource, database, collection or ordered")
        if len(given) != sum(name != "secret" for name, _ in pairs):
            raise InvalidParameter("the query string has a name twice")
        ordered = given.pop("ordered", "true")
        if ordered not in ("true", "false"):
            raise InvalidParameter("ordered: expected true or false")
        return self._decoder.namespace(dict(given)), ordered == "true"

    async def _insert(
        self, request: Request, namespace: Namespace, batch: list[tuple[int, bytes]], done: _Done
    ) -> None:
        rows = await CODING.run(_DECODING_SECONDS, _rows, batch)
        good = []
        for row in rows:
            if row.is_good:
                good.append(row)
            elif done.ordered:
                break
            else:
                done.refuse(row, 2, row.reason)
        if good:
            operation = InsertMany(
                namespace=namespace, documents=[_document(row) for row in good], ordered=done.ordered
            )
            try:
                await self._execute(operation, request.caller, sum(len(line) for _, line in batch))
                done.inserted += len(good)
            except WriteFailed as error:
                done.inserted += error.fields["insertedCount"]
                for entry in error.fields["writeErrors"]:
                    done.refuse(good[entry["index"]], entry["code"], entry["message"])
            except DoorleafError as error:
                raise _told(error, done) from error
        if not done.over and len(good) < len(rows) and done.ordered:
            done.refuse(rows[len(good)], 2, rows[len(good)].reason)


def beside(route: Route, handle: Inserting) -> Route:
    """The route of such requests, beside ``route`` of all others."""
    return replace(
        route, decode=None, encode=None, handle=handle, reads="stream", limit=MOST_BYTES, takes=LINES, raw=True
    )


def _document(row: Row) -> Document:
    assert row.document is not None  # noqa: S101  # the others are refused
    return row.document


class _Done:
    """How far a request is."""

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.inserted = 0
        self.refused = 0
        self.errors: list[Document] = []

    @property
    def over(self) -> bool:
        return self.ordered and bool(self.errors)

    def refuse(self, row: Row, code: int, reason: str) -> None:
        self.refused += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"line": row.number, "code": code, "message": reason})

    def error(self) -> WriteFailed:
        first = self.errors[0]
        fields = {"insertedCount": self.inserted, "rejectedCount": self.refused, "writeErrors": self.errors}
        return WriteFailed(f"line {first['line']}: {first['message']}", number=first["code"], fields=fields)


def _told(error: DoorleafError, done: _Done) -> DoorleafError:
    """``error`` with what went in before it, and what of its batch did."""
    error.fields = {**error.fields, "insertedCount": done.inserted + error.fields.get("insertedCount", 0)}
    return error


def _rows(batch: list[tuple[int, bytes]]) -> list[Row]:
    return [ndjson.row(number, line) for number, line in batch]


class _Room:
    """What long lines that are not whole yet take together."""

    def __init__(self) -> None:
        self.held = 0
        self.turns = asyncio.Semaphore(AT_ONCE)


class _Lines:
    """Lines with their numbers, as many at a time as are put in together; blank ones are passed over."""

    def __init__(self, upload: Upload, room: _Room) -> None:
        self._upload = upload
        self._room = room
        self._number = 0
        self._rest = bytearray()
        self._counted = 0
        self._batch: list[tuple[int, bytes]] = []
        self._size = 0

    async def batches(self) -> AsyncGenerator[list[tuple[int, bytes]], None]:
        """Batches, each while it is this body's turn."""
        try:
            async for piece in self._upload:
                for line in self._whole(piece):
                    self._add(line)
                    if self._size >= BATCH_BYTES or len(self._batch) >= BATCH_LINES:
                        async with self._room.turns:
                            yield self._batch
                        self._batch, self._size = [], 0
            self._add(bytes(self._rest))
            if self._batch:
                async with self._room.turns:
                    yield self._batch
        finally:
            self._count(0)

    def _whole(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``."""
        if b"\n" not in piece:
            self._rest += piece
            if len(self._rest) > MOST_LINE_BYTES:
                raise InvalidParameter(f"line {self._number + 1} is longer than {MOST_LINE_BYTES} bytes")
            self._count(len(self._rest) if len(self._rest) > BATCH_BYTES else 0)
            return []
        first, *others = piece.split(b"\n")
        self._rest += first
        lines = [bytes(self._rest), *others[:-1]]
        self._rest = bytearray(others[-1])
        self._count(0)
        return lines

    def _count(self, size: int) -> None:
        self._room.held += size - self._counted
        self._counted = size
        if size and self._room.held > MOST_HELD_BYTES:
            raise TooManyRequests("too many long lines come at the same time; try again later")

    def _add(self, line: bytes) -> None:
        self._number += 1
        if line.strip():
            self._batch.append((self._number, line))
            self._size += len(line)
