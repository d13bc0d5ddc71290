"""API keys: what they look like, what is stored of them, who they let in, and how soon they end."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from doorleaf.access.identity import upkeep as identity_module
from doorleaf.access.identity.authenticator import Authenticator, Credentials
from doorleaf.access.identity.keys import COLLECTION, Keys, digest, new_key
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import DoorleafError, InvalidParameter, NotFound, RequestError, StoreUnavailable, Unauthenticated
from doorleaf.operations import InsertOne, Operation, R
from doorleaf.settings.model import Settings
from doorleaf.stores.base import Store
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.mongo import MongoStore

OWN = "my-own-key-of-32-characters-or-more"


class Clock:
    """A clock that a test can move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def on_store(folder: Path, scenario: Callable[[Store], Awaitable[Any]]) -> Any:
    """Run ``scenario`` with an embedded database in ``folder``."""

    async def run() -> Any:
        store = EmbeddedStore(folder)
        await store.open()
        try:
            return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task will bring about; the test's own time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110  # nobody can signal it: that is what is tested
        await asyncio.sleep(0.01)


def settings(folder: Path, **given: Any) -> Settings:
    return Settings(data_dir=folder, **given)


def test_a_key_is_64_random_alphanumerics_with_a_prefix() -> None:
    made = {new_key() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(r"dl_[A-Za-z0-9]{64}", key) for key in made)


def test_only_the_hash_of_a_key_is_stored(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        system = SystemStore(store, "doorleaf")
        keys = Keys(system)
        text = await keys.create("app")
        document = await system.find_one(COLLECTION, {"_id": "app"})
        assert document is not None
        assert text not in str(document)
        assert text.removeprefix("dl_") not in str(document)
        assert document["hash"] == digest(text).hex()
        assert {"created", "expires", "last_used", "disabled", "admin", "id"} < set(document)
        assert re.fullmatch("[0-9a-f]{24}", document["id"])
        assert keys.find(text) is None, "a key counts once it was read"
        await keys.reload()
        found = keys.find(text)
        assert found is not None
        assert (found.name, found.admin, found.id) == ("app", False, document["id"])
        assert keys.by_id(found.id) == found
        for wrong in ("", text[:-1], text + "x", text.lower(), text.removeprefix("dl_"), document["hash"], "\udcff"):
            assert keys.find(wrong) is None
        listed = await keys.listed()
        assert [key["_id"] for key in listed] == ["app"]
        assert "hash" not in listed[0]

    on_store(tmp_path, scenario)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "ключ", "a" * 101, "$x", "a/b"])
def test_names_have_letters_digits_underscores_and_hyphens(tmp_path: Path, name: str) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(InvalidParameter, match="can only contain ASCII letters"):
            await Keys(SystemStore(store, "doorleaf")).create(name)

    on_store(tmp_path, scenario)


