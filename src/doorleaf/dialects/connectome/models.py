"""What the Connectome dialect takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, RootModel, with_config
from typing_extensions import TypedDict

from doorleaf.dialects.bodies import Body, Flag, MaybeObject, Object, Query, optional
from doorleaf.dialects.problems import OPEN
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter
from doorleaf.operations.fields import count

SEARCH = "search query"
SEARCHES = (SEARCH, "search_query", "searchQuery", "query", "filter")
"""What an update may call its query; the first is the documented name."""

Count = Annotated[int | None, optional(count, Annotated[int, Field(ge=0)])]


class ReadWithQuery(Body):
    query: Annotated[MaybeObject, Field(description="Which documents; all without this.")] = None
    project: Annotated[MaybeObject, Field(description="Which fields, such as `{title: 1}`; all without this.")] = None
    sort: Annotated[MaybeObject, Field(description="The order, such as `{amount: 1}`.")] = None
    limit: Annotated[Count, Field(description="Most documents to answer; 0 and absent are no limit.")] = None
    skip: Annotated[Count, Field(description="How many documents to pass over.")] = None


class UpdateWithUpsert(Body):
    search: Annotated[Object, Field(alias=SEARCH, description="Which documents.")]
    data: Annotated[Object, Field(description="Fields to set, or update operators; other fields stay as they are.")]
    upsert: Annotated[Flag, Field(description="Insert a document where none matches.")] = None
    multi: Annotated[Flag, Field(description="Whether all matching documents change, as without this, or one.")] = None

    @classmethod
    def of(cls, body: Document) -> UpdateWithUpsert:
        """Read ``body``, which may call the query by any of :data:`SEARCHES`, and by one only."""
        named = [name for name in SEARCHES if name in body]
        if len(named) > 1:
            raise InvalidParameter(f"{named[1]}: is another name of {named[0]!r}; give one of them")
        return cls.read({SEARCH if name in SEARCHES else name: value for name, value in body.items()})


class DocumentsToWrite(RootModel[list[dict[str, Any]]]):
    """The documents, in their order."""


class DocumentToWrite(RootModel[dict[str, Any]]):
    """One document."""


class MatchQuery(RootModel[dict[str, Any]]):
    """Which documents."""


def _all(value: Any, name: str) -> Any:
    if value != "all":
        raise InvalidParameter(f"{name}: expected all")
    return value


class DeleteQuery(Query):
    confirm: Annotated[
        str | None, optional(_all, Literal["all"]), Field(description="`all` lets the query be empty.")
    ] = None


class NoQuery(Query):
    """Routes that take no parameters."""


class ConnectomeUpdated(TypedDict):
    success: Literal[True]
    matched: int
    modified: int
    upserted: Literal[0, 1]
    upserted_id: Annotated[Any, Field(description="The `_id` of the document that was inserted, or null.")]


class ConnectomeInserted(TypedDict):
    success: Literal[True]
    inserted: int
    inserted_ids: list[Any]


class ConnectomeWritten(TypedDict):
    success: Literal[True]
    inserted: Literal[1]
    inserted_id: Any


class ConnectomeDeleted(TypedDict):
    success: Literal[True]
    deleted: int


@with_config(OPEN)
class ConnectomeError(TypedDict):
    """An error of the Connectome dialect."""

    success: Literal[False]
    error: Annotated[str, Field(description="What is wrong, for programs.")]
    message: Annotated[str, Field(description="What is wrong, for people.")]
    inserted: NotRequired[Annotated[int, Field(description="How many documents of a batch were put in before.")]]
