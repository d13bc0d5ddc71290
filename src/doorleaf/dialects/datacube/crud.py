"""Documents in the DataCube API: insert, read, update, delete softly or for good, restore."""

from __future__ import annotations

from functools import partial
from typing import Any

from doorleaf import ejson
from doorleaf.apart import CODING
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Reply, Request, Route
from doorleaf.dialects.datacube import data_models as models
from doorleaf.dialects.datacube import filters as asked
from doorleaf.dialects.datacube.databases import counts, pagination
from doorleaf.dialects.datacube.handling import data_routes
from doorleaf.dialects.datacube.models import CubeBody, mistake
from doorleaf.dialects.datacube.ownership import Cubes, Inside
from doorleaf.dialects.handling import NOT_STORED
from doorleaf.documents import ABSENT, Document, Documents
from doorleaf.errors import DataError, DoorleafError, WriteFailed
from doorleaf.operations import CountDocuments, DeleteMany, Find, InsertMany, UpdateMany, UpdateOne

ON_PAGE = 50
_WRITING_SECONDS = 30.0
_LARGE = 64 * 1024
_DUPLICATE = 11000
_ID = "60c72b2f9b1d8b1a2d3e4567"
_PLACE = {"database_id": _ID, "collection_name": "users"}

_about = partial(
    About, tag="DataCube documents", refuses=("DatabaseNotFound", "CollectionNotFound", "PermissionDenied")
)
INSERT = _about(
    name="cubeInsert",
    summary="Insert documents",
    takes=models.CubeInsert,
    example={**_PLACE, "data": [{"email": "alice@example.com"}]},
    gives=Gives(content=models.CubeInserted, status=201, description="Inserted."),
    refuses=("DatabaseNotFound", "CollectionNotFound", "PermissionDenied", "DuplicateKey"),
)
READ = _about(
    name="cubeRead",
    summary="Read documents, page by page",
    query=models.CubeRead,
    gives=Gives(content=models.CubeFound),
)
UPDATE = _about(
    name="cubeUpdate",
    summary="Update the documents that match",
    description="`update_data` has fields to set, new ones too, or update operators. `update_many: false` is the "
    "first document alone, `update_all_fields: false` sets the fields that a document has; without any filter "
    "`update_many: true` has to be said.",
    takes=models.CubeUpdate,
    example={**_PLACE, "filters": {"email": "alice@example.com"}, "update_data": {"newsletter_subscribed": True}},
    gives=Gives(content=models.CubeUpdated),
    refuses=("DatabaseNotFound", "CollectionNotFound", "PermissionDenied", "DuplicateKey"),
)
DELETE = _about(
    name="cubeDelete",
    summary="Delete the documents that match: softly, or with `hard` for good",
    takes=models.CubeDelete,
    example={**_PLACE, "filters": {"email": "alice@example.com"}},
    gives=Gives(content=models.CubeDeleted),
)
RESTORE = _about(
    name="cubeRestore",
    summary="Bring back documents that were deleted softly",
    takes=models.CubeRestore,
    example={**_PLACE, "filters": {"email": "alice@example.com"}},
    gives=Gives(content=models.CubeRestored),
)


def document_routes(cubes: Cubes) -> list[Route]:
    """The routes of documents."""
    return [
        *data_routes("POST", "crud", partial(insert, cubes), INSERT),
        *data_routes("GET", "crud", partial(read, cubes), READ),
        *data_routes("PUT", "crud", partial(update, cubes), UPDATE),
        *data_routes("DELETE", "crud", partial(delete, cubes), DELETE),
        *data_routes("POST", "restore", partial(restore, cubes), RESTORE),
    ]


# --- insert ----------------------------------------------------------------------------------------------------------


async def insert(cubes: Cubes, request: Request, given: models.CubeInsert) -> Document:
    """Put documents in, in their order."""
    if given.data is not None and given.documents is not None:
        raise mistake("documents", "It is another name of data; send one of them.")
    documents = given.documents if given.data is None else given.data
    if documents is None:
        raise CubeBody.missing("data")
    inside = await cubes.enter(request, given.database_id, "write")
    inside.known(given.collection_name)
    operation = InsertMany(namespace=inside.at(given.collection_name), documents=documents)
    try:
        result = await cubes.put(request, inside, operation, len(request.body))
    except WriteFailed as error:
        raise await _not_inserted(inside, given.collection_name, documents, error) from error
    return {"success": True, "inserted_ids": result.inserted_ids}


async def _not_inserted(
    inside: Inside, collection: str, documents: list[Document], error: WriteFailed
) -> DoorleafError:
    """The error of documents of which some may be in."""
    first = error.fields["writeErrors"][0]
    text, stored = str(first["message"]), error.fields.get("insertedCount", 0)
    if first["code"] == _DUPLICATE:
        identity = documents[first["index"]].get("_id", ABSENT)
        text = "A unique value of it is in the collection already."
        if identity is not ABSENT:
            filter = asked.together({"_id": {"$eq": identity}}, asked.GONE)
            hidden = await inside.run(CountDocuments(namespace=inside.at(collection), filter=filter))
            if hidden.count:
                text = "A document that was deleted softly has its _id; restore it, or delete it for good."
    told = f"data[{first['index']}]: {text} {stored} before it were inserted."
    return WriteFailed(told, number=first["code"], fields={"inserted_count": stored, "index": first["index"]})


# --- read ------------------------------------------------------------------------------------------------------------


