"""Several stores as one, chosen by the operation's data source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from doorleaf.errors import DoorleafError, StoreError
from doorleaf.operations import Operation, R, Watch
from doorleaf.operations.results import ChangeStream
from doorleaf.stores.base import Pooled, Store, Ways
from doorleaf.stores.hub import Hub

Observe = Callable[[str, str, float], None]
"""Takes an operation's name, its outcome (ok, refused, unavailable, failed, cut) and its seconds."""


class Router:
    """Data sources by their own names, one of them the default; ``most_feeds`` of their changes are open at once."""

    def __init__(self, stores: Mapping[str, Store], default: str, *, most_feeds: int = 100) -> None:
        self.observe: Observe | None = None
        """Is told of every operation; set once, before the first."""
        self._hub = Hub(most_feeds)
        self._stores = dict(stores)
        self._named: dict[str | None, Store] = {None: stores[default]}
        self._named.update(stores)

    def store(self, data_source: str | None) -> Store:
        """The store of the data source with this name; None is the default one."""
        return self._named[data_source]

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
        store, observe = self._named[operation.namespace.data_source], self.observe
        if observe is None:
            return await (self._watch(store, operation) if isinstance(operation, Watch) else store.execute(operation))
        began = perf_counter()
        outcome = "cut"
        try:
            result = await (self._watch(store, operation) if isinstance(operation, Watch) else store.execute(operation))
            outcome = "ok"
            return result
        except Exception as error:
            outcome = _outcome(error)
            raise
        finally:
            observe(operation.name, outcome, perf_counter() - began)

    async def _watch(self, store: Store, operation: Watch) -> Any:
        async def opening(watch: Watch) -> ChangeStream:
            return (await store.execute(watch)).changes

        return await self._hub.watch(operation, store, opening)

    def pools(self) -> dict[tuple[str, str], float]:
        """How many connections and processes the data sources have, by name and what is counted."""
        found: dict[tuple[str, str], float] = {}
        for name, store in self._stores.items():
            if isinstance(store, Pooled):
                found |= {(name, what): float(number) for what, number in store.pool().items()}
        return found

    def ways(self) -> dict[str, str]:
        """The way that each data source on MongoDB takes, by name."""
        return {name: store.way() for name, store in self._stores.items() if isinstance(store, Ways)}

    async def close(self) -> None:
        """Close every store, also when one of them fails to; the first failure is raised at the end."""
        failure: BaseException | None = None
        await self._hub.close()
        for store in self._stores.values():
            try:
                await store.close()
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _outcome(error: Exception) -> str:
    if isinstance(error, StoreError):
        return "unavailable"
    return "refused" if isinstance(error, DoorleafError) and error.status < 500 else "failed"
