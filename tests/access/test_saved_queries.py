"""What people save in the console: each caller's own, bounded, and gone with the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from admin_app import administered, log_in, ok
from asgi import KEY, Answer, Application

from doorleaf.access.system_store import SystemStore
from doorleaf.stores.embedded.store import EmbeddedStore

PATH = "/api/console/v1/saved"
PASSWORD = "correct horse battery"
AT = {"dataSource": "default", "database": "shop", "collection": "orders"}
ONE = {"kind": "query", "name": "open", **AT, "asked": "a=1"}


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with administered(tmp_path_factory.mktemp("saved")) as running:
        yield running


def send(app: Application, method: str, path: str = "", body: Any = None, /, **headers: str) -> Answer:
    return app.call(method, PATH + path, b"" if body is None else orjson.dumps(body), headers or {"apiKey": KEY})


def names(app: Application, **headers: str) -> list[str]:
    answer = send(app, "GET", **headers)
    assert answer.status == 200, answer.body
    return [one["name"] for one in answer.json["saved"]]


async def kept(folder: Path) -> list[Any]:
    """All that is in the system database of what was saved."""
    store = EmbeddedStore(folder, system_database="doorleaf")
    await store.open()
    try:
        return await SystemStore(store, "doorleaf").find("console_saved", {})
    finally:
        await store.close()


def test_each_callers_are_their_own_and_end_with_them(tmp_path: Path) -> None:
    with administered(tmp_path) as app:
        _try(app)
    left = asyncio.run(kept(tmp_path / "data"))
    assert [one["saved"][0]["name"] for one in left] == ["of the administrator"]


def _try(app: Application) -> None:
    user = ok(app, "POST", "/users", {"email": "ada@example.com", "password": PASSWORD}, status=201)["id"]
    made = ok(app, "POST", "/keys", {"name": "reader", "actions": ["read"]}, status=201)
    shown = log_in(app, "local-userpass", {"username": "ada@example.com", "password": PASSWORD}).json
    ada = {"Authorization": f"Bearer {shown['access_token']}"}
    reader = {"apiKey": made["key"]}
    for who, name in (({"apiKey": KEY}, "of the administrator"), (ada, "of Ada"), (reader, "of a key")):
        saved = send(app, "PUT", "", ONE | {"name": name}, **who)
        assert saved.status == 200, saved.body
        assert saved.json == {"id": saved.json["id"], **ONE, "name": name}
        assert names(app, **who) == [name]
    again = send(app, "PUT", "", ONE | {"name": "of Ada", "asked": "b=2"}, **ada).json
    assert send(app, "GET", **ada).json["saved"] == [again]
    for other in (reader, {"apiKey": KEY}):
        assert send(app, "DELETE", f"/{again['id']}", **other).status == 404
    send(app, "PUT", "", ONE | {"kind": "pipeline", "name": "of Ada"}, **ada)
    assert send(app, "DELETE", f"/{again['id']}", **ada).status == 204
    assert [one["kind"] for one in send(app, "GET", **ada).json["saved"]] == ["pipeline"]
    ok(app, "DELETE", f"/users/{user}", status=204)
    ok(app, "DELETE", "/keys/reader", status=204)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "view"}, "kind: expected query or pipeline"),
    ({"kind": ["query"]}, "kind: expected query or pipeline"),
    ({"name": ""}, "name: expected a text of 1 to 100 characters"),
    ({"name": "n" * 101}, "name: expected a text of 1 to 100 characters"),
    ({"name": {"$gt": ""}}, "name: expected a text"),
    ({"asked": "a" * 8193}, "asked: expected a text of at most 8192 characters"),
    ({"asked": None}, "asked is required"),
    ({"collection": 5}, "collection: expected"),
    ({"owner": "somebody"}, "owner: no such field"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_is_wrong_is_named(app: Application, change: dict[str, Any], told: str) -> None:
    answer = send(app, "PUT", "", ONE | change)
    assert answer.status == 400
    assert told in answer.json["error"]
    assert names(app) == []


def test_there_is_an_end_and_none_is_lost(app: Application) -> None:
    async def several() -> list[int]:
        bodies = [orjson.dumps(ONE | {"name": f"{number:03}"}) for number in range(130)]
        sent = (app.request("PUT", PATH, body, {"apiKey": KEY}) for body in bodies)
        return [answer.status for answer in await asyncio.gather(*sent)]

    told = app.run(several())
    done = [f"{number:03}" for number, status in enumerate(told) if status == 200]
    assert (len(done), told.count(400)) == (100, 30)
    assert names(app) == done
    refused = send(app, "PUT", "", ONE | {"name": "one more"})
    assert refused.status == 400
    assert "100 are saved already" in refused.json["error"]
    again = send(app, "PUT", "", ONE | {"name": done[7], "asked": "b=2"})
    assert again.status == 200, "one of the same name takes no room"
    kept = send(app, "GET").json["saved"]
    assert ([one["name"] for one in kept], kept[7]) == (done, again.json)
    assert send(app, "DELETE", f"/{kept[7]['id']}").status == 204
    assert send(app, "PUT", "", ONE | {"name": "one more"}).status == 200
    assert names(app) == sorted([*done[:7], *done[8:], "one more"])


def test_whoever_is_nobody_in_particular_saves_nothing(app: Application) -> None:
    begun = log_in(app, "anon-user", {}).json
    nobody = {"Authorization": f"Bearer {begun['access_token']}"}
    assert names(app, **nobody) == []
    refused = send(app, "PUT", "", ONE, **nobody)
    assert (refused.status, refused.json["error_code"]) == (403, "PermissionDenied")
    assert app.call("GET", PATH).status == 401
