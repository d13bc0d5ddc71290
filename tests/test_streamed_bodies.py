"""Bodies that a route reads as they come, and handles that answer with what goes on, with a dialect made for it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import http.client
import os
import socket
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from servers import PATIENCE
from serving import Served, serving

from doorleaf.dialects.base import Dialect, Reply, Request, Route
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.http import connections
from doorleaf.http.uploads import PIECE_BYTES
from doorleaf.operations import InsertMany, Namespace

LIMIT = 64 * 1024 * 1024

held = threading.Event()
"""Set once a handle that waits before it reads may go on."""
ended: list[str] = []
"""How handles ended whose clients left."""


async def digest(request: Request) -> Reply:
    assert request.upload is not None
    assert request.body == b""
    found, size, longest = hashlib.sha256(), 0, 0
    async for piece in request.upload:
        assert piece
        found.update(piece)
        size, longest = size + len(piece), max(longest, len(piece))
    assert [piece async for piece in request.upload] == []
    content = {"size": size, "digest": found.hexdigest(), "longest": longest, "received": request.received}
    return Reply(200, orjson.dumps(content))


async def later(request: Request) -> Reply:
    assert request.upload is not None
    while not held.is_set():  # noqa: ASYNC110  # the test sets it from another thread
        await asyncio.sleep(0.01)
    return await digest(request)


async def early(request: Request) -> Reply:
    return Reply(200, b'{"early":true}')


async def watching(request: Request) -> Reply:
    try:
        return await digest(request)
    except BaseException as error:
        ended.append(type(error).__name__)
        raise


async def live(request: Request) -> Reply:
    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"."
                await asyncio.sleep(0.02)
        finally:
            ended.append("left")

    async def close() -> None:
        ended.append("closed")

    return Reply(200, content_type=b"text/plain", stream=pieces(), close=close)


def upload(path: str, handle: Any, **more: Any) -> Route:
    return Route("POST", path, path[1:], handle=handle, reads="stream", limit=LIMIT, **more)


DIALECT = Dialect(
    "made",
    (
        upload("/digest", digest),
        upload("/open", digest, public=True),
        upload("/later", later),
        upload("/early", early),
        upload("/watching", watching),
        Route("POST", "/short", "short", handle=digest, reads="stream"),
        Route("GET", "/live", "live", handle=live),
    ),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("uploads"), DIALECT, max_streams=4) as running:
        yield running


def send(
    server: Served, path: str, body: Any, *, chunked: bool = False, **headers: str
) -> tuple[int, dict[str, Any], http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, body, {"apiKey": server.key, **named}, encode_chunked=chunked)
    answer = connection.getresponse()
    return answer.status, orjson.loads(answer.read()), connection


def parts(body: bytes, size: int = 100_000) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def test_more_than_any_body_that_is_held_may_have(server: Served) -> None:
    body = os.urandom(1024 * 1024) * 40
    wanted = hashlib.sha256(body).hexdigest()
    status, found, connection = send(server, "/digest", body)
    assert (status, found["size"], found["digest"], found["received"]) == (200, len(body), wanted, len(body))
    assert found["longest"] <= PIECE_BYTES
    # The connection goes on behind it, and so does a body in chunks.
    connection.request(
        "POST", "/digest", parts(body), {"apiKey": server.key, "Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert orjson.loads(connection.getresponse().read())["digest"] == wanted
    assert send(server, "/digest", b"")[1]["size"] == 0


def test_more_than_the_route_takes_is_refused(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest("POST", "/digest")
    for name, value in (("apiKey", server.key), ("Content-Length", str(LIMIT + 1))):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    body = bytes(17 * 1024 * 1024)
    status, found, _ = send(server, "/short", parts(body), chunked=True, Transfer_Encoding="chunked")
    assert (status, found["error_code"]) == (413, "PayloadTooLarge")


def test_who_is_unknown_uploads_nothing(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("POST", "/digest", b"x" * 1000)
    answer = connection.getresponse()
    assert (answer.status, orjson.loads(answer.read())["error_code"]) == (401, "InvalidParameter")
    connection.request("POST", "/open", b"x" * 1000)
    assert orjson.loads(connection.getresponse().read())["size"] == 1000


def test_gzip_is_read_in_small_pieces(server: Served) -> None:
    body = os.urandom(5_000) * 6_000
    for written in (gzip.compress(body), gzip.compress(body[:999]) + gzip.compress(body[999:])):
        status, found, _ = send(server, "/digest", written, Content_Encoding="gzip")
        assert (status, found["size"], found["digest"]) == (200, len(body), hashlib.sha256(body).hexdigest())
        assert found["longest"] <= PIECE_BYTES
        assert found["received"] == len(written)


@pytest.mark.parametrize(
    ("written", "encoding", "status"),
    [
        (gzip.compress(bytes(LIMIT + 1)), "gzip", 413),
        (gzip.compress(b"x" * 1000)[:-3], "gzip", 400),
        (b"no gzip", "gzip", 400),
        (b"", "gzip", 400),
        (gzip.compress(b"x") + b"rubbish", "gzip", 400),
        (gzip.compress(b"") * 1_001, "gzip", 400),
        (zlib.compress(b"x"), "br", 400),
    ],
    ids=["too much", "cut off", "something else", "nothing", "more behind it", "too many members", "another encoding"],
)
def test_what_is_wrong_with_an_encoding(server: Served, written: bytes, encoding: str, status: int) -> None:
    assert send(server, "/digest", written, Content_Encoding=encoding)[0] == status


def test_what_is_not_asked_for_waits_with_its_client(server: Served) -> None:
    held.clear()
    size = 32 * 1024 * 1024
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    head = f"POST /later HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode())
    connection.settimeout(1.0)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < size:
            sent += connection.send(bytes(min(1 << 16, size - sent)))
    assert sent < size // 2
    held.set()
    connection.settimeout(PATIENCE)
    connection.sendall(bytes(size - sent))
    answer = connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"size":%d' % size in answer
    connection.close()


def test_an_answer_before_the_body_ends_the_connection(server: Served) -> None:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    head = f"POST /early HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: 50000000\r\n\r\n"
    connection.sendall(head.encode() + bytes(100))
    answer = b""
    while came := connection.recv(1 << 16):
        answer += came
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"early":true}')
    assert b"connection: close" in answer


def how_it_ended() -> list[str]:
    until = time.monotonic() + PATIENCE
    while not ended and time.monotonic() < until:
        time.sleep(0.01)
    return ended


def test_a_client_that_leaves_ends_its_handle(server: Served) -> None:
    ended.clear()
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    head = f"POST /watching HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: 5000\r\n\r\n"
    connection.sendall(head.encode() + bytes(100))
    connection.close()
    assert how_it_ended() == ["Gone"]


def test_a_client_that_falls_silent_is_told_so(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    ended.clear()
    monkeypatch.setattr(connections, "SILENCE_SECONDS", 0.5)
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    head = f"POST /watching HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nContent-Length: 5000\r\n\r\n"
    connection.sendall(head.encode() + bytes(100))
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 408")
    connection.close()
    assert how_it_ended() == ["Gone"]


def test_a_handle_that_answers_a_stream_has_a_place_among_the_streams(server: Served) -> None:
    assert server.endpoint.streams == 0
    ended.clear()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/live", headers={"apiKey": server.key})
    answer = connection.getresponse()
    assert answer.read(3) == b"..."
    assert server.endpoint.streams == 1
    refused = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    refused.request("GET", "/live", headers={"apiKey": server.key})
    assert refused.getresponse().status == 429  # one caller has a quarter of the places
    assert ended == ["closed"]  # what was opened for it is let go
    answer.close()
    connection.close()
    until = time.monotonic() + PATIENCE
    while server.endpoint.streams and time.monotonic() < until:
        time.sleep(0.01)
    assert server.endpoint.streams == 0
    assert ended == ["closed", "left", "closed"]
    ended.clear()


def test_an_upload_is_written_as_it_comes(tmp_path: Path) -> None:
    """A body of many lines becomes documents, a thousand at a time, through the one door."""

    async def take(request: Request) -> Reply:
        assert request.upload is not None
        service: Any = running.endpoint._service
        rest, lines, count = b"", [], 0

        async def write(documents: list[Document]) -> None:
            place = Namespace("shop", "lines", "default")
            await service.execute(InsertMany(namespace=place, documents=documents), request.caller)

        async for piece in request.upload:
            *whole, rest = (rest + piece).split(b"\n")
            lines += [orjson.loads(line) for line in whole]
            while len(lines) >= 1000:
                await write(lines[:1000])
                count, lines = count + 1000, lines[1000:]
        if rest:
            raise InvalidParameter("the last line has no end")
        if lines:
            await write(lines)
        return Reply(200, orjson.dumps({"count": count + len(lines)}))

    with serving(tmp_path, Dialect("made", (upload("/lines", take),))) as running:
        body = b"".join(b'{"_id":%d}\n' % number for number in range(5_500))
        status, found, _ = send(running, "/lines", parts(body, 777), chunked=True, Transfer_Encoding="chunked")
        assert (status, found) == (200, {"count": 5_500})
        counted = {"database": "shop", "collection": "lines"}
        assert send(running, "/action/countDocuments", orjson.dumps(counted))[1] == {"count": 5_500}
        assert send(running, "/lines", b'{"_id":-1}')[0] == 400
