# ruff: noqa: E501  # a trigger is a line
"""Triggers: each runs in one process of several, again after failures, until it is given up, and misses no event."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from bell_app import APP_ID, CHANGED, CHANGES, SOURCES, TRIGGERS, bell, changes, scheduled, users
from pydantic import SecretStr
from servers import Doorleaf, run_doorleaf, secantus, start_doorleaf, until
from shop_app import write
from typer.testing import CliRunner, Result

from doorleaf.access.system_store import SystemStore
from doorleaf.cli.main import app as cli
from doorleaf.functions.load import load_functions
from doorleaf.functions.triggers.records import Records
from doorleaf.functions.triggers.times import check_schedule, last_time, next_time, now
from doorleaf.settings.model import Settings
from doorleaf.stores.making import make_router

NUMBER = {"$type": "number"}


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


async def let_time_pass(app: Path, settings: Settings, **suspended: str) -> None:
    """Let it be as if the triggers of ``app`` had been there, and nobody ran them for a day; that with the ``name`` is
    suspended."""
    router = make_router(settings)
    await router.open()
    try:
        system = SystemStore(router, settings.system_database)
        loaded = load_functions(app)
        await Records(system, APP_ID).keep(loaded.triggers, loaded.named)
        await Records(system, APP_ID).keep({"left": loaded.triggers["yearly"]}, None)  # of a version before
        await system.update_many("triggers", {"kind": "SCHEDULED"}, {"$set": {"at": now() - timedelta(days=1)}})
        if suspended:
            await system.update("triggers", suspended, {"$set": {"state": "suspended"}})
    finally:
        await router.close()


@pytest.fixture(scope="module")
def server(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    """Two processes over a MongoDB, the embedded database, and a MongoDB without change streams."""
    folder = tmp_path_factory.mktemp("bell")
    app, system = bell(folder / "app"), f"system_{folder.name.replace('-', '_')}"
    asyncio.run(
        let_time_pass(app, Settings(app=app, data_dir=folder, uri=SecretStr(mongodb_uri), system_database=system))
    )
    with secantus(folder / "lonely", "--standalone") as lonely:
        (folder / "doorleaf.toml").write_text(f"""
            app = "{app}"
            workers = 2
            trigger_failures = 2
            system_database = "{system}"
            data_sources.mongodb = {{ uri = "{mongodb_uri}", default = true, aliases = ["mongodb-atlas"] }}
            data_sources.own = {{ data_dir = "{folder / "own"}" }}
            data_sources.lonely = {{ uri = "{lonely.uri}" }}
        """)
        started = start_doorleaf(folder / "data", "--config", str(folder / "doorleaf.toml"))
        for collection in ("told", "flags"):
            started.ok("deleteMany", collection=collection, filter={})
        probes = count()
        until(lambda: all_watch(started, next(probes)))
        try:
            yield started
        finally:
            started.stop()


def all_watch(server: Doorleaf, number: int) -> bool:
    """Whether every trigger that watches tells of a change that is made now or was before."""
    one: dict[str, Any] = {"_id": f"probe {number}"}
    for source in SOURCES.values():
        for collection in ("orders", "poisoned", "slow", "burst"):
            server.ok("insertOne", dataSource=source, collection=collection, document=one)
        server.ok("insertOne", dataSource=source, database="elsewhere", collection="probes", document=one)
        server.ok("updateOne", dataSource=source, collection="orders", filter=one, update={"$set": {"price": 1}})
    return {it["by"] for it in told(server)} >= {*CHANGES}


def login(server: Doorleaf, provider: str = "anon-user", **body: Any) -> str:
    answer = httpx.post(
        f"{server.url}/api/client/v2.0/app/{APP_ID}/auth/providers/{provider}/login", json=body, timeout=60
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["user_id"])


def told(server: Doorleaf, **filter: Any) -> list[Any]:
    found: list[Any] = server.ok("find", collection="told", filter=filter)["documents"]
    return found


def administer(server: Doorleaf, method: str, path: str, body: Any = None) -> Any:
    headers = {"apiKey": server.key, "Content-Type": "application/json"}
    return server.call(method, f"/api/admin/v1/{path}", body, headers)


def how(server: Doorleaf, name: str) -> Any:
    answer = administer(server, "GET", "triggers")
    assert answer.status == 200, answer.body
    return next(it for it in answer.json["triggers"] if it["name"] == name)


def test_a_login_is_told_once_with_its_user(server: Doorleaf) -> None:
    user = login(server)
    until(lambda: told(server, **{"user.id": user, "by": "logins"}) != [])
    (one,) = told(server, **{"user.id": user, "by": "logins"})
    assert (one["what"], one["providers"], one["system"], one["given"]) == ("LOGIN", ["anon-user"], True, 1)
    assert (one["user"]["type"], one["user"]["identities"][0]["provider_type"]) == ("normal", "anon-user")
    key = login(server, "api-key", key=server.key)
    until(lambda: told(server, **{"user.id": key, "by": "keys"}) != [])
    assert told(server, **{"user.id": key, "by": "logins"}) == []
    assert told(server, by="off") == []


def test_a_user_who_comes_and_goes_is_told(server: Doorleaf) -> None:
    user = login(server)
    until(lambda: told(server, **{"user.id": user, "by": "script"}) != [])
    (made,) = told(server, **{"user.id": user, "by": "script"})
    assert made["what"] == "CREATE"
    assert datetime.fromisoformat(made["at"])
    assert told(server, **{"user.id": user, "by": "gone"}) == []
    assert administer(server, "DELETE", f"users/{user}").status == 204
    until(lambda: told(server, **{"user.id": user, "by": "gone"}) != [])
    (gone,) = told(server, **{"user.id": user, "by": "gone"})
    assert (gone["what"], gone["providers"], gone["user"]["id"]) == ("DELETE", ["anon-user"], user)
    assert administer(server, "DELETE", f"users/{user}").status == 404


def test_one_call_makes_up_for_what_a_schedule_missed(server: Doorleaf) -> None:
    until(lambda: how(server, "missed")["ran"] is not None)
    first = how(server, "missed")
    assert datetime.fromisoformat(first["next"]) - datetime.fromisoformat(first["ran"]) < timedelta(minutes=1)
    assert (how(server, "skipped")["ran"], how(server, "yearly")["ran"]) == (None, None)
    until(lambda: datetime.fromisoformat(how(server, "skipped")["next"]).replace(tzinfo=None) > now())
    assert told(server, by="yearly") == []
    assert how(server, "off")["state"] == "disabled"


def test_a_function_that_fails_is_tried_again_and_its_trigger_is_suspended(server: Doorleaf) -> None:
    user = login(server)
    until(lambda: how(server, "ill")["state"] == "suspended")
    ill = how(server, "ill")
    assert (ill["failures"], ill["error"], ill["function"]) == (2, "ValueError: not well", "ill")
    tried = server.ok("find", collection="flags", filter={"tried": {"$exists": True}})["documents"]
    assert len(tried) == 2
    assert "trigger ill failed, and is tried again in 1 seconds: ValueError: not well" in server.output()
    assert "trigger ill is suspended after 2 failures: ValueError: not well" in server.output()
    none = administer(server, "POST", "triggers/none/resume", {})
    assert (none.status, none.json["error_code"]) == (404, "TriggerNotFound")
    assert administer(server, "POST", "triggers/ill/resume", {"from_now": 1}).status == 400
    server.ok("insertOne", collection="flags", document={"_id": "well"})
    assert administer(server, "POST", "triggers/ill/resume", {}).status == 204
    until(
        lambda: (
            len(server.ok("find", collection="flags", filter={"tried": user})["documents"]) >= 1
            and how(server, "ill")["ran"]
        )
    )
    assert (how(server, "ill")["state"], how(server, "ill")["failures"]) == ("running", 0)
    shown = 'doorleaf_trigger_seconds_count{outcome="ok",trigger="ill"}'
    until(lambda: shown in server.call("GET", "/metrics", headers={"apiKey": server.key}).body.decode())


@pytest.mark.parametrize("end", SOURCES)
def test_changes_are_told_in_order_as_the_configuration_wants_them(server: Doorleaf, end: str) -> None:
    def change(action: str, **fields: Any) -> None:
        server.ok(action, dataSource=SOURCES[end], collection="orders", **fields)

    one: dict[str, Any] = {"_id": "o"}
    change("insertOne", document={"_id": "o", "price": 1})
    change("updateOne", filter=one, update={"$set": {"name": "x"}})
    change("updateOne", filter=one, update={"$set": {"price": 2}})
    change("replaceOne", filter=one, replacement={"price": 3})
    change("deleteOne", filter=one)
    for name in ("orders", "bare"):
        until(lambda name=name: len(told(server, by=name + end, id="o")) == 5)  # type: ignore[misc]
    found = told(server, by="orders" + end, id="o")
    assert [it["what"] for it in found] == ["insert", "update", "update", "replace", "delete"]
    assert found[0]["at"] == {"db": "d", "coll": "orders"}
    assert found[0]["full"] == {"_id": "o", "price": 1}
    assert found[3]["full"] == {"_id": "o", "price": 3}
    assert found[4]["full"] is None
    bare = told(server, by="bare" + end, id="o")
    assert [it["what"] for it in bare if it["full"] is None] == ["update", "update", "delete"]
    assert all(it["before"] is None for it in bare)
    if end:  # MongoDB has to be told to keep them
        assert [it["full"] and it["full"]["price"] for it in found] == [1, 1, 2, 3, None]
        assert [it["before"] and it["before"]["price"] for it in found] == [None, 1, 1, 2, 3]
    until(lambda: told(server, by="priced" + end, id="o") != [])
    (priced,) = told(server, by="priced" + end, id="o")
    assert (priced["what"], priced["keys"]) == ("update", ["_id", "documentKey", "operationType"])


@pytest.mark.parametrize("end", SOURCES)
def test_a_database_is_watched_and_a_collection_that_went_away_is_still(server: Doorleaf, end: str) -> None:
    source, anywhere = SOURCES[end], {"by": "anywhere" + end, "at.coll": "a"}
    for turn in range(2):
        server.ok("insertOne", dataSource=source, database="elsewhere", collection="a", document={"_id": f"{turn}"})
        until(lambda: len(told(server, what="insert", **anywhere)) == turn + 1)  # noqa: B023
        server.ok("dropCollection", dataSource=source, database="elsewhere", collection="a")
        until(lambda: len(told(server, what="drop", **anywhere)) == turn + 1)  # noqa: B023
        server.ok("insertOne", dataSource=source, collection="poisoned", document={"_id": f"before {turn}"})
        until(lambda: told(server, by="poisoned" + end, id=f"before {turn}") != [])  # noqa: B023
        server.ok("dropCollection", dataSource=source, collection="poisoned")
    assert how(server, "poisoned" + end)["state"] == "running"


@pytest.mark.parametrize("end", SOURCES)
def test_events_that_may_come_in_any_order_come_all(server: Doorleaf, end: str) -> None:
    documents = [{"_id": number} for number in range(300)]
    server.ok("insertMany", dataSource=SOURCES[end], collection="burst", documents=documents)
    until(lambda: len(told(server, by="burst" + end, id=NUMBER)) >= 300)
    assert {it["id"] for it in told(server, by="burst" + end, id=NUMBER)} == {*range(300)}


@pytest.mark.parametrize("end", SOURCES)
def test_a_suspended_trigger_goes_on_with_the_event_that_failed(server: Doorleaf, end: str) -> None:
    name, documents = "poisoned" + end, [{"_id": 1}, {"_id": 2, "bad": end or "yes"}, {"_id": 3}]
    server.ok("insertMany", dataSource=SOURCES[end], collection="poisoned", documents=documents)
    until(lambda: how(server, name)["state"] == "suspended")
    assert [it["id"] for it in told(server, by=name, id=NUMBER)] == [1]
    server.ok("insertOne", collection="flags", document={"_id": end or "yes"})
    assert administer(server, "POST", f"triggers/{name}/resume", {}).status == 204
    again = administer(server, "POST", f"triggers/{name}/resume", {"from_now": True})
    assert (again.status, again.json["error_code"]) == (409, "Conflict")
    until(lambda: told(server, by=name, id=3) != [])
    assert [it["id"] for it in told(server, by=name, id=NUMBER)] == [1, 2, 3]


def test_a_database_without_change_streams_is_refused_clearly(server: Doorleaf) -> None:
    until(lambda: how(server, "lonely")["state"] == "suspended")
    text = "the database has no change streams: it has to be a replica set or a sharded cluster"
    assert (how(server, "lonely")["error"], how(server, "lonely")["failures"]) == (text, 0)
    assert f"trigger lonely is suspended: {text}" in server.output()


def test_another_process_takes_over_from_one_that_was_killed(server: Doorleaf) -> None:
    documents = [{"_id": number} for number in range(200)]
    for source in SOURCES.values():
        server.ok("insertMany", dataSource=source, collection="slow", documents=documents)
    until(lambda: told(server, by="slow", id=NUMBER) != [])
    holder = told(server, by="slow", id=NUMBER)[0]["pid"]
    assert holder != server.pid
    os.kill(holder, signal.SIGKILL)
    second = None
    while second is None:
        try:
            second = login(server)
        except httpx.TransportError:  # it was the one that had just accepted the connection
            continue
    until(lambda: told(server, **{"user.id": second, "by": "logins"}) != [])
    assert told(server, **{"user.id": second, "by": "logins"})[0]["pid"] != holder
    for name in ("slow", "slow_own"):
        until(lambda name=name: told(server, by=name, id=199) != [])  # type: ignore[misc]
        found = told(server, by=name, id=NUMBER)
        assert [*dict.fromkeys(it["id"] for it in found)] == [document["_id"] for document in documents]
    assert len({it["pid"] for it in told(server, by="slow", id=NUMBER)}) == 2


# --- servers that come and go ----------------------------------------------------------------------------------------


def small(folder: Path, *triggers: dict[str, Any]) -> Path:
    """An app with one function, in ``folder``."""
    write(folder, {
        "root_config.json": {"app_id": APP_ID, "name": "bell"}, "functions/slow.py": CHANGED.replace("NAME", "'slow'"),
        **{f"triggers/{trigger['name']}.json": trigger for trigger in triggers},
    })  # fmt: skip
    return folder


def test_what_happens_while_no_server_runs_is_told_by_the_next(tmp_path: Path) -> None:
    app, data, file = (
        small(tmp_path / "app", changes("slow", "slow", "INSERT")),
        tmp_path / "data",
        tmp_path / "s.ndjson",
    )
    server = start_doorleaf(data, "--app", str(app))
    try:
        until(lambda: server.ok("insertOne", collection="slow", document={}) and told(server) != [])
    finally:
        server.stop()
    file.write_text("\n".join(json.dumps({"_id": number}) for number in range(5)))
    done = run("import", str(file), "d.slow", "--data-dir", str(data))
    assert done.exit_code == 0, done.output
    write(app, {"triggers/later.json": changes("later", "later", "INSERT", function="slow")})
    server = start_doorleaf(data, "--app", str(app))
    try:
        until(lambda: told(server, id=4) != [])
        assert [it["id"] for it in told(server, id={"$type": "number"})] == [*range(5)]  # and none twice
        until(
            lambda: (
                server.ok("insertOne", collection="later", document={"_id": f"{time.time()}"})
                and told(server, **{"at.coll": "later"}) != []
            )
        )
        write(
            app,
            {"triggers/slow.json": {**changes("slow", "slow", "INSERT"), "disabled": True}, "triggers/later.json": "{"},
        )
        server.ok("insertOne", collection="slow", document={"_id": "x"})
        write(app, {"triggers/later.json": {**changes("later", "later", "INSERT", function="slow"), "disabled": True}})
        until(lambda: how(server, "later")["state"] == how(server, "slow")["state"] == "disabled")
        (app / "triggers" / "later.json").unlink()
        until(lambda: len(administer(server, "GET", "triggers").json["triggers"]) == 1)
    finally:
        server.stop()


# --- without a server ------------------------------------------------------------------------------------------------


def test_check_names_each_broken_trigger(tmp_path: Path) -> None:
    app = bell(tmp_path / "app")
    base, config = scheduled("x", "0 7 * * *", "gone"), {"schedule": "0 7 * * *"}
    broken: dict[str, tuple[Any, str]] = {
        "nobody": ({**base, "event_processors": {"FUNCTION": {"config": {"function_name": "nobody"}}}}, "function_name: there is no function 'nobody'"),
        "aws": ({**base, "event_processors": {"AWS_EVENTBRIDGE": {}}}, "event_processors: AWS_EVENTBRIDGE is not available"),
        "kind": ({**base, "type": "OFTEN"}, "type: expected "),
        "four": ({**base, "config": {"schedule": "0 7 * *"}}, "config.schedule: expected a CRON expression of five fields"),
        "seconds": ({**base, "config": {"schedule": "0 0 7 * * *"}}, "config.schedule: expected a CRON expression of five"),
        "minute": ({**base, "config": {"schedule": "61 7 * * *"}}, "config.schedule: '61 7 * * *': bad minute"),
        "never": ({**base, "config": {"schedule": "0 7 30 2 *"}}, "config.schedule: '0 7 30 2 *': bad day-of-month"),
        "key": ({**base, "config": {**config, "zone": "x"}}, "unknown key config.'zone'"),
        "top": ({**base, "colour": 1}, "unknown key 'colour'"),
        "named": ({**base, "name": "a b"}, "name: a trigger's name has up to 64"),
        "twice": ({**base, "name": "gone"}, "another file has a trigger called 'gone'"),
        "flag": ({**base, "disabled": "no"}, "disabled: expected true or false"),
        "happens": (users("happens", "LOGOUT", "gone"), "config.operation_type: expected LOGIN, CREATE or DELETE"),
        "google": (users("google", "LOGIN", "gone", "oauth2-google"), "config.providers: expected some of api-key"),
        "both": (users("both", "LOGIN", "gone", "oauth2-google", "anon-user"), "nobody logs in with oauth2-google here"),
        "operation": (changes("operation", "c", "DROP_DATABASE", function="gone"), "config.operation_types: expected some of INSERT"),
        "expanded": (changes("expanded", "", "CREATE_COLLECTION", function="gone"), "got CREATE_COLLECTION"),
        "matching": (changes("matching", "c", function="gone", match={"$where": "1"}), "config.match: "),
        "projecting": (changes("projecting", "c", function="gone", project={"a": 1, "b": 0}), "config.project: "),
        "matches_nothing": (changes("matches_nothing", "c", function="gone", match=False), "config.match: the match filter must be an expression"),
        "zero": (changes("zero", "c", function="gone", match=0), "config.match: the match filter must be an expression"),
        "projects_nothing": (changes("projects_nothing", "c", function="gone", project=False), "config.project: $project specification must be"),
        "throughput": (changes("throughput", "c", function="gone", maximum_throughput=True), "config.maximum_throughput: is for unordered"),
        "system": (changes("system", "c", function="gone", database="doorleaf"), "config.database: the system database is"),
        "nodatabase": (changes("nodatabase", "c", function="gone", database=""), "config.database: needed"),
        "lost": (users("lost", "LOGIN", "syntax"), "trigger lost: its function is broken"),
    }  # fmt: skip
    write(app, {f"triggers/{name}.json": {**content, "name": name} if name not in ("named", "twice") else content for name, (content, _) in broken.items()} | {
        "triggers/json.json": "{", "functions/syntax.py": "async def main(:\n",
    })  # fmt: skip
    told = run_doorleaf(tmp_path, "check", "--port", "0", "--app", str(app), "--data-dir", str(tmp_path / "data"))
    assert told.returncode == 1
    for name, (_, line) in broken.items():
        assert any(line in row and name in row for row in told.stderr.splitlines()), (name, told.stderr)
    assert "triggers/json.json: " in told.stderr


def test_the_command_line_lists_and_resumes(tmp_path: Path) -> None:
    app = bell(tmp_path / "app")
    where = ("--app", str(app), "--data-dir", str(tmp_path / "data"))
    asyncio.run(let_time_pass(app, Settings(app=app, data_dir=tmp_path / "data"), name="missed"))
    listed = json.loads(run("triggers", "list", "--json", *where).stdout)
    assert [it["name"] for it in listed] == sorted(trigger["name"] for trigger in TRIGGERS)
    found = {it["name"]: it for it in listed}
    assert (found["off"]["state"], found["missed"]["state"], found["missed"]["type"]) == (
        "disabled",
        "suspended",
        "SCHEDULED",
    )
    assert (found["missed"]["ran"], found["logins"]["next"]) == (None, None)
    assert run("triggers", "resume", "missed", "--from-now", *where).exit_code == 0
    assert "missed" in run("triggers", "list", *where).stdout
    for name, line in (
        ("nothing", "there is no trigger 'nothing'"),
        ("missed", "the trigger 'missed' is not suspended"),
    ):
        told = run_doorleaf(tmp_path, "triggers", "resume", name, "--from-now", *where)
        assert (told.returncode, told.stderr.startswith(f"doorleaf: {line}")) == (1, True)
    again = json.loads(run("triggers", "list", "--json", *where).stdout)
    assert next(it for it in again if it["name"] == "missed")["next"] > str(now())


@pytest.mark.parametrize(
    ("schedule", "after", "then"),
    [
        ("* * * * *", "2026-02-28T23:59:30", "2026-03-01T00:00:00"),
        ("*/25 * * * *", "2026-01-01T10:50:00", "2026-01-01T11:00:00"),
        ("0 11 * 1,3,7 *", "2026-01-31T12:00:00", "2026-03-01T11:00:00"),
        ("0 0 29 FEB *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("30 7 * * MON-FRI", "2026-11-27T08:00:00", "2026-11-30T07:30:00"),
    ],
)
def test_schedules(schedule: str, after: str, then: str) -> None:
    check_schedule(schedule)
    moment = datetime.fromisoformat(then)
    assert next_time(schedule, datetime.fromisoformat(after)) == moment
    for late in (timedelta(0), timedelta(microseconds=1), timedelta(seconds=1)):
        assert last_time(schedule, moment + late) == moment
    assert last_time(schedule, moment - timedelta(microseconds=1)) < moment
