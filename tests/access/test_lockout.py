"""The lock-out: who is kept from trying passwords after some that were wrong, where, and for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from doorleaf.access.identity import lockout as lockout_module
from doorleaf.access.identity.lockout import OF_ACCOUNT, OF_ADDRESS, OF_PLACE, Attempt, Lockout
from doorleaf.access.system_store import SystemStore
from doorleaf.stores.embedded.store import EmbeddedStore

EMAIL = "ann@example.com"


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [OF_PLACE.pause(failures) for failures in range(4, 18)]
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert OF_PLACE.pause(10**9) == 900


def on_lockout(tmp_path: Path, scenario: Any) -> None:
    async def run() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            now = [1_800_000_000.0]
            await scenario(SystemStore(store, "doorleaf"), now)
        finally:
            await store.close()

    asyncio.run(run())


HERE, THERE = "192.0.2.1", "198.51.100.1"
DEVICE, OTHER_DEVICE = "a" * 24, "b" * 24


async def fail(lockout: Lockout, attempt: Attempt, times: int = 1) -> None:
    for _ in range(times):
        standing = await lockout.standing(attempt)
        assert not standing.locked
        await lockout.failed(attempt, standing)


async def locked(lockout: Lockout, attempt: Attempt) -> bool:
    return (await lockout.standing(attempt)).locked


async def succeed(lockout: Lockout, attempt: Attempt) -> None:
    standing = await lockout.standing(attempt)
    assert not standing.locked
    await lockout.succeeded(attempt, standing)


def test_a_place_is_locked_in_every_process_and_free_again(tmp_path: Path) -> None:
    async def scenario(system: SystemStore, now: list[float]) -> None:
        here, there = (Lockout(system, clock=lambda: now[0]) for _ in range(2))
        attempt = Attempt(EMAIL, HERE)
        for _ in range(OF_PLACE.free):
            assert not await locked(there, attempt)
            await fail(here, attempt)
        assert await locked(there, attempt)
        assert not await locked(there, Attempt("bob@example.com", HERE))
        assert not await locked(there, Attempt(EMAIL, THERE)), "nobody else is kept out"
        now[0] += 1
        await fail(there, attempt)
        now[0] += 1.5
        assert await locked(here, attempt)
        now[0] += 1
        await succeed(here, attempt)
        await fail(there, attempt)
        assert not await locked(there, attempt), "the count of the place is over"
        stored = await system.find("login_failures", {}) + await system.find("login_places", {})
        for secret in (EMAIL, HERE, DEVICE):
            assert secret not in str(stored)
        now[0] += lockout_module.FORGOTTEN_SECONDS + 1
        await here.sweep()
        assert await system.find("login_failures", {}) == []
        assert len(await system.find("login_places", {})) == 1
        now[0] += lockout_module.KNOWN_SECONDS
        await here.sweep()
        assert await system.find("login_places", {}) == []

    on_lockout(tmp_path, scenario)


def test_an_account_is_locked_for_strangers_alone(tmp_path: Path) -> None:
    async def scenario(system: SystemStore, now: list[float]) -> None:
        lockout = Lockout(system, clock=lambda: now[0])
        await succeed(lockout, Attempt(EMAIL, HERE))
        await succeed(lockout, Attempt(EMAIL, THERE, DEVICE))
        tried = 0
        while tried < OF_ACCOUNT.free:
            await fail(lockout, Attempt(EMAIL, f"203.0.113.{tried // 4}"), 4)  # one less than locks the place
            tried += 4
        assert await locked(lockout, Attempt(EMAIL, "203.0.113.77"))
        assert await locked(lockout, Attempt(EMAIL, "203.0.113.77", OTHER_DEVICE))
        assert not await locked(lockout, Attempt("bob@example.com", "203.0.113.77"))
        # Where the password was right lately it is looked at still, and only what fails there counts there.
        for known in (Attempt(EMAIL, HERE), Attempt(EMAIL, "203.0.113.77", DEVICE), Attempt(EMAIL, THERE)):
            standing = await lockout.standing(known)
            assert (standing.locked, standing.known) == (False, True)
        await fail(lockout, Attempt(EMAIL, "203.0.113.78", DEVICE), OF_PLACE.free)
        assert await locked(lockout, Attempt(EMAIL, THERE, DEVICE)), "a device is one place, wherever it is"
        assert not await locked(lockout, Attempt(EMAIL, HERE))
        # The owner's logins give strangers no new tries.
        await succeed(lockout, Attempt(EMAIL, HERE))
        assert await locked(lockout, Attempt(EMAIL, "203.0.113.77"))
        now[0] += 1
        assert not await locked(lockout, Attempt(EMAIL, "203.0.113.77")), "and they wait like anybody"
        await lockout.forget(EMAIL)
        assert await system.find("login_failures", {}) == await system.find("login_places", {}) == []

    on_lockout(tmp_path, scenario)


def test_an_account_bounds_what_many_addresses_try(tmp_path: Path) -> None:
    """However many addresses there are, few guesses get through in a day."""

    async def scenario(system: SystemStore, now: list[float]) -> None:
        lockout = Lockout(system, clock=lambda: now[0])
        guesses, end = 0, now[0] + 24 * 3600
        while now[0] < end:
            attempt = Attempt(EMAIL, f"203.0.{guesses // 250}.{guesses % 250}")  # never twice from one address
            if await locked(lockout, attempt):
                now[0] += 60
                continue
            await lockout.failed(attempt, await lockout.standing(attempt))
            guesses += 1
        assert OF_ACCOUNT.free < guesses < 220

    on_lockout(tmp_path, scenario)


def test_an_address_is_locked_whatever_name_it_tries(tmp_path: Path) -> None:
    async def scenario(system: SystemStore, now: list[float]) -> None:
        lockout = Lockout(system, clock=lambda: now[0])
        await succeed(lockout, Attempt("known@example.com", "2001:db8::9"))
        for number in range(OF_ADDRESS.free):
            await fail(lockout, Attempt(f"{number}@example.com", "2001:db8::1"))
        assert await locked(lockout, Attempt(EMAIL, "2001:db8::2")), "one customer has a whole network of addresses"
        assert not await locked(lockout, Attempt("known@example.com", "2001:db8::2")), "who came from here before"
        assert not await locked(lockout, Attempt(EMAIL, "2001:db8:1::1"))
        assert not await locked(lockout, Attempt(EMAIL, "192.0.2.1"))
        now[0] += 1
        assert not await locked(lockout, Attempt(EMAIL, "2001:db8::2"))

    on_lockout(tmp_path, scenario)
