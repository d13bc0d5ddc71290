"""The databases that requests may name, and the one where Doorleaf keeps its own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, SecretStr, ValidationInfo, field_validator, model_validator

from doorleaf.operations.places import Places
from doorleaf.settings.checks import check_database
from doorleaf.settings.sources import DataSource, check_sources, mongodb_uri


class DatabaseSettings(BaseModel):
    """The databases that requests may name, and the one where Doorleaf keeps its own."""

    data_dir: Path = Field(default=Path("doorleaf-data"), description="Folder of the embedded database and of secrets.")
    uri: SecretStr | None = Field(
        default=None, description="Connection string of a MongoDB; without it the embedded database is used."
    )
    data_sources: dict[str, DataSource] = Field(
        default_factory=dict,
        description="Named databases: `uri` or `data_dir`, `default`, `aliases`. In the environment: a JSON object.",
    )
    default_database: str | None = Field(
        default=None,
        description="Database of requests that name none; else the one in the path of the data source's URI.",
    )
    system_database: str = Field(
        default="doorleaf", description="Database that holds keys and sessions; no action reaches it."
    )
    mongodb_lanes: bool = Field(
        default=True,
        description="Whether finds, aggregates and single writes speak to MongoDB directly on PyMongo's connections, "
        "which is faster; where the URI asks for what this does not do, they never do.",
    )
    synchronous: Literal["FULL", "NORMAL"] = Field(
        default="FULL",
        description="Embedded database: FULL survives power loss; NORMAL may lose the last moments to it.",
    )

    @field_validator("uri")
    @classmethod
    def _is_mongodb(cls, uri: SecretStr | None) -> SecretStr | None:
        return mongodb_uri(uri)

    @field_validator("system_database", "default_database")
    @classmethod
    def _is_database_name(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None:
            return None
        check_database(name)
        if info.field_name == "system_database" and name in ("admin", "local", "config"):
            raise ValueError(f"cannot be MongoDB's own {name!r}")
        return name

    @model_validator(mode="after")
    def _are_apart(self) -> DatabaseSettings:
        if self.default_database == self.system_database:
            raise ValueError("default_database: cannot be the system database")
        check_sources(self.sources)
        return self

    @cached_property
    def sources(self) -> dict[str, DataSource]:
        """Every data source by name, exactly one of them marked ``default``.

        ``uri`` is a source called ``default``; with neither ``uri`` nor ``data_sources`` the embedded database is.
        """
        sources = dict(self.data_sources)
        if self.uri is not None:
            if "default" in sources:
                raise ValueError("data_sources.default: the uri setting is the data source called default")
            sources["default"] = DataSource(uri=self.uri, default=True)
        if not sources:
            sources["default"] = DataSource(data_dir=self.data_dir, default=True)
        if len(sources) == 1:
            name, only = next(iter(sources.items()))
            sources[name] = only.model_copy(update={"default": True})
        return sources

    @cached_property
    def default_source(self) -> str:
        """The name of the default data source."""
        return next(name for name, source in self.sources.items() if source.default)

    def database_of(self, source: str) -> str | None:
        """The database of a request that names none: the setting, else the path of the data source's URI."""
        return self.default_database or self.sources[source].database

    @cached_property
    def places(self) -> Places:
        """The names that requests have for the data sources."""
        aliases = {alias: name for name, source in self.sources.items() for alias in source.aliases}
        return Places(self.default_source, {name: self.database_of(name) for name in self.sources}, aliases)
