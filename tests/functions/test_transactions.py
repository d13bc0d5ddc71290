# ruff: noqa: E501  # a function is a line
"""Transactions of functions: over several operations, by the one door, and never left open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from servers import Doorleaf, doorleaf, secantus
from shop_app import endpoint, write

from doorleaf.operations import EndTransaction, FindOne, Held, Namespace, UpdateOne

CLIENT = "const client = context.services.get('mongodb-atlas'), accounts = client.db('bank').collection('accounts'), session = client.startSession();"
OPTIONS = "{ readPreference: 'primary', readConcern: { level: 'local' }, writeConcern: { w: 'majority' } }"
SUMS = "(await accounts.find({}).sort({ _id: 1 }).toArray()).map((one) => one.sum)"
FUNCTIONS = {
    "begins": f"{CLIENT} exports = async () => {{ await accounts.deleteMany({{}}); await accounts.insertMany([{{ _id: 'a', sum: 10 }}, {{ _id: 'b', sum: 0 }}]); return {SUMS} }}",
    "looks": f"{CLIENT} exports = async () => {SUMS}",
    "moves": f"""{CLIENT} exports = async function () {{
      const inside = await session.withTransaction(async () => {{
        await accounts.updateOne({{ _id: 'a' }}, {{ $inc: {{ sum: -4 }} }}, {{ session }});
        await accounts.findOneAndUpdate({{ _id: 'b' }}, {{ $inc: {{ sum: 4 }} }}, {{ session }});
        return [await accounts.findOne({{ _id: 'b' }}, undefined, {{ session }}), await accounts.findOne({{ _id: 'b' }}),
                await accounts.count({{}}, {{ session }}), await accounts.distinct('sum', {{}}, {{ session }}), session.inTransaction(),
                (await accounts.aggregate([{{ $match: {{ _id: 'a' }} }}], {{ session }}).toArray())[0].sum];
      }}, {OPTIONS});
      await session.endSession();
      return [inside, {SUMS}];
    }}""",
    "throws": f"""{CLIENT} exports = async function () {{
      try {{
        await session.withTransaction(async () => {{ await accounts.deleteMany({{}}, {{ session }}); throw new Error('thought better of it') }});
      }} catch (error) {{ return [error.message, session.inTransaction(), {SUMS}] }} finally {{ await session.endSession() }}
    }}""",
    "steps": f"""{CLIENT} exports = async function () {{
      session.startTransaction();
      await Promise.all(['c', 'd'].map((_id) => accounts.insertOne({{ _id, sum: 1 }}, {{ session }})));
      const before = {SUMS};
      await session.commitTransaction();
      session.startTransaction();
      await accounts.deleteMany({{ sum: 1 }}, {{ session }});
      await session.abortTransaction();
      await session.abortTransaction();
      return [before, {SUMS}];
    }}""",
    "fails": f"""{CLIENT} exports = async function () {{
      session.startTransaction();
      await accounts.insertOne({{ _id: 'z', sum: 5 }}, {{ session }});
      const told = [];
      try {{ await accounts.insertOne({{ _id: 'a' }}, {{ session }}) }} catch (error) {{ told.push(error.code) }}
      try {{ await accounts.insertOne({{ _id: 'y' }}, {{ session }}) }} catch (error) {{ told.push(error.message) }}
      try {{ await session.commitTransaction() }} catch (error) {{ told.push(error.message) }}
      await session.abortTransaction();
      return [...told, {SUMS}];
    }}""",
    "leaves": f"{CLIENT} exports = async () => {{ session.startTransaction(); await accounts.deleteMany({{}}, {{ session }}); return 'left' }}",
    "hangs": f"{CLIENT} exports = async () => {{ session.startTransaction(); await accounts.deleteMany({{}}, {{ session }}); for (;;) {{}} }}",
    "forgets": f"{CLIENT} exports = async () => {{ session.startTransaction(); accounts.updateOne({{ _id: 'a' }}, {{ $set: {{ t: 'x'.repeat(600000) }} }}, {{ session }}); return 'gone' }}",
    "bumps": f"{CLIENT} exports = async () => (await accounts.updateOne({{ _id: 'a' }}, {{ $inc: {{ sum: 1 }} }}, {{ maxTimeMS: 1500 }})).modifiedCount",
    "large": f"""{CLIENT} exports = () => session.withTransaction(async () => {{
      await Promise.all([accounts.insertOne({{ _id: 'l', sum: 1, t: 'x'.repeat(3000000) }}, {{ session }}), accounts.insertOne({{ _id: 's', sum: 1 }}, {{ session }})]);
      return {SUMS};
    }})""",
    "wrong": f"""{CLIENT} exports = async function () {{
      try {{ await session.withTransaction(() => accounts.insertOne({{}}, {{ session }}), {{ readConcern: {{ level: 'linearizable' }} }}) }} catch (error) {{ return error.message }}
    }}""",
    "again": f"""{CLIENT} exports = async function () {{
      session.startTransaction();
      const late = accounts.find({{}}, {{}}, {{ session }});
      await accounts.insertOne({{ _id: 'g', sum: 1 }}, {{ session }});
      await session.commitTransaction();
      return (await late.toArray()).length;
    }}""",
    "astray": f"""{CLIENT} exports = async function () {{
      session.startTransaction();
      const told = [], tried = (database, collection) => client.db(database).collection(collection).findOne({{}}, {{}}, {{ session }}).catch((error) => told.push(error.message));
      for (const database of ['doorleaf', 'a b']) await tried(database, 'keys');
      await tried('bank', 'system.views');
      await accounts.insertOne({{ _id: 'n', sum: 3 }}, {{ session }});
      await session.commitTransaction();
      return told;
    }}""",
    "counted": f"""{CLIENT} exports = async function () {{
      await session.withTransaction(async () => {{ for (const _id of ['q', 'r']) await accounts.insertOne({{ _id, sum: 2 }}, {{ session }}) }});
      try {{ await accounts.insertOne({{}}) }} catch (error) {{ return error.message }}
    }}""",
    "refused": f"""{CLIENT} exports = async function () {{
      const told = [], tried = async (work) => {{ try {{ told.push(await work()) }} catch (error) {{ told.push(error.message) }} }};
      await tried(() => accounts.findOne({{}}, undefined, {{ session: {{}} }}));
      await tried(() => session.commitTransaction());
      await tried(() => session.abortTransaction());
      await session.withTransaction(async () => {{}});
      await tried(() => session.abortTransaction());
      for (const options of [{{ readConcern: {{ level: 'linearizable' }} }}, {{ readPreference: 'nearest' }}, {{ maxCommitTimeMS: 1 }}, {{ writeConcern: {{ j: true }} }}]) {{
        session.startTransaction(options);
        await tried(() => accounts.findOne({{}}, undefined, {{ session }}));
        await session.abortTransaction().catch(() => 1);
      }}
      session.startTransaction();
      await tried(() => session.startTransaction());
      await session.endSession();
      await tried(() => accounts.updateOne({{ _id: 'a' }}, {{ $set: {{ sum: 99 }} }}, {{ session }}));
      await tried(() => session.startTransaction());
      return [...told, {SUMS}];
    }}""",
    "ruled": f"""{CLIENT} exports = async function () {{
      session.startTransaction();
      const told = [await accounts.findOne({{ _id: 'b' }}, undefined, {{ session }})];
      try {{ await accounts.updateOne({{ _id: 'a' }}, {{ $set: {{ sum: 1000 }} }}, {{ session }}) }} catch (error) {{ told.push(error.message) }}
      try {{ await session.commitTransaction() }} catch (error) {{ told.push(error.message) }}
      return told;
    }}""",
}  # fmt: skip
PYTHON = """
async def main(request, response, context):
    client = context.services.get("mongodb-atlas")
    accounts = client.db("bank").collection("accounts")
    session = client.start_session()

    async def work(session):
        await accounts.insert_one({"_id": "p", "sum": 7}, session=session)
        cursor = accounts.find({"_id": "p"}, session=session)
        twice = [len(await cursor.to_list()), len(await cursor.to_list())]
        return twice, await cursor.next(), await cursor.next(), await accounts.find_one({"_id": "p"})

    inside = await session.with_transaction(work, read_concern={"level": "majority"})
    try:
        await session.abort_transaction()
    except Exception as error:
        late = str(error)
    session.start_transaction()
    await accounts.delete_many({}, session=session)
    try:
        await accounts.find_one({}, session={})
    except Exception as error:
        told = [list(inside), late, await accounts.count({"_id": "p"}), str(error)]
    await session.end_session()
    try:
        await accounts.delete_many({}, session=session)
    except Exception as error:
        return [*told, str(error)]
