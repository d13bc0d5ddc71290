"""Settings as text that anybody may see."""

from __future__ import annotations

import re

from pydantic import BaseModel, SecretStr

from doorleaf.settings.model import Settings
from doorleaf.settings.sources import DataSource


def masked_uri(uri: str) -> str:
    """``uri`` without its password and without option values that are secrets."""
    scheme, mark, rest = uri.partition("://")
    head, question, query = rest.partition("?")
    if "@" not in head and "@" in rest:  # a password that should have been escaped: rather hide too much
        head, question, query = rest, "", ""
    userinfo, at, host = head.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    options = re.sub(r"(?i)((?:^|&)(?:[^=&]*(?:password|token|secret)|authMechanismProperties)=)[^&]*", r"\1***", query)
    return f"{scheme}{mark}{user}{colon and ':***'}{at}{host}{question}{options}"


def shown(settings: Settings, name: str) -> str:
    """The value of one setting as text that may be seen by anybody."""
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        return masked_uri(value.get_secret_value()) if name == "uri" else "***"
    if name == "data_sources":
        return "; ".join(f"{source}: {_shown_source(item)}" for source, item in value.items())
    if isinstance(value, tuple) or name in ("rules", "values"):  # values may be secret, and rules are long
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} = {item}" for key, item in value.items())
    if isinstance(value, BaseModel):
        items = value.model_dump(exclude_defaults=True).items()
        return ", ".join(f"{key} = {'***' if key == 'keys' else item}" for key, item in items)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _shown_source(source: DataSource) -> str:
    where = masked_uri(source.uri.get_secret_value()) if source.uri else str(source.data_dir)
    return " ".join([where, *(["(default)"] if source.default else []), *(f"= {alias}" for alias in source.aliases)])
