"""Clients that hold on, come in numbers, or leave: everything they do has an end, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from servers import Doorleaf, start_doorleaf

PATIENCE = 20.0
COMMAND = """
import doorleaf.http.connections as c, doorleaf.http.answers as a, doorleaf.http.bounds as b
c.SILENCE_SECONDS = c.HEAD_SECONDS = 2.0
a.STALLED_SECONDS = 3.0
c.LOOK_SECONDS = 0.2
c.BODY_BYTES_PER_SECOND = 50
b.UNREAD_BYTES = 60_000_000
b.is_this_machine = lambda address: False
from doorleaf.cli.main import main
main()
"""
"""A server with short times, which takes this machine for any other."""

SETTINGS = {
    "DOORLEAF_MAX_CONNECTIONS_PER_ADDRESS": "60",
    "DOORLEAF_MAX_CONCURRENT_REQUESTS": "3",
    "DOORLEAF_ACCESS_LOG": "true",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("connections") / "data"
    running = start_doorleaf(folder, command=[sys.executable, "-c", COMMAND], env=SETTINGS)
    running.ok("insertOne", collection="large", document={"_id": 1, "text": "x" * 12_000_000})
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.output()
    assert " 500 " not in running.output()


def head(server: Doorleaf, *lines: bytes, action: bytes = b"insertOne") -> bytes:
    listed = [b"POST /action/" + action + b" HTTP/1.1", b"Host: x", b"apiKey: " + server.key.encode(), *lines]
    return b"\r\n".join(listed) + b"\r\n\r\n"


def action(server: Doorleaf, name: str, **fields: object) -> bytes:
    body = json.dumps({"database": "d", "collection": "c", **fields}).encode()
    return head(server, b"Content-Length: %d" % len(body), action=name.encode()) + body


def connect(server: Doorleaf, *, buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", server.port))
    return connection


def received(connection: socket.socket) -> bytes:
    """Everything until the server ends the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while came := connection.recv(1 << 20):
            found += came
    return found


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


