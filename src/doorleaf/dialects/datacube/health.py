"""Whether the DataCube API is there, for clients that ask it so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.datacube.handling import PREFIXES, public


class CubeHealth(TypedDict):
    success: Literal[True]
    message: str
    status: Literal["healthy"]
    timestamp: Annotated[str, Field(description="Now, in ISO 8601.")]


HEALTH = About(
    name="cubeHealth",
    tag="DataCube databases",
    summary="Whether the server is there",
    gives=Gives(content=CubeHealth, description="It is."),
    security=({},),
    stores=False,
)


def health_routes() -> list[Route]:
    """The routes that say so; `/readyz` says whether there is a database too."""

    async def healthy(request: Request, given: None) -> CubeHealth:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"success": True, "message": "Server is up", "status": "healthy", "timestamp": now}

    paths = ("/health_check", *(f"{prefix}/health_check" for prefix in PREFIXES))
    return [public(path, healthy, HEALTH, method="GET", counts=False) for path in paths]
