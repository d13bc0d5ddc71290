"""Threads for what requests make long: each caller has some of them, and the next is whose turn it is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable

import pytest

from doorleaf.apart import TURN, Threads, collecting
from doorleaf.errors import StoreTimeout


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]  # a coroutine


def of(caller: str, threads: Threads, work: Callable[[], object], seconds: float = 30.0) -> asyncio.Task[object]:
    """``work`` for ``caller``, begun."""

    async def doing() -> object:
        TURN.set(caller)
        return await threads.run(seconds, work)

    return asyncio.create_task(doing())


def test_one_caller_leaves_a_thread_to_others() -> None:
    async def scenario() -> None:
        threads, gate = Threads("test", 3, 2), threading.Event()
        greedy = [of("greedy", threads, gate.wait) for _ in range(10)]
        await asyncio.sleep(0)
        assert await of("other", threads, lambda: "done") == "done"
        assert not any(task.done() for task in greedy)
        gate.set()
        await asyncio.gather(*greedy)

    run(scenario)


def test_the_caller_is_known_in_the_thread() -> None:
    async def scenario() -> None:
        assert await of("somebody", Threads("test", 1, 1), TURN.get) == "somebody"

    run(scenario)


def test_a_thread_is_taken_until_its_work_ends() -> None:
    """Whoever waits no longer does not make it free."""

    async def scenario() -> None:
        threads, gate = Threads("test", 1, 1), threading.Event()
        given_up, left = of("a", threads, gate.wait, -0.2), of("b", threads, gate.wait)
        with pytest.raises(StoreTimeout):
            await given_up
        left.cancel()
        with pytest.raises(StoreTimeout):
            await of("c", threads, lambda: None, -0.2)
        gate.set()
        assert await of("c", threads, lambda: "done") == "done"

    run(scenario)


def test_work_that_fails_makes_its_thread_free() -> None:
    """And leaves nothing of what it was given, though nobody searches for it."""

    class Body:
        pass

    async def fails(threads: Threads) -> weakref.ref[Body]:
        body = Body()
        with contextlib.suppress(ZeroDivisionError):
            await threads.run(30, lambda _: 1 // 0, body)
        return weakref.ref(body)

    async def scenario() -> None:
        threads = Threads("test", 1, 1)
        gc.disable()
        left = [await fails(threads) for _ in range(3)]
        await threads.run(30, lambda: None)  # the thread has let go of what was before
        assert [body() for body in left] == [None] * 3

    try:
        run(scenario)
    finally:
        gc.enable()


def test_long_work_is_not_searched_for_objects_that_hold_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_settled", True)
    monkeypatch.setattr(collecting, "_kept", collecting.MANY - 1)
    held: list[object] = []
    searched: list[str] = []

    class Knot:
        def __init__(self) -> None:
            self.itself = self

    def work() -> tuple[bool, weakref.ref[Knot]]:
        gc.callbacks.append(note)
        try:
            held.extend([number] for number in range(300_000))
            return gc.isenabled(), weakref.ref(Knot())
        finally:
            gc.callbacks.remove(note)

    def note(phase: str, info: dict[str, int]) -> None:
        searched.append(phase)

    async def scenario() -> None:
        assert not collecting.is_due()
        is_on, knot = await Threads("test", 1, 1).run(30, work)
        assert (is_on, gc.isenabled(), searched) == (False, True, [])
        assert collecting.is_due()
        gc.collect()
        assert knot() is not None
        assert not any(one is held for one in gc.get_objects())
        collecting.settle()
        assert knot() is None
        assert not collecting.is_due()

    try:
        run(scenario)
    finally:
        gc.unfreeze()
