"""Queries and pipelines that people save in the console: each caller's own, for whatever browser they sign in with."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Dialect, Request
from doorleaf.dialects.bodies import Body, NonEmpty, Text, required
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document
from doorleaf.errors import InvalidParameter, PermissionDenied
from doorleaf.operations.fields import unicode_text, wrong

PATH = "/api/console/v1/saved"
KINDS = ("query", "pipeline")
LONGEST_NAME = 100
LONGEST_ASKED = 8 * 1024
"""Characters."""


class Keeper(Protocol):
    """Who keeps what callers save; see :class:`doorleaf.access.saved.SavedQueries`."""

    async def listed(self, owner: str) -> list[Any]: ...

    async def save(self, owner: str, one: Document) -> Document: ...

    async def delete(self, owner: str, identifier: str) -> None: ...


def _kind(value: Any, name: str) -> str:
    if value not in KINDS:
        raise InvalidParameter(f"{name}: expected {' or '.join(KINDS)}")
    return str(value)


def _name(value: Any, name: str) -> str:
    if type(value) is not str or not 0 < len(value) <= LONGEST_NAME:
        raise wrong(name, f"a text of 1 to {LONGEST_NAME} characters", value)
    return unicode_text(value, name)


def _asked(value: Any, name: str) -> str:
    if type(value) is not str or len(value) > LONGEST_ASKED:
        raise wrong(name, f"a text of at most {LONGEST_ASKED} characters", value)
    return unicode_text(value, name)


class SavedRequest(Body):
    """A query or a pipeline, for a collection."""

    kind: Annotated[str, required(_kind, Literal["query", "pipeline"]), Field(description="What is saved.")]
    name: Annotated[str, required(_name, NonEmpty), Field(description=f"1 to {LONGEST_NAME} characters.")]
    dataSource: Text
    database: Text
    collection: Text
    asked: Annotated[
        str,
        required(_asked, str),
        Field(description=f"The view's parameters, as its address has them; at most {LONGEST_ASKED} characters."),
    ]


class Saved(TypedDict):
    id: str
    kind: Literal["query", "pipeline"]
    name: str
    dataSource: str
    database: str
    collection: str
    asked: str


class SavedList(TypedDict):
    saved: Annotated[list[Saved], Field(description="All that the caller saved, by name.")]


_about = partial(About, tag="Console")
_LIST = _about(summary="List the queries and pipelines that the caller saved", gives=Gives(content=SavedList))
_SAVE = _about(
    summary="Save a query or a pipeline of a collection, in place of one of the same name",
    takes=SavedRequest,
    example={
        "kind": "query",
        "name": "open orders",
        "dataSource": "default",
        "database": "shop",
        "collection": "orders",
        "asked": "filter=%7B+status%3A+%27open%27+%7D",
    },
    gives=Gives(content=Saved, description="What was saved."),
    refuses=("PermissionDenied",),
)
_DELETE = _about(
    summary="Forget a saved query or pipeline",
    gives=Gives(status=204, description="Forgotten."),
    refuses=("NotFound", "PermissionDenied"),
)


def saved(keeper: Keeper) -> Dialect:
    """The dialect of what callers of the console save. Anonymous users may not: everybody can become one."""

    async def listed(request: Request, given: None) -> SavedList:
        return {"saved": await keeper.listed(request.caller.identity.id)}

    async def save(request: Request, given: SavedRequest) -> Document:
        return await keeper.save(_owner(request), given.model_dump())

    async def delete(request: Request, given: None) -> None:
        await keeper.delete(_owner(request), request.params["id"])

    return Dialect(
        "saved",
        (
            handled("GET", PATH, "consoleListSaved", listed, _LIST),
            handled("PUT", PATH, "consoleSave", save, _SAVE),
            handled("DELETE", f"{PATH}/{{id}}", "consoleForget", delete, _DELETE),
        ),
    )


def _owner(request: Request) -> str:
    """Whose what is saved is. PermissionDenied for those who stand for nobody in particular."""
    identity = request.caller.identity
    if identity.provider == "anon-user" or identity.tenancy is not None:
        raise PermissionDenied("anonymous users and callers of a workspace save nothing on the server")
    return identity.id
