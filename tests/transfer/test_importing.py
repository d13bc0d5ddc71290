"""Rows into a collection, on every engine: what is counted, what is rejected, and that nothing comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId
from odd import ODD, reader
from scenarios import Engine, unique_database

from doorleaf import ejson
from doorleaf.documents import CODEC, Document
from doorleaf.errors import InvalidParameter, PermissionDenied, StoreUnavailable, WriteOutcomeUnknown
from doorleaf.operations import CreateIndex, Find, InsertMany, Namespace, Operation, UpdateOne
from doorleaf.stores.base import Store
from doorleaf.transfer import bson_file, importing, json_file, ndjson
from doorleaf.transfer.importing import Execute, Importer, Plan, Report
from doorleaf.transfer.rows import Row, Rows

LINES = [f'{{"n":{number},"name":"row {number}"}}' for number in range(1, 26)]


def rows(lines: Sequence[str]) -> Rows:
    return ndjson.rows(reader("\n".join(lines).encode()))


class Place:
    """A collection of its own on an engine, and imports into it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.plan = Plan(Namespace(unique_database(), "things"), b"a seed", 1_700_000_000, batch=7)
        self.rejected: list[tuple[int, str]] = []

    async def take_in(self, given: Rows, execute: Execute | None = None, **changes: Any) -> Report:
        self.rejected = []
        importer = Importer(
            execute or self.store.execute, replace(self.plan, **changes), lambda report: None, self._note
        )
        return await importer.run(given)

    def _note(self, row: Row) -> None:
        self.rejected.append((row.number, row.reason))

    async def stored(self) -> list[bytes]:
        found = await self.store.execute(Find(namespace=self.plan.namespace, filter={}, sort={"_id": 1}, limit=1000))
        return list(found.documents)

    async def documents(self) -> list[Document]:
        return [bson.decode(document, CODEC) for document in await self.stored()]


Body = Callable[[Place], Awaitable[None]]


def on(engine: Engine, body: Body) -> None:
    engine.run(lambda store: body(Place(store)))


def test_rows_of_one_line_are_told_apart(engine: Engine) -> None:
    async def body(place: Place) -> None:
        line = b"[" + b",".join(b'{"n":%d}' % number for number in range(20)) + b"]"
        for inserted, present in ((20, 0), (0, 20)):
            report = await place.take_in(json_file.rows(reader(line)))
            assert (report.rows, report.inserted, report.present, report.rejected) == (20, inserted, present, 0)
        assert sorted(document["n"] for document in await place.documents()) == [*range(20)]

    on(engine, body)


def counts(report: Report) -> dict[str, int]:
    names = ("inserted", "present", "matched", "modified", "upserted", "rejected")
    assert report.rows == sum(getattr(report, name) for name in names if name != "modified")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def test_rows_are_inserted_once_however_often_they_are_imported(engine: Engine) -> None:
    async def body(place: Place) -> None:
        report = await place.take_in(rows(LINES))
        assert counts(report) == {"inserted": 25}
        assert not report.stopped
        before = await place.documents()
        assert [document["n"] for document in before] == [*range(1, 26)]
        assert len({document["_id"] for document in before}) == 25
        change = {"$set": {"name": "changed since"}}
        await place.store.execute(UpdateOne(namespace=place.plan.namespace, filter={"n": 3}, update=change))
        assert counts(await place.take_in(rows(LINES))) == {"present": 25}
        assert counts(await place.take_in(rows(LINES), ordered=True)) == {"present": 25}
        after = await place.documents()
        assert len(after) == 25
        assert after[2]["name"] == "changed since"
        more = [*LINES, '{"n":26}']
        assert counts(await place.take_in(rows(more))) == {"present": 25, "inserted": 1}
        assert counts(await place.take_in(rows(more), ordered=True)) == {"present": 26}
        assert counts(await place.take_in(rows(LINES[:2]), seed=b"another")) == {"inserted": 2}
        assert len(await place.documents()) == 28

    on(engine, body)


