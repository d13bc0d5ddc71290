"""Change streams that many listen to: one of the database, whoever falls behind, comes back, or goes."""

from __future__ import annotations

import asyncio
import secrets
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from counted import C, Counting, fill, keys, run, watch
from live import watching
from servers import doorleaf, mortal_mongodb

from doorleaf.apart import TURN
from doorleaf.dialects.events import written
from doorleaf.documents import Document
from doorleaf.errors import DataError, DoorleafError, StoreTimeout, StoreUnavailable, TooManyRequests
from doorleaf.operations import OWN_TURN, SYSTEM_TURN, DropCollection, InsertOne, Namespace, Watch
from doorleaf.operations.results import ChangeStream, Event, Events
from doorleaf.stores import feeds, hub
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.router import Router


def test_many_subscribers_share_one_stream() -> None:
    async def body(router: Router, store: Counting) -> None:
        streams = [await watch(router) for _ in range(20)]
        streams += [await watch(router, filter={"fullDocument.n": {"$gte": 8}}) for _ in range(5)]
        assert store.opened == 1
        await fill(router, *range(10))
        for number in range(10):
            await router.execute(InsertOne(namespace=C, document={"_id": f"n{number}", "n": number}))
        for stream in streams[:20]:
            assert await keys(stream, 20) == [*range(10), *(f"n{number}" for number in range(10))]
        for stream in streams[20:]:
            assert await keys(stream, 2) == ["n8", "n9"]
        assert await asyncio.gather(*(stream.next() for stream in streams)) == [[]] * 25
        other = await watch(router, full_document="default")
        assert store.opened == 2, "what another way of watching needs is another stream"
        for stream in (*streams, other):
            await stream.close()
            assert await stream.next() is None

    run(body)


def test_what_was_there_before_does_not_come() -> None:
    async def body(router: Router, store: Counting) -> None:
        first = await watch(router)
        for number in range(5):
            await fill(router, number)
            stream = await watch(router)
            await fill(router, f"after {number}")
            assert await keys(stream, 1) == [f"after {number}"]
            await stream.close()
        assert len(await keys(first, 10)) == 10
        assert store.opened == 1

    run(body)


def test_a_token_is_gone_on_behind_in_the_same_stream() -> None:
    async def body(router: Router, store: Counting) -> None:
        first = await watch(router)
        await fill(router, *range(300))
        events: list[Document] = []
        while len(events) < 300:
            events += await first.next() or []
        known = await watch(router, resume_after=events[250]["_id"])
        assert store.opened == 1, "the feed has it"
        assert await keys(known, 49) == [*range(251, 300)]
        at_end = await watch(router, start_after=events[-1]["_id"])
        assert store.opened == 1
        with pytest.raises(DataError):
            await watch(router, resume_after={"_data": "F" * 30})
        timed = await watch(router, start_at_operation_time=events[298]["clusterTime"])
        assert await keys(timed, 2) == [298, 299]
        await fill(router, "last")
        for stream in (first, known, at_end, timed):
            assert await keys(stream, 1) == ["last"]

    run(body)


def test_who_falls_behind_reads_on_alone_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT_EVENTS", 50)

    async def body(router: Router, store: Counting) -> None:
        slow, quick = await watch(router), await watch(router)
        await fill(router, "begin")
        assert await keys(slow, 1) == ["begin"]
        for start in range(0, 1000, 100):
            await fill(router, *range(start, start + 100))
            found = await keys(quick, 100 + (start == 0))
            assert found[-1] == start + 99
        (feed,) = router._hub._feeds.values()
        assert len(feed.events) <= 50
        assert await keys(slow, 1000) == [*range(1000)]
        assert store.opened >= 2
        while store.open_now > 1:
            assert await slow.next() == []
        await fill(router, "both")
        assert await keys(slow, 1) == ["both"]
        assert await keys(quick, 1) == ["both"]

    run(body)


