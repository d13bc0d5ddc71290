"""Callers take turns for the connections of a MongoDB, and what the server itself asks waits for none of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
from collections.abc import Awaitable, Callable
from typing import Any

import bson
import pytest
from wire_proxy import Proxy

from doorleaf.errors import StoreTimeout, StoreUnavailable
from doorleaf.operations import (
    OWN_TURN,
    Aggregate,
    BulkWrite,
    DeleteMany,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    RunCommand,
    Scan,
    Watch,
    altered,
)
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.mongo.limits import Limits
from doorleaf.stores.mongo.places import Places

NS = Namespace("mongo_places", "things")
PING = RunCommand(namespace=Namespace("admin"), command={"ping": 1}, turn=OWN_TURN)


def placed(most: float, scenario: Callable[[Places], Awaitable[Any]]) -> None:
    """Run ``scenario`` with ``most`` places."""

    async def whole() -> None:
        await scenario(Places(most, Limits(asyncio.get_running_loop())))

    asyncio.run(whole())


def later() -> float:
    return asyncio.get_running_loop().time() + 60


async def queued(places: Places, *callers: str) -> list[asyncio.Task[None]]:
    """Those who wait, in the order of their asking."""
    tasks = [asyncio.create_task(places.wait(caller, later())) for caller in callers]
    await asyncio.sleep(0)
    return tasks


async def served(places: Places, waiting: dict[str, list[asyncio.Task[None]]], leaving: str) -> str:
    """Whose turn it is when ``leaving`` gives a place back, "" for nobody's."""
    before = {name: sum(task.done() for task in tasks) for name, tasks in waiting.items()}
    places.leave(leaving)
    await asyncio.sleep(0)
    return "".join(name for name, tasks in waiting.items() if sum(task.done() for task in tasks) > before[name])


@pytest.mark.parametrize(("most", "each"), [(1, 1), (2, 1), (4, 3), (8, 6), (100, 75)])
def test_a_caller_alone_leaves_a_place_for_others(most: int, each: int) -> None:
    async def scenario(places: Places) -> None:
        taken = 0
        while places.enter("greedy"):
            taken += 1
        assert taken == each
        assert places.enter("other") == (most > each)

    placed(most, scenario)


def test_without_a_bound_nobody_waits() -> None:
    async def scenario(places: Places) -> None:
        assert all(places.enter("greedy") for _ in range(1_000))

    placed(math.inf, scenario)


def test_whoever_has_the_fewest_goes_first_and_others_in_turn() -> None:
    async def scenario(places: Places) -> None:
        assert [places.enter(caller) for caller in "aaaaaaabbc"] == [True] * 10
        waiting = {name: await queued(places, *name * 9) for name in "abc"}
        assert places.waiting == 27
        turns = [await served(places, waiting, "a") for _ in range(5)]
        assert turns == ["", "c", "b", "c", "a"], "until they have three each, and one is left"
        assert [await served(places, waiting, who) for who in "cbbac"] == ["c", "b", "b", "a", "c"]
        assert places.enter("d")
        assert not places.enter("e")
        waiting["e"] = await queued(places, "e")
        assert await served(places, waiting, "a") == "e"
        for task in [task for tasks in waiting.values() for task in tasks]:
            task.cancel()
        await asyncio.sleep(0)
        assert places.waiting == 0

    placed(10, scenario)


def test_one_place_is_for_each_in_turn() -> None:
    async def scenario(places: Places) -> None:
        assert places.enter("a")
        waiting = {
            "a": await queued(places, *["a"] * 60),
            "b": await queued(places, "b"),
            "c": await queued(places, "c"),
        }
        assert [await served(places, waiting, who) for who in "abca"] == ["b", "c", "a", "a"]
        for task in waiting["a"]:
            task.cancel()
        await asyncio.gather(*waiting["a"], return_exceptions=True)
        assert (places.free, places.waiting) == (0, 0)
        places.leave("a")
        assert places.free == 1

    placed(1, scenario)


def test_who_waits_no_more_has_no_turn() -> None:
    """Left, left in the moment of the turn, its time over, or the store closed."""

    async def scenario(places: Places) -> None:
        assert places.enter("a")
        (left,) = await queued(places, "b")
        left.cancel()
        (given,) = await queued(places, "b")
        assert places.waiting == 1 + 1 - left.cancelled()
        places.leave("a")
        given.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await given
        assert (places.free, places.waiting) == (1, 0)
        assert places.enter("a")
        with pytest.raises(StoreTimeout, match="time limit"):
            await places.wait("b", asyncio.get_running_loop().time() + 0.01)
        assert places.waiting == 0
        (closed,) = await queued(places, "b")
        places.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await closed
        places.leave("a")
        assert (places.free, places.waiting) == (1, 0)

    placed(1, scenario)


