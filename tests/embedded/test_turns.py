"""Turns: who gets what there is room for, and who waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from doorleaf.apart.turns import Turns
from doorleaf.errors import StoreTimeout


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]  # a coroutine


def soon() -> float:
    return time.monotonic() + 60


def test_there_is_room_for_so_many_and_the_next_waits() -> None:
    async def scenario() -> None:
        turns = Turns(2)
        first, second = await turns.take("a", soon()), await turns.take("b", soon())
        third = asyncio.create_task(turns.take("c", soon()))
        await asyncio.sleep(0)
        assert (turns.free, turns.waiting, third.done()) == (0, 1, False)
        first.release()
        (await third).release()
        first.release()
        second.release()
        assert (turns.free, turns.waiting) == (2, 0)

    run(scenario)


def test_whoever_has_used_less_is_made_room_for() -> None:
    async def scenario() -> None:
        turns = Turns(1)
        turns.used("busy", 5.0)
        held = await turns.take("first", soon())
        assert not turns.wanted_by_poorer("first", 9.0)
        waiting = [asyncio.create_task(turns.take("first", soon())), asyncio.create_task(turns.take("busy", soon()))]
        await asyncio.sleep(0)
        assert not turns.wanted_by_poorer("first", 1.0), "one has used more, the other is the same"
        assert turns.wanted_by_poorer("first", 9.0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        held.release()
        assert turns.free == 1

    run(scenario)


def test_one_caller_cannot_take_all() -> None:
    async def scenario() -> None:
        turns = Turns(3, 2)
        held = [await turns.take("a", soon()) for _ in range(2)]
        assert turns.try_take("a") is None
        more = asyncio.create_task(turns.take("a", soon()))
        await asyncio.sleep(0)
        other = turns.try_take("b")  # passes the one who may not
        assert other is not None
        assert not more.done()
        held[0].release()
        (await more).release()

    run(scenario)


def test_who_has_used_less_comes_first_and_others_in_their_order() -> None:
    async def scenario() -> None:
        turns = Turns(1)
        order: list[str] = []
        first = await turns.take("greedy", soon())

        async def ask(caller: str, name: str) -> None:
            turn = await turns.take(caller, soon())
            order.append(name)
            turn.release()

        await asyncio.sleep(0.01)
        tasks = [asyncio.create_task(ask("greedy", f"greedy {number}")) for number in range(3)]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ask("modest", "modest")))
        await asyncio.sleep(0)
        first.release()
        await asyncio.gather(*tasks)
        assert order == ["modest", "greedy 0", "greedy 1", "greedy 2"]

    run(scenario)


def test_waiting_ends_at_the_deadline_and_with_the_one_who_waits() -> None:
    async def scenario() -> None:
        turns = Turns(1)
        held = await turns.take("a", soon())
        with pytest.raises(StoreTimeout):
            await turns.take("b", time.monotonic() + 0.01)
        with pytest.raises(StoreTimeout):
            await turns.take("b", time.monotonic() - 1)
        gone = asyncio.create_task(turns.take("b", soon()))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert turns.waiting == 0
        held.release()
        assert turns.free == 1

    run(scenario)


def test_a_turn_that_comes_as_its_caller_goes_is_not_lost() -> None:
    async def scenario() -> None:
        turns = Turns(1)
        held = await turns.take("a", soon())
        waiting = asyncio.create_task(turns.take("b", soon()))
        await asyncio.sleep(0)
        held.release()  # b's turn has come
        waiting.cancel()  # and b goes before it knows
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert turns.free == 1

    run(scenario)


def test_amounts_are_counted_and_shrink() -> None:
    async def scenario() -> None:
        turns = Turns(100, 75)
        large = await turns.take("a", soon(), 70)
        assert turns.try_take("a", 10) is None
        assert turns.try_take("b", 40) is None
        large.shrink(20)
        assert turns.free == 80
        assert turns.try_take("b", 80) is not None  # alone one may have more than its share
        large.release()
        assert turns.free == 20

    run(scenario)
