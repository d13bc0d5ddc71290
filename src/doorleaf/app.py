"""The composition root: settings → stores → access → dialects → the ASGI application."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from doorleaf import __version__, console
from doorleaf.access.asking import Explainer
from doorleaf.access.audit import AuditTrail
from doorleaf.access.guards.checks import Guards
from doorleaf.access.guards.scopes import Scopes
from doorleaf.access.identity.authenticator import Authenticator
from doorleaf.access.identity.providers.table import FORMS
from doorleaf.access.limits.admission import Admission, admission_of
from doorleaf.access.rules.load import load_rules
from doorleaf.access.rules.permit import WriteCheck
from doorleaf.access.rules.roles import parse_rules
from doorleaf.access.rules.ruleset import Rules
from doorleaf.access.system_store import SystemStore
from doorleaf.access.workspaces.metering import Metering
from doorleaf.dialects.actions import Admit, actions
from doorleaf.dialects.admin.dialect import Server, admin
from doorleaf.dialects.auth import auth
from doorleaf.dialects.base import Dialect
from doorleaf.dialects.client.auth import Self
from doorleaf.dialects.client.dialect import client
from doorleaf.dialects.connectome.dialect import connectome
from doorleaf.dialects.console import console as console_sessions
from doorleaf.dialects.downloads import downloads
from doorleaf.dialects.saved import saved
from doorleaf.dialects.site import site
from doorleaf.dialects.whoami import whoami
from doorleaf.dialects.workspaces.dialect import workspaces
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import NotFound
from doorleaf.http import Endpoint
from doorleaf.http.bounds import ConnectionBounds
from doorleaf.lately import Lately, Pulse
from doorleaf.metrics import COUNT_SECONDS, REFRESH_SECONDS, Load, Metrics
from doorleaf.observability import log_answer
from doorleaf.service import Bounds, DataService
from doorleaf.settings.model import Settings
from doorleaf.settings.show import shown
from doorleaf.stores.making import make_router
from doorleaf.stores.router import Router

if TYPE_CHECKING:
    from doorleaf.functions.runtime import Functions
    from doorleaf.functions.triggers.running import Triggers

SWITCH_SECONDS = 0.001
"""After so long a thread that computes lets others have the interpreter: the event loop waits for no more than that."""


def build(
    settings: Settings, *, announce: Callable[[str], None] | None = None, metrics: Metrics | None = None
) -> Endpoint:
    """The application for ``settings``; it opens its databases when the server starts it.

    ``announce`` is given the text of the first key, if this process is the one that makes it. ``metrics`` count on.
    """
    parts = _parts(settings, announce, metrics)
    admission, authenticator, service, functions = parts.admission, parts.authenticator, parts.service, parts.functions
    life = _Life(settings, parts)
    explain = Explainer(parts.rules, authenticator.directory, service.check)
    lately, ready = Lately(), _readiness(parts)
    server = _server(
        settings,
        parts,
        Pulse(parts.metrics, lately, ready=ready, name_of=authenticator.directory.name_of, workers=settings.workers),
    )
    workspaced = authenticator.directory.workspaces
    served = () if functions is None else (_endpoints(settings, functions, admission),)
    cubes = (_datacube(settings, parts),) if settings.datacube else ()
    dialects = (
        *_dialects(settings, parts, explain, server),
        workspaces(service.execute, workspaced, authenticator.identify),
        *served,
        *cubes,
        _site(settings, ready, parts.metrics, lambda: endpoint.dialects, functions),
    )
    endpoint = Endpoint(
        dialects=dialects,
        service=service,
        authenticator=authenticator,
        observers=(parts.metrics, lately, *([log_answer] if settings.access_log else [])),
        of_failures=() if settings.access_log else (log_answer,),
        startup=lambda: life.start(endpoint),
        shutdown=life.stop,
        max_body_bytes=settings.max_body_bytes,
        body_memory=settings.body_memory_mb * 1024 * 1024,
        max_streams=settings.max_streams,
        origins=settings.cors_origins,
        admission=admission,
        bounds=ConnectionBounds.of(settings),
    )
    return endpoint


@dataclass(frozen=True, slots=True)
class _Parts:
    """What an application is made of, apart from its dialects."""

    router: Router
    admission: Admission
    rules: Rules
    service: DataService
    authenticator: Authenticator
    metrics: Metrics
    functions: Functions | None = None
    triggers: Triggers | None = None


def _parts(settings: Settings, announce: Callable[[str], None] | None, metrics: Metrics | None) -> _Parts:
    router = make_router(settings)
    if "embedded" in _engines(settings):
        from doorleaf.stores.embedded.processes.forking import FORKS  # the engine is for whom it serves

        FORKS.preload([WriteCheck.__module__])  # what judges a write by the rules travels to where it is carried out
    system = SystemStore(router, settings.system_database)
    admission = admission_of(settings, system)
    rules = load_rules(settings)
    authenticator = Authenticator(
        settings,
        router,
        announce=announce,
        audit=admission.audit,
        mistakes=admission.mistakes,
        admit_key=admission.log_in_by_key,
    )
    subscriptions = authenticator.directory.workspaces.subscriptions
    inside = (Scopes(settings.places), Metering(system), subscriptions)
    service = DataService(router, _guards(settings), _bounds(settings), rules, admission, *inside)
    metrics = metrics or Metrics()
    router.observe = metrics.operated
    parts = _Parts(router, admission, rules, service, authenticator, metrics)
    return parts if settings.app is None and not rules.calls else _with_functions(settings, parts)


def _with_functions(settings: Settings, parts: _Parts) -> _Parts:
    from doorleaf.functions.making import make_functions, make_triggers  # megabytes that no server without an app needs

    audit = parts.admission.audit
    functions = make_functions(settings, parts.service, parts.authenticator, parts.rules, parts.metrics, audit)
    triggers = make_triggers(settings, functions, parts.authenticator, parts.metrics, audit)
    return replace(parts, functions=functions, triggers=triggers)


async def run_function(settings: Settings, name: str, arguments: list[Any], user: str | None) -> Any:
    """Call a function of the app with ``arguments`` (BSON values) outside of any server, as the system or as ``user``,
    a user's id; returns what it answers. Raises DoorleafError."""
    parts = _parts(settings, None, None)
    if parts.functions is None:
        raise NotFound("there is no app", code="FunctionNotFound")
    await parts.router.open()
    try:
        if user is not None:
            await parts.authenticator.directory.reload()
        await parts.functions.start(watches=False)
        identity = await parts.authenticator.acting(None, user or "system")
        return await parts.functions.run(name, arguments, identity)
    finally:
        await parts.functions.stop()
        await parts.router.close()


