"""Downloads by a ticket: the caller's own, for what they asked, once, soon, and broken off where something is wrong."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from admin_app import RULES, administered, log_in, ok
from asgi import KEY, Answer, Application, application
from servers import PATIENCE, doorleaf

from doorleaf.access.callers import Credentials
from doorleaf.access.downloads import Downloads
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import Unauthenticated
from doorleaf.stores.embedded.store import EmbeddedStore

PATH = "/api/console/v1/downloads"
PASSWORD = "correct horse battery"
NOTES = {"database": "shop", "collection": "notes"}


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with administered(tmp_path_factory.mktemp("downloads")) as running:
        notes = [{"_id": number, "owner": "somebody", "text": f"note {number}"} for number in range(3)]
        assert running.act("insertMany", {**NOTES, "documents": notes}).status == 201
        yield running


def asked(app: Application, headers: dict[str, str] | None = None, /, **fields: Any) -> Answer:
    body = orjson.dumps({**NOTES, "format": "ndjson", **fields})
    return app.call("POST", PATH, body, {"apiKey": KEY} if headers is None else headers)


def ticket(app: Application, headers: dict[str, str] | None = None, /, **fields: Any) -> str:
    answer = asked(app, headers, **fields)
    assert answer.status == 201, answer.body
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json.keys() == {"ticket", "expiresAt"}
    return str(answer.json["ticket"])


def got(app: Application, ticket: str) -> Answer:
    return app.call("GET", f"{PATH}/{ticket}")


def file(app: Application, headers: dict[str, str] | None = None, /, **fields: Any) -> str:
    answer = got(app, ticket(app, headers, **fields))
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    name = f"notes.{fields.get('format', 'ndjson')}"
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{name}"
    return answer.body.decode()


def test_files_have_what_the_query_matches(app: Application) -> None:
    lines = file(app, filter={"_id": {"$gt": 0}}, sort={"_id": -1}, projection={"owner": 0}, mode="canonical")
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"_id": {"$numberInt": "2"}, "text": "note 2"},
        {"_id": {"$numberInt": "1"}, "text": "note 1"},
    ]
    assert [one["_id"] for one in json.loads(file(app, format="json", limit=2, sort={"_id": 1}))] == [0, 1]
    nested = {"_id": 9, "a.b": {"c": [1, 2]}, "text": '=1+"1"\nline', "owner": None}
    assert app.act("insertOne", {**NOTES, "document": nested}).status == 201
    columns = ["_id", "text", "a.b", "owner"]
    table = file(app, format="csv", columns=columns, filter={"_id": {"$gte": 2}}, sort={"_id": 1})
    assert table == '_id,text,a.b,owner\r\n2,note 2,,somebody\r\n9,"=1+""1""\nline","{""c"":[1,2]}",\r\n'
    assert file(app, format="csv", columns=["x"], filter={"_id": 77}) == "x\r\n"


def test_a_ticket_is_good_once_and_only_a_ticket(app: Application) -> None:
    made = ticket(app)
    assert len(got(app, made).body.splitlines()) == 3
    for wrong in (made, "dld_" + "A" * 43, "dlt_" + "A" * 43, "dld_", KEY, made + "x"):
        answer = got(app, wrong)
        assert (answer.status, answer.json["error_code"]) == (401, "InvalidSession"), wrong
        assert wrong not in answer.body.decode()
    with_a_key = app.call("GET", f"{PATH}/dld_{'A' * 43}", b"", {"apiKey": KEY})
    assert with_a_key.status == 401, "a key is none"

    async def at_once(made: str) -> list[int]:
        answers = await asyncio.gather(*(app.request("GET", f"{PATH}/{made}") for _ in range(6)))
        return sorted(answer.status for answer in answers)

    assert app.run(at_once(ticket(app))) == [200, 401, 401, 401, 401, 401]


def test_it_is_its_makers_with_their_rights_for_as_long_as_they_have_them(app: Application) -> None:
    user = ok(app, "POST", "/users", {"email": "ada@example.com", "password": PASSWORD}, status=201)["id"]
    shown = log_in(app, "local-userpass", {"username": "ada@example.com", "password": PASSWORD}).json
    ada = {"Authorization": f"Bearer {shown['access_token']}"}
    mine = {"_id": 8, "owner": user, "secret": "of the house", "text": "mine"}
    assert app.act("insertOne", {**NOTES, "document": mine}).status == 201
    assert [json.loads(line) for line in file(app, ada).splitlines()] == [{"_id": 8, "owner": user, "text": "mine"}]
    refused = asked(app, ada, collection="others")
    assert refused.status == 403, refused.body
    left = ticket(app, ada)
    ended = app.call("DELETE", "/auth/session", b"", {"Authorization": f"Bearer {shown['refresh_token']}"})
    assert ended.status == 204, ended.body
    assert got(app, left).status == 401
    made = ok(app, "POST", "/keys", {"name": "narrow", "actions": ["read"], "databases": ["other"]}, status=201)
    assert asked(app, {"apiKey": made["key"]}).status == 403
    assert asked(app, {}).status == 401


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"format": "xml"}, 400, "format: expected one of ndjson, json, csv"),
    ({"format": ["csv"]}, 400, "format: expected one of"),
    ({"format": None}, 400, "format is required"),
    ({"mode": "plain"}, 400, "mode: expected one of canonical, relaxed"),
    ({"format": "csv"}, 400, "csv takes columns"),
    ({"columns": ["a"]}, 400, "csv takes columns"),
    ({"format": "csv", "columns": [1]}, 400, "columns: expected an array of strings"),
    ({"format": "csv", "columns": ["c"] * 5001}, 400, "columns: more than 5000"),
    ({"format": "csv", "columns": ["a", "a"]}, 400, "columns: a column comes twice"),
    ({"filter": {"$nope": 1}}, 400, "$nope"),
    ({"filter": {"$where": "sleep(1)"}}, 403, "$where"),
    ({"filter": []}, 400, "filter: expected"),
    ({"limit": -1}, 400, "limit: expected"),
    ({"skip": 1}, 400, "skip: no such field"),
    ({"collection": None}, 400, "collection is required"),
    ({"database": "doorleaf"}, 403, ""),
    ({"filter": {"text": "a" * 262_144}}, 413, "at most 262144 bytes"),
]


@pytest.mark.parametrize(("change", "status", "told"), WRONG, ids=[told or "the system's" for _, _, told in WRONG])
def test_what_is_wrong_is_told_before_there_is_a_ticket(
    app: Application, change: dict[str, Any], status: int, told: str
) -> None:
    answer = asked(app, **change)
    assert answer.status == status, answer.body
    assert told in answer.json["error"]
    assert "ticket" not in answer.json


def test_one_caller_has_so_many_however_many_they_ask_for_at_once(app: Application) -> None:
    async def many() -> list[Answer]:
        body = orjson.dumps({**NOTES, "format": "ndjson"})
        return [*await asyncio.gather(*(app.request("POST", PATH, body, {"apiKey": KEY}) for _ in range(60)))]

    answers = app.run(many())
    given = [answer.json["ticket"] for answer in answers if answer.status == 201]
    refused = {(answer.status, answer.json["error_code"]) for answer in answers if answer.status != 201}
    assert (len(given), refused) == (20, {(409, "Conflict")})
    assert got(app, given[0]).status == 200
    ticket(app)  # in the place of the one that was used
    assert asked(app).status == 409


def test_without_credentials_where_nobody_needs_any(tmp_path: Path) -> None:
    with application(tmp_path / "data", insecure_no_auth=True) as app:
        assert app.act("insertOne", {**NOTES, "document": {"_id": 1}}).status == 201
        made = ticket(app, {})
        assert json.loads(got(app, made).body) == {"_id": 1}
        assert got(app, made).status == 401


def test_where_actions_run_as_somebody_else_files_do_too(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"rules": RULES, "providers": ("api-key", "anon-user"), "run_as": {"actions": "system"}}
    with application(tmp_path / "data", **chosen) as app:
        assert app.act("insertOne", {**NOTES, "document": {"_id": 1, "owner": "x", "secret": 2}}).status == 201
        shown = log_in(app, "anon-user", {}).json
        anybody = {"Authorization": f"Bearer {shown['access_token']}"}
        assert json.loads(file(app, anybody)) == {"_id": 1, "owner": "x", "secret": 2}


def test_a_ticket_ends_and_the_database_knows_neither_it_nor_the_key(tmp_path: Path) -> None:
    async def live() -> None:
        store = EmbeddedStore(tmp_path, system_database="doorleaf")
        await store.open()
        try:
            system, now = SystemStore(store, "doorleaf"), [1_800_000_000.0]
            tickets = Downloads(system, clock=lambda: now[0])
            made = await tickets.issue("owner", Credentials(api_key=KEY), {"collection": "of a secret name"})
            stored = str(await system.find("console_downloads", {}))
            assert not [one for one in (KEY, made["ticket"], "of a secret name") if one in stored]
            now[0] += 59
            claimed = await tickets.claim(made["ticket"], "192.0.2.1")
            assert claimed == Credentials(api_key=KEY, address="192.0.2.1")
            taken = await tickets.take(made["ticket"], "192.0.2.1")
            assert taken == ({"collection": "of a secret name"}, claimed)
            assert await system.find("console_downloads", {}) == []
            made = await tickets.issue("owner", Credentials(), {})
            now[0] += 60
            with pytest.raises(Unauthenticated):
                await tickets.claim(made["ticket"], "")
        finally:
            await store.close()

    asyncio.run(live())


def test_an_error_on_the_way_breaks_it_off(tmp_path: Path) -> None:
    with doorleaf(tmp_path / "data") as server:
        documents = [{"_id": number, "text": "x" * 1000} for number in range(3000)]
        server.ok("insertMany", collection="many", documents=documents)
        body = {"database": "d", "collection": "many", "format": "csv"}
        made = server.call("POST", PATH, {**body, "columns": ["_id", "text"]}, {"apiKey": server.key})
        assert made.status == 201, made.body
        server.ok("insertOne", collection="many", document={"_id": 3000, "new": 1})
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.request("GET", f"{PATH}/{made.json['ticket']}")
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
        text = cut.value.partial.decode()
        connection.close()
        assert text.startswith("_id,text\r\n0,xxx")
        assert "a document has the field 'new', which is no column" in text.splitlines()[-1]