def test_rows_with_ids_of_their_own_are_present_only_as_they_are(engine: Engine) -> None:
    lines = ['{"_id":1,"a":1}', '{"a":2,"_id":2}', '{"_id":{"$numberLong":"3"},"t":{"$timestamp":{"t":0,"i":0}}}']

    async def body(place: Place) -> None:
        assert counts(await place.take_in(rows(lines))) == {"inserted": 3}
        before = await place.stored()
        changed = [*lines[:1], '{"_id":2,"a":"other"}', lines[2], '{"_id":{"$numberDouble":"1.0"},"a":1}', '{"_id":4}']
        report = await place.take_in(rows(changed))
        assert counts(report) == {"present": 2, "rejected": 2, "inserted": 1}
        assert [number for number, _ in place.rejected] == [2, 4]
        assert all("E11000" in reason for _, reason in place.rejected)
        assert report.problems == place.rejected
        assert (await place.stored())[:3] == before

    on(engine, body)


def test_what_the_database_refuses_is_rejected_with_its_reason(engine: Engine) -> None:
    lines = ['{"u":1}', '{"u":2}', "nonsense", '{"u":1,"again":true}', '{"u":3}']
    if engine.name != "secantus":  # it takes any value for an id
        lines.append('{"_id":[1]}')

    async def body(place: Place) -> None:
        unique = {"unique": True, "sparse": True}
        await place.store.execute(CreateIndex(namespace=place.plan.namespace, keys={"u": 1}, options=unique))
        report = await place.take_in(rows(lines))
        assert counts(report) == {"inserted": 3, "rejected": len(lines) - 3}
        told = dict(place.rejected)
        assert set(told) == {3, 4, len(lines)} - {5}
        assert "malformed JSON" in told[3]
        assert "E11000" in told[4]
        assert "array" in told.get(6, "an array")
        assert sorted(document["u"] for document in await place.documents()) == [1, 2, 3]

    on(engine, body)


@pytest.mark.parametrize("bad", ["nonsense", '{"_id":"there","other":1}'])
def test_an_import_can_stop_at_the_first_rejected_row(engine: Engine, bad: str) -> None:
    lines = ['{"_id":"there"}', *LINES[:9], bad, *LINES[9:]]

    async def body(place: Place) -> None:
        report = await place.take_in(rows(lines), ordered=True)
        assert counts(report) == {"inserted": 10, "rejected": 1}
        assert report.stopped == "row 11 was rejected"
        assert place.rejected[0][0] == 11
        assert len(await place.documents()) == 10
        report = await place.take_in(rows(lines), ordered=True)
        assert counts(report) == {"present": 10, "rejected": 1}
        assert len(await place.documents()) == 10

    on(engine, body)


def test_a_file_that_ends_to_be_one_keeps_what_came_before(engine: Engine) -> None:
    data = b"".join(bson.encode({"_id": number}) for number in range(20)) + b"\7\0\0"

    async def body(place: Place) -> None:
        report = await place.take_in(bson_file.rows(reader(data)))
        assert counts(report) == {"inserted": 20}
        assert report.stopped == "document 21: the file ends within a document"
        assert len(await place.documents()) == 20

    on(engine, body)


def test_bson_is_stored_byte_for_byte(engine: Engine) -> None:
    odd = [
        bson_file.identified(row.document, number)
        for number, row in enumerate(bson_file.rows(reader(b"".join(ODD))))
        if row.document
    ]
    encoded = [document.raw for document in odd]  # type: ignore[attr-defined]  # each is an Exact

    async def body(place: Place) -> None:
        if engine.name == "secantus":  # it reads no text that is not UTF-8, and has no types that Python has not
            readable = [document for document in encoded if b"\xff" not in document]
            report = await place.take_in(bson_file.rows(reader(b"".join(readable))))
            assert 0 < len(readable) < len(ODD)
            assert counts(report) == {"inserted": len(readable)}
            return
        given = b"".join(encoded)
        assert counts(await place.take_in(bson_file.rows(reader(given)))) == {"inserted": len(ODD)}
        assert await place.stored() == encoded
        assert counts(await place.take_in(bson_file.rows(reader(given)))) == {"present": len(ODD)}
        report = await place.take_in(bson_file.rows(reader(given)), keys=("_id",), replace=True)
        assert report.rejected >= 4
        assert "only a new document keeps exactly" in place.rejected[0][1]
        assert await place.stored() == encoded

    on(engine, body)


