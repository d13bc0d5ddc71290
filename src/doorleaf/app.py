"""The composition root: settings → stores → access → dialects → the ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from typing import Any

import orjson

from doorleaf import console, openapi
from doorleaf.access.admission import SourceName, admission_of
from doorleaf.access.asking import Explainer
from doorleaf.access.guards import Guards
from doorleaf.access.identity import Authenticator
from doorleaf.access.request import described
from doorleaf.access.rules.load import load_rules
from doorleaf.access.scopes import Scopes
from doorleaf.access.system_store import SystemStore
from doorleaf.dialects.actions import actions
from doorleaf.dialects.admin import admin
from doorleaf.dialects.auth import auth
from doorleaf.dialects.base import Dialect
from doorleaf.dialects.client import client
from doorleaf.dialects.client_auth import Self
from doorleaf.dialects.decode import DefaultDatabase
from doorleaf.dialects.site import site
from doorleaf.http import Endpoint
from doorleaf.observability import Metrics, log_answers
from doorleaf.service import Bounds, DataService
from doorleaf.settings import DataSource, Settings
from doorleaf.stores.base import Store
from doorleaf.stores.embedded.store import EmbeddedStore
from doorleaf.stores.mongo import MongoStore
from doorleaf.stores.router import Router


def build(settings: Settings, *, announce: Callable[[str], None] | None = None) -> Endpoint:
    """The application for ``settings``; it opens its databases when the server starts it.

    ``announce`` is given the text of the first key, if this process is the one that makes it.
    """
    router = make_router(settings)
    guards = Guards(
        system_database=settings.system_database,
        allow_output_stages=settings.allow_output_stages,
        run_command_allow=settings.run_command_allow,
        refuse_stages=settings.refuse_stages,
        allow_stages=settings.allow_stages,
        refuse_operators=settings.refuse_operators,
    )
    bounds = Bounds(
        default_max_time_ms=settings.default_max_time_ms,
        max_time_ms=settings.max_time_ms_cap,
        default_limit=settings.default_limit,
        max_documents=settings.max_documents,
        max_result_bytes=settings.max_result_bytes,
        max_scan_documents=settings.max_scan_documents,
    )
    admission = admission_of(settings, SystemStore(router, settings.system_database), _source_name(settings))
    rules = load_rules(settings, described)
    scopes = Scopes(default_source=settings.default_source, aliases=_aliases(settings), sources=settings.sources)
    service = DataService(router, guards, bounds, rules, admission, scopes)
    authenticator = Authenticator(
        settings, router, announce=announce, audit=admission.audit, admit_login=admission.log_in
    )
    metrics = Metrics()

    async def startup() -> None:
        await router.open()
        await admission.start()
        await authenticator.start()

    async def shutdown() -> None:
        await authenticator.stop()
        await admission.stop()
        await router.close()

    default_database = _default_database(settings, router)
    directory = authenticator.directory
    dialects = (
        actions(
            default_database=default_database,
            app_ids=settings.app_ids,
            insert_status=settings.insert_status,
        ),
        auth(authenticator, app_ids=settings.app_ids),
        client(
            Self(
                accounts=directory.accounts,
                keys=directory.user_keys,
                delete_user=directory.delete,
                owner=authenticator.holder,
                admit=authenticator.admit,
                providers=settings.providers,
            ),
            source_name=_source_name(settings),
            default_database=default_database,
            app_ids=settings.app_ids,
            public_url=settings.public_url,
            max_documents=settings.max_documents,
        ),
        admin(
            directory,
            explain=Explainer(rules, directory, service.check),
            default_database=default_database,
            audit=admission.audit,
        ),
        site(
            ready=service.ping,
            metrics=metrics.exposition,
            metrics_type=metrics.content_type,
            openapi=cache(lambda: orjson.dumps(_document(settings))),
            assets=console.assets(),
            home="/docs",
        ),
    )
    return Endpoint(
        dialects=tuple(_telling_surface(dialect, settings.run_as) for dialect in dialects),
        service=service,
        authenticator=authenticator,
        observers=(metrics, log_answers(every=settings.access_log)),
        startup=startup,
        shutdown=shutdown,
        max_body_bytes=settings.max_body_bytes,
        max_streams=settings.max_streams,
        origins=settings.cors_origins,
        admission=admission,
    )


def _document(settings: Settings) -> dict[str, Any]:
    return openapi.document(
        insert_status=settings.insert_status,
        max_documents=settings.max_documents,
        max_time_ms=settings.max_time_ms_cap,
    )


def make_router(settings: Settings) -> Router:
    """All data sources of ``settings`` as one store, not yet open."""
    stores = {name: _store(source, settings) for name, source in settings.sources.items()}
    return Router(stores, settings.default_source, _aliases(settings))


def _aliases(settings: Settings) -> dict[str, str]:
    return {alias: name for name, source in settings.sources.items() for alias in source.aliases}


def _telling_surface(dialect: Dialect, surfaces: Collection[str]) -> Dialect:
    """``dialect`` with its name in the credentials it reads, if it is one of ``surfaces``."""
    if dialect.name not in surfaces:
        return dialect
    return replace(dialect, credentials=lambda request: replace(dialect.credentials(request), surface=dialect.name))


def _store(source: DataSource, settings: Settings) -> Store:
    if source.uri is not None:
        return MongoStore(source.uri.get_secret_value())
    assert source.data_dir is not None  # noqa: S101  # the settings see to it that it is one or the other
    return EmbeddedStore(source.data_dir, synchronous=settings.synchronous)


def _source_name(settings: Settings) -> SourceName:
    names = {alias: name for name, source in settings.sources.items() for alias in (name, *source.aliases)}

    def source_name(data_source: str | None) -> str | None:
        if data_source is None or len(settings.sources) == 1:
            return settings.default_source
        return names.get(data_source)

    return source_name


def _default_database(settings: Settings, router: Router) -> DefaultDatabase:
    names = {alias: name for name, source in settings.sources.items() for alias in (name, *source.aliases)}

    def default_database(data_source: str | None) -> str | None:
        router.store(data_source)
        return settings.database_of(names.get(data_source or "", settings.default_source))

    return default_database
