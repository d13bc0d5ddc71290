"""Quotas of keys: what counts, what is refused, what survives a restart, and what several processes share."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from asgi import application
from limited import Clock, make_key, on_store
from typer.testing import CliRunner

from doorleaf.access.callers import Identity
from doorleaf.access.limits.quotas import COLLECTION, Quotas, periods, usage
from doorleaf.access.limits.rates import KeyLimits
from doorleaf.access.system_store import SystemStore
from doorleaf.cli import main as cli
from doorleaf.errors import QuotaExceeded
from doorleaf.operations import DropCollection, ListIndexes, Namespace
from doorleaf.settings.model import Settings
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.mongo import MongoStore

PING = b'{"database": "app", "command": {"ping": 1}}'
PLACE = {"database": "shop", "collection": "things"}


def key(identifier: str = "a" * 24, name: str = "app", **own: Any) -> Identity:
    limits = KeyLimits(quotas=own) if own else None
    return Identity(id=identifier, kind="server", provider="api-key", admin=True, key_name=name, limits=limits)


USER = Identity(id="b" * 24, kind="normal", provider="anon-user")


def instant(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "day", "day_ends", "month", "month_ends"),
    [
        ("2030-01-31T00:00:00", "2030-01-31", "2030-02-01", "2030-01", "2030-02-01"),
        ("2030-01-31T23:59:59.999", "2030-01-31", "2030-02-01", "2030-01", "2030-02-01"),
        ("2030-12-31T12:00:00", "2030-12-31", "2031-01-01", "2030-12", "2031-01-01"),
        ("2028-02-29T01:00:00", "2028-02-29", "2028-03-01", "2028-02", "2028-03-01"),
        ("2030-02-01T00:00:00", "2030-02-01", "2030-02-02", "2030-02", "2030-03-01"),
    ],
)
def test_periods_are_days_and_months_in_utc(now: str, day: str, day_ends: str, month: str, month_ends: str) -> None:
    first, second = periods(instant(now))
    assert (first.name, first.end) == (day, instant(day_ends))
    assert (second.name, second.end) == (month, instant(month_ends))


@pytest.mark.parametrize(
    ("quotas", "said"),
    [
        ({"requests_per_hour": 5}, "there is no quota 'requests_per_hour'"),
        ({"requests_per_day": -5}, "requests_per_day: expected a number from 0 on"),
    ],
)
def test_quotas_that_are_none(quotas: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(quotas=quotas)


def test_a_quota_ends_with_its_period(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        clock = Clock()
        clock.now = instant("2030-01-31T23:59:50.5")
        quotas = Quotas(system, {"requests_per_day": 2, "requests_per_month": 3}, clock=clock)
        caller = key()
        await quotas.begin(caller)
        await quotas.begin(caller)
        with pytest.raises(QuotaExceeded) as caught:
            await quotas.begin(caller)
        assert caught.value.message == (
            "the quota of 2 requests per day is used up; it begins anew at 2030-02-01T00:00:00Z"
        )
        assert caught.value.headers == {"Retry-After": "10"}
        await quotas.begin(key("c" * 24, "other"))
        clock.now += 10
        for _ in range(2):
            await quotas.begin(caller)
        clock.now += 86_400
        await quotas.begin(caller)
        with pytest.raises(QuotaExceeded, match="the quota of 3 requests per month is used up") as month:
            await quotas.begin(caller)
        assert month.value.headers["Retry-After"] == str(27 * 86_400)

    on_store(tmp_path, scenario)


def test_only_keys_have_quotas_and_their_own_come_first(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        quotas = Quotas(system, {"requests_per_day": 1, "bytes_per_day": 10}, clock=Clock())
        assert quotas.of(USER) == {}
        assert quotas.of(key()) == {"requests_per_day": 1, "bytes_per_day": 10}
        own = key(requests_per_day=3, documents_per_month=7)
        assert quotas.of(own) == {"requests_per_day": 3, "bytes_per_day": 10, "documents_per_month": 7}
        for _ in range(9):
            await quotas.begin(USER)
        for _ in range(3):
            await quotas.begin(own)
        with pytest.raises(QuotaExceeded, match="of 3 requests"):
            await quotas.begin(own)
        free = key("d" * 24, "free", requests_per_day=0)
        for _ in range(9):
            await quotas.begin(free)
        quotas.add(free, bytes=10)
        with pytest.raises(QuotaExceeded, match="of 10 bytes per day"):
            await quotas.begin(free)

    on_store(tmp_path, scenario)


def test_keys_that_run_as_the_same_user_are_still_told_apart(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        quotas = Quotas(system, {"requests_per_day": 1}, clock=Clock())
        acting = [replace(USER, caller=letter * 24, key_name=letter) for letter in "ab"]
        for identity in acting:
            await quotas.begin(identity)
            with pytest.raises(QuotaExceeded):
                await quotas.begin(identity)

    on_store(tmp_path, scenario)


def test_documents_that_do_not_fit_are_not_begun(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        quotas = Quotas(system, {"documents_per_day": 10}, clock=Clock())
        caller = key()
        await quotas.take(caller, "documents", 7)
        with pytest.raises(QuotaExceeded, match="would write 4 documents, and of the quota of 10 per day 3 are left"):
            await quotas.take(caller, "documents", 4)
        await quotas.take(caller, "documents", 2)
        await quotas.settle(caller, 2, 1)
        await quotas.take(caller, "documents", 2)
        with pytest.raises(QuotaExceeded, match="the quota of 10 documents per day is used up"):
            await quotas.take(caller, "documents", 1)
        await quotas.settle(caller, 2, 0)
        await quotas.take(caller, "documents", 1)
        await quotas.settle(caller, 1, 6)  # an updateMany that has begun is completed
        with pytest.raises(QuotaExceeded, match="the quota of 10 documents per day is used up"):
            await quotas.take(caller, "documents", 1)
        await quotas.begin(caller)

    on_store(tmp_path, scenario)


@pytest.mark.parametrize("kind", ["day", "month"])
def test_the_first_request_of_a_period_is_within_the_quota_too(tmp_path: Path, kind: str) -> None:
    async def scenario(system: SystemStore) -> None:
        quotas = Quotas(system, {f"documents_per_{kind}": 5, "requests_per_day": 9}, clock=Clock())
        for caller in (key(), key("b" * 24)):  # nothing is stored of the one, and only a request of the other
            with pytest.raises(QuotaExceeded, match=f"would write 6 documents, and of the quota of 5 per {kind} 5 are"):
                await quotas.take(caller, "documents", 6)
            await quotas.take(caller, "documents", 5)
            with pytest.raises(QuotaExceeded, match=f"the quota of 5 documents per {kind} is used up"):
                await quotas.take(caller, "documents", 1)
            await quotas.begin(key("b" * 24))

    on_store(tmp_path, scenario)


def test_processes_add_to_one_document(tmp_path: Path) -> None:
    async def scenario(system: SystemStore) -> None:
        clock = Clock()
        first, second = (Quotas(system, {"requests_per_day": 10}, clock=clock) for _ in range(2))
        caller = key()
        for quotas in (first, second):
            for _ in range(4):
                await quotas.begin(caller)
            quotas.add(caller, bytes=100, documents=2)
        await first.flush()
        await second.flush()
        await first.flush()
        document = await system.find_one(COLLECTION, {"_id": f"{caller.id}:{periods(clock.now)[0].name}"})
        assert document is not None
        assert {name: document[name] for name in ("key", "requests", "documents", "bytes")} == {
            "key": "app",
            "requests": 8,
            "documents": 4,
            "bytes": 200,
        }
        await first.begin(caller)
        await second.begin(caller)
        for quotas in (first, second):
            with pytest.raises(QuotaExceeded):
                await quotas.begin(caller)
        await first.flush()
        await second.flush()
        late = Quotas(system, {"requests_per_day": 10}, clock=clock)
        await late.flush()
        with pytest.raises(QuotaExceeded):
            await late.begin(caller)
        listed = await usage(system, "app")
        assert listed[0] == {"period": periods(clock.now)[0].name, "requests": 10, "documents": 4, "bytes": 200}
        assert [item["period"] for item in listed] == [period.name for period in periods(clock.now)]
        assert await usage(system, "other") == []

    on_store(tmp_path, scenario)


@pytest.mark.parametrize("most", [1, 7, 100, 1000])
def test_processes_together_let_through_what_the_quota_says(tmp_path: Path, most: int) -> None:
    async def scenario(system: SystemStore) -> None:
        processes = [Quotas(system, {"requests_per_day": most, "requests_per_month": 5000}) for _ in range(3)]
        caller, let_in = key(), [0, 0, 0]

        async def ask(number: int) -> None:
            with contextlib.suppress(QuotaExceeded):
                await processes[number % 3].begin(caller)
                let_in[number % 3] += 1

        await asyncio.gather(*(ask(number) for number in range(most + 60)))
        assert sum(let_in) <= most
        # What the others hold comes back when they flush; then the rest is let in, and nothing more.
        for quotas in processes:
            await quotas.flush()
        for quotas in processes:
            await quotas.flush()
        await asyncio.gather(*(ask(number) for number in range(most + 60)))
        for quotas in processes:
            await quotas.flush()
        for number in range(3 * most):
            await ask(number)
        assert sum(let_in) == most
        for quotas in processes:
            await quotas.flush()
        assert [item["requests"] for item in await usage(system, "app")] == [most, most]

    on_store(tmp_path, scenario)


def test_a_database_that_is_away_costs_nothing_but_sharing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        store = EmbeddedStore(tmp_path)  # not open yet
        quotas = Quotas(SystemStore(store, "doorleaf"), {"requests_per_day": 3}, clock=Clock())
        await quotas.start(patience=0.1)
        for _ in range(3):
            await quotas.begin(key())
        with pytest.raises(QuotaExceeded):
            await quotas.begin(key())
        await store.open()
        await quotas.stop()
        assert (await usage(SystemStore(store, "doorleaf"), "app"))[0]["requests"] == 3
        await store.close()

    caplog.set_level(logging.ERROR)
    asyncio.run(run())
    assert caplog.text.count("quotas cannot be shared with other processes now") == 1


# --- through the application ---------------------------------------------------------------------------------------


def test_requests_are_counted_and_survive_a_restart(tmp_path: Path) -> None:
    text = make_key(tmp_path, "small", quotas={"requests_per_month": 5})
    for statuses in ([200, 200, 200], [200, 200, 429, 429], [429]):
        with application(tmp_path, quotas={"requests_per_month": 100}) as app:
            answers = [app.act("runCommand", PING, key=text) for _ in statuses]
            assert [answer.status for answer in answers] == statuses
            assert app.act("runCommand", PING).status == 200
    last = answers[-1]
    assert last.json["error_code"] == "QuotaExceeded"
    assert last.json["error"].startswith("the quota of 5 requests per month is used up; it begins anew at ")
    assert 0 < int(last.headers["retry-after"]) <= 31 * 86_400


WRITES: list[tuple[str, dict[str, Any], int]] = [
    ("insertOne", {"document": {"_id": 1}}, 1),
    ("insertMany", {"documents": [{"_id": 2}, {"_id": 3}, {"_id": 4}]}, 3),
    ("insertMany", {"documents": [{"_id": 5}, {"_id": 2}, {"_id": 6}]}, 1),  # the second is there already
    ("insertOne", {"document": {"_id": 1}}, 0),
    ("find", {}, 0),
    ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"a": 1}}}, 1),
    ("updateOne", {"filter": {"_id": 1}, "update": {"$set": {"a": 1}}}, 0),  # it has that value
    ("updateMany", {"filter": {}, "update": {"$set": {"b": 1}}}, 5),
    ("updateOne", {"filter": {"_id": 9}, "update": {"$set": {"a": 1}}, "upsert": True}, 1),
    ("replaceOne", {"filter": {"_id": 9}, "replacement": {"a": 2}}, 1),
    ("findOneAndUpdate", {"filter": {"_id": 9}, "update": {"$set": {"a": 3}}}, 1),
    ("findOneAndUpdate", {"filter": {"_id": 99}, "update": {"$set": {"a": 3}}}, 0),
    ("findOneAndDelete", {"filter": {"_id": 9}}, 1),
    ("findOneAndDelete", {"filter": {"_id": 9}}, 0),
    ("bulkWrite", {"operations": [{"insertOne": {"document": {}}}, {"deleteOne": {"filter": {"_id": 1}}}]}, 2),
    ("deleteMany", {"filter": {"_id": {"$in": [2, 3]}}}, 2),
    ("updateOne", {"filter": {}, "update": {"$bad": 1}}, 0),
    ("createIndex", {"keys": {"a": 1}}, 0),
]


def test_documents_written_are_counted(tmp_path: Path) -> None:
    with application(tmp_path, quotas={"documents_per_month": 1000}) as app:
        before = 0
        for action, fields, count in WRITES:
            app.act(action, {**PLACE, **fields})
            assert app.endpoint._admission is not None
            totals = [item.total("documents") for item in app.endpoint._admission._quotas._used.values()]
            assert set(totals) == {before + count}, (action, fields)
            before += count
    listed = on_store(tmp_path, lambda system: usage(system, "DATA_API_KEY"))
    assert [(item["requests"], item["documents"]) for item in listed] == [(len(WRITES), before)] * 2
    assert all(item["bytes"] > 1000 for item in listed)


AT_ONCE: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "many documents each": ("insertMany", {"documents": [{"n": n} for n in range(36)]}, 72, 72),
    "one document each": ("insertOne", {"document": {"n": 1}}, 100, 100),
    "upserts": (
        "updateOne",
        {"filter": {"n": -1, "m": {"$exists": False}}, "update": {"$inc": {"m": 1}}, "upsert": True},
        100,
        100,
    ),
    "bulk inserts": ("bulkWrite", {"operations": [{"insertOne": {"document": {"n": 1}}}] * 9}, 99, 99),
    "updates of nobody knows how many": (
        "updateMany",
        {"filter": {"old": True}, "update": {"$inc": {"n": 1}}},
        100,
        135,
    ),
}
"""A write that is asked for very often at once: its action and fields, and how many documents it writes within 100."""


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_quota_of_documents_is_exact_however_many_ask_at_once(tmp_path: Path, name: str) -> None:
    action, fields, least, most = AT_ONCE[name]
    text = make_key(tmp_path, "small", quotas={"documents_per_day": 100})
    with application(tmp_path) as app:
        app.act("insertMany", {**PLACE, "documents": [{"old": True, "n": 0} for _ in range(36)]})
        body = orjson.dumps({**PLACE, **fields})

        async def together() -> list[int]:
            asked = (app.request("POST", f"/data/v1/action/{action}", body, {"apiKey": text}) for _ in range(120))
            return [answer.status for answer in await asyncio.gather(*asked)]

        statuses = app.run(together())
        assert set(statuses) <= {200, 201, 429}
        assert 429 in statuses
        used = app.run(usage(SystemStore(app.endpoint._service._store, "doorleaf"), "small"))
        assert app.act("find", PLACE, key=text).status == 200, "reads go on"
        found = app.act(
            "aggregate",
            {
                **PLACE,
                "pipeline": [{"$group": {"_id": None, "n": {"$sum": "$n"}, "all": {"$sum": 1}, "m": {"$sum": "$m"}}}],
            },
        )
        total = found.json["documents"][0]
        written = total["n"] if action == "updateMany" else total["m"] if name == "upserts" else total["all"] - 36
        assert least <= written <= most
        assert used
    listed = on_store(tmp_path, lambda system: usage(system, "small"))
    assert {item["documents"] for item in listed} == {written}


def test_documents_are_refused_when_used_up_and_reads_are_not(tmp_path: Path) -> None:
    with application(tmp_path, quotas={"documents_per_day": 4}, allow_output_stages=True) as app:
        assert app.act("insertMany", {**PLACE, "documents": [{"_id": i} for i in range(3)]}).status == 201
        answer = app.act("insertMany", {**PLACE, "documents": [{}, {}]})
        assert (answer.status, answer.json["error_code"]) == (429, "QuotaExceeded")
        assert app.act("countDocuments", PLACE).json == {"count": 3}
        assert app.act("insertOne", {**PLACE, "document": {}}).status == 201
        for action, fields in (
            ("insertOne", {"document": {}}),
            ("deleteOne", {"filter": {}}),
            ("updateMany", {"filter": {}, "update": {"$set": {"x": 1}}}),
            ("bulkWrite", {"operations": [{"deleteOne": {"filter": {}}}]}),
        ):
            assert app.act(action, {**PLACE, **fields}).status == 429
        assert app.act("countDocuments", PLACE).json == {"count": 4}
        assert app.act("runCommand", PING).status == 200
        for stage in ({"$out": "copy"}, {"$merge": "copy"}):
            answer = app.act("aggregate", {**PLACE, "pipeline": [stage]})
            assert (answer.status, answer.json["error_code"]) == (403, "PermissionDenied")
        assert app.act("aggregate", {**PLACE, "pipeline": [{"$match": {}}]}).status == 200


def test_bytes_of_bodies_are_counted(tmp_path: Path) -> None:
    with application(tmp_path, quotas={"bytes_per_day": 3000}) as app:
        answer = app.act("insertOne", {**PLACE, "document": {"_id": 1, "text": "x" * 1500}})
        assert answer.status == 201
        assert app.act("find", PLACE).status == 200
        answer = app.act("find", PLACE)
        assert (answer.status, answer.json["error_code"]) == (429, "QuotaExceeded")
        assert "3000 bytes per day" in answer.json["error"]


def test_whoever_is_no_key_has_no_quota(tmp_path: Path) -> None:
    with application(
        tmp_path, quotas={"requests_per_day": 1, "documents_per_day": 1}, insecure_no_auth=True, data_api_key=None
    ) as app:
        for _ in range(3):
            assert app.act("insertOne", {**PLACE, "document": {}}).status == 201


def test_nothing_is_kept_of_keys_without_a_quota(tmp_path: Path) -> None:
    with application(tmp_path) as app:
        assert app.act("insertOne", {**PLACE, "document": {}}).status == 201
    assert on_store(tmp_path, lambda system: system.find(COLLECTION, {})) == []


def test_the_command_line_shows_what_a_key_used(tmp_path: Path) -> None:
    text = make_key(tmp_path, "small", quotas={"requests_per_month": 100})
    with application(tmp_path) as app:
        for number in range(3):
            assert app.act("insertOne", {**PLACE, "document": {"_id": number}}, key=text).status == 201
    shown = CliRunner().invoke(cli.app, ["keys", "usage", "small", "--data-dir", str(tmp_path)])
    assert shown.exit_code == 0
    head, day, month = shown.stdout.splitlines()
    assert head.split() == ["Period", "Requests", "Documents", "written", "Bytes"]
    assert day.split()[:3] == [periods(time.time())[0].name, "3", "3"]
    assert month.split()[:3] == [periods(time.time())[1].name, "3", "3"]
    shown = CliRunner().invoke(cli.app, ["keys", "usage", "absent", "--data-dir", str(tmp_path)])
    assert (shown.exit_code, len(shown.stdout.splitlines())) == (0, 1)


def test_quotas_and_the_audit_live_in_a_mongodb_too(tmp_path: Path, mongodb_uri: str) -> None:
    chosen: dict[str, Any] = {"uri": mongodb_uri, "system_database": f"system_{uuid4().hex[:12]}"}
    chosen |= {"quotas": {"documents_per_month": 3}, "audit_collection_days": 30, "audit_writes": True}
    place = {"database": f"quotas_{uuid4().hex[:12]}", "collection": "things"}
    for statuses in ([201, 201], [201, 429]):
        with application(tmp_path, **chosen) as app:
            assert [app.act("insertOne", {**place, "document": {}}).status for _ in statuses] == statuses

    async def scenario() -> tuple[Any, Any, Any]:
        store = MongoStore(mongodb_uri)
        await store.open()
        try:
            system = SystemStore(store, chosen["system_database"])
            audited = await system.find("audit", {}, sort={"_id": 1})
            indexes = await store.execute(ListIndexes(namespace=Namespace(chosen["system_database"], "audit")))
            for database, collection in ((chosen["system_database"], "audit"), (place["database"], "things")):
                await store.execute(DropCollection(namespace=Namespace(database, collection)))
            return await usage(system, "DATA_API_KEY"), audited, indexes.indexes
        finally:
            await store.close()

    used, audited, indexes = asyncio.run(scenario())
    assert [(item["requests"], item["documents"]) for item in used] == [(4, 3)] * 2
    assert [(item["action"], item["outcome"]) for item in audited] == [
        *[("insertOne", "allowed")] * 3,
        ("insertOne", "denied"),
    ]
    assert [index.get("expireAfterSeconds") for index in indexes] == [None, 30 * 86_400]
