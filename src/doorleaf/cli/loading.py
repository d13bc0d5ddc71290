"""The settings of a command: flags, environment, file, and under them what the app says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from doorleaf.cli.shared import Config, DataDir, Uri
from doorleaf.errors import DoorleafError
from doorleaf.settings.error import SettingsError
from doorleaf.settings.load import load as load_settings
from doorleaf.settings.model import Settings


def load(flags: Mapping[str, Any] | None = None, *, config: Path | None = None) -> Settings:
    """Load as :func:`doorleaf.settings.load.load` does, below all else with what the setting ``app`` leads to."""
    return load_settings(flags, config=config, below=_of_app)


def located(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the options that say where the database is, from which its argument ``settings`` is made."""
    signature = inspect.signature(command, eval_str=True)
    options = {"config": Config, "uri": Uri, "data_dir": DataDir}

    def run(**given: Any) -> None:
        config, uri, data_dir = (given.pop(name) for name in options)
        command(settings=load({"uri": uri, "data_dir": data_dir}, config=config), **given)

    parameters = [one for one in signature.parameters.values() if one.name != "settings"]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=kind)
        for name, kind in options.items()
    ]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _of_app(folder: Path, given: Mapping[str, Any]) -> Mapping[str, Any]:
    from doorleaf.access.app_services.exported import load_app  # what has no app does not wait for it
    from doorleaf.access.app_services.importing import settings_below

    try:
        return settings_below(load_app(folder), given)
    except DoorleafError as error:
        raise SettingsError(f"app: {error.message}") from None
