"""The MongoDB store beyond what both engines share: its errors, its patience, its URI."""

from __future__ import annotations

import asyncio
import operator
import threading
from pathlib import Path
from typing import Any

import bson
import pytest
from guards import Looks
from pymongo import AsyncMongoClient
from servers import free_port, mongodb_uri_from_environment, secantus

from doorleaf.documents import CODEC, Document, Encoded, Exact
from doorleaf.errors import (
    InvalidParameter,
    PermissionDenied,
    StoreTimeout,
    StoreUnavailable,
    Unsupported,
    WriteFailed,
)
from doorleaf.operations import (
    BulkWrite,
    DeleteMany,
    DeleteOne,
    Find,
    FindOne,
    FindOneAndReplace,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    ReplaceOne,
    RunCommand,
    UpdateOne,
)
from doorleaf.operations.places import Places
from doorleaf.operations.results import DeleteResult, UpdateResult
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.mongo import guard as guarded
from doorleaf.stores.router import Router

NS = Namespace("mongo_store", "things")


def run(uri: str, body: Any, **options: Any) -> Any:
    async def whole() -> Any:
        store = MongoStore(uri, **options)
        await store.open()
        try:
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(whole())


OPERATIONS: list[Operation[Any]] = [
    FindOne(namespace=NS),
    Find(namespace=NS),
    InsertOne(namespace=NS, document={"_id": 1}),
    UpdateOne(namespace=NS, filter={}, update={"$set": {"a": 1}}),
    UpdateOne(namespace=NS, filter={}, update={"$set": {"a": 1}}, guard=Looks(lambda before, after: None)),
    BulkWrite(namespace=NS, operations=[DeleteOne(namespace=NS, filter={})]),
    RunCommand(namespace=NS, command={"ping": 1}),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: str(operation.name))
def test_a_server_that_is_not_there(operation: Any) -> None:
    port = free_port()

    async def body(store: MongoStore) -> None:
        with pytest.raises(StoreUnavailable) as raised:
            await store.execute(operation)
        assert raised.value.message == "the database cannot be reached"
        assert str(port) not in raised.value.message

    run(f"mongodb://me:secret@127.0.0.1:{port}/", body, server_selection_timeout=0.3)


def test_opening_does_not_wait_for_the_server(tmp_path: Path) -> None:
    """The server may come later: the store is there, says so, and answers once it is up."""
    if mongodb_uri_from_environment():
        pytest.skip("needs a server of its own to start late")
    port = free_port()

    async def body(store: MongoStore) -> None:
        ping = RunCommand(namespace=NS, command={"ping": 1})
        with pytest.raises(StoreUnavailable):
            await store.execute(ping)
        with secantus(tmp_path / "late", "--port", str(port)):
            assert (await store.execute(ping)).result["ok"] == 1

    run(f"mongodb://127.0.0.1:{port}/?directConnection=true", body, server_selection_timeout=2)


class SilentServer:
    """Takes connections and never says a word."""

    def __init__(self) -> None:
        self.port = free_port()
        self._stop = threading.Event()

    async def serve(self) -> asyncio.Server:
        async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        return await asyncio.start_server(silence, "127.0.0.1", self.port)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: str(operation.name))
def test_a_server_that_never_answers(operation: Any) -> None:
    async def body(store: MongoStore) -> None:
        with pytest.raises((StoreUnavailable, StoreTimeout)):
            await store.execute(operation)

    async def whole() -> None:
        silent = SilentServer()
        async with await silent.serve():
            store = MongoStore(f"mongodb://127.0.0.1:{silent.port}/", server_selection_timeout=0.3)
            await store.open()
            await body(store)
            await store.close()

    asyncio.run(whole())


@pytest.mark.parametrize("uri", ["mongodb://", "mongodb://me:sec@ret@db/", "mongodb://db:99999/", "http://db/sec"])
def test_a_bad_uri_is_refused_and_not_shown(uri: str) -> None:
    async def body() -> None:
        with pytest.raises(Unsupported) as raised:
            await MongoStore(uri).open()
        for secret in ("sec", "99999"):
            assert secret not in raised.value.message

    asyncio.run(body())


def test_what_the_uri_says_wins() -> None:
    async def body() -> None:
        store = MongoStore("mongodb://db.invalid/?maxPoolSize=7&appname=mine", max_pool_size=50)
        await store.open()
        client = store._client
        assert client is not None
        assert client.options.pool_options.max_pool_size == 7 + 4, "those of callers, and the server's own"
        assert client.options.pool_options.appname == "mine"
        await store.close()
        plain = MongoStore("mongodb://db.invalid/", max_pool_size=50)
        await plain.open()
        assert plain._client is not None
        assert plain._client.options.pool_options.max_pool_size == 50 + 4
        await plain.close()

    asyncio.run(body())


