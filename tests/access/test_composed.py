"""Operations that are made of others keep the rules of each: the tables of rules, through scans and transactions."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
from ruled import ADMIN, ME, NS, REQUEST, YOU, App, operation, plain, said, user
from test_rules_table import ROWS, Row

from doorleaf.access.callers import Caller, Identity
from doorleaf.access.guards.checks import Guards
from doorleaf.access.guards.scopes import Scope, Scopes
from doorleaf.access.limits.admission import says_all, writes, writes_at_least, written
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, DuplicateKey, InvalidParameter, PermissionDenied
from doorleaf.operations import Aggregate, Find, FindOne, InsertMany, InsertOne, Operation, Scan, Transaction, UpdateOne
from doorleaf.operations.results import InsertManyResult, InsertOneResult, ScanResult, TransactionResult, UpdateResult
from doorleaf.operations.together import TOGETHER
from doorleaf.service import Bounds, DataService
from doorleaf.stores.embedded.store import EmbeddedStore


def asked(case: Row) -> Operation[Any]:
    name, fields = case.do
    namespace = fields.get("namespace", NS)
    return operation(name, namespace, **copy.deepcopy({k: v for k, v in fields.items() if k != "namespace"}))


async def prepared(store: EmbeddedStore, case: Row) -> DataService:
    app = App(case.rules, {"things": copy.deepcopy(case.stored)}, options=case.options)
    service = DataService(store, Guards(), None, app.ruleset())
    await store.execute(operation("deleteMany", filter={}))
    if case.stored:
        await store.execute(InsertMany(namespace=NS, documents=copy.deepcopy(case.stored)))
    return service


async def wrong_with(store: EmbeddedStore, case: Row, composed: Operation[Any]) -> str:
    """What is wrong with the answer to ``composed``, which has the operation of ``case`` in it; "" for nothing."""
    service = await prepared(store, case)
    found: Any
    try:
        result = await service.execute(composed, Caller(case.me, REQUEST))
        if isinstance(result, ScanResult):
            found = []
            while (batch := await result.documents.next()) is not None:
                found += batch.decode()
        else:
            assert isinstance(result, TransactionResult)
            (found,) = map(plain, result.results)
    except DoorleafError as error:
        found = error
    if case.refused:
        right = isinstance(found, DoorleafError) and case.refused in said(found)
    else:
        right = not isinstance(found, DoorleafError) and found == case.gives
    left = (await store.execute(Find(namespace=NS, sort={"_id": 1}, limit=1000))).documents.decode()
    if right and case.leaves is not None:
        right = left == case.leaves
    return "" if right else f"{case.name}: {said(found) if isinstance(found, DoorleafError) else found!r}, {left}"


@pytest.mark.parametrize("composed", [Scan, Transaction])
def test_rows(tmp_path: Path, composed: type[Operation[Any]]) -> None:
    async def all_of_them() -> tuple[int, list[str]]:
        store = EmbeddedStore(tmp_path, synchronous="OFF")
        await store.open()
        mistakes, count = [], 0
        try:
            for case in ROWS:
                part = asked(case)
                if composed is Scan and isinstance(part, Find | Aggregate):
                    made: Operation[Any] = Scan.of(part)
                elif composed is Transaction and type(part) in TOGETHER:
                    made = Transaction.of([part])
                else:
                    continue
                count += 1
                mistakes.append(await wrong_with(store, case, made))
        finally:
            await store.close()
        return count, [mistake for mistake in mistakes if mistake]

    count, mistakes = asyncio.run(all_of_them())
    assert mistakes == []
    assert count > (20 if composed is Scan else 100)


OWN: Document = {
    "things": {
        "roles": [
            {
                "name": "owner",
                "apply_when": {},
                "document_filters": {"read": {"owner": "%%user.id"}, "write": {"owner": "%%user.id"}},
                "fields": {"secret": {"read": False, "write": False}},
                "additional_fields": {"write": True},
                "insert": True,
            }
        ]
    }
}
THINGS = [{"_id": 1, "owner": ME, "n": 1, "secret": "s"}, {"_id": 2, "owner": YOU, "n": 2, "secret": "s"}]


def test_each_part_is_narrowed_and_shown_as_what_it_is() -> None:
    def plus(identifier: int) -> UpdateOne:
        return UpdateOne(namespace=NS, filter={"_id": identifier}, update={"$inc": {"n": 1}})

    app = App(OWN, {"things": THINGS})
    both = Transaction.of([plus(1), plus(2), FindOne(namespace=NS), Find(namespace=NS)])
    found, after = app.ask(both, user(ME))
    mine = {"_id": 1, "owner": ME, "n": 2}
    assert [plain(result) for result in found["results"]] == [
        {"matchedCount": 1, "modifiedCount": 1},
        {"matchedCount": 0, "modifiedCount": 0},
        mine,
        [mine],
    ]
    assert after == [{**THINGS[0], "n": 2}, THINGS[1]]


def test_a_rule_that_refuses_one_undoes_all() -> None:
    app = App(OWN, {"things": THINGS})
    given = UpdateOne(namespace=NS, filter={"_id": 1}, update={"$set": {"owner": YOU}})
    first = UpdateOne(namespace=NS, filter={"_id": 1}, update={"$inc": {"n": 1}})
    error, after = app.ask(Transaction.of([first, given]), user(ME))
    assert isinstance(error, PermissionDenied)
    assert error.message.startswith("operations[1] (updateOne): ")
    assert error.fields["index"] == 1
    assert after == THINGS


def test_an_error_quotes_nothing_that_its_caller_may_not_read() -> None:
    app = App(OWN, {"things": THINGS}, unique=({"n": 1, "secret": 1},))
    taken = UpdateOne(namespace=NS, filter={"_id": 1}, update={"$set": {"n": 2}})
    error, after = app.ask(Transaction.of([FindOne(namespace=NS), taken]), user(ME))
    assert isinstance(error, DuplicateKey)
    assert error.fields == {"index": 1}
    assert error.message == "operations[1] (updateOne): E11000 duplicate key error index: n_1_secret_1"
    assert after == THINGS


def test_guards_and_scopes_look_at_every_part(tmp_path: Path) -> None:
    async def all_of_it(folder: Path) -> None:
        store = EmbeddedStore(folder)
        await store.open()
        try:
            service = DataService(store, Guards(), Bounds(max_documents=10), None, None, Scopes())
            scope = Scope(actions=frozenset({"find", "updateOne"}))
            caller = Caller(Identity(id="1" * 24, kind="server", provider="api-key", admin=True, scope=scope))
            place = NS.__class__(NS.database, NS.collection, "default")
            find, insert = Find(namespace=place), InsertOne(namespace=place, document={"_id": 1})
            stream = (await service.execute(Scan.of(find), caller)).documents
            assert await stream.next() is None
            refused: list[tuple[Operation[Any], type[DoorleafError], str]] = [
                (Transaction.of([find, insert]), PermissionDenied, "the action insertOne"),
                (Scan.of(Aggregate(namespace=place, pipeline=[])), PermissionDenied, "the action aggregate"),
                (Scan.of(Find(namespace=place, filter={"$where": "1"})), PermissionDenied, "where"),
                (Transaction.of([Find(namespace=place, filter={"$where": "1"})]), PermissionDenied, "where"),
                (Transaction.of([Find(namespace=place, limit=11)]), InvalidParameter, "above the cap of 10"),
                (Transaction.of([operation("createIndex", place, keys={"a": 1})]), InvalidParameter, "part of"),
                (Scan.of(Aggregate(namespace=place, pipeline=[{"$out": "x"}])), InvalidParameter, "out"),
            ]
            for composed, kind, says in refused:
                with pytest.raises(kind, match=says):
                    await service.execute(composed, caller)
            assert (await service.execute(operation("countDocuments", place), Caller(ADMIN))).count == 0
        finally:
            await store.close()

    asyncio.run(all_of_it(tmp_path))


def test_what_is_written_is_counted_for_quotas() -> None:
    reads = FindOne(namespace=NS)
    many = InsertMany(namespace=NS, documents=[{}, {}])
    update = UpdateOne(namespace=NS, filter={}, update={"$set": {"a": 1}})
    whole = Transaction.of([reads, many, InsertOne(namespace=NS, document={}), update])
    assert (writes(whole), writes_at_least(whole), says_all(whole)) == (True, 4, True)
    assert not writes(Transaction.of([reads]))
    assert not says_all(Transaction.of([operation("updateMany", filter={}, update={"$set": {"a": 1}})]))
    results = [UpdateResult(0, 0), InsertManyResult([1, 2]), InsertOneResult(3), UpdateResult(1, 1)]
    assert written(whole, TransactionResult([*results])) == {"inserted": 3, "modified": 1}
    assert written(whole, DuplicateKey("no", fields={"index": 1})) == {}
