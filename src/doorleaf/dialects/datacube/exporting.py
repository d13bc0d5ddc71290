"""Whole collections of the DataCube API as files, read as their client takes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from doorleaf import ejson
from doorleaf.dialects.about import About
from doorleaf.dialects.base import Reply, Request, Route
from doorleaf.dialects.datacube import data_models as models
from doorleaf.dialects.datacube import filters as asked
from doorleaf.dialects.datacube.errors import cube_envelope
from doorleaf.dialects.datacube.handling import data_routes
from doorleaf.dialects.datacube.models import CubeQuery, Text, mistake
from doorleaf.dialects.datacube.ownership import Cubes, Inside
from doorleaf.dialects.files import FILE, MOST_COLUMNS, TYPES, file_reply
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations import Aggregate, Find, Scan
from doorleaf.operations.results import DocumentStream
from doorleaf.transfer.writing import format_for


class CubeExport(CubeQuery):
    database_id: Text
    collection_name: Text
    format: Annotated[Text | None, Field(description="`ndjson`, `json` or `csv`.")] = None
    fields: Annotated[Text | None, Field(description="The columns of CSV, with commas between.")] = None
    filters: Annotated[str | None, Field(description="A filter as JSON.")] = None
    sort: Annotated[str | None, Field(description="Fields and directions as JSON.")] = None
    projection: Annotated[str | None, Field(description="Fields to include or exclude, as JSON.")] = None
    include_deleted: models.Flag = None


EXPORT = About(
    name="cubeExport",
    tag="DataCube files",
    summary="Read a whole collection as a file",
    description="Documents are in relaxed Extended JSON unless `Accept` asks for another form.",
    query=CubeExport,
    gives=FILE,
    refuses=("DatabaseNotFound", "CollectionNotFound", "PermissionDenied"),
)


def export_routes(cubes: Cubes) -> list[Route]:
    """The routes of exports."""

    async def export(request: Request, given: CubeExport) -> Reply:
        inside = await cubes.enter(request, given.database_id, "read")
        inside.known(given.collection_name)
        kind = given.format or "ndjson"
        if kind not in TYPES:
            raise mistake("format", f"Expected one of {', '.join(TYPES)}.")
        filters = {} if given.filters is None else asked.meant(asked.filters_of(given.filters))
        query = Find(
            namespace=inside.at(given.collection_name),
            filter=filters if given.include_deleted else asked.together(filters, asked.LIVE),
            sort=None if given.sort is None else asked.filters_of(given.sort, "sort"),
            projection=None if given.projection is None else asked.filters_of(given.projection, "projection"),
        )
        columns = None
        if kind == "csv":
            columns = await _columns(inside, query) if given.fields is None else given.fields.split(",")
        mode = ejson.mode_of(request.headers.get(b"accept"), ejson.Mode.RELAXED)
        try:
            form = format_for(kind, mode, columns)
        except InvalidParameter as error:
            raise mistake("fields", error.message) from None
        documents: DocumentStream = (await inside.run(Scan.of(query))).documents
        return file_reply(
            documents, form, kind, given.collection_name, lambda error: cube_envelope(error, request).body
        )

    return data_routes("GET", "export_data", export, EXPORT)


async def _columns(inside: Inside, query: Find) -> list[str]:
    """The names of all fields in the documents of ``query``: the declared ones first, then the others by name."""
    pipeline: list[Document] = [
        {"$match": query.filter},
        *([] if query.projection is None else [{"$project": query.projection}]),
        {"$project": {"f": {"$objectToArray": "$$ROOT"}}},
        {"$unwind": "$f"},
        {"$group": {"_id": "$f.k"}},
        {"$sort": {"_id": 1}},
        {"$limit": MOST_COLUMNS + 1},
    ]
    found = await inside.run(Aggregate(namespace=query.namespace, pipeline=pipeline))
    names = [str(one["_id"]) for one in found.documents.decode()]
    if len(names) > MOST_COLUMNS:
        raise mistake("fields", f"The documents have more than {MOST_COLUMNS} fields; name the columns.")
    odd = next((name for name in names if "." in name or not name), None)
    if odd is not None:
        raise mistake("fields", f"A document has a field named {odd[:100]!r}, which is no column; name the columns.")
    declared = [field["name"] for field in inside.known(query.namespace.collection)["fields"]]
    first = [name for name in ("_id", *declared) if name in names]
    return [*first, *(name for name in names if name not in first)]