def test_credentials_that_the_database_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if mongodb_uri_from_environment():
        pytest.skip("needs a server of its own that asks for credentials")
    with secantus(tmp_path / "db") as server:
        create = RunCommand(
            namespace=Namespace("admin"), command={"createUser": "root", "pwd": "pw1", "roles": ["root"]}
        )
        run(server.uri, lambda store: store.execute(create))
    with secantus(tmp_path / "db", "--auth") as server:
        right = server.uri.replace("mongodb://", "mongodb://root:pw1@").replace("/?", "/?authSource=admin&")

        async def refused(store: MongoStore) -> None:
            for operation in (OPERATIONS[0], OPERATIONS[2]):
                with pytest.raises(StoreUnavailable) as raised:
                    await store.execute(operation)
                assert raised.value.message == "the database refuses the credentials of this server"

        async def accepted(store: MongoStore) -> None:
            assert (await store.execute(RunCommand(namespace=NS, command={"ping": 1}))).result["ok"] == 1
            await store.execute(InsertOne(namespace=NS, document={"_id": 1}))

        run(right.replace("pw1", "pw2"), refused, server_selection_timeout=0.5)
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == 1, "the operator is told, and not at every request"
        assert "user name or password" in errors[0]
        assert not any(secret in caplog.text for secret in ("pw2", "root", server.uri))
        run(server.uri, refused)
        run(right, accepted)


def test_a_name_that_cannot_be_resolved(caplog: pytest.LogCaptureFixture) -> None:
    """The host of a mongodb+srv address is looked for at the first operation."""

    async def body(store: MongoStore) -> None:
        for operation in (OPERATIONS[0], OPERATIONS[2], OPERATIONS[6]):
            with pytest.raises(StoreUnavailable) as raised:
                await store.execute(operation)
            assert raised.value.message == "the database cannot be reached"

    run("mongodb+srv://me:secret@db.doorleaf-test.invalid/?connectTimeoutMS=2000", body)
    assert "mongodb+srv:// address" in caplog.text
    assert not any(secret in caplog.text for secret in ("doorleaf-test", "secret"))


THREE = [{"_id": 1, "k": 1}, {"_id": 2, "k": 2}, {"_id": 3, "k": 3}]


@Looks
def allow(before: Document | None, after: Document | None) -> None:
    return None


@Looks
def refuse(before: Document | None, after: Document | None) -> None:
    raise PermissionDenied("the rule says no")