async def read(cubes: Cubes, request: Request, given: models.CubeRead) -> Reply:
    """One page of the documents that match."""
    inside = await cubes.enter(request, given.database_id, "read")
    inside.known(given.collection_name)
    page, size, skip = _page(given)
    if given.filters is not None and given.filter is not None:
        raise mistake("filter", "It is another name of filters; send one of them.")
    text = given.filters if given.filters is not None else given.filter
    filters: Document = {} if text is None else asked.meant(asked.filters_of(text))
    state: Document = {} if given.include_deleted else asked.LIVE
    place = inside.at(given.collection_name)
    operation = Find(
        namespace=place,
        filter=asked.together(filters, state) if state else filters,
        sort=_object(given.sort, "sort"),
        projection=_object(given.projection, "projection"),
        skip=skip,
        limit=size,
    )
    found: Documents = (await inside.run(operation)).documents
    if filters or not state:
        total = (await inside.run(CountDocuments(namespace=place, filter=operation.filter))).count
    else:
        total = (await counts(inside, given.collection_name))[0]
    told = pagination(page, size, total)
    if given.page is None and given.page_size is None and (given.limit is not None or given.offset is not None):
        told |= {"limit": size, "offset": skip}
    mode = ejson.bare_mode_of(request.headers.get(b"accept"))
    if found.size < _LARGE:
        body = _written(found, told, mode)
    else:
        body = await CODING.run(_WRITING_SECONDS, _written, found, told, mode)
    return Reply(200, body, mode.content_type, headers=NOT_STORED, compressible=True)


def _page(given: models.CubeRead) -> tuple[int, int, int]:
    """The number of the page, how many documents are on it, and how many before it."""
    if given.page is None and given.page_size is None:
        size, skip = given.limit or ON_PAGE, given.offset or 0
        return skip // size + 1, size, skip
    if given.limit is not None or given.offset is not None:
        raise mistake("limit", "Send page and page_size, or limit and offset.")
    page, size = given.page or 1, given.page_size or ON_PAGE
    return page, size, (page - 1) * size


def _object(text: str | None, name: str) -> Document | None:
    return None if text is None else asked.filters_of(text, name)


def _written(found: Documents, told: Document, mode: ejson.Mode) -> bytes:
    listed = ejson.encode_documents(found, mode)
    return b"".join((b'{"success":true,"data":', listed, b',"pagination":', ejson.dumps(told, mode), b"}"))


# --- update, delete, restore -----------------------------------------------------------------------------------------


async def update(cubes: Cubes, request: Request, given: models.CubeUpdate) -> Document:
    """Update all documents that match, or the first."""
    inside = await cubes.enter(request, given.database_id, "write")
    inside.known(given.collection_name)
    filters = asked.filters_of(given.filters)
    if not filters and given.update_many is not True:
        raise mistake("filters", "It is empty; say update_many: true to update every document.")
    change: Any = asked.update_of(given.update_data, filters)
    if given.update_all_fields is False:
        if "$set" not in change or given.update_data.keys() & change.keys():
            raise mistake("update_all_fields", "Only fields can be set where they are, not operators be applied.")
        if given.upsert:
            raise mistake("upsert", "A document that is not there has no fields that could be set.")
        change = asked.only_present(change["$set"])
    kind = UpdateOne if given.update_many is False else UpdateMany
    filter = asked.together(asked.meant(filters, exact=bool(given.upsert)), asked.LIVE)
    operation = kind(
        namespace=inside.at(given.collection_name), filter=filter, update=change, upsert=bool(given.upsert)
    )
    result = await _tried(cubes, inside, operation, request)
    told: Document = {"success": True, "modified_count": result.modified_count, "matched_count": result.matched_count}
    return told if result.upserted_id is ABSENT else told | {"upserted_id": result.upserted_id}


async def _tried(cubes: Cubes, inside: Inside, operation: UpdateOne | UpdateMany, request: Request) -> Any:
    try:
        if operation.upsert:
            return await cubes.put(request, inside, operation, len(request.body))
        return await inside.run(operation, len(request.body))
    except DataError as error:
        if error.number != _DUPLICATE:
            raise
        text = "A document of the collection, perhaps one that was deleted softly, has such a unique value already."
        raise WriteFailed(text, number=_DUPLICATE, fields={}) from error


async def delete(cubes: Cubes, request: Request, given: models.CubeDelete) -> Document:
    """Delete all documents that match; for good those too that were deleted softly."""
    inside = await cubes.enter(request, given.database_id, "write")
    inside.known(given.collection_name)
    filters = asked.filters_of(given.filters)
    if not filters:
        raise mistake("filters", "It is empty; drop the collection to delete every document.")
    if given.hard is not None and given.soft_delete is not None and given.hard == given.soft_delete:
        raise mistake("hard", "It says the opposite of soft_delete; send one of them.")
    place, filter = inside.at(given.collection_name), asked.meant(filters)
    if given.hard or given.soft_delete is False:
        count = (await inside.run(DeleteMany(namespace=place, filter=filter))).deleted_count
    else:
        change: Document = {"$set": {asked.DELETED: True}, "$currentDate": {asked.DELETED_AT: True}}
        operation = UpdateMany(namespace=place, filter=asked.together(filter, asked.LIVE), update=change)
        count = (await inside.run(operation)).modified_count
    return {"success": True, "count": count, "deleted_count": count}


async def restore(cubes: Cubes, request: Request, given: models.CubeRestore) -> Document:
    """Bring back all documents that match and were deleted softly."""
    inside = await cubes.enter(request, given.database_id, "write")
    inside.known(given.collection_name)
    filter = asked.together(asked.meant(asked.filters_of(given.filters)), asked.GONE)
    change = {"$unset": {asked.DELETED: "", asked.DELETED_AT: ""}}
    result = await inside.run(UpdateMany(namespace=inside.at(given.collection_name), filter=filter, update=change))
    return {"success": True, "count": result.modified_count, "restored_count": result.modified_count}
