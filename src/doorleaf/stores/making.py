"""From settings to stores. An engine is imported where a data source is of its kind."""

from __future__ import annotations

import sys
from typing import Any

from doorleaf.errors import StoreUnavailable
from doorleaf.settings.model import Settings
from doorleaf.settings.sources import DataSource
from doorleaf.stores.base import Store
from doorleaf.stores.router import Router

_MISSING: Any = None
"""What an import of a module that is said to be missing finds in ``sys.modules``."""


def make_router(settings: Settings) -> Router:
    """All data sources of ``settings`` as one store, not yet open."""
    stores = {name: make_store(source, settings) for name, source in settings.sources.items()}
    return Router(stores, settings.default_source, most_feeds=settings.max_streams)


def system_router(settings: Settings, *, makes: bool) -> Router:
    """The data source that knows the callers, alone; StoreUnavailable where there is none and none may be made."""
    name = settings.default_source
    source = settings.sources[name]
    if not makes:
        require_database(settings)
    return Router({name: make_store(source, settings)}, name)


def require_database(settings: Settings) -> None:
    """Raise StoreUnavailable where the default data source is an embedded database that is not there."""
    source = settings.sources[settings.default_source]
    if source.data_dir is not None:
        from doorleaf.stores.embedded.file.storage import FILE

        if not (source.data_dir / FILE).exists():
            folder = source.data_dir.absolute()  # what a relative path means depends on where one is
            raise StoreUnavailable(f"there is no database in {folder}; data_dir is the server's data folder")


def make_store(source: DataSource, settings: Settings) -> Store:
    """The store of one data source."""
    if source.uri is not None:
        # PyOpenSSL is for the driver's synchronous client alone, and looking for it would load cryptography, 10 MB.
        sys.modules.setdefault("pymongo.pyopenssl_context", _MISSING)
        from doorleaf.stores.mongo import MongoStore

        return MongoStore(source.uri.get_secret_value(), lanes=settings.mongodb_lanes)
    from doorleaf.stores.embedded.store import EmbeddedStore

    assert source.data_dir is not None  # noqa: S101  # the settings see to it that it is one or the other
    return EmbeddedStore(source.data_dir, synchronous=settings.synchronous, system_database=settings.system_database)
