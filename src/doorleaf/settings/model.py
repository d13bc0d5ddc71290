"""Every setting once: its name, type, default, bounds and meaning. :mod:`doorleaf.settings.load` reads them.

A setting is a field of the group that it belongs to by its meaning, in the file of that group.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from doorleaf.settings.actions import ActionSettings
from doorleaf.settings.apps import AppSettings
from doorleaf.settings.databases import DatabaseSettings
from doorleaf.settings.identities import IdentitySettings
from doorleaf.settings.limits import LimitSettings
from doorleaf.settings.server import ServerSettings


# Where settings are listed, pydantic begins with the fields of the last base.
class Settings(
    AppSettings, IdentitySettings, LimitSettings, ActionSettings, DatabaseSettings, ServerSettings, BaseModel
):
    """Everything that can be set.

    Made by :func:`doorleaf.settings.load.load`; ``Settings(name=value)`` reads nothing but its arguments.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.lenient_lines and self.trusted_proxies:
            raise ValueError("lenient_lines: cannot be on together with trusted_proxies")
        token, data = self.custom_token, self.custom_user_data
        if token is not None and not token.audience and not self.app_ids:
            raise ValueError("custom_token: needs an audience, since there are no app_ids that could be it")
        if data is not None and data.data_source is not None and data.data_source not in self.sources:
            raise ValueError(f"custom_user_data: there is no data source {data.data_source!r}")
        return self

    @property
    def nobody_logs_in(self) -> str | None:
        """Why no login by a function can succeed; None where one can, or none is wanted."""
        if "custom-function" in self.providers and self.app is None:
            return "providers: custom-function needs the setting app; nobody logs in by it"
        return None

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each value came from: ``flag --port``, ``environment PORT``, ``file doorleaf.toml``, ``default``."""
        return {name: self._origins.get(name, "default") for name in Settings.model_fields}