# --- over a server whose aggregates never end ---------------------------------------------------------------------

ENDLESS = 600.0
SLOW = [{"$match": {"slow": True}}]


def over_slow(
    uri: str,
    body: Callable[[MongoStore, Proxy], Awaitable[Any]],
    words: str,
    unanswered: tuple[str, ...] = ("aggregate", "getMore"),
    **options: Any,
) -> None:
    """Run ``body`` with a store whose server has ten documents, and never answers an aggregate."""

    async def whole() -> None:
        async with Proxy(uri, [], unanswered) as proxy:
            store = MongoStore(proxy.uri(words), **options)
            await store.open()
            try:
                await store.execute(DeleteMany(namespace=NS, filter={}))
                await store.execute(InsertMany(namespace=NS, documents=[{"_id": number} for number in range(10)]))
                proxy.plan = [ENDLESS] * 1_000
                await body(store, proxy)
            finally:
                await store.close()

    asyncio.run(whole())


def asked(store: MongoStore, operation: Operation[Any], times: int = 1) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(store.execute(altered(operation))) for _ in range(times)]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def slow(turn: str) -> Aggregate:
    return Aggregate(namespace=NS, pipeline=SLOW, cap=10, turn=turn)


def one(turn: str, **more: Any) -> FindOne:
    return FindOne(namespace=NS, filter={"_id": 3}, turn=turn, **more)


@pytest.mark.parametrize("lanes", [True, False])
def test_who_takes_all_that_one_may_keeps_nobody_waiting(mongodb_uri: str, lanes: bool) -> None:
    """Reads of one caller, on lanes or the driver's own way, leave connections to others and to the server itself."""

    async def body(store: MongoStore, proxy: Proxy) -> None:
        greedy = asked(store, slow("greedy"), 40) + asked(store, Scan(namespace=NS, query=slow(""), turn="greedy"), 20)
        await until(lambda: len(proxy.seen) >= 6)
        second = asked(store, slow("second"), 10)
        await until(lambda: len(proxy.seen) >= 7)
        for operation in (one("other"), one(OWN_TURN), PING, one("other")):
            await asyncio.gather(*asked(store, operation))
        many = [*asked(store, one(OWN_TURN), 30), *asked(store, PING, 30)]
        await asyncio.gather(*many)
        assert len(proxy.seen) == 7
        assert store.pool()["waiting"] == 63
        assert not any(task.done() for task in greedy + second)
        await ended(greedy + second)
        assert store.pool()["waiting"] == 0
        await until(lambda: store.pool()["used"] == 0)

    over_slow(mongodb_uri, body, "maxPoolSize=8", lanes=lanes)


@pytest.mark.parametrize("lanes", [True, False])
def test_of_one_connection_the_next_turn_is_another_callers(mongodb_uri: str, lanes: bool) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        proxy.plan, begun = [0.1, *["pass"] * 100], len(proxy.commands)
        greedy = asked(store, slow("greedy"), 60)
        await asyncio.sleep(0)
        others = asked(store, one("other")) + asked(store, InsertOne(namespace=NS, document={}, turn="third"))
        await asyncio.gather(*greedy, *others)
        names = [next(iter(command)) for command in proxy.commands[begun:]]
        sent = [name for name in names if name in ("aggregate", "find", "insert")]
        assert sent == ["aggregate", "find", "insert", *["aggregate"] * 59]

    over_slow(mongodb_uri, body, "maxPoolSize=1", lanes=lanes)


