"""Several writes to a collection that are done together or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doorleaf.dialects.base import Route
from doorleaf.dialects.workspaces import abouts
from doorleaf.dialects.workspaces.door import WRITE, Answer, Asked, Door
from doorleaf.dialects.workspaces.query import check_filter
from doorleaf.dialects.workspaces.writes import check_document, check_update, with_id
from doorleaf.documents import ABSENT, Document
from doorleaf.errors import DoorleafError, InvalidParameter, PayloadTooLarge
from doorleaf.operations import (
    DeleteMany,
    DeleteOne,
    InsertOne,
    Namespace,
    Operation,
    ReplaceOne,
    Transaction,
    UpdateMany,
    UpdateOne,
)
from doorleaf.operations.fields import CHECKS, wrong
from doorleaf.operations.parameters import Kind
from doorleaf.operations.results import DeleteResult, InsertOneResult, Result, UpdateResult

BULK = "/collections/{collection}/bulk"
MOST = 500

Make = Callable[[Document, str, Namespace], Operation[Any]]


def bulk_route(door: Door) -> Route:
    """The route of bulk writes."""
    return door.route("POST", BULK, "workspaceBulk", _bulk, abouts.BULK, scope=WRITE, reads=True)


async def _bulk(asked: Asked) -> Answer:
    given = asked.body.get("operations")
    if type(given) is not list or not given:
        raise (
            wrong("operations", "a non-empty array", given)
            if given != []
            else InvalidParameter("operations: must provide at least one")
        )
    if len(given) > MOST:
        raise PayloadTooLarge(f"operations: there are more than {MOST}")
    if extra := asked.body.keys() - {"operations"}:
        raise InvalidParameter(f"{min(extra)[:50]}: no such field; there is operations")
    namespace = asked.namespace()
    operations = [_write(item, f"operations[{index}]", namespace) for index, item in enumerate(given)]
    try:
        results = (await asked.run(Transaction.of(operations))).results
    except DoorleafError as error:
        index = error.fields.get("index")
        if isinstance(index, int):
            error.fields = {**error.fields, "operation": operations[index].name}
        raise
    return asked.answer(_told(operations, results))


def _told(operations: list[Operation[Any]], results: list[Result]) -> Document:
    """What was done, in all and by each."""
    total = {"inserted": 0, "matched": 0, "modified": 0, "deleted": 0, "upserted": 0}
    each: list[Document] = []
    for index, (operation, result) in enumerate(zip(operations, results, strict=True)):
        counts = _counts(result)
        for name, count in counts.items():
            total[name] += count
        told = {"index": index, "type": operation.name, **counts}
        if isinstance(result, InsertOneResult):
            told["insertedId"] = result.inserted_id
        elif isinstance(result, UpdateResult) and result.upserted_id is not ABSENT:
            told["upsertedId"] = result.upserted_id
        each.append(told)
    return {"data": {**total, "results": each}, **total}


def _counts(result: Result) -> dict[str, int]:
    if isinstance(result, InsertOneResult):
        return {"inserted": 1}
    if isinstance(result, DeleteResult):
        return {"deleted": result.deleted_count}
    if isinstance(result, UpdateResult):
        upserted = {"upserted": 1} if result.upserted_id is not ABSENT else {}
        return {"matched": result.matched_count, "modified": result.modified_count, **upserted}
    return {}


# --- the writes ------------------------------------------------------------------------------------------------------


def _write(item: Any, where: str, namespace: Namespace) -> Operation[Any]:
    """The operation that one entry is."""
    if type(item) is not dict or len(item) != 1:
        raise InvalidParameter(f"{where}: expected an object with one key, one of {', '.join(_KINDS)}")
    ((name, body),) = item.items()
    if name not in _KINDS:
        raise InvalidParameter(f"{where}: there is no {name[:50]!r}; there are {', '.join(_KINDS)}")
    fields, make = _KINDS[name]
    if type(body) is not dict:
        raise wrong(f"{where}.{name}", "an object", body)
    optional = {"upsert"} if name in ("updateOne", "updateMany", "replaceOne") else set()
    if unknown := body.keys() - set(fields) - optional:
        raise InvalidParameter(f"{where}.{name}.{min(unknown)[:50]}: no such field; there are {', '.join(fields)}")
    for field in fields:
        if field not in body:
            raise InvalidParameter(f"{where}.{name}.{field} is required")
    return make(body, f"{where}.{name}", namespace)


def _filter(body: Document, where: str) -> Document:
    given = body["filter"]
    if type(given) is not dict:
        raise wrong(f"{where}.filter", "an object", given)
    return check_filter(given, f"{where}.filter")


def _upsert(body: Document, where: str) -> bool:
    return bool(CHECKS[Kind.BOOLEAN](body.get("upsert", False), f"{where}.upsert"))


def _insert(body: Document, where: str, namespace: Namespace) -> Operation[Any]:
    document = with_id(check_document(body["document"], f"{where}.document"))
    return InsertOne(namespace=namespace, document=document)


def _updates(kind: type[UpdateOne] | type[UpdateMany]) -> Make:
    def make(body: Document, where: str, namespace: Namespace) -> Operation[Any]:
        update = check_update(body["update"], f"{where}.update")
        return kind(namespace=namespace, filter=_filter(body, where), update=update, upsert=_upsert(body, where))

    return make


def _deletes(kind: type[DeleteOne] | type[DeleteMany]) -> Make:
    return lambda body, where, namespace: kind(namespace=namespace, filter=_filter(body, where))


def _replace(body: Document, where: str, namespace: Namespace) -> Operation[Any]:
    return ReplaceOne(
        namespace=namespace,
        filter=_filter(body, where),
        replacement=check_document(body["replacement"], f"{where}.replacement"),
        upsert=_upsert(body, where),
    )


_KINDS: dict[str, tuple[tuple[str, ...], Make]] = {
    "insertOne": (("document",), _insert),
    "updateOne": (("filter", "update"), _updates(UpdateOne)),
    "updateMany": (("filter", "update"), _updates(UpdateMany)),
    "deleteOne": (("filter",), _deletes(DeleteOne)),
    "deleteMany": (("filter",), _deletes(DeleteMany)),
    "replaceOne": (("filter", "replacement"), _replace),
}
"""The kinds of writes, by their names: the fields that each has to have, and what makes it."""
