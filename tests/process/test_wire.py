"""What comes off the socket: odd, broken, slow and endless requests. Each is answered or ended, and none is a 500."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import Doorleaf, start_doorleaf

SILENCE = 1.0
"""Seconds of silence that this server bears, so that nobody has to wait for the usual ones."""

SLOW_TO_ANSWER = 15.0
COMMAND = [
    sys.executable,
    "-c",
    f"import doorleaf.http.connections as c; c.SILENCE_SECONDS = {SILENCE}; from doorleaf.cli.main import main; main()",
]
DOCUMENT = b'{"database":"d","collection":"c","document":{"a":1}}'
NOT_HTTP = {"error": "this is not a valid HTTP/1.1 request", "error_code": "BadRequest"}
OPEN, CLOSED = "open", "closed"
Answers = list[tuple[int, dict[str, str], bytes]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    running = start_doorleaf(tmp_path_factory.mktemp("wire") / "data", command=COMMAND)
    yield running
    assert running.stop() == 0
    output = running.output()
    assert "Traceback" not in output
    assert " 500 " not in output
    assert running.key not in output


def head(server: Doorleaf, *lines: bytes, version: bytes = b"1.1", path: bytes = b"/action/insertOne") -> bytes:
    """The beginning of a request, up to the empty line."""
    listed = [b"POST " + path + b" HTTP/" + version, b"Host: x", b"apiKey: " + server.key.encode(), *lines]
    return b"\r\n".join(listed) + b"\r\n\r\n"


def insert(server: Doorleaf, *lines: bytes, body: bytes = DOCUMENT, length: int | None = None) -> bytes:
    return head(server, *lines, b"Content-Length: %d" % (len(body) if length is None else length)) + body


def exchange(
    server: Doorleaf, *pieces: bytes, pause: float = 0.0, finish: bool = False, quiet: float = 0.15
) -> tuple[Answers, str]:
    """Send ``pieces``; every answer that came, and whether the connection was still open ``quiet`` seconds after.

    ``finish`` closes our side after sending.
    """
    received = b""
    state = CLOSED
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        for piece in pieces:
            with contextlib.suppress(ConnectionError):
                connection.sendall(piece)
            time.sleep(pause)
        if finish:
            connection.shutdown(socket.SHUT_WR)
        until = time.monotonic() + SLOW_TO_ANSWER
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < until:
                connection.settimeout(quiet if received else SLOW_TO_ANSWER)
                try:
                    came = connection.recv(1 << 20)
                except TimeoutError:
                    state = OPEN
                    break
                if not came:
                    break
                received += came
    return answers(received), state


def answers(received: bytes) -> Answers:
    """The answers in ``received``, one after another; nothing may be between or after them."""
    found: Answers = []
    while received:
        start, _, received = received.partition(b"\r\n\r\n")
        line, *listed = start.decode().split("\r\n")
        status = int(re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", line)[1])  # type: ignore[index]
        headers = {name.lower(): value for name, value in (item.split(": ", 1) for item in listed)}
        length = int(headers.get("content-length", 0)) if status != 100 else 0
        found.append((status, headers, received[:length]))
        received = received[length:]
    return found


def statuses(found: Answers) -> list[int]:
    return [status for status, _, _ in found]


def inserted(server: Doorleaf) -> int:
    count: int = server.ok("countDocuments")["count"]
    return count


@pytest.mark.parametrize(
    ("lines", "statuses_wanted"),
    [
        ((), [201]),
        ((b"Expect: 100-continue",), [100, 201]),
        ((b"Expect: tea",), [201]),
        ((b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), [201]),
        ((b"UPGRADE:h2c", b"Connection: upgrade"), [201]),
        ((b"X-Long: " + b"a" * 60_000,), [201]),
        (tuple(b"X-%d: y" % number for number in range(3000)), [201]),
        ((b"Access-Control-Request-Headers: *",), [201]),
        ((b"X-Request-Id: mine",), [201]),
        ((b"Host: y",), [400]),
        ((b"X-Long: " + b"a" * 70_000,), [431]),
    ],
)
def test_heads(server: Doorleaf, lines: Sequence[bytes], statuses_wanted: list[int]) -> None:
    before = inserted(server)
    found, state = exchange(server, insert(server, *lines))
    assert statuses(found) == statuses_wanted
    assert (state == CLOSED) == (statuses_wanted == [431])
    assert inserted(server) - before == (1 if statuses_wanted[-1] == 201 else 0)


def test_a_request_is_answered_alike_however_it_comes(server: Doorleaf) -> None:
    """Whole, and known by its bytes, or in pieces, and read by the parser: also by turns on one connection."""
    request = insert(server, b"X-Request-Id: mine", body=DOCUMENT)
    before = inserted(server)
    [(status, headers, _), *others] = exchange(server, request, request[:40], request[40:], request, pause=0.05)[0]
    assert (status, headers["x-request-id"]) == (201, "mine")
    assert [(status, headers.keys()) for status, headers, _ in others] == [(201, headers.keys())] * 2
    assert inserted(server) - before == 3


def test_an_endless_head_is_ended(server: Doorleaf) -> None:
    """Before anybody is known, so it must not cost memory."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=SLOW_TO_ANSWER) as connection:
        connection.sendall(b"POST /action/insertOne HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(100_000):
                connection.sendall(b"X-%d: " % number + b"a" * 1000 + b"\r\n")
        received = b""
        with contextlib.suppress(ConnectionError):
            received = connection.recv(10_000)
    assert number < 90_000
    assert not received or received.startswith(b"HTTP/1.1 431 ")


def wrong(server: Doorleaf) -> dict[str, bytes]:
    """Requests that are not valid HTTP/1.1, by what is wrong with them."""
    good = insert(server)
    return {
        "bare line feeds": good.replace(b"\r\n", b"\n"),
        "no number": head(server, b"Content-Length: x") + DOCUMENT,
        "a sign": head(server, b"Content-Length: +52") + DOCUMENT,
        "negative": insert(server, length=-5),
        "two lengths": insert(server, b"Content-Length: 3"),
        "length and chunks": insert(server, b"Transfer-Encoding: chunked"),
        "chunks that are none": head(server, b"Transfer-Encoding: chunked") + b"zz\r\n" + DOCUMENT,
        "another transfer encoding": head(server, b"Transfer-Encoding: gzip") + DOCUMENT,
        "another one before chunks": head(server, b"Transfer-Encoding: gzip, chunked") + chunks(DOCUMENT),
        "chunks in HTTP/1.0": head(server, b"Transfer-Encoding: chunked", version=b"1.0") + chunks(DOCUMENT),
        "HTTP/2 without its preface": good.replace(b"HTTP/1.1", b"HTTP/2.0"),
        "HTTP/0.9": b"GET /livez\r\n\r\n",
        "a folded header": insert(server, b"X-A: b\r\n c"),
        "a space in a name": insert(server, b"X y: z"),
        "an unknown method": b"BREW /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        "an unknown version": good.replace(b"HTTP/1.1", b"HTTP/9.9"),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        "no Host": good.replace(b"Host: x\r\n", b""),
        "no path": b"POST  HTTP/1.1\r\nHost: x\r\n\r\n",
        "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        "nothing": b"\x00\x01\x02\x03\r\n\r\n",
        "a proxy's method": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    }


def chunks(body: bytes) -> bytes:
    """``body`` in one chunk."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0", b"x, h2c", b"x" * 300])
@pytest.mark.parametrize("cut", [None, 40, 90, 130, 200])
def test_an_offer_of_another_protocol_is_passed_over(server: Doorleaf, protocol: bytes, cut: int | None) -> None:
    """With all that comes behind it: bodies, and further requests, however the network parts them."""
    before = inserted(server)
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"uPgrade: " + protocol, b"HTTP2-Settings: AAMAAABk")
    whole = insert(server, *offer) + head(server, *offer, b"Transfer-Encoding: chunked") + chunks(DOCUMENT)
    whole += b"GET /livez HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + insert(server)
    pieces = [whole] if cut is None else [whole[:cut], whole[cut : 2 * cut], whole[2 * cut :]]
    found, state = exchange(server, *pieces, pause=0.02)
    assert (statuses(found), state) == ([201, 201, 200, 201], OPEN)
    assert inserted(server) - before == 3


def test_what_is_no_http_is_400_json_and_the_end(server: Doorleaf) -> None:
    before = inserted(server)
    for name, request in wrong(server).items():
        found, state = exchange(server, request)
        assert statuses(found) == [400], name
        [(_, headers, body)] = found
        assert headers["content-type"] == "application/json", name
        assert headers["connection"] == "close", name
        assert headers["x-request-id"] in server.output(), name
        assert json.loads(body) == NOT_HTTP, name
        assert state == CLOSED, name
    assert inserted(server) == before


def test_a_length_that_is_too_small(server: Doorleaf) -> None:
    """The request is what the length says, and what is left over is not taken for the next one."""
    before = inserted(server)
    found, state = exchange(server, insert(server, body=DOCUMENT + b"}", length=len(DOCUMENT)))
    assert (statuses(found), state) == ([201], CLOSED)
    found, state = exchange(server, insert(server, length=len(DOCUMENT) - 1))
    assert (statuses(found), state) == ([400], CLOSED)
    assert b"malformed JSON" in found[0][2]
    found, state = exchange(server, insert(server) + b"\r\n")
    assert (statuses(found), state) == ([201], OPEN)
    assert inserted(server) - before == 2


def test_what_does_not_come_is_not_waited_for(server: Doorleaf) -> None:
    """A length that is too large, half a head, half a chunk: 408; nothing at all, or a client that leaves: the end."""
    before = inserted(server)
    requests = (
        insert(server, length=len(DOCUMENT) + 1),
        insert(server)[:40],
        insert(server, length=16_000_000),
        head(server, b"Transfer-Encoding: chunked") + b"5\r\n" + DOCUMENT[:5] + b"\r\n",
        head(server, b"Transfer-Encoding: chunked") + b"20\r\n" + DOCUMENT[:5],
    )
    with ThreadPoolExecutor(len(requests)) as pool:
        for found, state in pool.map(lambda request: exchange(server, request), requests):
            assert (statuses(found), state) == ([408], CLOSED)
            assert json.loads(found[0][2])["error_code"] == "RequestTimeout"
    for request in requests:
        assert exchange(server, request, finish=True) == ([], CLOSED)
    assert exchange(server, b"") == ([], CLOSED)
    whole_and_half = insert(server) + insert(server)[:-10]
    found, state = exchange(server, whole_and_half, quiet=3)
    assert (statuses(found), state) == ([201, 408], CLOSED)
    assert inserted(server) - before == 1


def test_a_slow_body_is_no_silence(server: Doorleaf) -> None:
    request = insert(server)
    pieces = [request[start : start + 24] for start in range(0, len(request), 24)]
    started = time.monotonic()
    found, state = exchange(server, *pieces, pause=SILENCE / 4)
    assert time.monotonic() - started > SILENCE
    assert (statuses(found), state) == ([201], OPEN)


def test_a_slow_answer_is_no_silence(server: Doorleaf) -> None:
    """It is not the client who lets the server wait while its request is carried out."""
    slow = json.dumps(
        {
            "database": "d",
            "collection": "big",
            "maxTimeMS": 2500,
            "pipeline": [
                {"$set": {"a": {"$range": [0, 1500]}}},
                {"$unwind": "$a"},
                {"$set": {"b": {"$range": [0, 1500]}}},
                {"$unwind": "$b"},
                {"$count": "n"},
            ],
        }
    ).encode()
    server.ok("insertOne", collection="big", document={"_id": 1})
    request = head(server, b"Content-Length: %d" % len(slow), path=b"/action/aggregate") + slow
    found, _ = exchange(server, request + insert(server)[:50], quiet=4)
    assert statuses(found)[0] in (200, 504), "it has its own answer first"
    assert statuses(found)[1:] in ([408], [])


def test_pipelined_requests_are_answered_in_order(server: Doorleaf) -> None:
    requests = [insert(server, body=DOCUMENT.replace(b'"a":1', b'"_id":"p%d"' % number)) for number in range(20)]
    found, state = exchange(server, b"".join(requests))
    assert [json.loads(body)["insertedId"] for _, _, body in found] == [f"p{number}" for number in range(20)]
    assert state == OPEN
    broken = requests[0] + b"nonsense\r\n\r\n"
    found, state = exchange(server, broken)
    assert (statuses(found), state) == ([409], CLOSED), "what came whole is answered, what follows is not guessed"


def test_bodies_in_chunks(server: Doorleaf) -> None:
    before = inserted(server)
    for size in (1, 7, 100):
        pieces = [DOCUMENT[start : start + size] for start in range(0, len(DOCUMENT), size)]
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        for end in (b"0\r\n\r\n", b"0\r\nX-Trailer: y\r\n\r\n"):
            request = head(server, b"Transfer-Encoding: chunked") + chunks + end
            assert statuses(exchange(server, request)[0]) == [201]
    assert inserted(server) - before == 6


def test_old_and_odd_but_understood(server: Doorleaf) -> None:
    before = inserted(server)
    old = insert(server).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    found, state = exchange(server, old)
    assert (statuses(found), state) == ([201], CLOSED)
    assert statuses(exchange(server, insert(server).replace(b"insertOne", b"insert%4Fne", 1))[0]) == [201]
    assert inserted(server) - before == 2
    for request, wanted in (
        (b"GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /%ff%00%2e%2e/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /docs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (insert(server, body=b""), 400),
        (insert(server, body=b"\x00"), 400),
        (insert(server, body=b"\xff\xfe{}"), 400),
        (insert(server, b"Content-Encoding: gzip"), 400),
        (insert(server).replace(server.key.encode(), b"\xe9\xff"), 401),
        (insert(server, b"Authorization: Bearer \xff\xfe"), 401),
        (insert(server, b"apiKey: " + server.key.encode()), 400),
    ):
        method = request.split(b" ")[0]
        if method == b"HEAD":
            with socket.create_connection(("127.0.0.1", server.port), timeout=SLOW_TO_ANSWER) as connection:
                connection.sendall(request)
                received = connection.recv(10_000)
                assert received.startswith(b"HTTP/1.1 200 ")
                assert received.endswith(b"\r\n\r\n")
            continue
        found, _ = exchange(server, request)
        assert statuses(found) == [wanted], request[:80]
        if wanted >= 400:
            assert isinstance(json.loads(found[0][2])["error"], str)


def test_a_body_that_is_too_large_is_refused_before_it_comes(server: Doorleaf) -> None:
    found, _ = exchange(server, head(server, b"Content-Length: 50000000"))
    assert statuses(found) == [413]
    assert json.loads(found[0][2])["error_code"] == "PayloadTooLarge"
    found, _ = exchange(server, head(server, b"Expect: 100-continue", b"Content-Length: 50000000"))
    assert statuses(found) == [413], "nobody is asked to send what would be refused"
    chunk = b"a" * 1_000_000
    endless = [b"%x\r\n%b\r\n" % (len(chunk), chunk)] * 19
    found, _ = exchange(server, head(server, b"Transfer-Encoding: chunked"), *endless)
    assert statuses(found) == [413]
    answer = server.call("POST", "/auth/providers/api-key/login", b"a" * 3_000_000)
    assert (answer.status, answer.json["error_code"]) == (413, "PayloadTooLarge")


def test_hundreds_of_silent_connections_stop_nobody(server: Doorleaf) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    for number, connection in enumerate(silent):
        connection.sendall([b"", b"POST /action/ins", insert(server)[:-3]][number % 3])
    assert server.ok("countDocuments", collection="none") == {"count": 0}
    ended = threading.Barrier(2)

    def all_end() -> None:
        for connection in silent:
            connection.settimeout(SLOW_TO_ANSWER)
            while connection.recv(1000):
                pass
            connection.close()
        ended.wait()

    threading.Thread(target=all_end, daemon=True).start()
    ended.wait(SLOW_TO_ANSWER)
