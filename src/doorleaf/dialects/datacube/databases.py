"""Databases in the DataCube API: make, list and drop them and their collections."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.datacube import data_models as models
from doorleaf.dialects.datacube import schemas
from doorleaf.dialects.datacube.filters import DELETED, GONE, LIVE
from doorleaf.dialects.datacube.handling import also, data_routes
from doorleaf.dialects.datacube.models import mistake
from doorleaf.dialects.datacube.ownership import Cubes, Inside, drop, drop_all, stored
from doorleaf.documents import Document
from doorleaf.errors import DataError, InvalidParameter
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    CreateCollection,
    CreateIndex,
    EstimatedDocumentCount,
)

ON_PAGE = 10
OBSERVED = 100
"""Documents of a collection whose types are looked at, and collections of one answer."""
_EXISTS = 48
_ID = "60c72b2f9b1d8b1a2d3e4567"

_about = partial(About, tag="DataCube databases", refuses=("DatabaseNotFound", "PermissionDenied"))
CREATE = _about(
    name="cubeCreateDatabase",
    summary="Make a database with its collections",
    description="A collection with `enforce: true` refuses documents whose declared fields have other types.",
    takes=models.CubeNewDatabase,
    example={
        "db_name": "my_customer_project",
        "collections": [{"name": "users", "fields": [{"name": "email", "type": "string"}]}],
    },
    gives=Gives(content=models.CubeMade, status=201, description="Made."),
    refuses=("DatabaseExists", "MissingParameter", "PermissionDenied"),
)
ADD = _about(
    name="cubeAddCollection",
    summary="Make collections in a database",
    takes=models.CubeNewCollections,
    example={"database_id": _ID, "collections": [{"name": "orders", "fields": []}]},
    gives=Gives(content=models.CubeCollections, status=201, description="Made, or there already."),
)
LIST = _about(
    name="cubeListDatabases",
    summary="List the caller's databases, page by page",
    query=models.CubeDatabasesQuery,
    gives=Gives(content=models.CubeDatabases),
)
METADATA = _about(
    name="cubeGetMetadata",
    summary="Tell all that is known of a database",
    description=f"What is declared, and the types that are in {OBSERVED} documents of each collection, for the first "
    f"{OBSERVED} collections.",
    query=models.CubeMetadataQuery,
    gives=Gives(content=models.CubeMetadata),
)
COLLECTIONS = _about(
    name="cubeListCollections",
    summary="List the collections of a database with the numbers of their documents",
    query=models.CubeOfDatabase,
    gives=Gives(content=models.CubeCollections),
)
DROP = _about(
    name="cubeDropDatabase",
    summary="Drop a database for good",
    takes=models.CubeDatabaseDrop,
    example={"database_id": _ID, "confirmation": "my_customer_project"},
    gives=Gives(content=models.CubeDone),
)
DROP_COLLECTIONS = _about(
    name="cubeDropCollections",
    summary="Drop collections for good: all of them, or none where one is not there",
    takes=models.CubeCollectionsDrop,
    example={"database_id": _ID, "collection_names": ["old_logs"]},
    gives=Gives(content=models.CubeDropped),
)


def database_routes(cubes: Cubes) -> list[Route]:
    """The routes of databases."""
    return [*_making(cubes), *_telling(cubes), *_dropping(cubes)]


# --- making ----------------------------------------------------------------------------------------------------------


def _making(cubes: Cubes) -> list[Route]:
    async def create(request: Request, given: models.CubeNewDatabase) -> Document:
        name = schemas.database_name(given.db_name)
        collections = [] if given.collections is None else schemas.declared(given.collections)
        made = await cubes.databases.create(request.identity, name, collections, by=request)
        inside = cubes.inside(request, made)
        try:
            for collection in collections:
                await make_collection(inside, collection)
        except BaseException:
            await drop_all(inside)
            await cubes.databases.forget(made, by=request)
            raise
        await cubes.require_still(request, made)
        told = [_told(collection, new=True) for collection in collections]
        return {"success": True, "database": {"id": made.id, "name": made.name}, "collections": told}

    async def add(request: Request, given: models.CubeNewCollections) -> Document:
        inside = await cubes.enter(request, given.database_id, "admin")
        collections = schemas.declared(given.collections)
        if not collections:
            raise mistake("collections", "Expected one collection or more.")
        new = await add_collections(cubes, inside, collections, request)
        told = [_told(collection, new=collection["name"] in new) for collection in collections]
        return {"success": True, "collections": told}

    return [
        *data_routes("POST", "create_database", create, CREATE),
        *data_routes("POST", "add_collection", add, ADD),
    ]


async def add_collections(cubes: Cubes, inside: Inside, collections: Sequence[Document], request: Request) -> list[str]:
    """Make those of ``collections`` that are not there; the names of those. Of several who ask for one name at once one
    notes it, and makes it as it is noted."""
    cubes.databases.require_room(inside.database, collections)
    new = []
    try:
        for collection in collections:
            if not await cubes.databases.add(inside.database, [collection], by=request):
                continue
            try:
                await make_collection(inside, collection)
            except BaseException:
                await cubes.databases.forget_collections(inside.database, [collection["name"]], by=request)
                raise
            new.append(collection["name"])
    finally:  # those before one that cannot be made are there too
        await cubes.require_still(request, inside.database)
    return new


async def make_collection(inside: Inside, collection: Document) -> None:
    """Make a collection in the store, unless it is there, with an index of what is deleted softly. InvalidParameter
    for one that is there and was to be enforced: what is in it was judged by nothing."""
    place, options = inside.at(collection["name"]), schemas.options(collection)
    try:
        await inside.run(CreateCollection(namespace=place, options=options))
    except DataError as error:
        if error.number != _EXISTS:
            raise
        if options:
            name = collection["name"]
            raise mistake("collections", f"'{name}' is in the database already, not enforced; drop it first.") from None
    await inside.run(CreateIndex(namespace=place, keys={DELETED: 1}, options={"sparse": True}))


def _told(collection: Document, *, new: bool) -> Document:
    return {
        "name": collection["name"],
        "created": new,
        "exists": not new,
        "error": None,
        "fields": collection["fields"],
        "enforce": collection["enforce"],
    }


# --- telling ---------------------------------------------------------------------------------------------------------


def _telling(cubes: Cubes) -> list[Route]:
    async def listed(request: Request, given: models.CubeDatabasesQuery) -> Document:
        page, size = given.page or 1, given.page_size or ON_PAGE
        found = await cubes.databases.listed(request.identity, given.search)
        shown = found[(page - 1) * size : page * size]
        data = [{"id": one.id, "name": one.name, "num_collections": one.size} for one in shown]
        return {"success": True, "data": data, "pagination": pagination(page, size, len(found))}

    async def metadata(request: Request, given: models.CubeMetadataQuery) -> Document:
        inside = await cubes.enter(request, given.database_id, "read")
        found = inside.database
        told = found.collections if given.collection_name is None else [inside.known(given.collection_name)]
        collections = []
        for place, one in enumerate(told):
            observed = await _observed(inside, one["name"]) if place < OBSERVED else None
            collections.append(_described(one, observed))
        data: Document = {
            "_id": found.id,
            "user_id": found.user_id,
            "displayName": found.name,
            "dbName": found.physical,
        }
        data |= {"created_at": found.created, "updated_at": found.updated, "collections": collections}
        return {"success": True, "data": data}

    async def collections(request: Request, given: models.CubeOfDatabase) -> Document:
        inside = await cubes.enter(request, given.database_id, "read")
        known = [str(one["name"]) for one in inside.database.collections]
        others = [name for name in await stored(inside) if name not in known]
        told = []
        for name in [*known, *others]:
            live, deleted = await counts(inside, name)
            one = {"name": name, "num_documents": live, "num_deleted": deleted}
            told.append(one if name in known else one | {"registered": False})
        return {"success": True, "collections": told}

    return [
        *data_routes("GET", "list_databases", listed, LIST),
        *data_routes("GET", "get_metadata", metadata, METADATA),
        *data_routes("GET", "list_collections", collections, COLLECTIONS),
    ]


def pagination(page: int, size: int, total: int) -> Document:
    """Where a page is among all."""
    return {"page": page, "page_size": size, "total_items": total, "total_pages": -(-total // size)}


async def counts(inside: Inside, name: str) -> tuple[int, int]:
    """How many documents a collection has, and how many more that are deleted softly."""
    place = inside.at(name)
    deleted = (await inside.run(CountDocuments(namespace=place, filter=dict(GONE)))).count
    everything = (await inside.run(EstimatedDocumentCount(namespace=place))).count
    return max(0, everything - deleted), deleted


async def _observed(inside: Inside, name: str) -> dict[str, list[str]]:
    """The types of the fields in some documents of a collection."""
    pipeline: list[Document] = [
        {"$match": dict(LIVE)},
        {"$limit": OBSERVED},
        {"$project": {"f": {"$objectToArray": "$$ROOT"}}},
        {"$unwind": "$f"},
        {"$group": {"_id": "$f.k", "types": {"$addToSet": {"$type": "$f.v"}}}},
        {"$sort": {"_id": 1}},
        {"$limit": schemas.MOST_FIELDS},
    ]
    found = await inside.run(Aggregate(namespace=inside.at(name), pipeline=pipeline))
    return {str(one["_id"]): sorted(one["types"]) for one in found.documents.decode()}


def _described(collection: Any, observed: dict[str, list[str]] | None) -> Document:
    seen = observed or {}
    fields = [{**field, "observed_types": seen.get(field["name"], [])} for field in collection["fields"]]
    declared = {field["name"] for field in fields}
    others = [{"name": name, "observed_types": types} for name, types in seen.items() if name not in declared]
    told = {"name": collection["name"], "fields": fields, "enforce": collection["enforce"]}
    return told | {"created_at": collection["created"], "other_fields": None if observed is None else others}


# --- dropping --------------------------------------------------------------------------------------------------------


def _dropping(cubes: Cubes) -> list[Route]:
    async def drop_database(request: Request, given: models.CubeDatabaseDrop) -> Document:
        found = await cubes.databases.find(request.identity, given.database_id, "admin", dropping=True)
        if given.confirmation.strip().lower() != found.name:
            text = "Confirmation mismatch"
            raise InvalidParameter(f"{text}: it has to be the name of the database", fields={"error": text})
        await cubes.databases.begin_dropping(found)
        await drop_all(cubes.inside(request, found))
        await cubes.databases.forget(found, by=request)
        return {"success": True, "message": f"Database '{found.name}' was successfully dropped."}

    async def drop_collections(request: Request, given: models.CubeCollectionsDrop) -> Document:
        inside = await cubes.enter(request, given.database_id, "admin")
        there = {*(str(one["name"]) for one in inside.database.collections), *await stored(inside)}
        for name in given.collection_names:
            if name not in there:
                raise mistake("collection_names", f"There is no collection '{name[:100]}'; nothing was dropped.")
        for name in given.collection_names:
            await drop(inside, name)
        await cubes.databases.forget_collections(inside.database, given.collection_names, by=request)
        names = given.collection_names
        return {"success": True, "dropped_collections": names, "dropped": names}

    return [
        *data_routes("DELETE", "drop_database", drop_database, DROP),
        *data_routes("POST", "drop_database", drop_database, also(DROP, "cubeDropDatabaseByPost")),
        *data_routes("DELETE", "drop_collections", drop_collections, DROP_COLLECTIONS),
        *data_routes("POST", "drop_collections", drop_collections, also(DROP_COLLECTIONS, "cubeDropCollectionsByPost")),
    ]
