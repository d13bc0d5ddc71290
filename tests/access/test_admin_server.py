"""What administrators are told of the server itself: what happens now, settings, the audit, rules, custom data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from admin_app import ADMIN, RULES, ask, ok, operation_of, refused
from asgi import KEY, Application, application
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # has no types of its own

from doorleaf.lately import Lately
from doorleaf.observability import Answered

PATIENCE = 60.0


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    chosen: dict[str, Any] = {
        "providers": ("api-key", "local-userpass"),
        "login_rate": "",
        "rules": RULES,
        "audit_collection_days": 1,
        "custom_user_data": {"database": "shop", "collection": "people", "user_id_field": "owner"},
        "smtp_url": "smtp://mailer:hunter2@127.0.0.1:9",
        "mail_from": "doorleaf@example.com",
        "email_confirmation_url": "https://example.com/confirm",
        "reset_password_url": "https://example.com/reset",
    }
    with application(tmp_path_factory.mktemp("server"), **chosen) as running:
        ok(running, "POST", "/keys", {"name": "reports", "databases": ["shop"]}, status=201)
        for name in ("ada", "bob", "c.d+e"):
            body = {"email": f"{name}@example.com", "password": "correct horse"}
            ok(running, "POST", "/users", body, status=201)
        yield running


# --- now ---------------------------------------------------------------------------------------------------------


def watch(
    app: Application, enough: Callable[[list[tuple[str, Any]]], bool], *, key: str = KEY
) -> tuple[dict[str, str], list[tuple[str, Any]]]:
    """The headers and the events of the stream, until there are enough."""
    return app.run(_watch(app, enough, key))  # type: ignore[no-any-return]


async def _watch(app: Application, enough: Callable[[list[tuple[str, Any]]], bool], key: str) -> Any:
    gone = asyncio.Event()
    headers: dict[str, str] = {}
    text = b""

    coming = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in coming:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal text
        if message["type"] == "http.response.start":
            headers.update({name.decode(): value.decode() for name, value in message["headers"]})
        text += message.get("body", b"")
        if enough(events_of(text)):
            gone.set()

    scope = {"type": "http", "method": "GET", "path": f"{ADMIN}/now", "query_string": b""}
    raw = [(b"apikey", key.encode())]
    async with asyncio.timeout(PATIENCE):
        await app.endpoint({**scope, "headers": raw, "client": ("127.0.0.1", 5)}, receive, send)
    return headers, events_of(text)


def events_of(text: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in text.decode().split("\n\n")[:-1]:
        kind, data = block.split("\n", 1)
        found.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_now(app: Application) -> None:
    app.act("find", {"database": "shop", "collection": "nowhere"})
    app.act("find", {"database": "shop", "collection": "nowhere"}, key="dl_wrong")

    def enough(events: list[tuple[str, Any]]) -> bool:
        told = [content for kind, content in events if kind == "now"]
        return any(kind == "sample" for kind, _ in events) and told[-1]["health"]["status"] != "unknown"

    headers, events = watch(app, enough)
    assert headers["content-type"] == "text/event-stream"
    assert "no-store" in headers["cache-control"]
    told = [content for kind, content in events if kind == "now"][-1]
    assert told["health"]["status"] == "ready"
    assert told["workers"] == 1
    by_name = {caller["name"]: caller for caller in told["callers"]}
    assert by_name["DATA_API_KEY"]["requests"] >= 1
    assert by_name[""]["refused"] >= 1
    line = next(line for line in told["refused"] if line["action"] == "find")
    assert (line["status"], line["code"], line["address"]) == (401, "InvalidSession", "127.0.0.1")
    sample = next(content for kind, content in events if kind == "sample")
    assert sample["number"] >= 1
    assert 1 <= sample["seconds"] < PATIENCE
    assert sample["memory_bytes"] > 0
    assert {"p50", "p95", "p99"} == sample["latency"].keys()
    text = json.dumps(events)
    assert KEY not in text
    assert "dl_wrong" not in text


def test_now_counts_what_happens(app: Application) -> None:
    async def both() -> Any:
        async def ask_often() -> None:
            while True:
                await app.request(
                    "POST", "/data/v1/action/find", b'{"database":"shop","collection":"x"}', {"apiKey": KEY}
                )
                await asyncio.sleep(0.05)

        asking = asyncio.create_task(ask_often())
        try:
            return await _watch(app, lambda events: any(_asked(events)), KEY)
        finally:
            asking.cancel()

    def _asked(events: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
        for kind, content in events:
            if kind == "sample" and content["latency"]["p50"] is not None:
                yield from (one for one in content["actions"] if one["action"] == "find")

    _, events = app.run(both())
    found = next(_asked(events))
    assert found["requests"] >= 1
    assert found["mean_seconds"] > 0


@pytest.mark.parametrize("key", ["dl_wrong", "reports"])
def test_now_is_for_administrators(app: Application, key: str) -> None:
    if key == "reports":
        key = ok(app, "POST", "/keys/reports/rotate")["key"]
    assert ask(app, "GET", "/now", key=key).status == (401 if key == "dl_wrong" else 403)


def test_callers_and_slow_answers_are_of_the_last_minute() -> None:
    now = 1000.0
    lately = Lately(lambda: now)
    for number in range(1500):
        lately(Answered("find", 200, 0.001, "", f"caller {number}", ""))
    lately(Answered("find", 200, 0.5, "", "slow", "", namespace="shop.things"))
    lately(Answered("watch", 200, 500.0, "", "slow", "", lasting=True))
    lately(Answered("find", 400, 0.2, "InvalidNamespace", "slow", "", namespace="what somebody sent"))
    lately(Answered("find", 503, 0.01, "ServerBusy", "caller 1", ""))
    told = lately.told({"slow": "name"}.get)  # type: ignore[arg-type]
    assert [line["namespace"] for line in told["slow"]] == ["", "shop.things"]
    assert [line["code"] for line in told["refused"]] == ["ServerBusy"]
    assert told["callers"][0]["caller"] == ""
    assert told["callers"][0]["requests"] == 503, "those beyond a thousand are counted together"
    assert {caller["caller"]: caller["refused"] for caller in told["callers"]}["caller 1"] == 1
    now += 49
    assert lately.told(str)["callers"]
    now += 11
    assert lately.told(str)["callers"] == []
    now += 10_000
    lately(Answered("find", 200, 0.001, "", "late", ""))
    assert [caller["caller"] for caller in lately.told(str)["callers"]] == ["late"]


# --- settings ----------------------------------------------------------------------------------------------------


def test_settings_say_where_they_come_from_and_no_secret(app: Application) -> None:
    listed = {item["name"]: item for item in ok(app, "GET", "/settings")["settings"]}
    assert listed["port"] == {
        "name": "port",
        "value": "3000",
        "origin": "default",
        "meaning": listed["port"]["meaning"],
    }
    assert listed["data_api_key"]["value"] == "***"
    assert listed["smtp_url"]["value"] == "***"
    assert "hunter2" not in json.dumps(listed)
    assert listed["rules"]["value"] == "default"


# --- the audit ---------------------------------------------------------------------------------------------------


def audit(app: Application, query: bytes = b"") -> dict[str, Any]:
    found: dict[str, Any] = ok(app, "GET", "/audit", query=query)
    return found


def test_the_audit_is_read_with_filters(app: Application) -> None:
    app.act("find", {"database": "shop", "collection": "x"}, key="dl_wrong")

    async def until_written() -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await app.request("GET", f"{ADMIN}/audit", headers={"apiKey": KEY}, query=b"outcome=denied")
                if answer.json["events"]:
                    return
                await asyncio.sleep(0.1)

    app.run(until_written())
    made = audit(app, b"action=createKey")["events"]
    assert [event["target"] for event in made] == ["reports"]
    assert made[0]["key"] == "DATA_API_KEY"
    denied = audit(app, b"outcome=denied")["events"]
    assert {event["outcome"] for event in denied} == {"denied"}
    assert "reports" not in {event.get("target") for event in denied}
    first = audit(app, b"limit=1")
    second = audit(app, b"limit=1&after=" + first["next"].encode())
    assert first["events"][0]["id"] > second["events"][0]["id"]
    assert audit(app, b"until=2020-01-01T00:00:00Z") == {"events": [], "next": None}
    assert audit(app, b"since=2020-01-01&caller=nobody")["events"] == []
    assert KEY not in json.dumps(audit(app, b"limit=500"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (b"outcome=bad", "outcome: expected one of allowed, denied, failed"),
        (b"since=yesterday", "since: expected a date"),
        (b"after=x", "after: expected"),
        (b"limit=0", "limit"),
        (b"action=", "action"),
        (b"what=1", "what: no such parameter"),
    ],
)
def test_wrong_filters_of_the_audit(app: Application, query: bytes, words: str) -> None:
    refused(ask(app, "GET", "/audit", query=query), 400, "InvalidParameter", words)


# --- rules -------------------------------------------------------------------------------------------------------


def test_rules_are_listed_as_written(app: Application) -> None:
    [listed] = ok(app, "GET", "/rules")["rules"]
    assert (listed["data_source"], listed["database"], listed["collection"]) == ("default", "shop", "notes")
    assert listed["rules"] == {"roles": RULES["default"]["shop.notes"]["roles"]}
    assert listed["json_schema"] is None


@pytest.mark.parametrize(
    ("body", "problem", "roles"),
    [
        ({"rules": {}}, None, []),
        ({"rules": {"roles": [{"name": "a", "apply_when": {}}]}}, None, ["a"]),
        ({"rules": {"roles": [{"name": "a", "aply_when": {}}]}}, "rules.roles[0]: unknown key 'aply_when'", []),
        ({"rules": {"roles": {}}}, "rules.roles: expected an array, got object", []),
        ({"rules": {}, "json_schema": {"bsonType": "nothing"}}, "schema", []),
    ],
)
def test_rules_are_judged(app: Application, body: Any, problem: str | None, roles: list[str]) -> None:
    told = ok(app, "POST", "/rules/check", body)
    assert told["roles"] == roles
    assert told["valid"] is (problem is None)
    assert (problem is None and told["problem"] is None) or problem in told["problem"]


def test_rules_that_are_none(app: Application) -> None:
    refused(ask(app, "POST", "/rules/check", {}), 400, "MissingParameter", "rules is required")
    refused(ask(app, "POST", "/rules/check", {"rules": []}), 400, "InvalidParameter", "rules")
    deep: Any = {}
    for _ in range(150):
        deep = {"a": deep}
    answer = ask(app, "POST", "/rules/check", {"rules": {"roles": [{"name": "a", "apply_when": deep}]}})
    assert answer.status in (200, 400)
    assert len(ok(app, "GET", "/rules")["rules"]) == 1


# --- users -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "found"),
    [("ada", ["ada"]), ("ADA@", ["ada"]), ("d+e", ["c.d+e"]), ("example.com", ["ada", "bob", "c.d+e"]), (".*", [])],
)
def test_users_are_searched(app: Application, search: str, found: list[str]) -> None:
    query = b"search=" + search.replace("+", "%2B").encode()
    users = ok(app, "GET", "/users", query=query)["users"]
    assert [user["data"]["email"] for user in users] == [f"{name}@example.com" for name in found]
    for user in users:
        again = ok(app, "GET", "/users", query=b"search=" + user["id"].encode())["users"]
        assert [one["id"] for one in again] == [user["id"]]


def test_custom_data_and_where_it_is(app: Application) -> None:
    user = ok(app, "GET", "/users", query=b"search=ada")["users"][0]
    place = {"data_source": None, "database": "shop", "collection": "people", "field": "owner"}
    assert ok(app, "GET", f"/users/{user['id']}/custom-data") == {"custom_data": {}, "place": place}
    document = {"_id": {"$oid": "64224f3cd79f54ad342dd9b1"}, "owner": user["id"], "team": "blue"}
    app.act("insertOne", {"database": "shop", "collection": "people", "document": document})
    answer = ask(app, "GET", f"/users/{user['id']}/custom-data").json
    assert answer["custom_data"] == document
    key = ok(app, "GET", "/keys/reports")["id"]
    assert ok(app, "GET", f"/users/{key}/custom-data")["custom_data"] == {}
    refused(ask(app, "GET", "/users/nobody/custom-data"), 404, "UserNotFound")


def test_the_document_describes_the_events() -> None:
    content = operation_of("GET", "/now")["responses"]["200"]["content"]
    assert content == {"text/event-stream": {"schema": {"type": "string"}}}
    Draft202012Validator.check_schema(content["text/event-stream"]["schema"])
    assert orjson.dumps(content)
