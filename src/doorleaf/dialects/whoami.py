"""Who a caller is here, and which data sources a request of theirs may name: what programs for people ask first."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf import __version__
from doorleaf.access.callers import Caller
from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Dialect, Request
from doorleaf.dialects.handling import handled
from doorleaf.operations.places import Places

PATH = "/whoami"


class WhoCaller(TypedDict):
    id: str
    type: Annotated[Literal["normal", "server", "system"], Field(description="`server` is an API key's.")]
    provider: Annotated[str, Field(description="What the caller has shown.")]
    key: NotRequired[Annotated[str, Field(description="The name of the API key.")]]
    data: Annotated[dict[str, Any], Field(description="What the provider knows of the user, such as `email`.")]
    administrator: Annotated[bool, Field(description="Whether rules do not judge the caller.")]
    manages: Annotated[bool, Field(description="Whether the caller may use `/api/admin/v1`.")]


class WhoDataSource(TypedDict):
    name: str
    default: Annotated[bool, Field(description="Whether it is meant by requests that name none.")]
    database: NotRequired[Annotated[str, Field(description="The database of requests that name none.")]]


class Who(TypedDict):
    caller: WhoCaller
    dataSources: Annotated[list[WhoDataSource], Field(description="Those that the caller's key is not kept from.")]
    version: Annotated[str, Field(description="The server's.")]
    datacube: Annotated[bool, Field(description="Whether the caller may own databases of the DataCube API.")]
    maxDocuments: Annotated[int, Field(description="How many documents one answer may have.")]


_WHO = About(
    summary="Who the caller is, and the data sources",
    tag="Server",
    gives=Gives(content=Who, description="The caller and the data sources that requests may name."),
    stores=False,
)


def whoami(places: Places, *, datacube: bool, max_documents: int) -> Dialect:
    """The dialect of one route that tells callers about themselves; ``datacube`` is whether that API is there,
    ``max_documents`` what one answer may have."""

    async def act(request: Request, given: None) -> Who:
        caller = request.caller
        owns = datacube and caller.identity.kind == "normal"
        return {
            "caller": _told(caller),
            "dataSources": _sources(caller, places),
            "version": __version__,
            "datacube": owns,
            "maxDocuments": max_documents,
        }

    return Dialect("whoami", (handled("GET", PATH, "whoami", act, _WHO),))


def _told(caller: Caller) -> WhoCaller:
    identity = caller.identity
    told: WhoCaller = {
        "id": identity.id,
        "type": identity.kind,
        "provider": identity.provider,
        "data": dict(identity.data),
        "administrator": identity.admin,
        "manages": identity.administers,
    }
    if identity.key_name is not None:
        told["key"] = identity.key_name
    return told


def _sources(caller: Caller, places: Places) -> list[WhoDataSource]:
    if caller.identity.tenancy is not None:  # who stands in a workspace names no data source
        return []
    scope = caller.identity.scope
    limited = None if scope is None else scope.data_sources
    allowed = None if limited is None else {places.own(name) for name in limited}
    told: list[WhoDataSource] = []
    for name, database in places.databases.items():
        if allowed is None or name in allowed:
            source: WhoDataSource = {"name": name, "default": name == places.default}
            told.append(source if database is None else {**source, "database": database})
    return told
