"""The settings of a command: flags, environment, file, and under them what the app says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doorleaf.errors import DoorleafError
from doorleaf.settings.error import SettingsError
from doorleaf.settings.load import load as load_settings
from doorleaf.settings.model import Settings


def load(flags: Mapping[str, Any] | None = None, *, config: Path | None = None) -> Settings:
    """Load as :func:`doorleaf.settings.load.load` does, below all else with what the setting ``app`` leads to."""
    return load_settings(flags, config=config, below=_of_app)


def _of_app(folder: Path, given: Mapping[str, Any]) -> Mapping[str, Any]:
    from doorleaf.access.app_services.exported import load_app  # what has no app does not wait for it
    from doorleaf.access.app_services.importing import settings_below

    try:
        return settings_below(load_app(folder), given)
    except DoorleafError as error:
        raise SettingsError(f"app: {error.message}") from None