class _Life:
    """Starts the parts of an application in order, and stops them the other way round."""

    def __init__(self, settings: Settings, parts: _Parts) -> None:
        self._settings = settings
        self._parts = parts
        self._fresh: asyncio.Task[None] | None = None

    async def start(self, endpoint: Endpoint) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        parts, metrics = self._parts, self._parts.metrics
        await parts.router.open()
        await parts.admission.start()
        await parts.authenticator.start()
        if why := self._settings.nobody_logs_in:
            logging.getLogger("doorleaf").error("not in service: %s", why)
        if parts.functions is not None:
            await parts.functions.start()
        if parts.triggers is not None:
            await parts.triggers.start()
        metrics.watch(lambda: Load(endpoint.in_flight, endpoint.streams, parts.router.pools()))
        metrics.built(version=__version__, sqlite=_sqlite(self._settings), engine=_engines(self._settings))
        self._fresh = asyncio.create_task(_keep_fresh(metrics), name="metrics")

    async def stop(self) -> None:
        parts = self._parts
        if self._fresh is not None:
            self._fresh.cancel()
            parts.metrics.write()
        if parts.triggers is not None:
            await parts.triggers.stop()
        if parts.functions is not None:
            await parts.functions.stop()
        await parts.authenticator.stop()
        await parts.admission.stop()
        await parts.router.close()


def _guards(settings: Settings) -> Guards:
    return Guards(
        system_database=settings.system_database,
        allow_output_stages=settings.allow_output_stages,
        run_command_allow=settings.run_command_allow,
        refuse_stages=settings.refuse_stages,
        allow_stages=settings.allow_stages,
        refuse_operators=settings.refuse_operators,
    )


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        default_max_time_ms=settings.default_max_time_ms,
        max_time_ms=settings.max_time_ms_cap,
        default_limit=settings.default_limit,
        max_documents=settings.max_documents,
        max_result_bytes=settings.max_result_bytes,
        max_scan_documents=settings.max_scan_documents,
    )


def _dialects(settings: Settings, parts: _Parts, explain: Explainer, server: Server) -> tuple[Dialect, ...]:
    """The dialects that data and callers are asked about in."""
    authenticator, directory, functions = parts.authenticator, parts.authenticator.directory, parts.functions
    admit = None if functions is None else _gate(functions, parts.admission)
    return (
        actions(
            places=settings.places,
            execute=parts.service.execute,
            app_ids=settings.app_ids,
            insert_status=settings.insert_status,
            plain=_plain(settings),
            silent=Mode.CANONICAL if settings.return_type == "EJSON" else Mode.PLAIN,
            admit=admit,
        ),
        auth(authenticator.logins, FORMS, app_ids=settings.app_ids),
        console_sessions(
            authenticator.logins,
            providers=settings.providers,
            opened=settings.insecure_no_auth,
            prefix=urlsplit(settings.public_url or "").path,
        ),
        client(
            _self(settings, parts),
            places=settings.places,
            app_ids=settings.app_ids,
            public_url=settings.public_url,
            max_documents=settings.max_documents,
            run=None if functions is None else functions.call,
        ),
        whoami(settings.places, datacube=settings.datacube, max_documents=settings.max_documents),
        saved(directory.saved),
        downloads(directory.downloads, parts.service.execute, settings.places, admit=admit),
        connectome(
            parts.service.execute,
            plain=_plain(settings),
            max_documents=settings.max_documents,
            pages=not settings.cors_origins,
        ),
        admin(
            directory,
            directory.workspaces,
            explain=explain,
            places=settings.places,
            audit=parts.admission.audit,
            server=server,
            app=functions,
            triggers=parts.triggers,
        ),
    )


