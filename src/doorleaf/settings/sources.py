"""Data sources: the databases that requests may name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_HOSTS = re.compile(r"(?:\[[^\]]*\]|[^:,\[\]]+)(?::\d{1,5})?(?:,(?:\[[^\]]*\]|[^:,\[\]]+)(?::\d{1,5})?)*")


class DataSource(BaseModel):
    """One database: a MongoDB by ``uri``, or the embedded engine in ``data_dir``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: SecretStr | None = Field(default=None, description="Connection string of a MongoDB.")
    data_dir: Path | None = Field(default=None, description="Folder of an embedded database.")
    default: bool = Field(default=False, description="Whether requests without `dataSource` go here.")
    aliases: tuple[str, ...] = Field(default=(), description="Further names for it.")

    @field_validator("uri")
    @classmethod
    def _is_mongodb(cls, uri: SecretStr | None) -> SecretStr | None:
        return mongodb_uri(uri)

    @model_validator(mode="after")
    def _is_one_thing(self) -> DataSource:
        if (self.uri is None) == (self.data_dir is None):
            raise ValueError("needs either uri or data_dir")
        return self

    @property
    def database(self) -> str | None:
        """The database that the URI's path names, or None."""
        if self.uri is None:
            return None
        _, _, path = self.uri.get_secret_value().partition("://")[2].partition("?")[0].partition("/")
        return unquote(path) or None


def mongodb_uri(uri: SecretStr | None) -> SecretStr | None:
    """``uri`` if it is one of MongoDB's; else ValueError."""
    if uri is not None and not uri.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must begin with mongodb:// or mongodb+srv://")
    if uri is not None and _is_unescaped(uri.get_secret_value()):
        raise ValueError(
            "the user or the password has a character that must be escaped: "
            "write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25"
        )
    return uri


def _is_unescaped(uri: str) -> bool:
    """Whether the user or password in ``uri`` has a character that ends them, or a % that escapes nothing."""
    rest = uri.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, hosts = authority.rpartition("@")
    path, _, query = rest[len(authority) :].partition("?")
    if "@" in path + query and _HOSTS.fullmatch(hosts) is None:
        return True  # an @ further on ends a user where what comes before can be no host
    if not at:
        return False
    if ("@" in path and "/" in path[1:]) or "@" in query.partition("=")[0]:
        return True  # no name of a database has a /, no option an @
    return "@" in user or user.count(":") > 1 or re.search(r"%(?![0-9A-Fa-f]{2})", user) is not None


def check_sources(sources: Mapping[str, DataSource]) -> None:
    """ValueError unless one source is the default and every name means one thing."""
    defaults = [name for name, source in sources.items() if source.default]
    if len(defaults) != 1:
        raise ValueError(f"data_sources: exactly one must have default = true; now: {', '.join(defaults) or 'none'}")
    taken: dict[str, str] = {}
    for name, source in sources.items():
        for alias in (name, *source.aliases):
            if not alias:
                raise ValueError("data_sources: a name or alias is empty")
            if alias in taken:
                raise ValueError(f"data_sources.{name}: {alias!r} already names {taken[alias]}")
            taken[alias] = name