def test_who_stays_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT_EVENTS", 100)
    monkeypatch.setattr(feeds, "SLOW_SECONDS", 0.0)

    async def body(router: Router, store: Counting) -> None:
        slow, quick = await watch(router), await watch(router)
        await fill(router, "begin")
        assert await keys(slow, 1) == ["begin"]
        for start in range(0, 1000, 50):
            await fill(router, *range(start, start + 50))
            await keys(quick, 50 + (start == 0))
        with pytest.raises(DataError) as raised:
            await keys(slow, 1000)
        assert raised.value.code == "ChangeStreamHistoryLost"
        await fill(router, "more")
        assert await keys(quick, 1) == ["more"], "others are not held up"

    run(body)


def test_events_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KEPT_BYTES", 100_000)

    async def body(router: Router, store: Counting) -> None:
        idle, quick = await watch(router), await watch(router)
        for number in range(20):
            await fill(router, number, text="x" * 30_000)
        assert len(await keys(quick, 20)) == 20
        (feed,) = router._hub._feeds.values()
        assert sum(event.size for event in feed.events) <= 100_000
        assert await keys(idle, 20) == [*range(20)]

    run(body)


def test_a_database_that_was_away_is_gone_on_with() -> None:
    async def body(router: Router, store: Counting) -> None:
        streams = [await watch(router) for _ in range(3)]
        await fill(router, 1)
        assert await keys(streams[0], 1) == [1]
        store.away = True
        with pytest.raises(StoreUnavailable):
            await watch(router, start_at_operation_time=None, start_after={"_data": "F" * 30})
        await fill(router, 2)  # what others write meanwhile
        assert await streams[1].next() is not None
        store.away = False
        assert await keys(streams[0], 1) == [2]
        assert (await keys(streams[2], 2)) == [1, 2]
        assert store.open_now == 1

    run(body)


@pytest.mark.parametrize("how", ["away", "mute"])
def test_a_database_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(feeds, "AWAY_SECONDS", 0.0)

    async def body(router: Router, store: Counting) -> None:
        streams = [await watch(router) for _ in range(3)]
        setattr(store, how, True)
        for stream in streams:
            with pytest.raises(StoreUnavailable):
                await keys(stream, 1)
        assert store.opened <= 2
        setattr(store, how, False)
        again = await watch(router)
        await fill(router, 1)
        assert await keys(again, 1) == [1]

    run(body)


def test_the_end_is_told_to_all_and_a_new_stream_begins() -> None:
    async def body(router: Router, store: Counting) -> None:
        streams = [await watch(router) for _ in range(3)]
        await fill(router, 1)
        await router.execute(DropCollection(namespace=C))
        again = await watch(router)
        for stream in streams:
            kinds = []
            while (events := await stream.next()) is not None:
                kinds += [event["operationType"] for event in events]
            assert kinds == ["insert", "drop", "invalidate"]
        await fill(router, 2)
        while (events := await again.next()) is not None and not events:
            pass
        assert store.opened <= 2

    run(body)


def test_a_stream_that_nobody_listens_to_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "LINGERING_SECONDS", 0.2)

    async def body(router: Router, store: Counting) -> None:
        first = await watch(router)
        await first.close()
        second = await watch(router)
        assert (store.opened, store.open_now) == (1, 1), "who comes back finds it open"
        await second.close()
        await second.close()
        async with asyncio.timeout(30):
            while store.open_now or router._hub.open:  # noqa: ASYNC110  # nobody tells of it
                await asyncio.sleep(0.05)

    run(body)


def test_who_listens_to_one_thing_after_the_other_leaves_few_streams_open() -> None:
    async def body(router: Router, store: Counting) -> None:
        stays = await watch(router)
        for number in range(40):
            await (await watch(router, comment=number)).close()
        async with asyncio.timeout(30):
            while store.open_now > hub.LINGERING_FEEDS + 1:  # noqa: ASYNC110  # nobody tells of it
                await asyncio.sleep(0.01)
        assert (store.opened, router._hub.open) == (41, hub.LINGERING_FEEDS + 1)
        await fill(router, 1)
        assert await keys(stays, 1) == [1]

    run(body)


