"""Older events of a change stream: who comes back with an old token waits for a turn, and misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from counted import C, Counting, fill, keys, run, watch

from doorleaf.apart.turns import Turns
from doorleaf.documents import Document
from doorleaf.errors import StoreUnavailable
from doorleaf.operations import SYSTEM_TURN, DropCollection, Watch
from doorleaf.operations.results import ChangeStream
from doorleaf.stores import backlog, feeds
from doorleaf.stores.embedded.changes import stream as embedded
from doorleaf.stores.mongo import changes as mongo
from doorleaf.stores.router import Router


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few events are kept and read at once, and turns are over soon."""
    monkeypatch.setattr(feeds, "KEPT_EVENTS", 3)
    monkeypatch.setattr(mongo, "_TOGETHER", 4)
    monkeypatch.setattr(embedded, "PAGE_CHANGES", 4)
    monkeypatch.setattr(backlog, "TURN_SECONDS", 0.02)


async def aged(router: Router, count: int = 20) -> tuple[ChangeStream, Document]:
    """Somebody who listens, and a token that is older than what is kept: ``count`` events come behind it."""
    await router.execute(DropCollection(namespace=C))
    live = await watch(router)
    await fill(router, "first")
    token = (await _events(live, 1))[0]["_id"]
    await fill(router, *range(count))
    await keys(live, count)
    return live, token


async def _events(stream: ChangeStream, count: int) -> list[Document]:
    found: list[Document] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await stream.next() or []
    return found


@pytest.mark.parametrize(("engine", "count"), [("embedded", 200), ("mongo", 80)])
def test_few_catch_up_at_once_and_all_are_told_everything(
    engine: str, count: int, request: pytest.FixtureRequest
) -> None:
    """Many of one caller, four of whom do not read, and one of another."""

    async def body(router: Router, store: Counting) -> None:
        live, token = await aged(router)
        done: list[str] = []

        async def caught_up(caller: str) -> ChangeStream:
            stream = await watch(router, start_after=token, turn=caller)
            assert await keys(stream, 20) == [*range(20)]
            done.append(caller)
            return stream

        silent = [await watch(router, start_after=token, turn="many") for _ in range(4)]
        many = [asyncio.create_task(caught_up("many")) for _ in range(count)]
        await asyncio.sleep(0)
        other = await caught_up("other")
        assert done.count("many") < count // 2, "another caller's turn comes before theirs"
        streams = [*await asyncio.gather(*many), other, live]
        for stream in silent:
            assert await keys(stream, 20) == [*range(20)]
        assert store.most <= 1 + 4 + 1, "the feed, four of the one and one of the other"
        await fill(router, "last", "of all")
        told = await asyncio.gather(*(keys(stream, 2) for stream in (*streams, *silent)))
        assert told == [["last", "of all"]] * (count + 6)
        assert await asyncio.gather(*(stream.next() for stream in streams)) == [[]] * (count + 2)
        assert store.most <= 1 + 4 + 1
        assert store.open_now == 1, "all have come up"
        for stream in (*streams, *silent):
            await stream.close()

    run(body, request.getfixturevalue("mongodb_uri") if engine == "mongo" else "", most_feeds=64)


def test_who_is_cancelled_at_any_moment_keeps_no_turn() -> None:
    """While it waits, when its turn has just come, while the stream is opened, and while it is read."""

    async def body(router: Router, store: Counting) -> None:
        live, token = await aged(router)
        turns = router._hub._turns

        async def reading() -> None:
            stream = await watch(router, start_after=token)
            try:
                await keys(stream, 21)
            finally:
                await stream.close()

        for held in (True, False):
            for steps in range(0, 60, 1 + held * 10):
                first = await watch(router, start_after=token) if held else None
                tasks = [asyncio.create_task(reading()) for _ in range(2)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                if first is not None:
                    closing = asyncio.create_task(first.close())
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                told = await asyncio.gather(*tasks, return_exceptions=True)
                assert [type(error) for error in told] == [asyncio.CancelledError] * 2
                if first is not None:
                    await closing
        while store.open_now > 1:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.01)
        assert (turns.free, turns.waiting) == (turns.room, 0) == (1, 0)
        await live.close()

    run(body, most_feeds=4)


