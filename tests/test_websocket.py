"""WebSocket sessions with a dialect made for it: handshakes, messages, bounds, and every way to end."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from servers import PATIENCE
from serving import Served, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from doorleaf.dialects.base import Dialect, Reply, Request, Route, Session
from doorleaf.errors import InvalidParameter
from doorleaf.http import connections, frames, websocket
from doorleaf.operations import Find, InsertOne, Namespace, Scan

ended: list[str] = []
"""How sessions ended whose clients left."""

stopped, going_on = threading.Event(), threading.Event()
handled, noted = [0], [0]
"""How many frames have been handled, and how many it were whenever somebody else had a turn."""


async def echo(request: Request, session: Session) -> None:
    async for message in session:
        if message == "fail":
            raise InvalidParameter("no such thing")
        if message == "break":
            raise ValueError("secret")
        if message == "bye":
            return
        await session.send(message)


async def busy(request: Request, session: Session) -> None:
    """Waits for something else than its client."""
    try:
        await session.send("begun")
        await asyncio.sleep(PATIENCE)
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise


async def flood(request: Request, session: Session) -> None:
    try:
        while True:
            await session.send(b"x" * 100_000)
    except BaseException as error:
        ended.append(type(error).__name__)
        raise


async def stop(request: Request) -> Reply:
    """Keeps everybody from their turn for a while."""
    stopped.set()
    going_on.wait(PATIENCE)
    return Reply(204)


async def beside(request: Request, session: Session) -> None:
    """Has its turn whenever others have theirs, and notes how many frames have been handled."""
    while True:
        if handled != noted[-1:]:
            noted.extend(handled)
        await asyncio.sleep(0)


async def store(request: Request, session: Session) -> None:
    """Each message is a document; in the end all are read back."""
    service: Any = SERVED[0].endpoint._service
    place = Namespace("shop", "said", "default")
    async for message in session:
        if message == "all":
            stream = (await service.execute(Scan.of(Find(namespace=place, sort={"_id": 1})), request.caller)).documents
            while (batch := await stream.next()) is not None:
                for document in batch.decode():
                    await session.send(orjson.dumps(document))
            await stream.close()
            return
        await service.execute(InsertOne(namespace=place, document=orjson.loads(message)), request.caller)


SERVED: list[Served] = []
DIALECT = Dialect(
    "made",
    (
        Route("GET", "/echo", "echo", session=echo),
        Route("GET", "/open/{name}", "open", session=echo, public=True),
        Route("GET", "/busy", "busy", session=busy),
        Route("GET", "/flood", "flood", session=flood),
        Route("GET", "/beside", "beside", session=beside),
        Route("GET", "/stop", "stop", handle=stop, public=True),
        Route("GET", "/store", "store", session=store),
    ),
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    ended.clear()
    with serving(tmp_path, DIALECT, max_streams=8, cors_origins=("https://a.example",)) as running:
        SERVED[:] = [running]
        yield running


def session(server: Served, path: str, **more: Any) -> Any:
    headers = {"apiKey": server.key} | more.pop("headers", {})
    return connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers=headers, open_timeout=PATIENCE, **more)


def until(condition: Any) -> None:
    waited = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < waited
        time.sleep(0.01)


def code_of(client: ClientConnection) -> int:
    """The code with which the server ends a session."""
    try:
        while True:
            client.recv(timeout=PATIENCE)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None, "the connection was cut"  # noqa: PT017  # several messages may come before
        return closed.rcvd.code


def test_messages_come_and_go(server: Served) -> None:
    with session(server, "/echo") as client:
        assert "x-request-id" in client.response.headers
        for message in ("é" * 1000, b"\x00\xff" * 100_000, "", b""):
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message
        assert server.endpoint.streams == 1
        client.send(["in ", "several ", "fragments"])
        assert client.recv(timeout=PATIENCE) == "in several fragments"
        client.send("bye")
        assert code_of(client) == 1000
    until(lambda: server.endpoint.streams == 0 and server.endpoint.in_flight == 0)


def test_a_session_goes_through_the_one_door(server: Served) -> None:
    with session(server, "/store") as client:
        for number in range(5):
            client.send(orjson.dumps({"_id": number}))
        client.send("all")
        assert [orjson.loads(client.recv(timeout=PATIENCE)) for _ in range(5)] == [{"_id": n} for n in range(5)]
        assert code_of(client) == 1000


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/echo", {"apiKey": "wrong"}, 401),
        ("/nowhere", {}, 404),
        ("/livez", {}, 404),
        ("/echo", {"Origin": "https://b.example"}, 403),
    ],
)
def test_a_handshake_that_is_refused_is_answered_as_anything_else(
    server: Served, path: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        session(server, path, headers=headers).__enter__()
    response = refused.value.response
    assert response.status_code == status
    assert response.body is not None
    assert orjson.loads(response.body)["error_code"]
    assert response.headers["x-request-id"]
    until(lambda: server.endpoint.in_flight == 0)


def test_pages_that_may_call_may_open_sessions(server: Served) -> None:
    with session(server, "/echo", headers={"Origin": "https://a.example"}) as client:
        client.send("here")
        assert client.recv(timeout=PATIENCE) == "here"
    with connect(f"ws://127.0.0.1:{server.port}/open/door") as client:
        client.send("nobody")
        assert client.recv(timeout=PATIENCE) == "nobody"


def test_a_session_route_is_no_page(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/echo", headers={"apiKey": server.key})
    answer = connection.getresponse()
    assert (answer.status, b"WebSocket" in answer.read()) == (400, True)


def test_errors_end_a_session_and_tell_no_more_than_they_may(server: Served) -> None:
    for message, code, says in (("fail", 1008, "no such thing"), ("break", 1011, "internal error")):
        with session(server, "/echo") as client:
            client.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=PATIENCE)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
            assert says in closed.value.rcvd.reason
            assert "secret" not in closed.value.rcvd.reason


def test_who_leaves_ends_the_route(server: Served) -> None:
    with session(server, "/busy") as client:
        assert client.recv(timeout=PATIENCE) == "begun"
        client.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: ended == ["cancelled"])
    until(lambda: server.endpoint.streams == 0 and server.endpoint.in_flight == 0)


def test_who_reads_nothing_is_cut(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(websocket, "STALLED_SECONDS", 1.0)
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    head = (
        f"GET /flood HTTP/1.1\r\nHost: x\r\napiKey: {server.key}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    connection.sendall(head.encode())
    until(lambda: bool(ended))
    until(lambda: server.endpoint.streams == 0)
    connection.close()


def test_a_message_has_an_end(server: Served) -> None:
    with session(server, "/echo") as client:
        client.send(b"x" * (websocket.MESSAGE_BYTES + 1))
        assert code_of(client) == 1009
    with session(server, "/echo") as client, client.protocol_mutex:
        for number in range(frames.FRAGMENTS + 2):
            opcode = Opcode.TEXT if number == 0 else Opcode.CONT
            client.socket.sendall(Frame(opcode, b"", fin=False).serialize(mask=True))
    until(lambda: server.endpoint.streams == 0)


@pytest.mark.parametrize(
    ("opcode", "count", "handler"),
    [
        (Opcode.PING, 30_000, "handle_ping"),
        (Opcode.PONG, 30_000, "handle_pong"),
        (Opcode.TEXT, 3000, "send_receive_event_to_app"),
    ],
)
def test_nobody_waits_for_a_flood_of_frames(
    server: Served, monkeypatch: pytest.MonkeyPatch, opcode: Opcode, count: int, handler: str
) -> None:
    handle = getattr(frames.Frames, handler)

    def counted(*given: Any) -> None:
        handled[0] += 1
        handle(*given)

    monkeypatch.setattr(frames.Frames, handler, counted)
    with session(server, "/beside"), session(server, "/echo") as client:
        handled[:], noted[:] = [0], [0]
        with client.protocol_mutex:
            client.socket.sendall(Frame(opcode, b"").serialize(mask=True) * count)
        until(lambda: handled[0] == count)
    assert max(after - before for before, after in itertools.pairwise([*noted, count])) <= 200
    until(lambda: server.endpoint.streams == 0)


def handshake(*more: str) -> bytes:
    """The head of one, with ``more`` lines."""
    lines = ("Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    return "\r\n".join(
        ["GET /open/door HTTP/1.1", *lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *more, "", ""]
    ).encode()


CHUNK = b"11\r\n" + b" " * 17 + b"\r\n"
LONG_HEADS = {
    "path": b"GET /" + b"%41" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "fields": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 15_000 + b"\r\n",
    "handshake": handshake(*["Sec-WebSocket-Protocol: " + "a," * 4000] * 7),
    "pieces": b"POST /auth/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CHUNK * 2500
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("name", LONG_HEADS)
def test_nobody_waits_for_many_long_heads(server: Served, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    feed = connections.Connection.feed

    def counted(connection: Any, data: bytes) -> None:
        handled[0] += len(data) > 4096
        feed(connection, data)

    monkeypatch.setattr(connections.Connection, "feed", counted)
    stopped.clear()
    going_on.clear()
    where = "127.0.0.1", server.port
    with session(server, "/beside"), contextlib.ExitStack() as stack:
        first, *others = [stack.enter_context(socket.create_connection(where, PATIENCE)) for _ in range(20)]
        for one in (first, *others):
            one.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(1000).startswith(b"HTTP/1.1 200 ")
        handled[:], noted[:] = [0], [0]
        first.sendall(b"GET /stop HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stopped.wait(PATIENCE)
        for one in others:
            one.sendall(LONG_HEADS[name])
        going_on.set()
        for one in others:
            assert one.recv(1000).startswith(b"HTTP/1.1 ")
    assert max(noted) >= len(others)
    assert max(after - before for before, after in itertools.pairwise(noted)) == 1


@pytest.mark.parametrize(
    "more",
    [[f"X{number}: a" for number in range(200)], ["X: " + "a" * 9000], ["Sec-WebSocket-Protocol: " + "a," * 4000] * 3],
)
def test_a_handshake_that_is_too_long_is_answered(server: Served, more: list[str]) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(handshake(*more))
        said = b"".join(iter(lambda: connection.recv(1000), b""))  # until it is closed
    assert said.startswith(b"HTTP/1.1 431 ")
    assert b'"error_code":"HeaderFieldsTooLarge"' in said


def test_sessions_make_no_room_for_new_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that became a session is none that brought nothing, and is forgotten with it."""
    monkeypatch.setattr(connections, "FRESH_SECONDS", 0.0)
    with serving(tmp_path, DIALECT, max_connections=2) as running:
        where = "127.0.0.1", running.port
        with connect(f"ws://127.0.0.1:{running.port}/open/door") as client, socket.create_connection(where):
            with socket.create_connection(where, timeout=PATIENCE) as another:
                another.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                assert another.recv(1000).startswith(b"HTTP/1.1 200 "), "the one that said nothing went"
            client.send("still here")
            assert client.recv(timeout=PATIENCE) == "still here"