"""
LATE = """
import asyncio

async def main(request, response, context):
    client = context.services.get("mongodb-atlas")
    session = client.start_session()

    async def work(session):
        await client.db("bank").collection("accounts").delete_many({}, session=session)
        await asyncio.sleep(60)

    await session.with_transaction(work)
"""
RULES = {"database": "bank", "collection": "accounts", "roles": [
    {"name": "a", "apply_when": {}, "document_filters": {"read": {"_id": "a"}, "write": {"_id": "a", "sum": {"$lt": 100}}}, "read": True, "write": True},
]}  # fmt: skip


def app(folder: Path) -> Path:
    write(folder, {
        "root_config.json": {"app_id": "bank-abcde", "name": "bank"},
        "functions/config.json": [{"name": name, "run_as_system": name not in ("ruled", "counted")} for name in (*FUNCTIONS, "python", "late")],
        "https_endpoints/config.json": [endpoint(f"/{name}", "*", name) for name in (*FUNCTIONS, "python", "late")],
        "data_sources/mongodb-atlas/config.json": {"name": "mongodb-atlas", "type": "mongodb-atlas", "config": {}},
        "data_sources/mongodb-atlas/bank/accounts/rules.json": RULES,
        "auth/providers.json": {name: {"name": name, "type": name, "disabled": False} for name in ("anon-user", "api-key")},
        "functions/python.py": PYTHON,
        "functions/late.py": LATE,
        **{f"functions/{name}.js": source for name, source in FUNCTIONS.items()},
    })  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorleaf]:
    folder = tmp_path_factory.mktemp("bank")
    with (
        secantus(folder / "mongo") as mongo,
        doorleaf(
            folder / "data",
            "--app",
            str(app(folder / "app")),
            "--uri",
            mongo.uri,
            env={
                "DOORLEAF_FUNCTIONS_SECONDS": "3",
                "DOORLEAF_MAX_TIME_MS_CAP": "2000",
                "DOORLEAF_AUDIT_WRITES": "true",
                "DOORLEAF_AUDIT_FILE": str(folder / "audit.jsonl"),
                "DOORLEAF_DEFAULT_MAX_TIME_MS": "2000",
            },
        ) as server,
    ):
        yield server


@pytest.fixture
def ask(bank: Doorleaf) -> Any:
    def asked(name: str, status: int = 200, **headers: str) -> Any:
        answer = httpx.post(f"{bank.url}/endpoint/{name}", headers=headers, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()

    assert asked("begins") == [10, 0]
    return asked


def test_what_is_done_together_is_seen_at_its_end_or_never(ask: Any) -> None:
    moved = [{"_id": "b", "sum": 4}, {"_id": "b", "sum": 0}, 2, [4, 6], True, 6]
    inside, after = ask("moves")
    inside[3].sort()
    assert (inside, after) == (moved, [6, 4])
    assert ask("throws") == ["thought better of it", False, [6, 4]]
    assert ask("steps") == [[6, 4], [6, 4, 1, 1]]
    assert ask("fails") == [
        11000,
        "the transaction was aborted by an error",
        "the transaction was aborted by an error",
        [6, 4, 1, 1],
    ]


def test_what_is_left_open_is_aborted(ask: Any) -> None:
    assert ask("leaves") == "left"
    assert ask("looks") == [10, 0]
    assert ask("hangs", 504)["error_code"] == "ExecutionTimeLimitExceeded"
    assert ask("looks") == [10, 0]
    assert ask("python") == [
        [[1, 1], {"_id": "p", "sum": 7}, None, None],
        "the session has no transaction",
        1,
        "session: expected what start_session gave",
        "the session has ended",
    ]
    assert ask("looks") == [10, 0, 7]
    assert ask("late", 504)["error_code"] == "ExecutionTimeLimitExceeded"
    assert ask("bumps") == 1
    assert ask("forgets") == "gone"
    assert ask("bumps") == 1
    assert ask("looks") == [12, 0, 7]


def test_operations_of_one_transaction_that_are_sent_together(ask: Any) -> None:
    assert ask("large") == [10, 0]
    assert ask("looks") == [10, 0, 1, 1]
    assert ask("again") == 5, "what comes behind the end is no part of it"


def test_a_transaction_ends_whatever_it_began_with(ask: Any) -> None:
    assert ask("astray") == [
        "the database 'doorleaf' belongs to the server and is not reachable",
        "Invalid database name: 'a b'",
    ]
    assert ask("looks") == [10, 0, 3]


def test_a_quota_that_is_used_up_lets_a_transaction_end(bank: Doorleaf, ask: Any) -> None:
    key = {"name": "two", "admin": True, "quotas": {"documents_per_day": 2}}
    made = httpx.post(f"{bank.url}/api/admin/v1/keys", headers={"apiKey": bank.key}, json=key, timeout=60)
    assert made.status_code == 201, made.text
    assert "quota of 2 documents per day is used up" in ask("counted", apiKey=made.json()["key"])
    assert ask("looks") == [10, 0, 2, 2]


def test_the_audit_says_how_a_transaction_ended(
    bank: Doorleaf, ask: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = next(tmp_path_factory.getbasetemp().glob("bank*/audit.jsonl"))
    before = len(file.read_bytes())
    ask("steps")
    audited = map(orjson.loads, file.read_bytes()[before:].splitlines())
    assert [(line["action"], line.get("target")) for line in audited if "Transaction" in line["action"]] == [
        ("endTransaction", "commit"),
        ("endTransaction", "abort"),
    ]


def test_rules_hold_inside(bank: Doorleaf, ask: Any) -> None:
    login = f"{bank.url}/api/client/v2.0/app/bank-abcde/auth/providers/anon-user/login"
    token = httpx.post(login, json={}, timeout=60).json()["access_token"]
    found, refused, ended = ask("ruled", Authorization=f"Bearer {token}")
    assert found is None
    assert "not permitted" in refused
    assert ended == "the transaction was aborted by an error"
    assert ask("looks") == [10, 0]


def test_what_is_no_transaction_is_named(ask: Any) -> None:
    assert ask("refused") == [
        "session: expected what startSession gave",
        "the session has no transaction",
        "the session has no transaction",
        "the session has no transaction",
        "readConcern.level: expected local, majority or snapshot",
        "readPreference: a transaction reads from the primary",
        "maxCommitTimeMS: startTransaction has no such option",
        "writeConcern: expected an object with w alone",
        "the session has a transaction already",
        "the session has ended",
        "the session has ended",
        [10, 0],
    ]
    assert ask("wrong") == "readConcern.level: expected local, majority or snapshot"


def test_the_embedded_database_says_that_it_has_none(tmp_path: Path) -> None:
    with doorleaf(tmp_path / "data", "--app", str(app(tmp_path / "app"))) as server:
        url = f"{server.url}/endpoint"
        assert httpx.post(f"{url}/begins", timeout=60).json() == [10, 0]
        answer = httpx.post(f"{url}/moves", timeout=60)
        assert answer.status_code == 400
        assert "the embedded database has no transactions over several operations" in answer.json()["error"]
        assert httpx.post(f"{url}/looks", timeout=60).json() == [10, 0]


def test_an_operation_without_a_transaction_is_none_of_it() -> None:
    place = Namespace("d", "c")
    assert FindOne(namespace=place).within is None
    held = Held()
    assert EndTransaction(namespace=place, within=held).commit is False
    assert UpdateOne(namespace=place, filter={}, update={}, within=held).within is held