@contextlib.contextmanager
def answering(server: Doorleaf) -> Iterator[None]:
    """Somebody else is answered all the while."""
    over = threading.Event()
    waited: list[float] = []

    def ask() -> None:
        while not over.is_set():
            began = time.monotonic()
            assert server.call("GET", "/livez").status == 200
            waited.append(time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert waited
    assert sum(one >= 2.0 for one in waited) <= 1, waited  # a machine may be held up once


ENDLESS = {
    "trailers": (b"0\r\n", b"a: b\r\n"),
    "a trailer's name": (b"0\r\n", b"abcdefgh"),
    "a trailer's value": (b"0\r\na: ", b"abcdefgh"),
    "a chunk's extension": (b"5;a=", b"abcdefgh"),
    "a chunk's size": (b"", b"00000000"),
    "a chunk's extension after others": (b"3\r\nabc\r\n2;x", b"y"),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("path", [b"/livez", b"/action/find"])
def test_what_surrounds_a_body_is_bounded(server: Doorleaf, name: str, path: bytes) -> None:
    """Before anybody is known, so it must cost neither memory nor time."""
    begin, more = ENDLESS[name]
    memory = psutil.Process(server.pid).memory_info
    before = memory().rss
    piece = more * (64_000 // len(more))
    sent = 0
    with answering(server), connect(server) as connection:
        connection.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (path, begin))
        with contextlib.suppress(ConnectionError):
            while sent < 300_000_000:
                connection.sendall(piece)
                sent += len(piece)
    assert sent < 200_000_000, "the server let it go on"
    assert memory().rss - before < 30_000_000


def test_trailers_are_dropped(server: Doorleaf) -> None:
    document = b'{"database":"d","collection":"t","document":{"a":1}}'
    chunks = b"%x\r\n%b\r\n0\r\napiKey: other\r\nX-Request-Id: trailer\r\n\r\n"
    request = head(server, b"Transfer-Encoding: chunked", b"Connection: close", b"X-Request-Id: mine")
    with connect(server) as connection:
        connection.sendall(request + chunks % (len(document), document))
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b"x-request-id: mine\r\n" in answer


def test_a_body_does_not_come_in_crumbs(server: Doorleaf) -> None:
    """Each chunk takes time, however short it is: a megabyte of them took half a second of everybody's."""
    body = json.dumps({"database": "d", "collection": "c", "document": {"t": "x" * 30_000}}).encode()
    with answering(server), connect(server) as connection:
        connection.sendall(head(server, b"Transfer-Encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"1\r\n \r\n" * 1000)
        assert b" 400 " in received(connection)[:20]
    with connect(server) as connection:
        parts = [body[at : at + 30] for at in range(0, len(body), 30)]
        pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
        connection.sendall(head(server, b"Transfer-Encoding: chunked", b"Connection: close") + pieces)
        assert b" 201 " in received(connection)[:20]


@pytest.mark.parametrize("lines", [(b"Content-Length: 100000",), (b"Transfer-Encoding: chunked",)])
def test_a_byte_now_and_then_keeps_no_request_open(server: Doorleaf, lines: tuple[bytes, ...]) -> None:
    began = time.monotonic()
    in_head, in_body = head(server, *lines, b"X-Slow: a")[:-4], head(server, *lines)
    for start, byte in ((in_head, b"a"), (in_body, b"a" if b"Content" in lines[0] else b"1\r\na\r\n")):
        with connect(server) as connection:
            connection.sendall(start)
            connection.settimeout(0.4)
            answer = b""
            while not answer and time.monotonic() - began < 2 * PATIENCE:
                connection.sendall(byte)
                with contextlib.suppress(TimeoutError):
                    answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_code"] == "RequestTimeout"


@pytest.mark.parametrize("nothing", [b"", b"\r\n"])
def test_line_ends_keep_no_connection_open(server: Doorleaf, nothing: bytes) -> None:
    with connect(server) as connection:
        connection.settimeout(0.3)
        began = time.monotonic()
        came: bytes | None = None
        while came is None:
            assert time.monotonic() - began < PATIENCE
            try:
                connection.sendall(nothing)
                came = connection.recv(100)
            except TimeoutError:
                continue
            except ConnectionError:
                came = b""
        assert came == b""


def busy(server: Doorleaf) -> bool:
    """Whether one caller cannot ask for more at once."""
    return server.act("findOne").status == 429


def test_an_answer_that_nobody_reads_is_in_flight_and_ends(server: Doorleaf) -> None:
    with contextlib.ExitStack() as stack:
        # The server's kernel takes the beginning of each answer, and nobody ever reads any of it.
        for _ in range(2):
            connection = stack.enter_context(connect(server, buffer=4096))
            connection.sendall(action(server, "findOne", collection="large"))
        time.sleep(0.5)
        open_before = connections(server)
        until(lambda: connections(server) <= open_before - 2)


def test_unread_answers_fill_no_slots_for_ever(server: Doorleaf) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connect(server, buffer=4096))
            connection.sendall(action(server, "findOne", collection="large"))
        until(lambda: busy(server))
        until(lambda: not busy(server))


def test_a_slow_reader_gets_all_of_its_answer(server: Doorleaf) -> None:
    with connect(server, buffer=65536) as connection:
        connection.sendall(
            action(server, "findOne", collection="large").replace(b"Host: x", b"Host: x\r\nConnection: close")
        )
        size = 0
        while came := connection.recv(400_000):
            size += len(came)
            time.sleep(0.02)
    assert size > 12_000_000


def connections(server: Doorleaf) -> int:
    """How many connections the server holds open."""
    listed = psutil.Process(server.pid).net_connections("tcp")
    return sum(item.status in ("ESTABLISHED", "CLOSE_WAIT") for item in listed)


def test_one_address_has_so_many_connections(server: Doorleaf) -> None:
    until(lambda: connections(server) == 0)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(60)]
        with connect(server) as connection:
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_code"] == "TooManyConnections"
        held[0].close()
        until(lambda: connections(server) == 59)
        assert server.call("GET", "/livez").status == 200


def full_soon(folder: Path, fresh: float) -> Doorleaf:
    """A server with three places, and so many seconds for a new connection to bring a request."""
    command = f"import doorleaf.http.connections as c; c.FRESH_SECONDS = {fresh}\n{COMMAND.splitlines()[-2]}\nmain()\n"
    return start_doorleaf(
        folder / "data", command=[sys.executable, "-c", command], env={"DOORLEAF_MAX_CONNECTIONS": "3"}
    )


def test_connections_that_bring_nothing_make_room(tmp_path: Path) -> None:
    """Strangers cannot keep the door shut by connections on which they say nothing, or not all."""
    running = full_soon(tmp_path, 0.0)
    try:
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(connect(running)) for _ in range(10)]
            for connection in held:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(b"GET /livez HT")
            assert running.call("GET", "/livez").status == 200
            until(lambda: connections(running) <= 3)
            assert sum(not closed(connection) for connection in held) <= 3
    finally:
        running.stop()


def test_idle_connections_make_room(tmp_path: Path) -> None:
    running = full_soon(tmp_path, 60.0)
    try:
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(connect(running)) for _ in range(3)]
            for connection in held[:2]:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            held[2].sendall(b"GET /livez HT")
            assert running.call("GET", "/livez").status == 200, "an idle one went"
            ended = sum(closed(connection) for connection in held)
            assert ended == 1
            more = [stack.enter_context(connect(running)) for _ in range(2)]
            for connection in more:
                connection.sendall(b"GET /livez HT")
            time.sleep(0.2)
            with connect(running) as connection:
                assert received(connection).startswith(b"HTTP/1.1 503 ")
    finally:
        running.stop()