# --- a database that cannot always answer ----------------------------------------------------------------------------


class Flaky:
    """Fails at some calls: before anything is done, or after all of it is done and before anybody is told."""

    def __init__(self, execute: Execute, fails: dict[int, str]) -> None:
        self._execute = execute
        self._fails = fails
        self.calls = 0

    async def __call__(self, operation: Operation[Any]) -> Any:
        self.calls += 1
        what = self._fails.get(self.calls)
        if what == "before":
            raise StoreUnavailable("not now")
        answer = await self._execute(operation)
        if what == "after":
            raise WriteOutcomeUnknown("who knows")
        return answer


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "FIRST_WAIT", 0.0)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_batch_whose_outcome_nobody_knows_is_sent_again_and_comes_once(engine: Engine, ordered: bool) -> None:
    async def body(place: Place) -> None:
        flaky = Flaky(place.store.execute, {1: "before", 2: "after", 3: "before", 4: "after", 6: "after", 8: "before"})
        report = await place.take_in(rows(LINES), flaky, ordered=ordered)
        assert counts(report) == {"inserted": 25}
        assert len(await place.documents()) == 25
        report = await place.take_in(rows(LINES), Flaky(place.store.execute, {2: "after"}), keys=("n",))
        assert counts(report) == {"matched": 25}
        assert len(await place.documents()) == 25

    on(engine, body)


def test_a_database_that_stays_away_ends_the_import(engine: Engine) -> None:
    async def body(place: Place) -> None:
        flaky = Flaky(place.store.execute, dict.fromkeys(range(2, 100), "before"))
        report = await place.take_in(rows(LINES), flaky)
        assert counts(report) == {"inserted": 7}
        assert report.stopped == "not now"
        assert flaky.calls == 1 + importing.ATTEMPTS
        assert counts(await place.take_in(rows(LINES))) == {"present": 7, "inserted": 18}

    on(engine, body)


def test_who_may_not_write_is_told_at_once_and_no_row_is_called_rejected() -> None:
    async def refuse(operation: Operation[Any]) -> Any:
        raise PermissionDenied("you may not")

    report = asyncio.run(
        Importer(refuse, Plan(Namespace("d", "c"), b""), lambda r: None, lambda r: None).run(rows(LINES))
    )
    assert report == Report(stopped="you may not", refused=(403, "PermissionDenied"))


def test_a_row_for_which_a_whole_batch_is_refused_is_found_out() -> None:
    taken: list[int] = []

    async def execute(operation: Operation[Any]) -> Any:
        assert isinstance(operation, InsertMany)
        if any(document["n"] == 11 for document in operation.documents):
            raise InvalidParameter("eleven")
        taken.extend(document["n"] for document in operation.documents)

    refused: list[int] = []
    plan = Plan(Namespace("d", "c"), b"", batch=100)
    importer = Importer(execute, plan, lambda report: None, lambda row: refused.append(row.number))
    assert counts(asyncio.run(importer.run(rows(LINES)))) == {"inserted": 24, "rejected": 1}
    assert refused == [11]
    assert sorted(taken) == [number for number in range(1, 26) if number != 11]


def test_a_row_that_no_database_takes_is_rejected_before_it_is_sent(engine: Engine) -> None:
    large = b'{"n":2,"text":"%b"}' % (b"x" * (17 << 20))
    many = b'{"values":[%b]}' % b",".join([b"0"] * 1_500_000)  # 3 MB of text, 17 MB of BSON
    text = b'[{"n":1},%b,{"n":3},%b,{"n":5}]' % (large, many)

    async def body(place: Place) -> None:
        report = await place.take_in(json_file.rows(reader(text)))
        assert counts(report) == {"inserted": 3, "rejected": 2}
        assert not report.stopped
        sizes = [len(bson.encode(ejson.loads(part))) for part in (large, many)]
        assert [reason for _, reason in place.rejected] == [
            f"the document has {size} bytes, and 16777216 is the most" for size in sizes
        ]
        assert [document["n"] for document in await place.documents()] == [1, 3, 5]

    on(engine, body)


def test_large_rows_make_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH_BYTES", 100)
    given = rows(LINES)
    sizes = []
    while True:
        batch = importing.take(given, 50)
        sizes.append(len(batch.rows))
        if batch.last:
            break
    assert sum(sizes) == 25
    assert max(sizes) < 6