def test_a_filter_that_cannot_be_is_refused_and_leaves_nothing() -> None:
    async def body(router: Router, store: Counting) -> None:
        with pytest.raises(DoorleafError):
            await watch(router, filter={"$who": 1})
        with pytest.raises(DoorleafError):
            await router.execute(Watch(namespace=Namespace("db", "a$b")))
        assert router._hub.open == 0

    run(body)


def test_streams_survive_a_restart_of_the_database(tmp_path: Path) -> None:
    with mortal_mongodb(tmp_path / "mongodb") as database:
        uri = database.uri + "&serverSelectionTimeoutMS=500"
        with doorleaf(tmp_path / "data", "--uri", uri) as server, ExitStack() as stack:
            opening = [watching(server, database="d", collection="c") for _ in range(3)]
            listeners = [stack.enter_context(one) for one in opening]
            server.ok("insertOne", document={"_id": "before"})
            assert [events.change()["documentKey"]["_id"] for events in listeners] == ["before"] * 3
            database.kill()
            database.start()
            writing = threading.Thread(target=_write, args=(server,))
            writing.start()
            for events in listeners:
                assert [events.change()["documentKey"]["_id"] for _ in range(20)] == [*range(20)]
            writing.join()
            assert "Traceback" not in server.output()


def test_events_that_come_together_are_taken_together(mongodb_uri: str) -> None:
    """As they come from MongoDB, in their order and once, small ones and large ones."""

    async def body(router: Router) -> None:
        stream, mark = await watch(router), secrets.token_hex(4)
        for fields, most in (({}, 20), ({"text": "x" * 30_000}, 60)):
            wanted = [f"{mark}-{most}-{number}" for number in range(60)]
            await fill(router, *wanted, **fields)
            found: list[Any] = []
            times = 0
            async with asyncio.timeout(60):
                while len(found) < len(wanted):
                    events = await stream.next()
                    assert events is not None
                    found += [event["documentKey"]["_id"] for event in events]
                    times += bool(events)
            assert found == wanted
            assert times <= most
            if events:
                assert stream.token == events[-1]["_id"]
        await stream.close()

    async def whole() -> None:
        router = Router({"a": MongoStore(mongodb_uri)}, "a")
        await router.open()
        try:
            await body(router)
        finally:
            await router.close()

    asyncio.run(whole())


def _write(server: Any) -> None:
    for number in range(20):
        while server.act("insertOne", document={"_id": number}).status not in (201, 409):
            pass


def test_what_several_are_told_is_written_in_nobodys_turn_and_tried_again() -> None:
    turns: list[str] = []

    def write(event: Document) -> bytes:
        turns.append(TURN.get())
        if len(turns) == 1:
            raise StoreTimeout("operation exceeded time limit")
        return b"written"

    async def body() -> None:
        TURN.set("somebody")
        page = Events([Event({"n": 1}, 100_000)])
        told = await asyncio.gather(*(written(page, "kind", write) for _ in range(3)), return_exceptions=True)
        assert isinstance(told[0], StoreTimeout)
        assert [getattr(messages, "joined", messages) for messages in told[1:]] == [b"written"] * 2
        assert turns == [OWN_TURN] * 2
        assert TURN.get() == "somebody"

    asyncio.run(body())


def test_a_feed_that_is_over_stays_so() -> None:
    async def opening(_: Watch) -> ChangeStream:
        raise StoreUnavailable("the database cannot be reached")

    async def body() -> None:
        feed = feeds.Feed(Watch(namespace=C), opening, lambda _: None)
        feed._add(
            [{"_id": {"_data": "1"}, "operationType": "invalidate"}, {"_id": {"_data": "2"}, "operationType": "x"}]
        )
        assert feed.ended

    asyncio.run(body())