def closed(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return connection.recv(100) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


LONG = [
    {"$set": {"a": {"$range": [0, 3000]}}},
    {"$unwind": "$a"},
    {"$set": {"b": {"$range": [0, 3000]}}},
    {"$unwind": "$b"},
    {"$count": "n"},
]


def test_a_read_ends_when_its_client_leaves_and_a_write_does_not(server: Doorleaf) -> None:
    server.ok("insertOne", collection="one", document={"_id": 1})
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connect(server))
            connection.sendall(action(server, "aggregate", collection="one", pipeline=LONG, maxTimeMS=6_000))
        until(lambda: busy(server))
    until(lambda: len(re.findall("aggregate 499 ClientGone", server.output())) == 3)
    until(lambda: not busy(server))
    document = {"_id": "left", "text": "x" * 3_000_000}
    with connect(server) as connection:
        connection.sendall(action(server, "insertOne", collection="one", document=document))
    until(lambda: server.ok("countDocuments", collection="one", filter={"_id": "left"}) == {"count": 1})
    assert "insertOne 499" not in server.output()


def test_blanks_around_a_value_are_no_part_of_it(server: Doorleaf) -> None:
    request = action(server, "countDocuments", collection="none")
    request = request.replace(server.key.encode(), b"\t " + server.key.encode() + b" \t ")
    request = request.replace(b"Host: x", b"Host: x\r\nX-Request-Id:  mine \t\r\nConnection: close")
    with connect(server) as connection:
        connection.sendall(request)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"x-request-id: mine\r\n" in answer


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_first_and_reads_later_learns_that_the_body_is_too_large(server: Doorleaf, chunked: bool) -> None:
    body = b"x" * 19_000_000
    line = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    with connect(server) as connection:
        connection.sendall(head(server, line))
        connection.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_code"] == "PayloadTooLarge"
    for path in ("/action/find", "/auth/providers/api-key/login"):
        answered = server.call("POST", path, body, {"apiKey": server.key})
        assert answered.status == 413


def test_an_early_answer_keeps_the_connection_when_little_is_left(server: Doorleaf) -> None:
    with connect(server) as connection:
        for _ in range(2):
            connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 404 ")
            connection.sendall(b"abcde")


def test_lines_that_end_with_a_line_feed(tmp_path: Path, server: Doorleaf) -> None:
    bare = action(server, "findOne").replace(b"\r\n", b"\n")
    with connect(server) as connection:
        connection.sendall(bare)
        assert received(connection).startswith(b"HTTP/1.1 400 ")
    lenient = start_doorleaf(tmp_path / "data", env={"DOORLEAF_LENIENT_LINES": "true"})
    try:
        for request in (action(lenient, "findOne"), action(lenient, "findOne").replace(b"\r\n", b"\n")):
            with connect(lenient) as connection:
                connection.sendall(request)
                assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
        large = action(lenient, "insertOne", document={"text": "x" * 200_000}).replace(b"\r\n", b"\n")
        with connect(lenient) as connection:
            connection.sendall(large)
            assert connection.recv(10_000).startswith(b"HTTP/1.1 201 ")
        with connect(lenient) as connection:
            connection.sendall(action(lenient, "findOne").replace(b"\r\n", b"\r"))
            assert received(connection).startswith(b"HTTP/1.1 400 ")
        with connect(lenient) as connection:
            connection.sendall(b"GET / HTTP/1.1\n" + b"X-Long: y\n" * 10_000)
            assert received(connection).startswith(b"HTTP/1.1 431 ")
    finally:
        lenient.stop()
