"""Nobody reaches what is another user's: by ids, by keys, by names, however many register and make at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from asgi import Answer, Application
from cube_app import Crud, ask, database, key_of, ok, on_engine, refused, registered, tokens

from doorleaf.access.datacube import databases

ROUNDS = int(os.environ.get("DOORLEAF_TEST_CUBE_ROUNDS", "8"))
"""How often two users make a database of the same name at the same moment."""
NAMES = itertools.count()


@pytest.fixture(scope="module", params=["embedded", "mongo"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with on_engine(request, tmp_path_factory, "others") as running:
        yield running


@pytest.fixture(scope="module")
def people(app: Application) -> tuple[str, str]:
    """Whose it is, and who would like to have it."""
    number = next(NAMES)
    return registered(app, f"owner{number}@example.com"), registered(app, f"mallory{number}@example.com")


@pytest.fixture(scope="module")
def mine(app: Application, people: tuple[str, str]) -> Crud:
    crud = Crud(app, people[0], database(app, people[0], "shop"))
    crud.insert({"_id": "secret", "n": 1}, {"_id": "hidden", "n": 2})
    crud.delete({"_id": "hidden"})
    return crud


BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "get_metadata"): {},
    ("GET", "list_collections"): {},
    ("GET", "crud"): {"collection_name": "users"},
    ("POST", "crud"): {"collection_name": "users", "data": [{"n": 9}]},
    ("PUT", "crud"): {"collection_name": "users", "filters": {"n": 1}, "update_data": {"n": 9}},
    ("DELETE", "crud"): {"collection_name": "users", "filters": {"n": 1}},
    ("POST", "restore"): {"collection_name": "users", "filters": {}},
    ("POST", "add_collection"): {"collections": ["mine"]},
    ("DELETE", "drop_collections"): {"collection_names": ["users"]},
    ("POST", "drop_collections"): {"collection_names": ["users"]},
    ("DELETE", "drop_database"): {"confirmation": "shop"},
    ("POST", "drop_database"): {"confirmation": "shop"},
}
"""What each route of a database is asked with."""


def attempt(app: Application, who: str, method: str, path: str, identifier: str) -> Answer:
    body = {"database_id": identifier, **BODIES[method, path.rstrip("/").rpartition("/")[2]]}
    if method == "GET":
        return app.call("GET", path, b"", {"authorization": who}, urlencode(body).encode())
    return ask(app, method, path, body, as_=who)


PATHS = [
    (method, f"{prefix}/{name}{slash}")
    for (method, name), prefix, slash in itertools.product(BODIES, ("/api", "/api/v2"), ("", "/"))
]


@pytest.mark.parametrize("shown", ["token", "key", "reading key"])
def test_the_id_of_another_is_none(app: Application, mine: Crud, people: tuple[str, str], shown: str) -> None:
    who = people[1]
    if shown == "key":
        who = key_of(app, who, f"key{next(NAMES)}")
    elif shown == "reading key":
        who = key_of(app, who, f"key{next(NAMES)}", permissions=["read"])
    told = set()
    for method, path in PATHS:
        answer = attempt(app, who, method, path, mine.place["database_id"])
        nobody = attempt(app, who, method, path, "0" * 24)
        assert (answer.status, answer.body) == (nobody.status, nobody.body), path
        refused(answer, answer.status)
        told.add(answer.status)
        assert "secret" not in answer.body.decode()
    assert told == ({404, 403} if shown == "reading key" else {404})
    assert mine.all() == [{"_id": "secret", "n": 1}]
    assert len(mine.all(include_deleted="true")) == 2
    own, theirs = (
        {one["id"] for one in ok(app, "GET", "/api/list_databases", as_=one, page_size=1000)["data"]} for one in people
    )
    assert mine.place["database_id"] in own
    assert not own & theirs


def test_physical_names_are_no_way_in(app: Application, mine: Crud, people: tuple[str, str]) -> None:
    query = {"database_id": mine.place["database_id"]}
    physical = ok(app, "GET", "/api/get_metadata", as_=people[0], **query)["data"]["dbName"]
    for who in people:
        body = {"database": physical, "collection": "users"}
        answer = app.call("POST", "/data/v1/action/find", json.dumps(body).encode(), {"authorization": who})
        assert answer.status == 403
        assert b"secret" not in answer.body
    for wrong in (physical, physical.encode().hex()[:24], {"$ne": ""}, ["x"], "0" * 23):
        answer = ask(
            app, "DELETE", "/api/crud", {**mine.place, "database_id": wrong, "filters": {"n": 1}}, as_=people[1]
        )
        assert answer.status in (400, 404)
    made = database(app, people[1], physical.lower())
    theirs = Crud(app, people[1], made)
    assert theirs.all() == []
    theirs.insert({"n": 5})
    assert mine.all() == [{"_id": "secret", "n": 1}]


@pytest.mark.parametrize(
    "filters",
    [
        {"$where": "1"},
        {"n": {"$where": "1"}},
        {"$expr": {"$function": {"body": "f", "args": [], "lang": "js"}}},
        {"$lookup": {"from": "x"}},
        {"$jsonSchema": {"$where": 1}},
    ],
)
def test_filters_reach_nothing_else(mine: Crud, filters: Any) -> None:
    mine.refused("GET", filters=json.dumps(filters))
    mine.refused("PUT", {"filters": filters, "update_data": {"n": 9}})
    mine.refused("DELETE", {"filters": filters})
    assert mine.all() == [{"_id": "secret", "n": 1}]


def forged(token: str, secret: str, **claims: Any) -> str:
    """An access token that says something else, signed by somebody else or by nobody."""
    found = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(found | claims, secret, algorithm="HS256" if secret else "none")


def shown_by(app: Application, people: tuple[str, str], mine: Crud) -> dict[str, str]:
    """What somebody may show who would like to be the owner."""
    owner, other = people
    name = f"gone{next(NAMES)}"
    revoked = key_of(app, owner, name)
    [identifier] = [one["_id"] for one in ok(app, "GET", "/core/api/v1/keys", as_=owner) if one["name"] == name]
    ok(app, "DELETE", f"/core/api/v1/keys/{identifier}", status=204, as_=owner)
    user_id = ok(app, "GET", "/core/profile", as_=owner)["id"]
    profile = ok(app, "GET", "/core/profile", as_=other)
    session = tokens(app, profile["email"])
    ended = tokens(app, ok(app, "GET", "/core/profile", as_=owner)["email"])
    ok(app, "POST", "/core/logout", {"refresh": ended["refresh"]}, status=204)
    token = owner.removeprefix("Bearer ")
    return {
        "a revoked key": revoked,
        "half a key": revoked[:-1],
        "the id of a key": f"Api-Key {identifier}",
        "the id of the owner": f"Bearer {user_id}",
        "the id of the database": f"Api-Key {mine.place['database_id']}",
        "a refresh token": f"Bearer {session['refresh']}",
        "a session that ended": f"Bearer {ended['access']}",
        "a token that nobody signed": f"Bearer {forged(session['access'], '', sub=user_id)}",
        "a token that another signed": f"Bearer {forged(session['access'], 's' * 64, sub=user_id)}",
        "the owner's token behind Basic": f"Basic {token}",
        "the owner's token as a key": f"Api-Key {token}",
        "the owner's token but for its end": f"Bearer {token[:-8]}",
        "two credentials": f"{other}, {owner}",
        "nothing": "",
    }


def test_nobody_is_the_owner_by_what_they_show(app: Application, people: tuple[str, str], mine: Crud) -> None:
    shown = shown_by(app, people, mine)
    for (name, credentials), (method, path) in itertools.product(shown.items(), list(BODIES)):
        answer = attempt(app, credentials, method, f"/api/{path}", mine.place["database_id"])
        refused(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="api"', name
        assert b"secret" not in answer.body
    assert mine.all() == [{"_id": "secret", "n": 1}]
    assert len(mine.all(include_deleted="true")) == 2


def test_what_is_refused_to_others_is_done_for_the_owner(app: Application, people: tuple[str, str]) -> None:
    """The requests of all these attempts are good ones."""
    identifier = database(app, people[0], f"good{next(NAMES)}")
    name = ok(app, "GET", "/api/get_metadata", as_=people[0], database_id=identifier)["data"]["displayName"]
    Crud(app, people[0], identifier).insert({"n": 1})
    for method, path in BODIES:
        if (method, path) not in (("POST", "drop_collections"), ("POST", "drop_database"), ("DELETE", "drop_database")):
            answer = attempt(app, people[0], method, f"/api/{path}", identifier)
            assert answer.status in (200, 201), (path, answer.body)
    ok(app, "POST", "/api/drop_database", {"database_id": identifier, "confirmation": name}, as_=people[0])


@pytest.mark.parametrize(
    "collection",
    [
        "{physical}.users",
        "users.$cmd",
        "users\0",
        "../users",
        "system.users",
        "$cmd",
        "",
        "datacube",
        {"$ne": ""},
        ["users"],
    ],
)
def test_names_of_collections_lead_nowhere_else(
    app: Application, people: tuple[str, str], mine: Crud, collection: Any
) -> None:
    query = {"database_id": mine.place["database_id"]}
    physical = ok(app, "GET", "/api/get_metadata", as_=people[0], **query)["data"]["dbName"]
    name = collection.replace("{physical}", physical) if isinstance(collection, str) else collection
    theirs = database(app, people[1], f"way{next(NAMES)}")
    place = {"database_id": theirs, "collection_name": name}
    for method, path in (("POST", "crud"), ("PUT", "crud"), ("DELETE", "crud"), ("POST", "restore")):
        body = {**BODIES[method, path], **place}
        answer = ask(app, method, f"/api/{path}", body, as_=people[1])
        assert answer.status == (404 if isinstance(name, str) and name else 400), answer.body
    if isinstance(name, str):
        assert ask(app, "GET", "/api/crud", as_=people[1], **place).status == (404 if name else 400)
        if name != "datacube":
            body = {"database_id": theirs, "collections": [{"name": name}]}
            assert ask(app, "POST", "/api/add_collection", body, as_=people[1]).status == 400
    both = urlencode(
        [("database_id", theirs), ("database_id", mine.place["database_id"]), ("collection_name", "users")]
    )
    assert app.call("GET", "/api/crud", b"", {"authorization": people[1]}, both.encode()).status == 400
    assert mine.all() == [{"_id": "secret", "n": 1}]


# --- keys that are limited -------------------------------------------------------------------------------------------


def test_a_key_does_what_it_may(app: Application, people: tuple[str, str], mine: Crud) -> None:
    owner = people[0]
    other = Crud(app, owner, database(app, owner, f"other{next(NAMES)}"))
    reads = key_of(app, owner, "reads", permissions=["read"])
    writes = key_of(app, owner, "writes", permissions=["read", "write"])
    there = key_of(app, owner, "there", database_ids=[other.place["database_id"]])
    reading = Crud(app, reads, mine.place["database_id"])
    assert len(reading.all()) == 1
    for method, body in (("POST", {"data": [{}]}), ("PUT", {"filters": {"n": 1}, "update_data": {"n": 2}})):
        reading.refused(method, body, status=403)
    reading.refused("DELETE", {"filters": {"n": 1}}, status=403)
    for key in (reads, writes, there):
        refused(ask(app, "POST", "/api/create_database", {"db_name": "more"}, as_=key), 403)
    for key in (reads, writes):
        place = {"database_id": mine.place["database_id"]}
        refused(ask(app, "POST", "/api/add_collection", {**place, "collections": ["x"]}, as_=key), 403)
        refused(ask(app, "DELETE", "/api/drop_database", {**place, "confirmation": "shop"}, as_=key), 403)
    writing = Crud(app, writes, other.place["database_id"])
    writing.insert({"n": 1})
    writing.delete({"n": 1}, hard=True)
    for method, path in PATHS:
        refused(attempt(app, there, method, path, mine.place["database_id"]), 404)
    assert [one["id"] for one in ok(app, "GET", "/api/list_databases", as_=there)["data"]] == [
        other.place["database_id"]
    ]
    Crud(app, there, other.place["database_id"]).insert({"n": 1})
    assert mine.all() == [{"_id": "secret", "n": 1}]


# --- at once ---------------------------------------------------------------------------------------------------------


def test_users_who_make_the_same_names_at_once_share_nothing(app: Application) -> None:
    """With DOORLEAF_TEST_CUBE_ROUNDS=200 for long."""
    number = next(NAMES)
    who = [registered(app, f"{name}{number}@example.com") for name in ("left", "right")]

    async def made(one: str, name: str) -> Any:
        body = json.dumps({"db_name": name, "collections": ["users"]}).encode()
        answer = await app.request("POST", "/api/create_database", body, {"authorization": one})
        assert answer.status == 201, answer.body
        return answer.json["database"]["id"]

    async def both(name: str) -> list[Any]:
        return list(await asyncio.gather(*(made(one, name) for one in who)))

    seen = set()
    for turn in range(ROUNDS):
        ids = app.run(both(f"same{turn}"))
        seen.update(ids)
        cruds = [Crud(app, one, identifier) for one, identifier in zip(who, ids, strict=True)]
        for crud, mark in zip(cruds, who, strict=True):
            crud.insert({"_id": "x", "of": mark[-20:]})
        assert [crud.all() for crud in cruds] == [[{"_id": "x", "of": mark[-20:]}] for mark in who]
        body = {"database_id": ids[0], "confirmation": f"same{turn}"}
        ok(app, "DELETE", "/api/drop_database", body, as_=who[0])
        assert len(cruds[1].all()) == 1
    assert len(seen) == 2 * ROUNDS


def test_limits_are_exact_however_many_are_made_at_once(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "MOST", 5)
    monkeypatch.setattr(databases, "MOST_COLLECTIONS", 4)
    who = registered(app, f"many{next(NAMES)}@example.com")

    async def several(path: str, bodies: list[Any]) -> list[int]:
        headers = {"authorization": who}
        asked = (app.request("POST", f"/api/{path}", json.dumps(body).encode(), headers) for body in bodies)
        return sorted(answer.status for answer in await asyncio.gather(*asked))

    told = app.run(several("create_database", [{"db_name": f"many{n}"} for n in range(12)]))
    assert told == [201] * 5 + [400] * 7
    listed = ok(app, "GET", "/api/list_databases", as_=who)["data"]
    assert len(listed) == 5
    place = {"database_id": listed[0]["id"]}
    told = app.run(several("add_collection", [{**place, "collections": [f"c{n}"]} for n in range(10)]))
    assert told == [201] * 4 + [400] * 6
    there = ok(app, "GET", "/api/list_collections", as_=who, **place)["collections"]
    assert len(there) == 4
    assert not any("registered" in one for one in there)
    # What is dropped makes room.
    ok(app, "DELETE", "/api/drop_collections", {**place, "collection_names": [there[0]["name"]]}, as_=who)
    assert app.run(several("add_collection", [{**place, "collections": ["x", "y"]}])) == [400]
    assert app.run(several("add_collection", [{**place, "collections": ["x"]}])) == [201]
    ok(app, "DELETE", "/api/drop_database", {**place, "confirmation": listed[0]["name"]}, as_=who)
    assert app.run(several("create_database", [{"db_name": f"again{n}"} for n in range(3)])) == [201, 400, 400]


def test_one_user_makes_a_name_once(app: Application, people: tuple[str, str]) -> None:
    name = f"once{next(NAMES)}"
    body = json.dumps({"db_name": name}).encode()

    async def several() -> list[Answer]:
        asked = (app.request("POST", "/api/create_database", body, {"authorization": people[0]}) for _ in range(6))
        return list(await asyncio.gather(*asked))

    assert sorted(answer.status for answer in app.run(several())) == [201, 400, 400, 400, 400, 400]
    assert len(ok(app, "GET", "/api/list_databases", as_=people[0], search=name)["data"]) == 1


def test_of_several_who_make_a_collection_at_once_it_is_as_one_declares_it(app: Application) -> None:
    who = registered(app, f"several{next(NAMES)}@example.com")
    place: dict[str, Any] = {"database_id": database(app, who, "several")}
    fields = [{"name": "n", "type": "integer"}]

    async def at_once(name: str) -> None:
        bodies = [
            {**place, "collections": [{"name": name, "fields": fields, "enforce": enforce}]}
            for enforce in (False, True, False, True)
        ]
        shown = {"authorization": who}
        made = [app.request("POST", "/api/add_collection", json.dumps(body).encode(), shown) for body in bodies]
        assert {answer.status for answer in await asyncio.gather(*made)} == {201}

    for number in range(12):
        name = f"c{number}"
        app.run(at_once(name))
        told = ok(app, "GET", "/api/get_metadata", as_=who, **place, collection_name=name)
        enforced = told["data"]["collections"][0]["enforce"]
        wrong = ask(app, "POST", "/api/crud", {**place, "collection_name": name, "data": {"n": "one"}}, as_=who)
        assert wrong.status == (400 if enforced else 201), (name, wrong.body)
