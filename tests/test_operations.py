"""What operations say of themselves, and who has to know each of them: a new one is missed nowhere."""

from __future__ import annotations

import ast
import inspect
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest

import doorleaf
from doorleaf.access.guards import checks
from doorleaf.access.rules import permit
from doorleaf.access.workspaces import confining
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.operations import (
    OPERATIONS,
    WRITES,
    BulkWrite,
    Change,
    DeleteOne,
    Effect,
    Find,
    FindOne,
    InsertMany,
    InsertOne,
    Namespace,
    Operation,
    Scan,
    Watch,
    Write,
)
from doorleaf.operations.capabilities import Changing, Guarded, Replacing, Updating, Upserting
from doorleaf.operations.decode import Decoder
from doorleaf.operations.places import ONE_PLACE
from doorleaf.stores.embedded import store as embedded
from doorleaf.stores.embedded.writing import planned
from doorleaf.stores.mongo import guard
from doorleaf.stores.mongo import store as mongo
from doorleaf.stores.mongo.lanes import writes as lanes

ROOT = Path(doorleaf.__file__).parent
ALL: dict[str, type[Operation[Any]]] = {**OPERATIONS, Watch.name: Watch, Scan.name: Scan}
WRITING = [operation for operation in ALL.values() if operation.effect is Effect.WRITE]


def named(*functions: Any) -> set[str]:
    """The names of classes that the code of ``functions`` asks for."""
    trees = (ast.parse(inspect.getsource(function).strip().removeprefix("async ")) for function in functions)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {
        node.attr for node in nodes if isinstance(node, ast.Attribute)
    }


def names(operations: Iterable[Any]) -> set[str]:
    return {operation.__name__ for operation in operations}


EMBEDDED = names(planned.WRITES) | named(embedded.EmbeddedStore._execute, embedded.EmbeddedStore._other)
MONGODB = names({**mongo.READS, **mongo.WRITES}) | named(mongo.MongoStore)
NOT_FOR_RULES = {
    *("CreateIndex", "DropIndex", "ListIndexes", "ListCollections", "ListDatabases", "RunCommand"),
    *("CreateCollection", "DropCollection", "RenameCollection"),
}
NOT_IN_WORKSPACES = {"BulkWrite", "Distinct", "ListDatabases", "RenameCollection", "RunCommand", "Scan"}
TABLES: dict[str, tuple[Iterable[Any], set[str], set[str]]] = {
    "the embedded engine": (ALL.values(), EMBEDDED, set()),
    "the MongoDB engine": (ALL.values(), MONGODB, set()),
    "the guards": (OPERATIONS.values(), names(checks._FIELDS), set()),
    "the rules": (ALL.values(), names(permit.NARROWED), NOT_FOR_RULES),
    "the workspaces": (ALL.values(), names(confining._NARROWED), NOT_IN_WORKSPACES),
    "guarded writes over MongoDB": (WRITING, names(guard._RUN), {"InsertMany", "BulkWrite"}),
    "the short way of writes": (
        WRITING,
        names(lanes.WRITES),
        {"BulkWrite"},
    ),
}


@pytest.mark.parametrize("table", TABLES)
def test_who_has_to_know_every_operation(table: str) -> None:
    wanted, known, absent = TABLES[table]
    assert names(wanted) - known == absent, f"{table}: these are missing, or are there by now"


def test_what_writes_say_of_themselves() -> None:
    for operation in WRITING:
        assert operation.many == operation.name.endswith("Many") or operation is InsertMany
        assert operation.deletes == ("elete" in operation.name)
        assert issubclass(operation, (Guarded, BulkWrite)), operation.name
    assert set(get_args(Change)) == {operation for operation in ALL.values() if issubclass(operation, Changing)}
    assert set(get_args(Write)) == set(WRITES.values())
    for operation in ALL.values():
        assert issubclass(operation, Upserting) == (issubclass(operation, (Updating, Replacing))), (
            f"{operation.name}: whatever makes a document can be an upsert"
        )
        if operation.effect is not Effect.WRITE:
            assert not operation.many
            assert not operation.deletes


def test_an_operation_has_the_guards_of_its_parts() -> None:
    class Looks:
        portable = small = True
        sufficient = None

        def __call__(self, before: Any, after: Any) -> None: ...

    place, look = doorleaf.operations.Namespace("a", "b"), Looks()
    one = InsertOne(namespace=place, document={}, guard=look)
    assert list(one.guards) == [look]
    assert list(InsertOne(namespace=place, document={}).guards) == []
    both = BulkWrite(namespace=place, operations=[one, InsertOne(namespace=place, document={})])
    assert list(both.guards) == [look]
    assert list(Find(namespace=place).guards) == list(FindOne(namespace=place).guards) == []


GUESSING = ("getattr", "hasattr")
GUESSES = {("getattr", "access/guards/checks.py"), ("getattr", "transfer/remote.py")}
"""Where fields are read by the names that operations declare: all parameters, or all of a kind."""


def test_nobody_guesses_what_an_operation_has() -> None:
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        if path.is_relative_to(ROOT / "operations"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.arg) and node.arg == "operation" and node.annotation is not None:
                assert ast.unparse(node.annotation) != "Any", f"{where}: an operation of no kind"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in GUESSING:
                asked = ast.unparse(node.args[0])
                if asked in ("operation", "write", "part", "query") or asked.endswith(".operation"):
                    found.add((node.func.id, str(path.relative_to(ROOT))))
    assert found == GUESSES


def test_the_writes_of_a_bulk_share_its_variables() -> None:
    decode = Decoder(BulkWrite, ONE_PLACE)
    variables = {f"name{number}": number for number in range(1_000)}

    def bulk(count: int, **more: Any) -> list[Any]:
        writes = [{"deleteOne": {"filter": {"_id": number}, **more}} for number in range(count)]
        body = {"database": "d", "collection": "c", "let": variables, "operations": writes}
        operation = decode(body)
        assert isinstance(operation, BulkWrite)
        assert operation.let is None
        return list(operation.operations)

    bulk(1)
    tracemalloc.start()
    try:
        writes = bulk(2_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert all(write.let is variables for write in writes)
    assert [write.let for write in bulk(2, let={})] == [variables] * 2
    assert [write.let for write in bulk(100, let={"name1": 0, "z": 1})] == [{**variables, "name1": 0, "z": 1}] * 100
    with pytest.raises(InvalidParameter, match=r"operations\[100\]\.let: the let of the bulkWrite has 1000 variables"):
        bulk(101, let={"z": 1})


def test_no_write_of_a_bulk_hides_the_variables_of_another() -> None:
    place = Namespace("d", "c")
    code = {"$function": {"body": "function() {}", "args": [], "lang": "js"}}
    harmless: Document = {"x": 1}
    cases: list[list[Document | None]] = [
        [harmless, harmless, {"x": code}],
        [{"x": code}, harmless],
        [harmless, None, {"x": code}, harmless],
    ]
    for lets in cases:
        writes = [DeleteOne(namespace=place, filter={}, let=let) for let in lets]
        with pytest.raises(PermissionDenied, match="function"):
            checks.Guards().check(BulkWrite(namespace=place, operations=[*writes]))