def test_what_several_are_told_together_is_made_once() -> None:
    async def body(router: Router, _: Counting) -> None:
        some, others, late = [await watch(router) for _ in range(3)]
        for subscriber in (some, others, late):
            assert await subscriber.next() == []  # all are at the place of the latest
        await fill(router, 1, 2)
        told = await asyncio.gather(some.next(), others.next())
        assert [[event["documentKey"]["_id"] for event in page or ()] for page in told] == [[1, 2]] * 2
        assert told[0] is told[1]
        made: list[Document] = []

        def write(event: Document) -> bytes:
            made.append(event)
            return b"%d" % event["documentKey"]["_id"]

        pages = await asyncio.gather(*(written(page or [], "kind", write) for page in told))
        assert [page.joined for page in pages] == [b"12"] * 2
        assert len(made) == 2
        await fill(router, 3)
        assert await keys(some, 1) == [3]
        assert await keys(late, 3) == [1, 2, 3], "a page that others had before more came is no end"
        for subscriber in (some, others, late):
            await subscriber.close()

    run(body)


def test_one_caller_and_all_watch_so_many_different_things() -> None:
    async def body(router: Router, store: Counting) -> None:
        async def watched(caller: str, number: int) -> ChangeStream:
            operation = Watch(namespace=Namespace("db", f"c{number}"))
            operation.turn = caller
            return (await router.execute(operation)).changes

        async def require_full(caller: str, number: int, told: str) -> None:
            with pytest.raises(TooManyRequests, match=told) as refused:
                await watched(caller, number)
            assert refused.value.headers["Retry-After"]

        streams = [await watched("one", number) for number in range(2)]
        await require_full("one", 2, "one caller at once: the limit is 2")
        shared = [await watched("one", 0), await watched("two", 0), await watched("two", 1)]
        assert store.opened == 2, "whoever shares what is open is not refused"
        for stream in (*streams, shared[0]):
            await stream.close()
        await require_full("two", 2, "one caller")  # who stays has what the others left
        streams = [await watched("one", number) for number in (10, 11)]
        streams += [await watched("three", number) for number in (20, 21)]
        streams += [await watched("four", number) for number in (30, 31)]
        await require_full("five", 40, "the limit of this process is 8")
        await streams[0].close()
        await require_full("three", 10, "one caller")  # open still, and nobody's
        streams[0] = await watched("one", 10)
        streams += [await watched(SYSTEM_TURN, number) for number in range(50, 60)]
        assert store.open_now == 18
        for stream in (*shared[1:], *streams):
            await stream.close()
        for number in range(2):
            await watched("two", 70 + number)

    run(body, most_feeds=8)


def test_what_others_left_to_one_caller_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "WAIT_SECONDS", 0.1)

    async def body(router: Router, store: Counting) -> None:
        async def watched(caller: str, number: int) -> ChangeStream:
            return await watch(router, namespace=Namespace("db", f"c{number}"), turn=caller)

        opened = [await watched(f"caller {number // 2}", number) for number in range(8)]
        kept = [await watched("greedy", number) for number in range(8)]
        beside = [await watched("friend", 1), await watched(SYSTEM_TURN, 2)]
        for stream in opened:
            await stream.close()
        with pytest.raises(TooManyRequests, match="one caller"):
            await watched("greedy", 9)
        assert await going_on(kept) == [True] * 8
        others = [await watched(f"other {number // 2}", 10 + number) for number in range(6)]
        assert await going_on(kept) == [False, True, True, False, False, False, False, True]
        with pytest.raises(TooManyRequests, match="the limit of this process is 8"):
            await watched("late", 9)
        assert await going_on([*others, *beside]) == [True] * 8
        for stream in (*kept, *others, *beside):
            await stream.close()

    async def going_on(streams: list[ChangeStream]) -> list[bool]:
        """Which of them go on."""
        told = await asyncio.gather(*(stream.next() for stream in streams), return_exceptions=True)
        assert all(one == [] or isinstance(one, TooManyRequests) for one in told)
        return [one == [] for one in told]

    run(body, most_feeds=8)