@pytest.mark.parametrize(
    ("operation", "result", "after"),
    [
        (DeleteOne(namespace=NS, filter={"k": 2}, guard=allow), DeleteResult(1), [THREE[0], THREE[2]]),
        (DeleteOne(namespace=NS, filter={"k": 9}, guard=allow), DeleteResult(0), THREE),
        (
            ReplaceOne(namespace=NS, filter={"k": 2}, replacement={"z": 1}, guard=allow),
            UpdateResult(1, 1),
            [THREE[0], {"_id": 2, "z": 1}, THREE[2]],
        ),
        (DeleteOne(namespace=NS, filter={"k": 2}, guard=refuse), PermissionDenied, THREE),
        (FindOneAndReplace(namespace=NS, filter={}, replacement={}, guard=refuse), PermissionDenied, THREE),
        (DeleteMany(namespace=NS, filter={}, guard=allow), Unsupported, THREE),
        (UpdateOne(namespace=NS, filter={}, update={"$set": {"a": 1}}, guard=allow), Unsupported, THREE),
        (ReplaceOne(namespace=NS, filter={}, replacement={}, upsert=True, guard=allow), Unsupported, THREE),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_guards_without_transactions(mongodb_uri: str, operation: Any, result: Any, after: list[Document]) -> None:
    """A single server has no transactions: what cannot be compared and written at once is refused."""

    async def body(store: MongoStore) -> None:
        await store.execute(DeleteMany(namespace=NS, filter={}))
        await store.execute(InsertMany(namespace=NS, documents=list(THREE)))
        async with AsyncMongoClient[Document](mongodb_uri) as client:
            database = client.get_database(NS.database, codec_options=CODEC)
            if isinstance(result, type):
                with pytest.raises(result):
                    await guarded._compared(database, operation)
            else:
                assert await guarded._compared(database, operation) == result
        found = await store.execute(Find(namespace=NS, sort={"_id": 1}))
        assert found.documents.decode() == after
        await store.execute(RunCommand(namespace=NS, command={"dropDatabase": 1}))

    run(mongodb_uri, body)


@pytest.mark.parametrize("has_values", [False, True])
def test_a_large_insert_hands_on_the_bson_that_it_has(
    mongodb_uri: str, monkeypatch: pytest.MonkeyPatch, has_values: bool
) -> None:
    ids: list[Any] = [1, "two", 3, 3, 5]
    values: list[Document] = [{"_id": id_, "text": "x" * 400_000, "deep": {"a": [1]}} for id_ in ids]
    raw = [bson.encode(document, codec_options=CODEC) for document in values]
    given = [Exact(one, {"_id": id_}) for one, id_ in zip(raw, ids, strict=True)] if has_values else Encoded(raw, ids)
    read: list[bytes] = []
    decode = bson.decode

    def noting(data: Any, *given: Any, **named: Any) -> Any:
        read.append(bytes(data))
        return decode(data, *given, **named)

    async def body(store: MongoStore) -> None:
        async with AsyncMongoClient[Document](mongodb_uri) as client:
            await client[NS.database][NS.collection].drop()
            monkeypatch.setattr(bson, "decode", noting)
            with pytest.raises(WriteFailed) as caught:
                await store.execute(InsertMany(namespace=NS, documents=given, ordered=False))
            monkeypatch.undo()
            assert caught.value.fields["insertedIds"] == [1, "two", 3, 5]
            found = await client[NS.database][NS.collection].find().to_list()
        key = operator.itemgetter("text", "deep")
        assert {document["_id"]: key(document) for document in found} == {one["_id"]: key(one) for one in values}

    run(mongodb_uri, body)
    assert not set(read) & set(raw)


def test_a_guarded_write_of_too_much_is_refused(mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a guard has to look at is held in memory."""
    monkeypatch.setattr(guarded, "MOST_RESULT_BYTES", 50)

    async def body(store: MongoStore) -> None:
        await store.execute(DeleteMany(namespace=NS, filter={}))
        await store.execute(InsertMany(namespace=NS, documents=list(THREE)))
        async with AsyncMongoClient[Document](mongodb_uri) as client:
            database = client.get_database(NS.database, codec_options=CODEC)
            assert await guarded._matching(database, DeleteMany(namespace=NS, filter={"k": 2}), None) == [THREE[1]]
            with pytest.raises(InvalidParameter, match="write fewer at once"):
                await guarded._matching(database, DeleteMany(namespace=NS, filter={}), None)

    run(mongodb_uri, body)


def test_a_document_that_changed_is_looked_at_again(mongodb_uri: str) -> None:
    """Between the guard's look and the write somebody changes the document: the guard is asked about the new one."""
    seen: list[Document | None] = []

    async def body(store: MongoStore) -> None:
        await store.execute(DeleteMany(namespace=NS, filter={}))
        await store.execute(InsertOne(namespace=NS, document={"_id": 1, "owner": "me"}))
        async with AsyncMongoClient[Document](mongodb_uri) as client:
            database = client.get_database(NS.database, codec_options=CODEC)
            other = threading.Thread

            @Looks
            def look(before: Document | None, after: Document | None) -> None:
                seen.append(before)
                if len(seen) == 1:
                    change = UpdateOne(namespace=NS, filter={"_id": 1}, update={"$set": {"owner": "you"}})
                    thread = other(target=lambda: run(mongodb_uri, lambda mine: mine.execute(change)))
                    thread.start()
                    thread.join()
                elif before is not None and before["owner"] == "you":
                    raise PermissionDenied("not yours")

            with pytest.raises(PermissionDenied):
                await guarded._compared(database, DeleteOne(namespace=NS, filter={}, guard=look))
        assert [document and document["owner"] for document in seen] == ["me", "you"]
        assert len((await store.execute(Find(namespace=NS))).documents) == 1
        await store.execute(RunCommand(namespace=NS, command={"dropDatabase": 1}))

    run(mongodb_uri, body)


class Named:
    """A store that answers with its name."""

    def __init__(self, name: str, log: list[str], *, fails: bool = False) -> None:
        self.name = name
        self._log = log
        self._fails = fails

    async def open(self) -> None:
        if self._fails:
            raise StoreUnavailable(self.name)
        self._log.append(f"open {self.name}")

    async def execute(self, operation: Any) -> Any:
        return self.name

    async def close(self) -> None:
        self._log.append(f"close {self.name}")


@pytest.mark.parametrize(
    ("names", "asked", "answer"),
    [
        (("one",), None, "one"),
        (("one",), "Cluster0", "one"),
        (("one", "two"), None, "one"),
        (("one", "two"), "one", "one"),
        (("one", "two"), "two", "two"),
        (("one", "two"), "mongodb-atlas", "two"),
        (("one", "two"), "Two", None),
        (("one", "two"), "", None),
    ],
)
def test_data_sources(names: tuple[str, ...], asked: str | None, answer: str | None) -> None:
    router = Router({name: Named(name, []) for name in names}, "one")
    places = Places("one", dict.fromkeys(names), {"mongodb-atlas": names[-1]})
    if answer is not None:
        assert places.find(asked) == answer
        found: Any = asyncio.run(router.execute(FindOne(namespace=places.locate(asked, "db", "things"))))
        assert found == answer
        return
    assert places.find(asked) is None
    with pytest.raises(InvalidParameter) as raised:
        places.locate(asked, "db", "things")
    assert "'one', 'two'" in raised.value.message.replace("'mongodb-atlas', ", "")


def test_all_data_sources_are_opened_and_closed() -> None:
    log: list[str] = []

    async def body() -> None:
        router = Router({"one": Named("one", log), "two": Named("two", log)}, "one")
        await router.open()
        await router.close()
        broken = Router({"one": Named("one", log), "two": Named("two", log, fails=True)}, "one")
        with pytest.raises(StoreUnavailable):
            await broken.open()

    asyncio.run(body())
    assert log == ["open one", "open two", "close one", "close two", "open one", "close one"]


def test_a_default_that_is_no_data_source_is_refused() -> None:
    with pytest.raises(KeyError, match="two"):
        Router({"one": Named("one", [])}, "two")