def test_names_are_unique_also_after_revocation(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        keys = Keys(SystemStore(store, "doorleaf"))
        await keys.create("app_1-x")
        for _ in range(2):
            with pytest.raises(RequestError, match="exists already") as caught:
                await keys.create("app_1-x")
            assert caught.value.code == "APIKeyAlreadyExists"
            await keys.revoke("app_1-x")
        with pytest.raises(NotFound, match="API key not found") as missing:
            await keys.revoke("other")
        assert missing.value.code == "APIKeyNotFound"

    on_store(tmp_path, scenario)


def test_revoked_and_expired_keys_let_nobody_in(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        clock = Clock()
        keys = Keys(SystemStore(store, "doorleaf"), clock=clock)
        until = datetime.fromtimestamp(clock.now, UTC).replace(tzinfo=None) + timedelta(hours=1)
        short, long = await keys.create("short", expires=until), await keys.create("long")
        await keys.reload()
        found = keys.find(short)
        assert found is not None
        clock.now += 3599
        assert keys.find(short) is not None
        clock.now += 1
        assert keys.find(short) is None
        assert keys.by_id(found.id) is None
        assert keys.find(long) is not None
        await keys.revoke("long")
        await keys.reload()
        assert keys.find(long) is None

    on_store(tmp_path, scenario)


def test_last_use_is_written_at_most_once_a_minute(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        clock = Clock()
        keys = Keys(SystemStore(store, "doorleaf"), clock=clock)
        text = await keys.create("app")
        await keys.reload()

        async def last_used() -> datetime | None:
            value: datetime | None = (await keys.listed())[0]["last_used"]
            return value

        await keys.write_used()
        assert await last_used() is None
        assert keys.find(text)
        await keys.write_used()
        first = await last_used()
        assert first is not None
        clock.now += 59
        assert keys.find(text)
        await keys.write_used()
        assert await last_used() == first
        clock.now += 1
        assert keys.find(text)
        await keys.write_used()
        assert await last_used() == first + timedelta(seconds=60)

    on_store(tmp_path, scenario)


def test_a_damaged_key_document_authorises_nobody_and_hides_no_other(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        system = SystemStore(store, "doorleaf")
        keys = Keys(system)
        text = await keys.create("whole")
        damaged: list[dict[str, Any]] = [{}, {"hash": "zz"}, {"hash": 5}, {"hash": "00", "id": "x"}]
        for number, wrong in enumerate(damaged):
            await system.insert(COLLECTION, {"_id": f"broken{number}", **wrong})
        await keys.reload()
        assert keys.find(text) is not None

    on_store(tmp_path, scenario)


def test_of_processes_that_start_at_once_one_makes_the_first_key(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        texts: list[str] = []
        await asyncio.gather(*(Keys(SystemStore(store, "doorleaf")).first(texts.append) for _ in range(8)))
        assert len(texts) == 1
        keys = Keys(SystemStore(store, "doorleaf"))
        await keys.reload()
        assert keys.find(texts[0])
        await keys.revoke("default")
        await keys.first(texts.append)
        assert len(texts) == 1, "revoking every key must not open a door again"

    on_store(tmp_path, scenario)


def test_a_start_that_is_stopped_shows_the_first_key_that_it_made(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        for patience in itertools.count():  # It is stopped everywhere, a little later each time, until it has ended.
            keys, shown = Keys(SystemStore(store, f"system{patience}")), list[str]()
            making = asyncio.create_task(keys.first(shown.append))
            for _ in range(patience):
                await asyncio.sleep(0.0001)
            making.cancel()
            await asyncio.wait([making])
            await keys.reload()
            assert [key["_id"] for key in await keys.listed()] == ["default"] * len(shown)
            assert all(keys.find(text) for text in shown)
            if not making.cancelled():
                assert making.exception() is None
                assert len(shown) == 1
                return

    on_store(tmp_path, scenario)


class Leaving(EmbeddedStore):
    """One that is away once it was asked to put something in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked = asyncio.Event()
        self.away = asyncio.Event()

    async def execute(self, operation: Operation[R]) -> R:
        if isinstance(operation, InsertOne):
            self.asked.set()
            await self.away.wait()
            raise StoreUnavailable("the database cannot be reached")
        return await super().execute(operation)


def test_a_start_is_stopped_also_where_the_first_key_cannot_be_made(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, shown = Leaving(tmp_path), list[str]()
        await store.open()
        try:
            making = asyncio.create_task(Keys(SystemStore(store, "doorleaf")).first(shown.append))
            await store.asked.wait()
            making.cancel()
            store.away.set()
            await asyncio.wait([making])
            assert making.cancelled(), "who is stopped goes on with nothing"
            assert shown == []
        finally:
            await store.close()

    asyncio.run(scenario())


# --- the authenticator -------------------------------------------------------------------------------------------


def refusal(authenticator: Authenticator, **given: Any) -> Awaitable[DoorleafError]:
    async def ask() -> DoorleafError:
        assert authenticator.known(Credentials(**given)) is None
        with pytest.raises(DoorleafError) as caught:
            await authenticator.identify(Credentials(**given))
        return caught.value

    return ask()


def test_who_is_let_in(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        announced: list[str] = []
        authenticator = Authenticator(settings(tmp_path), store, announce=announced.append)
        await authenticator.start()
        try:
            key = announced[0]
            identity = authenticator.known(Credentials(api_key=key))
            assert identity is not None
            assert identity == await authenticator.identify(Credentials(api_key=key))
            assert (identity.kind, identity.provider, identity.key_name, identity.admin) == (
                "server",
                "api-key",
                "default",
                True,
            )
            assert authenticator.known(Credentials(api_key=key, email="e")) == identity

            stranger = "invalid session: error finding user for endpoint"
            for given in (
                {"api_key": ""},
                {"api_key": "x"},
                {"api_key": "api-key-123"},
                {"bearer": ""},
                {"bearer": "x"},
                {"bearer": "x", "api_key": key},
                {"email": "a@b.c", "password": "p"},
                {"jwt": "x"},
            ):
                error = await refusal(authenticator, **given)
                assert (error.status, error.code, error.message) == (401, "InvalidSession", stranger), given
                assert isinstance(error, Unauthenticated)

            error = await refusal(authenticator)
            assert (error.status, error.code) == (401, "InvalidParameter")
            assert error.message == "no authentication methods were specified"
            for half in ({"email": "a@b.c"}, {"password": "p"}):
                error = await refusal(authenticator, **half)
                assert error.code == "MissingParameter"
                assert error.message.startswith("must specify some form of authentication (either email+password")
        finally:
            await authenticator.stop()

        again = Authenticator(settings(tmp_path), store, announce=announced.append)
        await again.start()
        assert again.known(Credentials(api_key=key)) is not None
        await again.stop()
        assert len(announced) == 1, "a later start reuses the key"

    on_store(tmp_path, scenario)


def test_a_key_of_ones_own(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        announced: list[str] = []
        own = settings(tmp_path, data_api_key=OWN)
        authenticator = Authenticator(own, store, announce=announced.append)
        identity = authenticator.known(Credentials(api_key=OWN))
        assert identity is not None, "it needs no database"
        assert (identity.admin, identity.kind) == (True, "server")
        await authenticator.start()
        again = authenticator.known(Credentials(api_key=OWN))
        assert again is not None
        assert (again.id, again.admin) == (identity.id, True)
        for wrong in (OWN[:-1], f"{OWN} ", OWN.upper(), ""):
            assert (await refusal(authenticator, api_key=wrong)).status == 401
        await authenticator.stop()
        assert announced == [], "no key is made where there is one"
        other = Authenticator(settings(tmp_path, data_api_key="another-key-of-32-characters-long"), store)
        stranger = other.known(Credentials(api_key="another-key-of-32-characters-long"))
        assert stranger is not None
        assert stranger.id != identity.id
        assert other.known(Credentials(api_key=OWN)) is None

    on_store(tmp_path, scenario)


def test_without_authentication_only_when_asked_for(tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        announced: list[str] = []
        open_to_all = settings(tmp_path, insecure_no_auth=True)
        authenticator = Authenticator(open_to_all, store, announce=announced.append)
        await authenticator.start()
        identity = authenticator.known(Credentials())
        await authenticator.stop()
        assert identity is not None
        assert (identity.kind, identity.admin) == ("system", True)
        assert announced == []

    on_store(tmp_path, scenario)


def test_a_key_revoked_elsewhere_ends_in_a_running_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_module, "RELOAD_SECONDS", 0.01)

    async def scenario(store: Store) -> None:
        announced: list[str] = []
        authenticator = Authenticator(settings(tmp_path), store, announce=announced.append)
        await authenticator.start()
        elsewhere = Keys(SystemStore(store, "doorleaf"))
        made = await elsewhere.create("second")
        await until(lambda: authenticator.known(Credentials(api_key=made)) is not None)
        await elsewhere.revoke("default")
        await until(lambda: authenticator.known(Credentials(api_key=announced[0])) is None)
        assert (await refusal(authenticator, api_key=announced[0])).status == 401
        assert authenticator.known(Credentials(api_key=made)) is not None
        await authenticator.stop()

    on_store(tmp_path, scenario)


def test_keys_are_read_every_two_seconds_so_that_a_change_counts_within_five() -> None:
    assert identity_module.RELOAD_SECONDS == 2


class Slow(EmbeddedStore):
    """One that takes longer with its first operation than a MongoDB is waited for."""

    async def execute(self, operation: Operation[R]) -> R:
        wait, self.wait = getattr(self, "wait", identity_module.START_SECONDS + 0.5), 0.0
        await asyncio.sleep(wait)
        return await super().execute(operation)


def test_a_start_waits_for_an_embedded_database_that_is_slow(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Slow(tmp_path)
        await store.open()
        announced: list[str] = []
        authenticator = Authenticator(settings(tmp_path), store, announce=announced.append)
        await authenticator.start()
        try:
            assert (await authenticator.identify(Credentials(api_key=announced[0]))).admin
        finally:
            await authenticator.stop()
            await store.close()

    asyncio.run(scenario())


def test_before_the_database_answered_a_key_is_a_503_and_not_a_401(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = MongoStore("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50")
        await store.open()
        authenticator = Authenticator(settings(tmp_path), store)
        async with asyncio.timeout(20):
            await authenticator.start(patience=60)  # the first failure ends the wait
        try:
            error = await refusal(authenticator, api_key="dl_" + "x" * 64)
            assert isinstance(error, StoreUnavailable)
            assert "127.0.0.1" not in error.message
            assert (await refusal(authenticator)).status == 401
        finally:
            await authenticator.stop()
            await store.close()

    asyncio.run(scenario())
