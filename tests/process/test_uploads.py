"""Bodies that are on their way have room in memory together, and nobody can keep all of it."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import psutil
import pytest
from servers import Doorleaf, doorleaf

from doorleaf.http import memory
from doorleaf.http.memory import Bodies, is_small

MB = 1024 * 1024
ROOM = 64
"""The setting, of which a quarter is for bodies on their way, and half of that for one caller."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("uploads")
    with doorleaf(folder / "data", env={"DOORLEAF_BODY_MEMORY_MB": str(ROOM)}) as running:
        running.ok("insertOne", document={"_id": 1})
        yield running
        assert "Traceback" not in running.output()


def beginning(server: Doorleaf, key: str, length: int | None, **headers: str) -> socket.socket:
    """A connection on which an insert with so long a body has begun; without a length it comes in chunks."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=40)
    head = f"POST /data/v1/action/insertOne HTTP/1.1\r\nHost: a\r\napiKey: {key}\r\n"
    head += "Transfer-Encoding: chunked\r\n" if length is None else f"Content-Length: {length}\r\n"
    client.sendall((head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode())
    return client


def push(client: socket.socket, size: int) -> None:
    """Send so many bytes as far as they are taken."""
    sent, data = 0, b" " * 65536
    client.settimeout(0.2)
    try:
        while sent < size:
            sent += client.send(data[: size - sent])
    except TimeoutError:
        pass
    client.settimeout(40)


def answer(client: socket.socket) -> tuple[int, bytes]:
    """The status and the rest of what comes."""
    said = b""
    while b"\r\n\r\n" not in said and (part := client.recv(65536)):
        said += part
    return int(said.split(b" ", 2)[1]), said


def another_key(server: Doorleaf) -> str:
    body = {"name": f"k{time.monotonic_ns()}", "admin": True}
    key: str = server.call("POST", "/api/admin/v1/keys", body, {"apiKey": server.key}).json["key"]
    return key


def test_what_is_on_its_way_has_an_end_in_memory_and_others_get_in(server: Doorleaf) -> None:
    greedy, process = another_key(server), psutil.Process(server.pid)
    before = process.memory_info().rss
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(beginning(server, greedy, 7 * MB))) for _ in range(40)]
        for client in clients:
            push(client, 6 * MB)
        assert process.memory_info().rss - before < 40 * MB, "the others wait in their sockets"
        # Nobody else waits, for one caller has half of the room at most.
        inserted = server.act("insertOne", document={"text": "x" * 2 * MB})
        assert inserted.status == 201
        # Who waits is told in the end, and when to come back.
        status, said = answer(clients[-1])
        assert status == 503
        assert b"ServerBusy" in said
        assert b"retry-after: 5\r\n" in said
    inserted = server.call(
        "POST",
        "/action/insertOne",
        {"database": "d", "collection": "c", "document": {"text": "x" * 2 * MB}},
        {"apiKey": greedy},
    )
    assert inserted.status == 201, "what was on its way has gone with its clients"


def test_slow_ones_are_ended_for_who_has_less(server: Doorleaf) -> None:
    keys = [another_key(server) for _ in range(2)]
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(beginning(server, key, 6 * MB))) for key in keys for _ in range(2)]
        for client in slow:
            push(client, 70_000)
        began = time.monotonic()
        inserted = server.act("insertOne", document={"text": "x" * 5 * MB})
        assert inserted.status == 201, inserted.body
        assert time.monotonic() - began > 0.5, "there was no room at first"
        ended = []
        for client in slow:
            client.settimeout(0.5)
            try:
                ended.append(answer(client))
            except TimeoutError:
                continue
        assert ended
        assert all(status == 408 and b"RequestTimeout" in said for status, said in ended), ended


def test_strangers_have_room_of_their_own(server: Doorleaf) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port), timeout=40)))
            head = "POST /auth/providers/api-key/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
            client.sendall(head.encode())
            push(client, 80_000)
        assert server.act("insertOne", document={"text": "x" * 2 * MB}).status == 201
        login = server.call("POST", "/auth/providers/api-key/login", {"key": server.key})
        assert login.status == 200, "what is short need not wait"


@pytest.mark.parametrize(
    ("headers", "small"),
    [
        ({}, True),
        ({b"content-length": b"9999"}, True),
        ({b"content-length": b"10000"}, False),
        ({b"transfer-encoding": b"chunked"}, False),
        ({b"content-length": b"50", b"content-encoding": b"gzip"}, False),
    ],
)
def test_the_shortest_are_not_counted(headers: dict[bytes, bytes], small: bool) -> None:
    assert is_small(headers) is small


def announced(*lines: tuple[bytes, bytes]) -> int:
    """How much of a room of 16 MB a body with these headers takes."""

    async def scenario() -> int:
        bodies = Bodies(64 * MB)
        room = bodies._known.free
        await bodies.let_in(dict(lines), 5 * MB, "somebody")
        return room - bodies._known.free

    return asyncio.run(scenario())


def test_a_body_takes_what_it_may_become() -> None:
    assert announced((b"content-length", b"70000")) == 70_000
    assert announced((b"transfer-encoding", b"chunked")) == 5 * MB
    assert announced((b"content-length", b"100"), (b"content-encoding", b"gzip")) == 100 + 103_200
    assert announced((b"content-length", b"70000"), (b"content-encoding", b"gzip")) == 70_000 + 5 * MB
    assert announced((b"content-length", b"999999999")) == 5 * MB


def test_those_who_wait_for_themselves_end_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow ones that are ended are those of callers who have more than somebody who waits."""
    monkeypatch.setattr(memory, "_YOUNG_SECONDS", 0.0)
    monkeypatch.setattr(memory, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(memory, "WAIT_SECONDS", 0.3)
    half = {b"content-length": str(8 * MB).encode()}
    ended: list[str] = []

    async def upload(bodies: Bodies, caller: str, headers: dict[bytes, bytes], seconds: float) -> None:
        try:
            coming = await bodies.let_in(headers, 17 * MB, caller)
        except Exception:
            ended.append(f"{caller} was not let in")
            return
        try:
            async with coming.reading():
                await asyncio.sleep(seconds)
        except Exception:
            ended.append(f"{caller} was too slow")
        finally:
            coming.release()

    async def scenario() -> None:
        bodies = Bodies(64 * MB)
        few: Any = {b"content-length": str(MB).encode()}
        first = [asyncio.create_task(upload(bodies, "greedy", half, 1.0))]
        first.append(asyncio.create_task(upload(bodies, "modest", few, 0.8)))
        await asyncio.sleep(0.05)
        await upload(bodies, "greedy", half, 0.1)
        assert ended == ["greedy was not let in"]
        await upload(bodies, "third", half, 0.1)
        assert ended == ["greedy was not let in", "greedy was too slow"]
        await asyncio.gather(*first)
        assert ended == ["greedy was not let in", "greedy was too slow"]

    asyncio.run(scenario())


def test_a_client_that_leaves_waits_no_longer(server: Doorleaf) -> None:
    key = another_key(server)
    with ExitStack() as stack:
        for _ in range(3):
            push(stack.enter_context(closing(beginning(server, key, 4 * MB))), 70_000)
        for _ in range(5):
            beginning(server, key, 4 * MB).close()
    body = json.dumps({"database": "d", "collection": "c", "document": {"text": "x" * 4 * MB}})
    with closing(beginning(server, key, len(body))) as client:
        client.sendall(body.encode())
        began = time.monotonic()
        assert answer(client)[0] == 201
        assert time.monotonic() - began < memory.WAIT_SECONDS / 2