def test_who_waits_until_its_time_is_over_is_told_and_nothing_is_sent(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        greedy = asked(store, slow("greedy"), 3)
        await until(lambda: len(proxy.seen) == 1)
        begun = len(proxy.commands)
        waits: list[Operation[Any]] = [
            one("other", max_time_ms=50),
            InsertOne(namespace=NS, document={"_id": "late"}, turn="third", max_time_ms=50),
            BulkWrite(namespace=NS, operations=[InsertOne(namespace=NS, document={})], turn="fourth", max_time_ms=50),
            Find(namespace=NS, turn="fifth", max_time_ms=50),
        ]
        told = await asyncio.gather(*[task for wait in waits for task in asked(store, wait)], return_exceptions=True)
        assert [(type(error), str(error)) for error in told] == [(StoreTimeout, "operation exceeded time limit")] * 4
        with pytest.raises(StoreTimeout):
            await store.execute(Scan(namespace=NS, query=Find(namespace=NS), turn="sixth", max_time_ms=50))
        left = asked(store, one("other"), 5)
        await until(lambda: store.pool()["waiting"] == 7)
        await ended(left)
        assert store.pool()["waiting"] == 2
        names = {next(iter(command)) for command in proxy.commands[begun:]}
        assert names <= {"hello", "isMaster", "ismaster"}
        await ended(greedy)
        assert (await store.execute(one("other"))).document == bson.encode({"_id": 3})

    over_slow(mongodb_uri, body, "maxPoolSize=1")


def test_lanes_make_room_for_what_goes_the_drivers_own_way(mongodb_uri: str) -> None:
    """All connections are idle lanes, and then all are needed beside them."""

    async def body(store: MongoStore, proxy: Proxy) -> None:
        proxy.plan = [0.2] * 6
        await asyncio.gather(*asked(store, slow("a"), 3), *asked(store, slow("b"), 1))
        assert store.pool()["idle"] >= 4
        proxy.plan = [ENDLESS] * 10
        scans = asked(store, Scan(namespace=NS, query=slow(""), turn="a"), 3)
        scans += asked(store, Scan(namespace=NS, query=slow(""), turn="b"))
        await until(lambda: len(proxy.seen) == 8)
        await store.execute(one(OWN_TURN))
        await store.execute(altered(PING))
        await ended(scans)
        assert (await store.execute(one("other"))).document == bson.encode({"_id": 3})

    over_slow(mongodb_uri, body, "maxPoolSize=4")


def test_batches_of_scans_take_turns(mongodb_uri: str) -> None:
    """A scan has no place between two batches, and its reader who leaves while it waits keeps none."""

    async def body(store: MongoStore, proxy: Proxy) -> None:
        more = [{"_id": 100 + number} for number in range(1_500)]
        await store.execute(InsertMany(namespace=NS, documents=more))
        scans = [
            (await store.execute(Scan(namespace=NS, query=Find(namespace=NS), turn="greedy"))).documents
            for _ in range(5)
        ]
        for documents in scans:
            assert len(await documents.next() or ()) == 1_000
        assert store.pool()["used"] == 0
        reading = [asyncio.create_task(documents.next()) for documents in scans]
        await until(lambda: len(proxy.seen) == 3)
        assert store.pool()["waiting"] == 2
        assert (await store.execute(one("other"))).document == bson.encode({"_id": 3})
        await ended(reading)
        for documents in scans:
            await documents.close()
        await until(lambda: store.pool() | {"idle": 0} == {"used": 0, "idle": 0, "waiting": 0})

    over_slow(mongodb_uri, body, "maxPoolSize=4")


def test_what_is_asked_before_a_scan_has_a_turn_and_the_servers_own_scan_waits_for_none(mongodb_uri: str) -> None:
    async def body(store: MongoStore, proxy: Proxy) -> None:
        scan = Scan(namespace=NS, query=Find(namespace=NS, filter={"a": 1}), max_scan=1_000)
        scans = asked(store, altered(scan, turn="greedy"), 20)
        await until(lambda: len(proxy.seen) >= 6)
        scans += [task for turn in ("second", "third") for task in asked(store, altered(scan, turn=turn))]
        await until(lambda: len(proxy.seen) >= 8)
        own = await store.execute(Scan(namespace=NS, query=Find(namespace=NS), turn=OWN_TURN))
        assert len(await own.documents.next() or ()) == 10
        await store.execute(altered(PING))
        assert (len(proxy.seen), store.pool()["waiting"]) == (8, 14)
        await ended(scans)
        assert (await store.execute(one("other"))).document == bson.encode({"_id": 3})

    over_slow(mongodb_uri, body, "maxPoolSize=8", ("explain",))


def test_an_error_that_came_when_nobody_read_on_is_not_logged(
    mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a scan, and of a change stream that cannot go on where it lost its connection."""
    fatal = {"ok": 0.0, "errmsg": "no", "code": 280, "codeName": "ChangeStreamFatalError"}

    async def body(store: MongoStore, proxy: Proxy) -> None:
        await store.execute(InsertMany(namespace=NS, documents=[{"_id": 100 + number} for number in range(1_500)]))
        scan: Any = (await store.execute(Scan(namespace=NS, query=Find(namespace=NS), turn="one"))).documents
        await scan.next()
        proxy.plan = ["pass", ENDLESS, ENDLESS, fatal]
        changes: Any = (await store.execute(Watch(namespace=NS))).changes
        for stream in (changes, scan):
            asked, reading = len(proxy.seen), asyncio.create_task(stream.next())
            await until(lambda asked=asked: len(proxy.seen) > asked)  # type: ignore[misc]
            await ended([reading])
        proxy.cut()
        await until(scan._asking.done)
        await until(changes._asking.done)
        await scan.close()
        await changes.close()
        del scan, changes, stream, reading
        gc.collect()
        await asyncio.sleep(0)
        assert "never retrieved" not in caplog.text

    over_slow(mongodb_uri, body, "maxPoolSize=4")
