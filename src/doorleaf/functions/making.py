"""From settings to functions and triggers: what they need of the service, the callers and the rules."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from doorleaf.access.callers import Caller, Identity, Tell, untold
from doorleaf.access.identity.authenticator import Authenticator
from doorleaf.access.identity.providers.custom_function import CustomFunction
from doorleaf.access.identity.providers.custom_token import CustomToken
from doorleaf.access.rules.expressions import RuleError
from doorleaf.access.rules.ruleset import Rules
from doorleaf.dialects.base import Request
from doorleaf.functions.database import Database
from doorleaf.functions.runtime import Functions
from doorleaf.functions.secrets import Secrets
from doorleaf.functions.triggers.records import Records
from doorleaf.functions.triggers.running import Triggers
from doorleaf.functions.triggers.turn import Means
from doorleaf.functions.version import log_in_function
from doorleaf.metrics import FOLDER, Metrics
from doorleaf.operations import Operation
from doorleaf.service import DataService
from doorleaf.settings.model import Settings

SURFACE = "functions"
"""The name of what asks for the operations of functions."""
ACTIONS = ("actions", "downloads")
"""The surfaces that ``data_api_config.json`` is about."""


def make_functions(
    settings: Settings,
    service: DataService,
    authenticator: Authenticator,
    rules: Rules,
    metrics: Metrics,
    audit: Tell,
) -> Functions | None:
    """The functions of the app that the settings name; None without one."""
    if settings.app is None:
        if rules.calls:
            raise RuleError(f"%function calls {min(rules.calls)!r}: functions take the setting app")
        return None

    async def execute(operation: Operation[Any], identity: Identity, request: Request | None, size: int) -> Any:
        return await service.execute(operation, Caller(identity, request, SURFACE), size)

    functions = Functions(
        settings,
        database=Database(execute, settings.places, settings.max_documents, settings.max_time_ms_cap),
        secrets=Secrets(authenticator.directory.system, settings, audit),
        acting=authenticator.acting,
        identify=authenticator.identify,
        caller=lambda identity, request: rules.expansions(Caller(identity, request, _surface(request))),
        observe=metrics.called,
        needed=rules.calls,
        logs_in=log_in_function(settings),
        audit=audit if settings.audit_functions else untold,
        shared=Path(os.environ[FOLDER]) if FOLDER in os.environ else None,
    )
    rules.asks = functions.judge
    rules.hides_custom_data = lambda surface: surface in ACTIONS and not functions.data_api.has_custom_data
    for provider in authenticator.providers.values():
        if isinstance(provider, CustomFunction):
            provider.asks = functions.log_in
        elif isinstance(provider, CustomToken):
            provider.asks = lambda: functions.data_api.creates_users
    return functions


def _surface(request: Request | None) -> str:
    return SURFACE if request is None else request.surface


def make_triggers(
    settings: Settings, functions: Functions | None, authenticator: Authenticator, metrics: Metrics, audit: Tell
) -> Triggers | None:
    """The triggers of the app that ``functions`` serve; None without one."""
    if functions is None:
        return None
    directory, app_id = authenticator.directory, functions.version.loaded.app.app_id or ""
    records = Records(directory.system, app_id, audit, directory.happenings.reload)
    return Triggers(Means(records, functions, metrics.triggered, settings.trigger_failures))
