"""Where operations act: what the names in a request stand for, found out once, when an operation is decoded.

Everything behind the decoder (guards, scopes, rules, limits, stores) sees a physical :class:`Namespace` and looks up no
name again. A dialect whose callers name places of their own gives :meth:`Decoder.decode` the namespace they stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from doorleaf.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where an operation acts. ``data_source`` is a data source's own name; None, which only the server itself says,
    is the default one. ``collection`` is "" where there is none."""

    database: str
    collection: str = ""
    data_source: str | None = None

    def __str__(self) -> str:
        return f"{self.database}.{self.collection}" if self.collection else self.database


LONGEST_NAMES = 512
"""Characters of a place that is remembered; names that may be are shorter, and what is longer is only refused."""


class Places:
    """Knows the data sources by the names that requests have for them.

    ``databases`` has each data source by its own name, with the database of requests that name none, or None;
    ``aliases`` are further names. Where there is only one data source every name means it: clients bring the name of
    the cluster they used to have.
    """

    __slots__ = ("_databases", "_names", "_only", "default", "remembered")

    def __init__(
        self, default: str, databases: Mapping[str, str | None], aliases: Mapping[str, str] | None = None
    ) -> None:
        self.default = default
        """The data source of requests that name none."""
        self._databases = databases
        self._names = {**(aliases or {}), **{name: name for name in databases}}
        self._only = len(databases) == 1
        self.remembered = lru_cache(maxsize=1024)(self.locate)
        """:meth:`locate`, for names of up to :data:`LONGEST_NAMES` characters together."""

    def find(self, named: str | None) -> str | None:
        """The own name of the data source that a request calls ``named``; None where there is none such."""
        return self.default if named is None or self._only else self._names.get(named)

    @property
    def databases(self) -> Mapping[str, str | None]:
        """Each data source by its own name, with the database of requests that name none."""
        return self._databases

    def own(self, name: str) -> str:
        """The own name of the data source that ``name`` is the own or a further name of; else ``name``."""
        return self._names.get(name, name)

    def source(self, named: str | None) -> str:
        """Find as :meth:`find` does; InvalidParameter where there is none such."""
        found = self.find(named)
        if found is None:
            raise InvalidParameter(f"dataSource: there is no '{named}'; known are {_listed(self._names)}")
        return found

    def default_database(self, named: str | None) -> str | None:
        """The database of requests to the data source ``named`` that name none."""
        return self._databases[self.source(named)]

    def locate(self, named: str | None, database: str, collection: str) -> Namespace:
        """The namespace that these names of a data source, a database and a collection stand for."""
        return Namespace(database, collection, self.source(named))


ONE_PLACE = Places("default", {"default": None})
"""One data source, which has no default database."""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
