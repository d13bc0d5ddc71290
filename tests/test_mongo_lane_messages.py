"""Messages on a lane: however the network cuts them, an answer is the one to what was asked, or there is none."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from bson import Int64
from pymongo.errors import ProtocolError
from pymongo.network_layer import PyMongoProtocol

from doorleaf.ejson.transcoder import native
from doorleaf.stores.mongo.lanes.wire import Reply, Wire
from doorleaf.stores.mongo.limits import Limits

DOCUMENT = bson.encode({"ok": 1.0, "text": "x" * 200})
LONGEST = 100_000


def message(
    document: bytes = DOCUMENT, *, asked: int = 7, flags: bytes = b"\0\0\0\0\0", operation: int = 2013
) -> bytes:
    return struct.pack("<iiii", 21 + len(document), 1, asked, operation) + flags + document


def compressed(document: bytes = DOCUMENT, *, size: int | None = None, inner: int = 2013, body: bytes = b"") -> bytes:
    whole = b"\0\0\0\0\0" + document
    body = body or zlib.compress(whole)
    told = struct.pack("<iiB", inner, len(whole) if size is None else size, 2)
    return struct.pack("<iiii", 25 + len(body), 1, 7, 2012) + told + body


@contextlib.asynccontextmanager
async def connected(server: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[tuple[Wire, Any]]:
    """A wire to a server that does ``server`` once it has been sent something, and the driver's protocol below."""

    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if await reader.read(1):
                await server(writer)
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    port = listener.sockets[0].getsockname()[1]
    _, protocol = await loop.create_connection(PyMongoProtocol, "127.0.0.1", port)
    driver: Any = protocol
    connection = SimpleNamespace(conn=SimpleNamespace(get_conn=driver), max_message_size=LONGEST)
    try:
        yield Wire(connection, Limits(loop)), driver
    finally:
        driver.transport.abort()
        await served.wait()
        listener.close()


def sends(*parts: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def server(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.002)

    return server


async def asked(*parts: bytes) -> bytes:
    async with connected(sends(*parts)) as (wire, _), asyncio.timeout(20):
        answer = await wire.ask(7, b"question")
        assert isinstance(answer, Reply)
        return answer.bson


@pytest.mark.parametrize("whole", [message(), compressed()], ids=["plain", "compressed"])
@pytest.mark.parametrize("cut", [1, 4, 15, 16, 17, 20, 21, 25, 26, 60])
def test_an_answer_comes_in_any_pieces(whole: bytes, cut: int) -> None:
    assert asyncio.run(asked(whole[:cut], whole[cut:])) == DOCUMENT
    assert asyncio.run(asked(whole[:1], whole[1:cut], whole[cut:-1], whole[-1:])) == DOCUMENT


CURSOR = bson.encode({"cursor": {"firstBatch": [{"a": 1}, {}], "id": Int64(0), "ns": "a.b"}, "ok": 1.0})
COUNTS = bson.encode({"n": 2, "nModified": 1, "ok": 1.0})


@pytest.mark.skipif(native is None, reason="built without a C compiler")
@pytest.mark.parametrize("cut", [1, 16, 25, 40, 60])
def test_of_a_reply_as_most_are_its_content_comes(cut: int) -> None:
    async def body(reply: bytes) -> Any:
        whole = message(reply)
        async with connected(sends(whole[:cut], whole[cut:])) as (wire, _), asyncio.timeout(20):
            return await wire.ask(7, b"question")

    assert asyncio.run(body(CURSOR)) == bson.encode({"a": 1}) + bson.encode({})
    assert asyncio.run(body(COUNTS)) == (2, 1)


def test_who_waits_for_too_long_is_told() -> None:
    async def server(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.write(message())

    async def body() -> None:
        async with connected(server) as (wire, driver), asyncio.timeout(20):
            with pytest.raises(TimeoutError):
                await wire.ask(7, b"question", deadline=asyncio.get_running_loop().time() + 0.1)
            with pytest.raises(OSError, match="closed"):
                wire.ask(8, b"another")  # what comes is the answer to the first
            await driver.wait_closed()

    asyncio.run(body())


@pytest.mark.parametrize(
    "wrong",
    [
        message(asked=8),
        message() + b"\0",
        struct.pack("<iiii", 15, 1, 7, 2013),
        struct.pack("<iiii", -1, 1, 7, 2013),
        struct.pack("<iiii", LONGEST + 1, 1, 7, 2013) + b"\0" * 100,
        message(operation=1),
        message(flags=b"\x02\0\0\0\0"),
        message(flags=b"\0\0\0\0\x01"),
        message(DOCUMENT[:-1]),
        message(b"\0\0\0\0"),
        compressed(inner=1),
        compressed(size=0),
        compressed(size=LONGEST),
        compressed(body=b"no zlib"),
        struct.pack("<iiii", 20, 1, 7, 2012) + b"\0\0\0\0",
    ],
)
def test_what_is_no_answer_ends_the_connection(wrong: bytes) -> None:
    async def body() -> None:
        async with connected(sends(wrong)) as (wire, driver), asyncio.timeout(20):
            with pytest.raises(ProtocolError):
                await wire.ask(7, b"question")
            await driver.wait_closed()
            assert wire.is_closing()

    asyncio.run(body())


@pytest.mark.parametrize("sent", [b"", b"\0", message()[:30]])
def test_a_connection_that_breaks_tells_who_waits_and_the_driver(sent: bytes) -> None:
    async def server(writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()

    async def body() -> None:
        async with connected(server) as (wire, driver), asyncio.timeout(20):
            with pytest.raises(OSError, match="closed"):
                await wire.ask(7, b"question")
            await driver.wait_closed()
            with pytest.raises(OSError, match="closed"):
                wire.ask(8, b"question")

    asyncio.run(body())


def test_an_answer_that_nobody_waits_for_ends_the_connection() -> None:
    async def body() -> None:
        async with connected(sends(message())) as (wire, driver), asyncio.timeout(20):
            waiter = wire.ask(7, b"question")
            waiter.cancel()
            await driver.wait_closed()

    asyncio.run(body())


def test_one_question_at_a_time() -> None:
    async def body() -> None:
        async with connected(sends(message())) as (wire, _), asyncio.timeout(20):
            waiter = wire.ask(7, b"question")
            with pytest.raises(OSError, match="closed"):
                wire.ask(8, b"another")
            assert await waiter == Reply(DOCUMENT)

    asyncio.run(body())


def test_the_driver_gets_its_connection_back() -> None:
    async def server(writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(message())
            await writer.drain()
            await asyncio.sleep(0.1)

    async def body() -> None:
        async with connected(server) as (wire, driver), asyncio.timeout(20):
            assert await wire.ask(7, b"question") == Reply(DOCUMENT)
            wire.release()
            data, operation = await driver.read(7, LONGEST)
            assert (operation, bytes(data)) == (2013, message()[16:])

    asyncio.run(body())
