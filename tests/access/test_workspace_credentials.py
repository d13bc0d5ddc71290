"""Credentials for the database itself: where there are some, what they may, that they end, and where there are none."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from asgi import Application
from placed import Place, directory, opened, place
from pymongo.errors import OperationFailure
from servers import secantus

CAPABLE = ["mongo", "credentials"]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB that asks everybody who they are."""
    folder = tmp_path_factory.mktemp("asking")
    with secantus(folder) as server, pymongo.MongoClient[Any](server.uri) as client:
        client.admin.command("createUser", "root", pwd="secret", roles=[{"role": "root", "db": "admin"}])
    with secantus(folder, "--auth") as server:
        yield server.uri.replace("mongodb://", "mongodb://root:secret@") + "&authSource=admin"


@pytest.fixture(scope="module")
def guarded(asking: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """The application over it."""
    with opened(tmp_path_factory.mktemp("guarded"), asking) as running:
        yield running


def none(own: Place, words: str) -> None:
    error = own.refused("POST", "/credentials", status=403, code="CAPABILITY_DISABLED")
    assert words in error["message"]


def test_where_there_are_none(tmp_path: Path, mongodb_uri: str) -> None:
    with opened(tmp_path / "embedded", None) as app:
        none(place(app, "acme", "plain"), "no capability")
        none(place(app, "acme", "able", capabilities=CAPABLE), "embedded")
        none(place(app, "acme", "shared", database="common", shared=True, capabilities=CAPABLE), "shares")
    with opened(tmp_path / f"open{secrets.token_hex(3)}", mongodb_uri) as app:
        own = place(app, "acme", f"open{secrets.token_hex(3)}", capabilities=CAPABLE)
        if own.ask("POST", "/credentials").status != 201:  # it is a MongoDB that asks
            none(own, "asks nobody")


def test_credentials_read_one_database_until_they_end(guarded: Application) -> None:
    own = place(guarded, "acme", "paid", capabilities=CAPABLE, quotas={"credentials": 2})
    other = place(guarded, "bolt", "other")
    own.insert({"_id": 1}, "orders")
    other.insert({"_id": 1}, "orders")
    made = own.ok("POST", "/credentials", {"ttlSeconds": 600}, status=201)
    assert made.keys() == {"host", "database", "username", "password", "expiresAt", "permissions"}
    assert (made["database"], made["username"]) == ("paid", "paid_readonly")
    assert made["permissions"] == ["find", "aggregate"]
    assert made["host"].startswith("127.0.0.1:")
    second = own.ok("POST", "/credentials", status=201)
    assert second["password"] != made["password"]
    assert second["expiresAt"] > made["expiresAt"]
    error = own.refused("POST", "/credentials", status=429, code="QUOTA_EXCEEDED")
    assert error["details"] == {"quota": "credentials"}
    own.refused("POST", "/credentials", {"ttl": 5}, status=400, code="VALIDATION_ERROR")
    uri = f"mongodb://{made['username']}:{made['password']}@{made['host']}/?authSource=paid&directConnection=true"
    with pymongo.MongoClient[Any](uri) as client:
        assert client["paid"]["orders"].find_one({"_id": 1}) is not None
        for forbidden in (
            lambda: client["paid"]["orders"].insert_one({}),
            lambda: client["other"]["orders"].find_one({}),
            lambda: client["doorleaf"]["keys"].find_one({}),
        ):
            with pytest.raises(OperationFailure):
                forbidden()
    guarded.run(directory(guarded).workspaces.delete("paid"))
    deadline = time.monotonic() + 30
    while True:
        guarded.run(asyncio.sleep(0.2))
        with pymongo.MongoClient[Any](uri) as client:
            try:
                client["paid"]["orders"].find_one({})
            except OperationFailure:
                return
        assert time.monotonic() < deadline


def test_credentials_that_ended_while_no_server_ran_are_removed_by_the_next(asking: str, tmp_path: Path) -> None:
    folder = tmp_path / "paused"
    with opened(folder, asking) as app:
        own = place(app, "acme", "paused", capabilities=CAPABLE)
        over, lasting = (own.ok("POST", "/credentials", status=201)["username"] for _ in range(2))
    with pymongo.MongoClient[Any](asking) as client:

        def users() -> set[str]:
            return {user["user"] for user in client["paused"].command("usersInfo")["users"]}

        assert users() == {over, lasting}
        logins = client[f"system_{folder.name}"]["workspace_logins"]
        assert logins.update_one({"user": over}, {"$set": {"expires": datetime(2020, 1, 1)}}).modified_count == 1
        with opened(folder, asking) as app:
            deadline = time.monotonic() + 60
            while over in users():
                app.run(asyncio.sleep(0.1))
                assert time.monotonic() < deadline
            while logins.count_documents({"user": over}):
                app.run(asyncio.sleep(0.1))
                assert time.monotonic() < deadline
            assert users() == {lasting}