def test_a_refused_handshake_is_no_fault_of_ours(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidStatus):
        session(server, "/nowhere").__enter__()
    until(lambda: server.endpoint.in_flight == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_text_is_utf_8(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    with session(server, "/echo") as client:
        with client.protocol_mutex:
            client.socket.sendall(Frame(Opcode.TEXT, b"\xc3", fin=False).serialize(mask=True))
            client.socket.sendall(Frame(Opcode.CONT, b"\xa9").serialize(mask=True))
        assert client.recv(timeout=PATIENCE) == "é"
        with client.protocol_mutex:
            client.socket.sendall(Frame(Opcode.TEXT, b"a\xff").serialize(mask=True))
        assert code_of(client) == 1007
    until(lambda: server.endpoint.streams == 0)
    assert not [record for record in caplog.records if record.exc_info]


def test_nobody_says_anything_for_ever(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "IDLE_SECONDS", 0.5)
    with session(server, "/echo") as client:
        assert code_of(client) == 1001


def test_streams_are_counted_and_bounded(server: Served) -> None:
    with session(server, "/echo"), session(server, "/echo"):
        with pytest.raises(InvalidStatus) as refused:
            session(server, "/echo").__enter__()
        assert refused.value.response.status_code == 429
        assert server.endpoint.streams == 2
    until(lambda: server.endpoint.streams == 0)


def test_what_is_said_counts_for_quotas(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    admission: Any = server.endpoint._admission
    leave = admission.leave

    def heard(identity: Any, size: int) -> None:
        counted.append(size)
        leave(identity, size)

    monkeypatch.setattr(admission, "leave", heard)
    with session(server, "/echo") as client:
        client.send("12345")
        assert client.recv(timeout=PATIENCE) == "12345"
    until(lambda: counted == [10])


def test_an_endpoint_that_is_replaced_ends_its_sessions(server: Served) -> None:
    with session(server, "/echo") as client:
        server.endpoint.retire()
        assert code_of(client) == 1012


def test_a_server_that_ends_ends_its_sessions(tmp_path: Path) -> None:
    codes: list[int] = []

    def listen(running: Served, path: str) -> None:
        with session(running, path) as client:
            codes.append(code_of(client))

    with serving(tmp_path, DIALECT) as running:
        listening = [threading.Thread(target=listen, args=(running, path)) for path in ("/echo", "/busy")]
        for thread in listening:
            thread.start()
        until(lambda: running.endpoint.streams == 2)
    for thread in listening:
        thread.join(PATIENCE)
    assert codes == [1012, 1012]