# --- into documents that are there -----------------------------------------------------------------------------------


def test_fields_are_set_where_the_key_is_the_same(engine: Engine) -> None:
    async def body(place: Place) -> None:
        await place.take_in(rows(['{"_id":1,"mail":{"to":"a"},"kept":1}', '{"_id":2,"mail":{"to":"b"},"n":1}']))
        lines = [
            '{"mail":{"to":"b"},"n":{"$numberLong":"5"}}',
            '{"mail":{"to":"c"},"n":6,"_id":"mine"}',
            '{"mail":{"to":"d"}}',
            '{"n":7}',
            '{"mail":{"to":"e"},"$set":1}',
            '{"mail":{"to":"e"},"a.b":1}',
        ]
        report = await place.take_in(rows(lines), keys=("mail.to",))
        assert counts(report) == {"matched": 1, "modified": 1, "upserted": 2, "rejected": 3}
        told = dict(place.rejected)
        assert told[4] == "the row has no mail.to, by which its document is found"
        assert "'$set' cannot be set by its name" in told[5]
        assert "'a.b' cannot be set by its name" in told[6]
        found = {document["mail"]["to"]: document for document in await place.documents()}
        assert found["a"] == {"_id": 1, "mail": {"to": "a"}, "kept": 1}
        assert found["b"] == {"_id": 2, "mail": {"to": "b"}, "n": 5}
        assert type(found["b"]["n"]) is Int64
        assert found["c"] == {"_id": "mine", "mail": {"to": "c"}, "n": 6}
        assert type(found["d"]["_id"]) is ObjectId
        again = await place.take_in(rows(lines), keys=("mail.to",))
        assert counts(again) == {"matched": 3, "rejected": 3}
        assert len(await place.documents()) == 4

    on(engine, body)


def test_documents_are_replaced_whole(engine: Engine) -> None:
    async def body(place: Place) -> None:
        await place.take_in(rows(['{"_id":1,"a":1,"old":true}', '{"_id":2,"a":2}']))
        report = await place.take_in(rows(['{"_id":1,"a":5}', '{"_id":3,"a":3}']), keys=("_id",), replace=True)
        assert counts(report) == {"matched": 1, "modified": 1, "upserted": 1}
        assert await place.documents() == [{"_id": 1, "a": 5}, {"_id": 2, "a": 2}, {"_id": 3, "a": 3}]
        report = await place.take_in(rows(['{"a":3,"b":1}']), keys=("a",), replace=True)
        assert counts(report) == {"matched": 1, "modified": 1}
        assert (await place.documents())[2] == {"_id": 3, "a": 3, "b": 1}

    on(engine, body)


def test_an_upsert_can_stop_at_the_first_rejected_row(engine: Engine) -> None:
    async def body(place: Place) -> None:
        lines = ['{"k":1}', '{"no key":1}', '{"k":2}']
        report = await place.take_in(rows(lines), keys=("k",), ordered=True)
        assert counts(report) == {"upserted": 1, "rejected": 1}
        assert report.stopped == "row 2 was rejected"
        assert [document["k"] for document in await place.documents()] == [1]
        unique = {"unique": True}
        await place.store.execute(CreateIndex(namespace=place.plan.namespace, keys={"u": 1}, options=unique))
        lines = ['{"k":1,"u":1}', '{"k":2,"u":1}', '{"k":3,"u":2}']
        report = await place.take_in(rows(lines), keys=("k",), ordered=True)
        assert counts(report) == {"matched": 1, "modified": 1, "rejected": 1}
        report = await place.take_in(rows(lines), keys=("k",))
        assert counts(report) == {"matched": 1, "upserted": 1, "rejected": 1}

    on(engine, body)


def test_ids_are_as_drivers_make_them() -> None:
    importer = Importer(lambda operation: None, Plan(Namespace("d", "c"), b"x", 5), print, print)  # type: ignore[arg-type]
    made = [importer._made(number) for number in (1, 2, 2**24 - 1, 2**24, 2**24 + 1)]
    assert made == sorted(made)
    assert len(set(made)) == 5
    assert made[0].generation_time.timestamp() == 5
