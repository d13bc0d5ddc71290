"""What ``doorleaf check`` says of an app: everything of it that would not be in service."""

from __future__ import annotations

from doorleaf.access.app_services.entries import Problem
from doorleaf.access.rules.load import load_rules
from doorleaf.access.system_store import SystemStore
from doorleaf.errors import DoorleafError
from doorleaf.functions.load import load_functions
from doorleaf.functions.secrets import Secrets
from doorleaf.functions.version import Version, broken, kept, log_in_function, missing
from doorleaf.settings.model import Settings
from doorleaf.stores.making import system_router


async def check_app(settings: Settings) -> str:
    """A line about the app. ValueError with a line for each thing that is broken."""
    assert settings.app is not None  # noqa: S101  # whoever asks has looked
    loaded = load_functions(settings.app)
    try:
        faults = await broken(loaded)
    except DoorleafError as error:
        faults = {}
        loaded.problems.append(Problem("JavaScript functions", error.message))
    kept(loaded, faults, None)
    loaded.problems += missing(loaded, load_rules(settings).calls, log_in_function(settings))
    Version(loaded, await _secrets(settings, loaded.problems), settings)
    if loaded.problems:
        raise ValueError("\n".join(map(str, loaded.problems)))
    endpoints = sum(map(len, loaded.endpoints.values()))
    return f"ok, {len(loaded.functions)} functions, {endpoints} endpoints, {len(loaded.triggers)} triggers"


async def _secrets(settings: Settings, problems: list[Problem]) -> dict[str, str]:
    try:
        store = system_router(settings, makes=False)
        await store.open()
    except DoorleafError:
        return {}  # there is no database yet, so there are none
    try:
        return await Secrets(SystemStore(store, settings.system_database), settings).all()
    except DoorleafError as error:
        problems.append(Problem("secrets", error.message))
        return {}
    finally:
        await store.close()
