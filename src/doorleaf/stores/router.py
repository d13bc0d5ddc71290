"""Several stores as one, chosen by the operation's data source."""

from __future__ import annotations

from collections.abc import Mapping

from doorleaf.errors import InvalidParameter
from doorleaf.operations import Operation, R
from doorleaf.stores.base import Store


class Router:
    """Data sources by name, one of them the default, with further names for them in ``aliases``.

    Where there is only one data source every name means it: clients bring the name of the cluster they used to have.
    """

    def __init__(self, stores: Mapping[str, Store], default: str, aliases: Mapping[str, str]) -> None:
        for target in (default, *aliases.values()):
            if target not in stores:
                raise InvalidParameter(f"there is no data source '{target}'; known are {_listed(stores)}")
        self._stores = dict(stores)
        self._default = self._stores[default]
        self._names = {alias: self._stores[target] for alias, target in aliases.items()} | self._stores

    def store(self, data_source: str | None) -> Store:
        """The store that ``data_source`` names; None is the default one."""
        if data_source is None or len(self._stores) == 1:
            return self._default
        found = self._names.get(data_source)
        if found is None:
            raise InvalidParameter(f"dataSource: there is no '{data_source}'; known are {_listed(self._names)}")
        return found

    async def open(self) -> None:
        """Open every store; when one fails, those already open are closed again."""
        opened: list[Store] = []
        try:
            for store in self._stores.values():
                await store.open()
                opened.append(store)
        except BaseException:
            for store in reversed(opened):
                await store.close()
            raise

    async def execute(self, operation: Operation[R]) -> R:
        return await self.store(operation.namespace.data_source).execute(operation)

    async def close(self) -> None:
        """Close every store, also when one of them fails to; the first failure is raised at the end."""
        failure: BaseException | None = None
        for store in self._stores.values():
            try:
                await store.close()
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in names)
