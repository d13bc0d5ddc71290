"""The DataCube API: who registers owns databases, and reaches them by tokens and by API keys of their own."""

from __future__ import annotations

from pathlib import Path

from doorleaf.dialects.base import Dialect
from doorleaf.dialects.datacube.accounts import People, account_routes
from doorleaf.dialects.datacube.crud import document_routes
from doorleaf.dialects.datacube.databases import database_routes
from doorleaf.dialects.datacube.errors import CubeError, cube_envelope
from doorleaf.dialects.datacube.exporting import export_routes
from doorleaf.dialects.datacube.handling import credentials
from doorleaf.dialects.datacube.health import health_routes
from doorleaf.dialects.datacube.importing import Reports, import_routes
from doorleaf.dialects.datacube.keys import UserKeys, key_routes
from doorleaf.dialects.datacube.ownership import Cubes


def datacube(people: People, keys: UserKeys, cubes: Cubes, reports: Reports, folder: Path) -> Dialect:
    """The dialect of ``people``, their ``keys`` and their databases, ``cubes``; files that come are in ``folder`` until
    they are imported, and ``reports`` keeps what became of them."""
    routes = (
        *account_routes(people),
        *key_routes(keys, cubes.databases),
        *database_routes(cubes),
        *document_routes(cubes),
        *import_routes(cubes, reports, folder),
        *export_routes(cubes),
        *health_routes(),
    )
    return Dialect(
        "datacube",
        routes,
        credentials=credentials,
        error=cube_envelope,
        security=({"bearer": []}, {"cubeKey": []}),
        problem=CubeError,
        only_json=True,
    )
