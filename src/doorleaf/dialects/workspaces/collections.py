"""Collections of a workspace, their indexes and their schemas."""

from __future__ import annotations

from functools import partial
from typing import Any

from doorleaf.dialects.base import Route
from doorleaf.dialects.workspaces import abouts
from doorleaf.dialects.workspaces.door import ADMIN, READ, Answer, Asked, Door, check_collection
from doorleaf.dialects.workspaces.schemas import schema_of, validator_of
from doorleaf.documents import Document
from doorleaf.errors import Conflict, DataError, InvalidParameter, MissingParameter, NotFound
from doorleaf.operations import (
    CreateCollection,
    CreateIndex,
    DropCollection,
    DropIndex,
    GetValidator,
    ListCollections,
    ListIndexes,
    SetValidator,
)
from doorleaf.operations.fields import wrong

COLLECTIONS = "/collections"
ONE = f"{COLLECTIONS}/{{collection}}"
SCHEMA = f"{ONE}/schema"
INDEXES = f"{ONE}/indexes"
INDEX = f"{INDEXES}/{{index}}"
_NO_INDEX, _THERE = 27, 48
_OPTIONS = ("name", "unique", "sparse", "expireAfterSeconds", "partialFilterExpression")


def collection_routes(door: Door) -> tuple[Route, ...]:
    """The routes of collections."""
    made = door.route
    takes = partial(door.route, scope=ADMIN, reads=True)
    return (
        made("GET", COLLECTIONS, "workspaceListCollections", _listed, abouts.LIST_COLLECTIONS, scope=READ),
        takes("POST", COLLECTIONS, "workspaceCreateCollection", _create, abouts.CREATE_COLLECTION),
        made("DELETE", ONE, "workspaceDropCollection", _drop, abouts.DROP_COLLECTION, scope=ADMIN),
        made("GET", SCHEMA, "workspaceGetSchema", _schema, abouts.GET_SCHEMA, scope=READ),
        takes("PUT", SCHEMA, "workspaceSetSchema", _set_schema, abouts.SET_SCHEMA),
        made("DELETE", SCHEMA, "workspaceDropSchema", _drop_schema, abouts.DROP_SCHEMA, scope=ADMIN),
        made("GET", INDEXES, "workspaceListIndexes", _indexes, abouts.LIST_INDEXES, scope=READ),
        takes("POST", INDEXES, "workspaceCreateIndex", _create_index, abouts.CREATE_INDEX),
        made("DELETE", INDEX, "workspaceDropIndex", _drop_index, abouts.DROP_INDEX, scope=ADMIN),
    )


# --- collections -----------------------------------------------------------------------------------------------------


async def _there(asked: Asked) -> list[Document]:
    found = (await asked.run(ListCollections(namespace=asked.place.namespace()))).collections
    shown = [{"name": item["name"], "type": item["type"]} for item in found]
    return sorted(shown, key=lambda item: str(item["name"]))


async def _listed(asked: Asked) -> Answer:
    return asked.answer({"data": await _there(asked)})


async def _require(asked: Asked) -> None:
    """Raise NotFound where the collection of the path is not there."""
    name = check_collection(asked.request.params["collection"])
    if name not in {item["name"] for item in await _there(asked)}:
        raise _absent()


def _absent() -> NotFound:
    return NotFound("there is no such collection", code="CollectionNotFound")


async def _create(asked: Asked) -> Answer:
    if unknown := asked.body.keys() - {"name", "schema"}:
        raise InvalidParameter(f"{min(unknown)[:50]}: no such field; there are name, schema")
    if "name" not in asked.body:
        raise MissingParameter("name is required")
    namespace = asked.namespace(check_collection(asked.body["name"]))
    options: Document = {}
    if asked.body.get("schema") is not None:
        options["validator"] = validator_of(asked.body["schema"])
    try:
        await asked.run(CreateCollection(namespace=namespace, options=options))
    except DataError as error:
        if error.number != _THERE:
            raise
        raise Conflict("there is a collection of this name", code="CollectionExists") from None
    return asked.answer({"data": {"name": asked.body["name"], "type": "collection"}}, 201)


async def _drop(asked: Asked) -> Answer:
    await _require(asked)
    await asked.run(DropCollection(namespace=asked.namespace()))
    return asked.answer({"dropped": 1})


# --- schemas ---------------------------------------------------------------------------------------------------------


async def _schema(asked: Asked) -> Answer:
    found = (await asked.run(GetValidator(namespace=asked.namespace()))).result["cursor"]["firstBatch"]
    if not found:
        raise _absent()
    return asked.answer({"data": {"schema": schema_of(found[0].get("options", {}).get("validator"))}})


async def _set_schema(asked: Asked) -> Answer:
    if "schema" not in asked.body or len(asked.body) != 1:
        raise InvalidParameter("the body: expected an object with schema and nothing else")
    validator = validator_of(asked.body["schema"])
    await _require(asked)
    await asked.run(SetValidator(namespace=asked.namespace(), validator=validator))
    return asked.answer({"data": {"schema": asked.body["schema"]}})


async def _drop_schema(asked: Asked) -> Answer:
    await _require(asked)
    await asked.run(SetValidator(namespace=asked.namespace(), validator={}))
    return asked.answer({"dropped": 1})


# --- indexes ---------------------------------------------------------------------------------------------------------


async def _indexes(asked: Asked) -> Answer:
    await _require(asked)
    found = (await asked.run(ListIndexes(namespace=asked.namespace()))).indexes
    shown = ("name", "key", *_OPTIONS[1:])
    return asked.answer({"data": [{name: item[name] for name in shown if name in item} for item in found]})


async def _create_index(asked: Asked) -> Answer:
    body = asked.body
    if unknown := body.keys() - {"keys", *_OPTIONS}:
        raise InvalidParameter(f"{min(unknown)[:50]}: no such field; there are keys, {', '.join(_OPTIONS)}")
    keys = body.get("keys")
    if type(keys) is not dict or not keys:
        raise wrong("keys", "a non-empty object of fields and directions", keys)
    options: Document = {name: body[name] for name in _OPTIONS if body.get(name) is not None}
    name = options.setdefault("name", "_".join(f"{path}_{_word(value)}" for path, value in keys.items()))
    await asked.run(CreateIndex(namespace=asked.namespace(), keys=keys, options=options))
    return asked.answer({"data": {"name": name}}, 201)


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, int | float) and value in (1, -1) else str(value)[:20]


async def _drop_index(asked: Asked) -> Answer:
    await _require(asked)
    try:
        await asked.run(DropIndex(namespace=asked.namespace(), index=asked.request.params["index"]))
    except DataError as error:
        if error.number == _NO_INDEX:
            raise NotFound("there is no such index", code="IndexNotFound") from None
        raise
    return asked.answer({"dropped": 1})
