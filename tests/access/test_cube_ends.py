"""What ends with an account of the DataCube API, and with its databases and collections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgi import KEY, Application, application
from cube_app import PASSWORD, SETTINGS, Crud, ask, database, key_of, ok, refused, registered, tokens
from test_cube_commands import run
from test_cube_files import put_in

from doorleaf.access.callers import Identity
from doorleaf.access.guards.scopes import Scope
from doorleaf.access.identity.directory import Directory
from doorleaf.cli.database import with_directory
from doorleaf.dialects.base import Request
from doorleaf.dialects.datacube.databases import add_collections
from doorleaf.dialects.datacube.ownership import Cubes
from doorleaf.errors import NotFound
from doorleaf.operations import CreateCollection
from doorleaf.settings.load import load

ACCOUNT = "/core/account"


def known(folder: Path, collection: str) -> list[Any]:
    """All documents of a collection of the system database."""
    use: Callable[[Directory], Awaitable[list[Any]]] = lambda found: found.system.find(collection, {})  # noqa: E731
    return with_directory(load({"data_dir": folder}), use, looks=True)


def stored(app: Application) -> set[str]:
    """The names of databases of users that are there."""
    headers = {"api-key": KEY}
    told = app.call("POST", "/data/v1/action/listDatabases", b'{"dataSource":"mongodb-atlas"}', headers)
    return {one["name"] for one in told.json["databases"] if one["name"].endswith("_V2")}


def test_an_account_ends_with_all_that_is_theirs(tmp_path: Path) -> None:
    with application(tmp_path, **SETTINGS) as app:
        ada, bob = (registered(app, f"{name}@example.com") for name in ("ada", "bob"))
        hers = [Crud(app, ada, database(app, ada, name)) for name in ("shop", "blog")]
        his = Crud(app, bob, database(app, bob, "shop"))
        for crud in (*hers, his):
            crud.insert({"n": 1})
            put_in(crud, b'{"n":2}', collection_name="users", idempotency_key="k")
        session, whole = tokens(app, "ada@example.com"), key_of(app, ada)
        limited = key_of(app, ada, "reader", permissions=["read"])
        assert len(stored(app)) == 3

        for who, body, status, code in (
            (None, {"password": PASSWORD}, 401, None),
            (ada, {}, 400, "MissingParameter"),
            (ada, {"password": {"$ne": 1}}, 400, "InvalidParameter"),
            (ada, {"password": "a-wrong-password"}, 401, "InvalidPassword"),
            (bob, {"password": "a-wrong-password"}, 401, "InvalidPassword"),
            (limited, {"password": PASSWORD}, 403, "PermissionDenied"),
            (f"Api-Key {KEY}", {"password": PASSWORD}, 400, "BadRequest"),
        ):
            refused(ask(app, "DELETE", ACCOUNT, body, as_=who), status, code)
        assert len(stored(app)) == 3
        assert len(hers[0].all()) == 2

        ok(app, "DELETE", f"{ACCOUNT}/", {"password": PASSWORD}, status=204, as_=whole)
        for who in (ada, f"Bearer {session['access']}", whole, limited):
            refused(ask(app, "GET", "/core/profile", as_=who), 401)
        refused(ask(app, "POST", "/core/token/refresh", {"refresh": session["refresh"]}), 401)
        refused(ask(app, "POST", "/core/login", {"email": "ada@example.com", "password": PASSWORD}), 401)
        assert len(stored(app)) == 1
        assert len(his.all()) == 2
        again = registered(app, "ada@example.com")
        assert ok(app, "GET", "/api/list_databases", as_=again)["data"] == []
        hers[0].who = again
        hers[0].refused("GET", status=404)
    assert [one["database"] for one in known(tmp_path, "datacube_reports")] == [his.place["database_id"]]


def test_reports_end_with_their_collection_and_database(tmp_path: Path) -> None:
    with application(tmp_path, **SETTINGS) as app:
        ada = registered(app, "ada@example.com")
        crud = Crud(app, ada, database(app, ada, "shop"))
        for name in ("users", "events", "visits"):
            put_in(crud, b'{"n":2}', collection_name=name, idempotency_key="k")
        other = Crud(app, ada, database(app, ada, "other"))
        put_in(other, b'{"n":2}', collection_name="events", idempotency_key="k")
        place = {"database_id": crud.place["database_id"]}
        ok(app, "DELETE", "/api/drop_collections", {**place, "collection_names": ["events"]}, as_=ada)
        assert put_in(crud, b'{"n":3}', collection_name="events", idempotency_key="k")["inserted_count"] == 1
        ok(app, "DELETE", "/api/drop_collections", {**place, "collection_names": ["events"]}, as_=ada)
    there = known(tmp_path, "datacube_reports")
    assert sorted(one["database"] == place["database_id"] for one in there) == [False, True, True]
    with application(tmp_path, **SETTINGS) as app:
        ok(app, "POST", "/api/drop_database", {**place, "confirmation": "shop"}, as_=ada)
    assert [one["database"] for one in known(tmp_path, "datacube_reports")] == [other.place["database_id"]]
    assert run("datacube", "free", other.place["database_id"], "--yes", "--data-dir", str(tmp_path))[0] == 0
    assert known(tmp_path, "datacube_reports") == known(tmp_path, "datacube") == []


def test_whoever_runs_the_server_ends_accounts_with_their_databases(tmp_path: Path) -> None:
    with application(tmp_path, **SETTINGS) as app:
        people = [registered(app, f"{name}@example.com") for name in ("ada", "bob", "cy")]
        for who in people:
            Crud(app, who, database(app, who, "shop")).insert({"n": 1})
        bob = ok(app, "GET", "/core/profile", as_=people[1])["id"]
        path = f"/api/admin/v1/users/{bob}"
        assert app.call("DELETE", path, headers={"authorization": people[0]}).status in (401, 403)
        assert app.call("DELETE", path, headers={"api-key": KEY}).status == 204
        assert len(stored(app)) == 2
        refused(ask(app, "GET", "/api/list_databases", as_=people[1]), 401)
    place = ("--data-dir", str(tmp_path))
    code, text, _ = run("users", "delete", "ada@example.com", *place, answer="n\n")
    assert code != 0
    assert "Drop shop of ada@example.com for good?" in text
    assert len(json.loads(run("datacube", "list", "--json", *place)[1])) == 2
    assert run("users", "delete", "ada@example.com", *place, answer="y\n")[0] == 0
    assert run("users", "delete", "cy@example.com", "--yes", *place)[0] == 0
    assert json.loads(run("datacube", "list", "--json", *place)[1]) == []
    with application(tmp_path, **SETTINGS) as app:
        assert stored(app) == set()


def test_nothing_is_left_of_a_database_that_is_dropped_while_it_is_filled(tmp_path: Path) -> None:
    with application(tmp_path, **SETTINGS) as app:
        ada = registered(app, "ada@example.com")
        shown = {"authorization": ada}

        async def at_once(identifier: str, name: str, before: int) -> list[int]:
            place: dict[str, Any] = {"database_id": identifier}
            drop = ("drop_database", {**place, "confirmation": name})
            made = ("add_collection", {**place, "collections": ["others"]})
            row = {**place, "collection_name": "users"}
            upsert = {"filters": {"_id": 1}, "update_data": {"n": 1}, "upsert": True, "update_many": False}
            many = [("POST", "crud", {**row, "data": {"n": n}}) for n in range(12)] + [
                ("PUT", "crud", {**row, **upsert})
            ]
            many += [("POST", *made)]
            many.insert(before, ("POST", *drop))
            asked = [
                app.request(method, f"/api/{path}", json.dumps(body).encode(), shown) for method, path, body in many
            ]
            return [answer.status for answer in await asyncio.gather(*asked)]

        for number in range(12):
            name = f"shop{number}"
            told = app.run(at_once(database(app, ada, name), name, number))
            assert told[number] == 200
            assert set(told) <= {200, 201, 404}
            assert stored(app) == set()


def test_a_database_stays_that_a_key_has_come_to_not_reach(tmp_path: Path) -> None:
    with application(tmp_path, **SETTINGS) as app:
        ada = registered(app, "ada@example.com")
        Crud(app, ada, database(app, ada, "shop")).insert({"n": 1})
        owner = ok(app, "GET", "/core/profile", as_=ada)["id"]

    async def look(found: Directory) -> None:
        async def execute(operation: Any, caller: Any, size: int) -> Any:
            raise AssertionError(f"{operation} of somebody's database")

        scope = Scope(databases=frozenset({"another"}))
        request = Request("POST", "/", {}, identity=Identity(owner, "normal", "local-userpass", scope=scope))
        [shop] = await found.owned.databases.of(owner)
        await Cubes(found.owned.databases, execute).require_still(request, shop)

    with_directory(load({"data_dir": tmp_path}), look, looks=True)


def test_nothing_is_left_of_collections_before_one_that_cannot_be_made(tmp_path: Path) -> None:
    with application(tmp_path, **SETTINGS) as app:
        ada = registered(app, "ada@example.com")
        database(app, ada, "shop")
        owner = ok(app, "GET", "/core/profile", as_=ada)["id"]

    async def fill(found: Directory) -> None:
        [shop] = await found.owned.databases.of(owner)

        async def execute(operation: Any, caller: Any, size: int) -> Any:
            if isinstance(operation, CreateCollection):
                await found.owned.drop(shop)  # just before the first collection is there
            return await found.owned._execute(operation)

        request = Request("POST", "/", {}, identity=Identity(owner, "normal", "local-userpass"))
        cubes = Cubes(found.owned.databases, execute)
        named: list[Any] = [{"name": name, "fields": [], "enforce": False} for name in ("one", "two")]
        with pytest.raises(NotFound):
            await add_collections(cubes, cubes.inside(request, shop), named, request)

    with_directory(load({"data_dir": tmp_path}), fill, looks=True)
    with application(tmp_path, **SETTINGS) as app:
        assert stored(app) == set()
