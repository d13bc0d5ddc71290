"""What lanes send and heed beside a command, and how they end: silence, options, sessions, leaving, growing answers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson import Int64, Timestamp
from guards import Looks
from pymongo import monitoring
from wire_proxy import HOST_UNREACHABLE, NOT_PRIMARY, OVERLOADED, Proxy, retrying

from doorleaf.documents import Document
from doorleaf.errors import DataError, RequestError, StoreTimeout, StoreUnavailable, WriteOutcomeUnknown
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    DeleteMany,
    DeleteOne,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    ListDatabases,
    Namespace,
    Operation,
    RunCommand,
    Watch,
)
from doorleaf.stores.mongo import MongoStore

DATABASE = "mongo_wire"
FILLED = Namespace(DATABASE, "filled")
MANY = 1_100
"""More documents than a first batch has."""

SHUTTING_DOWN = {"ok": 0.0, "errmsg": "shutting down", "code": 91, "codeName": "ShutdownInProgress"}
QUICKLY = 4.0
"""Seconds for what takes milliseconds, on a busy machine: less than any patience that was there before."""

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def filled_uri(mongodb_uri: str) -> str:
    async def fill() -> None:
        store = MongoStore(mongodb_uri)
        await store.open()
        await store.execute(DeleteMany(namespace=FILLED, filter={}))
        await store.execute(InsertMany(namespace=FILLED, documents=[{"_id": number} for number in range(MANY)]))
        await store.close()

    asyncio.run(fill())
    return mongodb_uri


# --- silent connections -------------------------------------------------------------------------------------------


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to it")


@pytest.mark.parametrize("forgets", [False, True], ids=["closes", "forgets"])
def test_connections_that_something_in_between_gave_up(filled_uri: str, forgets: bool) -> None:
    """A load balancer closes a silent connection, or an address translator forgets it; nothing fails or hangs."""

    async def body() -> None:
        async with Proxy(filled_uri, patience=1.5, forgets=forgets) as proxy:
            store = MongoStore(proxy.uri("retryReads=false&retryWrites=false&maxIdleTimeMS=700"))
            await store.open()
            own = Namespace(DATABASE, f"own{next(_NUMBERS)}")
            try:
                for round_ in range(2):
                    several = [{"_id": f"many {round_} {number}"} for number in range(2)]
                    operations: list[Operation[Any]] = [
                        FindOne(namespace=FILLED, filter={"_id": 3}),
                        InsertOne(namespace=own, document={"_id": f"one {round_}"}),
                        InsertMany(namespace=own, documents=several),
                        CountDocuments(namespace=FILLED),
                        Aggregate(namespace=FILLED, pipeline=[{"$limit": 1}]),
                    ]
                    begun = time.monotonic()
                    await asyncio.gather(*(store.execute(operation) for operation in operations))
                    assert time.monotonic() - begun < QUICKLY
                    if round_ == 0:
                        await asyncio.sleep(1.8)  # longer than the proxy's patience: silence is what is tested
                assert (await store.execute(CountDocuments(namespace=own))).count == 6
            finally:
                await store.close()

    asyncio.run(body())


def test_a_lane_that_its_server_closed_is_noticed(filled_uri: str) -> None:
    """Without retries, and long before the connection is old: the close is seen while nobody uses it."""

    async def body() -> None:
        async with Proxy(filled_uri, patience=0.3) as proxy:
            store = MongoStore(proxy.uri("retryReads=false&retryWrites=false"))
            await store.open()
            assert store._lanes._idle == 10
            try:
                for number in range(3):
                    await store.execute(InsertOne(namespace=Namespace(DATABASE, "closed"), document={"n": number}))
                    lanes = store._lanes
                    await until(lambda: all(lane.connection.conn.is_closing() for lane in lanes._free))  # noqa: B023
                assert store._lanes._held == 1
            finally:
                await store.close()

    asyncio.run(body())


def test_lanes_that_nobody_uses_are_closed(filled_uri: str) -> None:
    async def body() -> None:
        async with Proxy(filled_uri) as proxy:
            store = MongoStore(proxy.uri("maxIdleTimeMS=200"))
            await store.open()
            try:
                await asyncio.gather(*(store.execute(FindOne(namespace=FILLED)) for _ in range(5)))
                assert store._lanes._held
                await until(lambda: not store._lanes._held)
                assert await store.execute(FindOne(namespace=FILLED))
            finally:
                await store.close()

    asyncio.run(body())


# --- options of the URI -------------------------------------------------------------------------------------------


async def finds(uri: str, **options: Any) -> tuple[str, bool]:
    """How a find ends that is answered after a second, and whether it went over a lane."""
    async with Proxy(uri, [1.0], ("find",)) as proxy:
        store = MongoStore(proxy.uri("&".join(f"{name}={value}" for name, value in options.items())))
        await store.open()
        try:
            await store.execute(FindOne(namespace=FILLED, max_time_ms=20_000))
            end = "done"
        except StoreTimeout:
            end = "late"
        except StoreUnavailable:
            end = "down"
        finally:
            held = store._lanes._held > 0
            await store.close()
        return end, held


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("done", True)),
        ({"socketTimeoutMS": 300, "retryReads": "false"}, ("late", False)),
        ({"socketTimeoutMS": 300}, ("done", True)),  # asked once more, and the second answer comes at once
        ({"timeoutMS": 300}, ("late", False)),
        ({"timeoutMS": 0}, ("done", False)),
        ({"compressors": "zlib"}, ("done", True)),
        ({"maxPoolSize": 0}, ("done", True)),
        ({"maxPoolSize": 1}, ("done", True)),
    ],
)
def test_options_of_the_uri_are_heeded(filled_uri: str, options: dict[str, Any], expected: tuple[str, bool]) -> None:
    assert asyncio.run(finds(filled_uri, **options)) == expected


# --- what is sent beside a command --------------------------------------------------------------------------------


def time_of(seconds: int) -> Document:
    return {"clusterTime": Timestamp(seconds, 1), "signature": {"hash": b"x" * 20, "keyId": Int64(7)}}


def test_sessions_and_cluster_time_are_as_pymongos(filled_uri: str) -> None:
    """Every command is in a session, never in that of another under way, and tells the newest time known."""

    async def body() -> None:
        told = time_of(100)
        async with Proxy(filled_uri, harmed=("find", "insert", "aggregate"), extra={"$clusterTime": told}) as proxy:
            store = MongoStore(proxy.uri("retryWrites=true"))
            await store.open()
            own = Namespace(DATABASE, "gossip")
            try:
                await store.execute(FindOne(namespace=FILLED))
                await store.execute(InsertOne(namespace=own, document={}))
                proxy.extra["$clusterTime"] = time_of(200)
                await store.execute(Aggregate(namespace=FILLED, pipeline=[{"$limit": 1}]))
                await store.execute(FindOne(namespace=FILLED))
                proxy.extra["$clusterTime"] = time_of(150)  # who is behind does not set the time back
                await store.execute(InsertOne(namespace=own, document={}))
                await store.execute(FindOne(namespace=FILLED))
                times = [command["$clusterTime"]["clusterTime"].time for command in proxy.seen]
                assert times == [100, 100, 100, 200, 200, 200]
                sessions = [command["lsid"]["id"] for command in proxy.seen]
                assert len(set(sessions)) == 1, "one after the other, one session is enough"
                assert store._lanes._client._topology.max_cluster_time()["clusterTime"].time == 200
                proxy.seen.clear()
                proxy.plan += [0.2] * 4
                await asyncio.gather(*(store.execute(FindOne(namespace=FILLED)) for _ in range(4)))
                sessions = [command["lsid"]["id"] for command in proxy.seen]
                assert len(set(sessions)) == len(sessions) == 4
            finally:
                await store.close()
            (ended,) = [command for command in proxy.commands if "endSessions" in command]
            assert {session["id"] for session in ended["endSessions"]} >= set(sessions)

    asyncio.run(body())


def test_listeners_of_commands_hear_of_all(filled_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Heard(monitoring.CommandListener):
        names: list[str] = []

        def started(self, event: monitoring.CommandStartedEvent) -> None:
            self.names.append(event.command_name)

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

        def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    async def body() -> None:
        listeners = monitoring._LISTENERS._replace(command_listeners=[Heard()])
        monkeypatch.setattr(monitoring, "_LISTENERS", listeners)
        store = MongoStore(filled_uri)
        await store.open()
        try:
            assert not store._lanes.usable
            await store.execute(FindOne(namespace=FILLED))
            await store.execute(InsertOne(namespace=Namespace(DATABASE, "heard"), document={}))
        finally:
            await store.close()

    asyncio.run(body())
    assert [name for name in Heard.names if name in ("find", "insert")] == ["find", "insert"]


@pytest.mark.parametrize("what", ["lost", "cut", NOT_PRIMARY, SHUTTING_DOWN], ids=["lost", "cut", "10107", "91"])
def test_the_driver_hears_of_what_a_lane_meets(filled_uri: str, what: Any) -> None:
    """A broken read, or a server that is not the one to ask, changes the driver's picture; only a break or a shutdown
    clears its pool."""

    async def body() -> None:
        async with Proxy(filled_uri, harmed=("find",)) as proxy:
            store = MongoStore(proxy.uri(retrying(False)))
            await store.open()
            try:
                await store.execute(FindOne(namespace=FILLED))
                client: Any = store._client
                (server,) = client._topology._servers.values()
                picture, generation = client.topology_description, server.pool.gen.get_overall()
                proxy.plan.append(what)
                with pytest.raises(StoreUnavailable):
                    await store.execute(FindOne(namespace=FILLED))
                assert client.topology_description is not picture
                assert (server.pool.gen.get_overall() > generation) is (what is not NOT_PRIMARY)
                assert (await store.execute(FindOne(namespace=FILLED, filter={"_id": 7}))).document
            finally:
                await store.close()

    asyncio.run(body())


# --- leaving in the middle ----------------------------------------------------------------------------------------


def test_who_leaves_in_the_middle_leaves_nothing_open(filled_uri: str) -> None:
    """The connection is closed, since nobody may read the rest of the answer, and the cursor ended."""

    async def body() -> None:
        async with Proxy(filled_uri, harmed=("find", "getMore")) as proxy:
            store = MongoStore(proxy.uri())
            await store.open()
            try:
                await store.execute(FindOne(namespace=FILLED))
                for harm in ([5.0], ["pass", 5.0]):
                    proxy.seen.clear()
                    proxy.plan += harm
                    task = asyncio.create_task(store.execute(Find(namespace=FILLED)))
                    await until(lambda: len(proxy.seen) == len(harm))  # noqa: B023
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    found = await store.execute(FindOne(namespace=FILLED, filter={"_id": 7}))
                    assert found.document == bson.encode({"_id": 7})
                await until(lambda: "killCursors" in proxy.others)
                lanes = store._lanes
                await until(lambda: lanes._held == len(lanes._free) == 1)
            finally:
                await store.close()

    asyncio.run(body())


def test_a_change_stream_of_a_silent_server_is_closed_in_time(filled_uri: str) -> None:
    """Nobody waits for the server to say that it forgot the stream."""

    async def body() -> None:
        async with Proxy(filled_uri, harmed=("getMore", "killCursors")) as proxy:
            store = MongoStore(proxy.uri())
            await store.open()
            try:
                stream = (await store.execute(Watch(namespace=FILLED))).changes
                proxy.plan += ["silence"] * 5
                task = asyncio.create_task(stream.next())
                await until(lambda: bool(proxy.seen))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                begun = time.monotonic()
                await stream.close()
                assert time.monotonic() - begun < 2.0 + QUICKLY
            finally:
                await store.close()

    asyncio.run(body())


def test_ten_thousand_who_leave_leak_no_connection(filled_uri: str) -> None:
    async def body() -> None:
        store = MongoStore(f"{filled_uri.replace('&maxPoolSize=16', '')}&maxPoolSize=20")
        await store.open()
        try:
            for _ in range(100):
                tasks = [asyncio.create_task(store.execute(FindOne(namespace=FILLED))) for _ in range(100)]
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            lanes = store._lanes
            await until(lambda: not lanes._tasks and lanes._held == len(lanes._free))
            (server,) = lanes._client._topology._servers.values()
            assert server.pool.active_sockets == lanes._held <= 15
            await asyncio.gather(*(store.execute(FindOne(namespace=FILLED)) for _ in range(40)))
        finally:
            await store.close()

    asyncio.run(body())


@pytest.mark.parametrize("lanes", [True, False])
@pytest.mark.parametrize("operation", [Find(namespace=FILLED), Aggregate(namespace=FILLED, pipeline=[])])
def test_an_answer_is_refused_while_it_grows(filled_uri: str, operation: Operation[Any], lanes: bool) -> None:
    async def body() -> None:
        async with Proxy(filled_uri, harmed=("getMore",)) as proxy:
            store = MongoStore(proxy.uri())
            await store.open()
            store._lanes._usable = lanes
            if isinstance(operation, Aggregate):
                operation.cap = 5_000
            try:
                operation.max_bytes = 1_000
                with pytest.raises(RequestError) as raised:
                    await store.execute(operation)
                assert raised.value.code == "ReadSizeLimitExceeded"
                # PyMongo's first batch of a pipeline is empty.
                assert len(proxy.seen) == (isinstance(operation, Aggregate) and not lanes), (
                    "no further batch is asked for"
                )
                if isinstance(operation, Find):
                    await until(lambda: "killCursors" in proxy.others)
                operation.max_bytes = 100_000
                assert len((await store.execute(operation)).documents) == MANY
                assert store._lanes._held == len(store._lanes._free)
            finally:
                await store.close()

    asyncio.run(body())


# --- commands that the driver is only given -----------------------------------------------------------------------

COMMANDS: list[tuple[str, Operation[Any], int | None]] = [
    ("listDatabases", ListDatabases(namespace=Namespace("admin")), None),
    ("count", RunCommand(namespace=FILLED, command={"count": "filled"}), None),
    ("explain", FindOne(namespace=FILLED, filter={"_id": 3}), 10),
]


@pytest.mark.parametrize("retries", [True, False])
@pytest.mark.parametrize(
    "fault", ["lost", NOT_PRIMARY, HOST_UNREACHABLE, OVERLOADED], ids=["lost", "10107", "6", "462"]
)
@pytest.mark.parametrize(("name", "operation", "scan"), COMMANDS, ids=[name for name, *_ in COMMANDS])
def test_reading_commands_are_run_again(
    filled_uri: str, name: str, operation: Operation[Any], scan: int | None, fault: Any, retries: bool
) -> None:
    async def body() -> None:
        async with Proxy(filled_uri, harmed=(name,)) as proxy:
            store = MongoStore(proxy.uri(retrying(retries)))
            await store.open()
            operation.max_scan = scan
            try:
                proxy.plan.append(fault)
                if retries:
                    assert await store.execute(operation)
                else:
                    with pytest.raises(StoreUnavailable):
                        await store.execute(operation)
                assert len(proxy.seen) == (2 if retries else 1)
            finally:
                await store.close()

    asyncio.run(body())


def test_a_writing_command_is_not_run_again(filled_uri: str) -> None:
    async def body() -> None:
        async with Proxy(filled_uri, ["unanswered"], ("insert",)) as proxy:
            store = MongoStore(proxy.uri(retrying(True)))
            await store.open()
            own = Namespace(DATABASE, f"own{next(_NUMBERS)}")
            try:
                insert = {"insert": own.collection, "documents": [{"_id": 1}]}
                with pytest.raises(WriteOutcomeUnknown):
                    await store.execute(RunCommand(namespace=own, command=insert))
                assert len(proxy.seen) == 1
            finally:
                await store.close()

    asyncio.run(body())


def test_a_plan_without_a_namespace_is_the_commands_own(filled_uri: str) -> None:
    """Not every server names the namespace in its plans."""
    plan = {"queryPlanner": {"winningPlan": {"stage": "COLLSCAN"}}, "ok": 1.0}

    async def body() -> None:
        async with Proxy(filled_uri, [plan, plan], ("explain",)) as proxy:
            store = MongoStore(proxy.uri())
            await store.open()
            try:
                find = FindOne(namespace=FILLED, filter={"a": 3}, max_scan=100)
                with pytest.raises(DataError) as raised:
                    await store.execute(find)
                assert raised.value.number == 291
                assert str(FILLED) in raised.value.message
                find.max_scan = 10_000
                assert (await store.execute(find)).document is None
            finally:
                await store.close()

    asyncio.run(body())


def test_a_guarded_write_asks_no_server_what_it_is(filled_uri: str) -> None:
    async def body() -> None:
        async with Proxy(filled_uri) as proxy:
            store = MongoStore(proxy.uri())
            await store.open()
            own = Namespace(DATABASE, f"own{next(_NUMBERS)}")
            try:
                await store.execute(InsertMany(namespace=own, documents=[{"_id": 1}, {"_id": 2}]))
                before = proxy.others.count("hello")
                pooled = len(proxy.commands)
                for number in (1, 2):
                    await store.execute(DeleteOne(namespace=own, filter={"_id": number}, guard=Looks(lambda *_: None)))
                asked = [command for command in proxy.commands[pooled:] if "hello" in command]
                assert not [hello for hello in asked if "client" not in hello and "topologyVersion" not in hello]
                assert before <= proxy.others.count("hello")
            finally:
                await store.close()

    asyncio.run(body())