def test_the_end_is_told_to_who_reads_it_in_turns() -> None:
    async def body(router: Router, store: Counting) -> None:
        live, token = await aged(router)
        await router.execute(DropCollection(namespace=C))
        async with asyncio.timeout(60):
            while await live.next() is not None:
                pass

        async def kinds() -> list[str]:
            stream, found = await watch(router, start_after=token), []
            async with asyncio.timeout(60):
                while (events := await stream.next()) is not None:
                    found += [event["operationType"] for event in events]
            assert await stream.next() is None
            await stream.close()
            return found

        told = await asyncio.gather(*(kinds() for _ in range(6)))
        assert told == [[*["insert"] * 20, "drop", "invalidate"]] * 6

    run(body, most_feeds=4)


def test_the_end_is_told_to_who_comes_back_between_a_drop_and_that() -> None:
    async def body(router: Router, _: Counting) -> None:
        for more in (0, 1):
            live = await watch(router)
            await fill(router, "one")
            await router.execute(DropCollection(namespace=C))
            dropped = (await _events(live, 3))[1]
            assert dropped["operationType"] == "drop"
            await fill(router, *range(more))
            for start in ("resume_after", "start_after"):
                stream = await watch(router, **{start: dropped["_id"]})
                assert [event["operationType"] for event in await _events(stream, 1)] == ["invalidate"]
                assert await stream.next() is None
                await stream.close()

    run(body)


def test_a_stream_of_mongodb_knows_no_place_before_what_came_with_it_is_taken(mongodb_uri: str) -> None:
    async def body(router: Router, store: Counting) -> None:
        live, token = await aged(router)
        stream = (await store.execute(Watch(namespace=C, start_after=token))).changes
        assert stream.token is None
        events = await stream.next()
        assert stream.token == events[-1]["_id"]
        await stream.close()
        await live.close()

    run(body, mongodb_uri)


def test_who_waits_is_told_what_is_wrong_and_the_system_waits_for_nobody() -> None:
    async def body(router: Router, store: Counting) -> None:
        live, token = await aged(router)
        first = await watch(router, start_after=token)
        own = await watch(router, start_after=token, turn=SYSTEM_TURN)
        assert (store.open_now, await keys(own, 20)) == (3, [*range(20)])
        waiting = asyncio.create_task(watch(router, start_after={"_data": "F" * 30}))
        store.away = True
        with pytest.raises(StoreUnavailable):
            await waiting
        with contextlib.suppress(StoreUnavailable):
            await first.next()
        store.away = False
        assert await keys(first, 20) == [*range(20)]
        for stream in (live, first, own):
            await stream.close()

    run(body, most_feeds=4)


class Slow:
    """A stream of a database that looks through what nobody has asked for."""

    def __init__(self, events: list[list[Document]]) -> None:
        self.token: Document | None = {"_data": "0"}
        self._events = events

    async def next(self) -> list[Document] | None:
        await asyncio.sleep(0.01)
        return self._events.pop(0)

    async def close(self) -> None:
        """Nothing is open."""


def test_a_stream_that_is_still_looking_keeps_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would begin anew the next time, and never come to an event."""
    event: Document = {"_id": {"_data": "1"}, "operationType": "insert"}

    async def body() -> None:
        async def opening(_: Watch) -> ChangeStream:
            return Slow([*[[]] * 10, [event], [event]])

        turns = Turns(1)
        one, two = (backlog.Backlog(Watch(namespace=C), opening, turns, "") for _ in range(2))
        await one.open()
        waiting: Any = asyncio.create_task(two.open())
        told = [await one.next() for _ in range(11)]
        assert (told, one.is_open, waiting.done()) == ([*[[]] * 10, [event]], False, False)
        await waiting
        monkeypatch.setattr(backlog, "STUCK_SECONDS", 0.05)
        again = asyncio.create_task(one.next())
        while two.is_open:
            assert await two.next() == []
        await again
        await one.close()
        await two.close()
        assert turns.free == 1

    asyncio.run(body())