def _self(settings: Settings, parts: _Parts) -> Self:
    """What users may do about themselves."""
    authenticator = parts.authenticator
    directory = authenticator.directory
    return Self(
        accounts=directory.accounts,
        keys=directory.user_keys,
        delete_user=directory.delete,
        owner=authenticator.logins.holder,
        admit_mail=parts.admission.send_mail,
        providers=settings.providers,
    )


def _datacube(settings: Settings, parts: _Parts) -> Dialect:
    """The dialect of accounts that own databases."""
    from doorleaf.access.datacube.reports import Reports  # all of it is for those who choose it
    from doorleaf.dialects.datacube.accounts import People
    from doorleaf.dialects.datacube.dialect import datacube
    from doorleaf.dialects.datacube.ownership import Cubes

    directory, by_code = parts.authenticator.directory, settings.reset_password_url is None
    logins, send_mail = parts.authenticator.logins, parts.admission.send_mail
    people = People(directory.accounts, logins, send_mail, directory.delete, by_code)
    cubes = Cubes(directory.owned.databases, parts.service.execute)
    return datacube(people, directory.user_keys, cubes, Reports(directory.system), settings.data_dir)


def _plain(settings: Settings) -> Mode:
    """How plain JSON is written."""
    return Mode.ATLAS if settings.plain_numbers == "atlas" else Mode.PLAIN


def _gate(functions: Functions, admission: Admission) -> Admit:
    """What refuses requests to actions, if the app may."""
    from doorleaf.functions.gate import Gate

    return Gate(functions, partial(admission.mistakes.refuse, "key")).admit


def _endpoints(settings: Settings, functions: Functions, admission: Admission) -> Dialect:
    """The dialect of the app's own endpoints."""
    from doorleaf.functions.endpoints import endpoints

    refuse = partial(admission.mistakes.refuse, "key")
    return endpoints(functions, app_ids=settings.app_ids, refuse=refuse, plain=_plain(settings))


def _server(settings: Settings, parts: _Parts, pulse: Pulse) -> Server:
    """What administrators are told of the server itself."""
    system = SystemStore(parts.router, settings.system_database)

    def effective() -> list[tuple[str, str, str, str]]:
        fields, origins = Settings.model_fields, settings.origins
        return [(name, shown(settings, name), origins[name], fields[name].description or "") for name in fields]

    def judge(rules: Document, schema: Document | None) -> list[str]:
        return [role.name for role in parse_rules(rules, "rules", schema).roles]

    return Server(
        pulse=pulse,
        trail=AuditTrail(system, kept=settings.audit_collection_days > 0),
        effective=effective,
        rules=parts.rules.written,
        judge=judge,
    )


Ready = Callable[[], Awaitable[dict[str, str]]]


def _readiness(parts: _Parts) -> Ready:
    """What raises when requests would fail, and answers what there is to say though they would not."""

    asking: asyncio.Task[str] | None = None

    async def ready() -> dict[str, str]:
        nonlocal asking
        if asking is None or asking.done():
            asking = asyncio.create_task(parts.service.ping())
        # However many ask, the database is asked once at a time: strangers may.
        note, ways = await asyncio.shield(asking), sorted(set(parts.router.ways().values()))
        parts.authenticator.upkeep.require_ready()
        return {name: text for name, text in (("note", note), ("mongodb", "; ".join(ways))) if text}

    return ready


def _site(
    settings: Settings,
    ready: Ready,
    metrics: Metrics,
    dialects: Callable[[], tuple[Dialect, ...]],
    functions: Functions | None,
) -> Dialect:
    """The dialect in which the server speaks about itself, and about all ``dialects``."""

    @lru_cache(maxsize=8)
    def document(prefix: str, own: Dialect | None) -> bytes:
        speaking = dialects() if own is None else (*dialects(), own)
        from doorleaf import openapi  # examples and all

        return orjson.dumps(openapi.document_of(settings, speaking, prefix))

    return site(
        ready=ready,
        metrics=metrics.exposition,
        metrics_type=metrics.content_type,
        openapi=lambda prefix: document(prefix, None if functions is None else functions.described),
        assets=console.assets(),
        home="/docs",
        prefix=urlsplit(settings.public_url or "").path,
    )


async def _keep_fresh(metrics: Metrics) -> None:
    """Let the other workers know how this one is."""
    while True:
        metrics.refresh()
        for _ in range(round(REFRESH_SECONDS / COUNT_SECONDS)):
            await asyncio.sleep(COUNT_SECONDS)
            metrics.write()


def _sqlite(settings: Settings) -> str:
    """The version of SQLite; "" where it serves nothing."""
    if "embedded" not in _engines(settings):
        return ""
    from doorleaf.stores.embedded.file.sqlite import version

    return version()


def _engines(settings: Settings) -> str:
    """The kinds of data sources there are: ``embedded``, ``mongodb``, or both."""
    return "+".join(sorted({"embedded" if source.uri is None else "mongodb" for source in settings.sources.values()}))
