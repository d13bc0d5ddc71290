"""The quota of subscriptions: exact, whoever counts, and whoever was killed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from servers import PATIENCE, doorleaf
from test_workspace_realtime import CONFIG, Home, hear, say, subscribe
from websockets.exceptions import ConnectionClosed

from doorleaf.access.system_store import SystemStore
from doorleaf.access.workspaces.subscriptions import HELD_SECONDS, PROLONG_SECONDS, Subscription, Subscriptions
from doorleaf.access.workspaces.tenancy import Workspace
from doorleaf.errors import QuotaExceeded
from doorleaf.stores.embedded.store import EmbeddedStore


def test_no_more_than_the_workspace_may_have(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(CONFIG.replace("SECRET", "s" * 40))
    with doorleaf(tmp_path / "data", "--config", str(tmp_path / "settings.toml"), "--workers", "2") as server:
        home = Home(server)
        home.make("acme", "few", quotas={"subscriptions": 2})
        path, headers = "/v1/mongo/few/collections/c/changes", {"Authorization": f"Bearer {home.tokens['few']}"}
        time.sleep(5)  # by then every worker knows the workspace, whichever of them answers all that is asked now
        with home.listen("few", "c") as events, home.connected("few") as session:
            subscribe(session, "mongo:c")
            subscribe(session, "mongo:c")  # instead of the first
            for _ in range(6):  # whichever worker is asked
                refused = server.call("GET", path, None, headers)
                assert refused.status == 429
                assert refused.json["error"]["code"] == "QUOTA_EXCEEDED"
                assert refused.json["error"]["details"] == {"quota": "subscriptions"}
            with home.connected("few") as other:
                say(other, type="subscribe", channel="mongo:d")
                require_full(other)
            say(session, type="unsubscribe", channel="mongo:c", requestId="u")
            assert hear(session)["type"] == "subscription-removed"
            with home.connected("few") as other:  # a place is free now
                subscribe(other, "mongo:d")
                home.insert("few", "d", _id=1)
                assert hear(other)["documentId"] == 1
                home.admin("PATCH", "/workspaces/few", {"quotas": {"subscriptions": 1}})
                require_full(other)
            home.insert("few", "c", _id=2)
            assert events.change()["documentId"] == 2
        with home.listen("one", "c"), home.connected("one") as session:  # another workspace has no quota
            subscribe(session, "mongo:c")
        until = time.monotonic() + PATIENCE
        for _ in range(3):  # whoever goes without a word gives the only place back
            while not got_in(home):
                assert time.monotonic() < until
                time.sleep(0.1)
        assert "Traceback" not in server.output()


def got_in(home: Home) -> bool:
    """Whether a connection to a workspace with a quota may subscribe; then it is closed."""
    with home.connected("few") as session:
        say(session, type="subscribe", channel="mongo:d", requestId="r")
        return bool(hear(session)["type"] == "subscription-confirmed")


def require_full(session: Any) -> None:
    """A connection ends because its workspace may have no more."""
    told = hear(session)
    assert (told["code"], told["name"], told["channel"]) == (4008, "quota_exceeded", "mongo:d")
    with pytest.raises(ConnectionClosed) as ended:
        hear(session)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4008


class Counting:
    """Subscriptions of several processes over one system database, with a clock of their own."""

    def __init__(self, system: SystemStore) -> None:
        self.system = system
        self.now = 1_000_000.0
        self.most: int | None = 7

    def process(self) -> Subscriptions:
        return Subscriptions(self.system, lambda name: self.workspace, clock=lambda: self.now)

    @property
    def workspace(self) -> Workspace:
        quotas = {} if self.most is None else {"subscriptions": self.most}
        return Workspace("w", "acme", "main", "w", quotas=quotas)

    async def entered(self, processes: list[Subscriptions], count: int) -> list[Subscription]:
        """Those of so many for each process that got in, all at once."""
        asked = [process.enter(self.workspace) for process in processes for _ in range(count)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        for one in found:
            assert isinstance(one, Subscription | QuotaExceeded), one
        return [one for one in found if isinstance(one, Subscription)]


def test_every_place_is_one_subscription_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            counting = Counting(SystemStore(store, "system"))
            processes = [counting.process() for _ in range(3)]
            await processes[0].prepare()
            for _ in range(3):
                inside = await counting.entered(processes, 9)
                assert sorted(one.number for one in inside if one.number is not None) == [*range(7)]
                await asyncio.gather(*(one.leave() for one in inside[:4]))
                more = await counting.entered(processes, 3)
                assert len(more) == 4
                assert {one.number for one in [*inside[4:], *more]} == {*range(7)}
                await asyncio.gather(*(one.leave() for one in [*inside[4:], *more]))
        finally:
            await store.close()

    asyncio.run(scenario())


def test_who_is_killed_or_too_late_loses_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doorleaf.access.workspaces.subscriptions.PROLONG_SECONDS", 0.05)

    async def scenario() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            counting = Counting(SystemStore(store, "system"))
            killed, living = counting.process(), counting.process()
            lost = await counting.entered([killed], 4)
            assert killed._prolonging is not None
            killed._prolonging.cancel()
            kept = await counting.entered([living], 4)
            assert len(kept) == 3
            for _ in range(4):  # who lives prolongs its places
                counting.now += HELD_SECONDS / 3
                await asyncio.sleep(0.3)
            more = await counting.entered([living], 9)
            assert len(more) == 4
            # The one who seemed to be killed finds that its places are others' now.
            await killed._places["w"].look(7)
            assert all(isinstance(one.error, QuotaExceeded) for one in lost)
            await asyncio.gather(*(one.leave() for one in lost))  # which takes nothing from those
            assert not await counting.entered([counting.process()], 2)
            # A quota that comes late counts those who are there.
            await asyncio.gather(*(one.leave() for one in [*kept, *more]))
            counting.most = None
            free = await counting.entered([living], 5)
            assert all(one.number is None for one in free)
            counting.most = 3
            await asyncio.sleep(0.5)
            assert sorted(one.number for one in free if one.error is None and one.number is not None) == [0, 1, 2]
            assert sum(one.error is not None for one in free) == 2
        finally:
            await store.close()

    asyncio.run(scenario())


def test_who_enters_while_others_are_looked_at_takes_one_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = EmbeddedStore(tmp_path)
        await store.open()
        try:
            counting = Counting(SystemStore(store, "system"))
            counting.most = 2
            process = counting.process()
            first = await process.enter(counting.workspace)
            look = asyncio.create_task(process._places["w"].look(2))
            await asyncio.sleep(0)  # it asks the database
            second = await process.enter(counting.workspace)
            await look
            assert {first.number, second.number} == {0, 1}
            # Who gives up while it waits keeps no place either.
            await second.leave()
            look = asyncio.create_task(process._places["w"].look(2))
            await asyncio.sleep(0)
            gone = asyncio.create_task(process.enter(counting.workspace))
            await asyncio.sleep(0)
            gone.cancel()
            await look
            await asyncio.gather(gone, return_exceptions=True)
            assert (await process.enter(counting.workspace)).number == 1
            with pytest.raises(QuotaExceeded):
                await process.enter(counting.workspace)
        finally:
            await store.close()

    asyncio.run(scenario())


def test_places_are_prolonged_in_time() -> None:
    assert 3 * PROLONG_SECONDS < HELD_SECONDS
