"""What the DataCube API takes and gives: databases, collections and documents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationInfo
from typing_extensions import TypedDict

from doorleaf.dialects.datacube.models import (
    CubeBody,
    CubeQuery,
    Filled,
    Name,
    Text,
    mistake,
    mistake_at,
)
from doorleaf.documents import Document
from doorleaf.operations.fields import described

MOST_ON_PAGE = 1_000
MOST_PAGES = 1_000_000_000


def _flag(value: Any, info: ValidationInfo) -> bool | None:
    found = {"true": True, "false": False}.get(value.lower(), value) if type(value) is str else value
    if found is not None and type(found) is not bool:
        raise mistake(info.field_name or "", f"Expected true or false, got {described(value)}.")
    return found


def _number(least: int, most: int) -> PlainValidator:
    def check(value: Any, info: ValidationInfo) -> int | None:
        if value is None:
            return None
        text = value if type(value) is str else str(value) if type(value) is int else ""
        if not text.isascii() or not text.isdigit() or len(text) > 12 or not least <= int(text) <= most:
            raise mistake(info.field_name or "", f"Expected a whole number from {least} to {most}.")
        return int(text)

    return PlainValidator(check, json_schema_input_type=Annotated[int, Field(ge=least, le=most)] | None)


def _documents(value: Any, info: ValidationInfo) -> list[Document] | None:
    if value is None:
        return None
    name = info.field_name or ""
    listed = [value] if type(value) is dict else value
    if type(listed) is not list or not listed:
        raise mistake(name, f"Expected a list of one object or more, got {described(value)}.")
    for place, one in enumerate(listed):
        if type(one) is not dict:
            raise mistake_at(f"{name}[{place}]", f"Expected an object, got {described(one)}.")
    return listed


def _names(value: Any, info: ValidationInfo) -> list[str]:
    if value is None:
        raise CubeBody.missing(info.field_name or "")
    listed = value.split(",") if type(value) is str else value
    if type(listed) is not list or not listed or not all(type(one) is str and one for one in listed):
        raise mistake(info.field_name or "", "Expected a list of one name or more.")
    return list(dict.fromkeys(listed))


def _object(value: Any, info: ValidationInfo) -> Document:
    if value is None:
        raise CubeBody.missing(info.field_name or "")
    if type(value) is not dict:
        raise mistake(info.field_name or "", f"Expected an object, got {described(value)}.")
    return value


Flag = Annotated[bool | None, PlainValidator(_flag, json_schema_input_type=bool | None)]
Page = Annotated[int | None, _number(1, MOST_PAGES)]
PageSize = Annotated[int | None, _number(1, MOST_ON_PAGE)]
Limit = Annotated[int | None, _number(0, MOST_ON_PAGE)]
Offset = Annotated[int | None, _number(0, MOST_PAGES)]
Documents = Annotated[
    list[Document] | None,
    PlainValidator(_documents, json_schema_input_type=list[dict[str, Any]] | dict[str, Any] | None),
]
Names = Annotated[list[str], PlainValidator(_names, json_schema_input_type=list[Filled])]
Object = Annotated[Document, PlainValidator(_object, json_schema_input_type=dict[str, Any])]
Anything = Annotated[Any, PlainValidator(lambda value: value, json_schema_input_type=Any)]
Filters = Annotated[Any, PlainValidator(lambda value: value, json_schema_input_type=dict[str, Any] | str)]
Collections = Annotated[
    Any, PlainValidator(lambda value: value, json_schema_input_type=list[dict[str, Any] | str] | None)
]


class CubeOfDatabase(CubeQuery):
    database_id: Text


class CubeMetadataQuery(CubeOfDatabase):
    collection_name: Annotated[Text | None, Field(description="The only collection to tell of.")] = None


class CubeDatabasesQuery(CubeQuery):
    page: Page = None
    page_size: PageSize = None
    search: Annotated[str, PlainValidator(lambda value: str(value)[:100], json_schema_input_type=str)] = ""


class CubeNewDatabase(CubeBody):
    db_name: Name
    collections: Collections = None


class CubeNewCollections(CubeBody):
    database_id: Text
    collections: Collections


class CubeDatabaseDrop(CubeBody):
    database_id: Text
    confirmation: Annotated[Text, Field(description="The database's name.")]


class CubeCollectionsDrop(CubeBody):
    database_id: Text
    collection_names: Names


class CubeOfCollection(CubeBody):
    database_id: Text
    collection_name: Text


class CubeInsert(CubeOfCollection):
    """Documents in ``data`` or in ``documents``."""

    data: Documents = None
    documents: Documents = None


class CubeRead(CubeQuery):
    database_id: Text
    collection_name: Text
    filters: Annotated[str | None, Field(description="A filter as JSON.")] = None
    filter: Annotated[str | None, Field(description="Another name of `filters`.")] = None
    page: Page = None
    page_size: PageSize = None
    limit: Limit = None
    offset: Offset = None
    sort: Annotated[str | None, Field(description="Fields and directions as JSON.")] = None
    projection: Annotated[str | None, Field(description="Fields to include or exclude, as JSON.")] = None
    include_deleted: Flag = None


class CubeUpdate(CubeOfCollection):
    filters: Filters
    update_data: Object
    update_many: Flag = None
    update_all_fields: Flag = None
    upsert: Flag = None


class CubeDelete(CubeOfCollection):
    filters: Filters
    soft_delete: Flag = None
    hard: Flag = None


class CubeRestore(CubeOfCollection):
    filters: Filters


# --- answers ---------------------------------------------------------------------------------------------------------


class CubePagination(TypedDict, total=False):
    page: int
    page_size: int
    total_items: int
    total_pages: int
    limit: int
    offset: int


class CubeNamed(TypedDict):
    id: str
    name: str


class CubeDatabase(CubeNamed):
    num_collections: int


class CubeMade(TypedDict):
    success: Literal[True]
    database: CubeNamed
    collections: list[dict[str, Any]]


class CubeDatabases(TypedDict):
    success: Literal[True]
    data: list[CubeDatabase]
    pagination: CubePagination


class CubeMetadata(TypedDict):
    success: Literal[True]
    data: dict[str, Any]


class CubeCollections(TypedDict):
    success: Literal[True]
    collections: list[dict[str, Any]]


class CubeDone(TypedDict):
    success: Literal[True]
    message: str


class CubeDropped(TypedDict):
    success: Literal[True]
    dropped_collections: list[str]
    dropped: list[str]


class CubeInserted(TypedDict):
    success: Literal[True]
    inserted_ids: list[Any]


class CubeFound(TypedDict):
    success: Literal[True]
    data: list[dict[str, Any]]
    pagination: CubePagination


class CubeUpdated(TypedDict, total=False):
    success: Literal[True]
    modified_count: int
    matched_count: int
    upserted_id: Any


class CubeDeleted(TypedDict):
    success: Literal[True]
    count: int
    deleted_count: int


class CubeRestored(TypedDict):
    success: Literal[True]
    count: int
    restored_count: int


class CubeImported(TypedDict, total=False):
    """The outcome of an import: ``rejected`` has the first hundred rows that were refused, with their lines and why."""

    success: bool
    collection: str
    inserted_count: int
    present_count: int
    rejected_count: int
    rejected: list[dict[str, Any]]
    message: str
