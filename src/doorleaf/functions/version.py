"""One version of an app in service: its functions, what they may look up, and the processes that run them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import CodeType
from typing import Any

import orjson

from doorleaf import ejson
from doorleaf.access.app_services.data_api import FILE
from doorleaf.access.app_services.entries import Problem
from doorleaf.access.rules.load import read_table
from doorleaf.documents import Document
from doorleaf.functions.described import described
from doorleaf.functions.load import SCRIPT, Function, Loaded
from doorleaf.functions.modules import Modules
from doorleaf.functions.sandbox.pool import Pool
from doorleaf.functions.sandbox.process import Process, prelude
from doorleaf.settings.model import Settings

DEEPEST = 10
"""How deep functions call each other."""


class Version:
    """One version of the app: ``loaded``, with ``secrets`` in place. ``values`` are what functions read by name."""

    def __init__(self, loaded: Loaded, secrets: Mapping[str, str], settings: Settings) -> None:
        self.loaded = loaded
        self.secrets = secrets
        self.modules = Modules(loaded.app.folder / "functions" / "node_modules")
        self.values = {**_values(loaded, secrets), **read_table(settings.values, "values")}
        self.environment: Document = loaded.app.environment or {"tag": "", "values": {}}
        self.sources = sorted(_sources(loaded, settings))
        self.app = _app(loaded)
        _drop_triggers(loaded, settings)
        self.described = described(loaded)
        self._settings = settings
        self._setup = b""
        self._pools: dict[int, Pool] = {}
        self._modules: dict[str, dict[str, Any]] = {}
        self._open = 0
        self._retired = False

    def function(self, name: str) -> Function | None:
        return self.loaded.functions.get(name) or self.loaded.scripts.get(name)

    def pool(self, depth: int) -> Pool:
        """The processes for calls at ``depth``: those deeper never wait for those that wait for them."""
        pool = self._pools.get(depth)
        if pool is None:
            self._setup = self._setup or self._shared()
            most, memory = self._settings.functions_processes, self._settings.functions_memory_mb
            pool = self._pools[depth] = Pool(self._setup, most=most, memory_mb=memory)
        return pool

    def python(self, function: Function) -> Any:
        """The ``main`` of a Python function; its module is run once for each version of the app."""
        names = self._modules.get(function.name)
        if names is None:
            code = compiled(function, str(self.loaded.app.folder / function.file))
            names = {"__name__": f"functions.{function.name.replace('/', '.')}", "__file__": code.co_filename}
            exec(code, names)  # noqa: S102  # the operator's own code
            self._modules[function.name] = names
        return names.get("main")

    def _shared(self) -> bytes:
        """What every process is set up with."""
        files = {name: {"source": it.source, "file": it.file} for name, it in self.loaded.javascript.items()}
        known = {name: {"apart": _apart(function)} for name, function in self.loaded.functions.items()}
        values = orjson.Fragment(ejson.dumps(self.values, ejson.Mode.CANONICAL))
        environment = orjson.Fragment(ejson.dumps(self.environment, ejson.Mode.CANONICAL))
        shared = {"functions": known, "values": values, "environment": environment, "app": self.app}
        return orjson.dumps({"prelude": prelude(), "functions": files, "shared": {**shared, "sources": self.sources}})

    # --- life ---

    def enter(self) -> None:
        """Count a call."""
        self._open += 1

    async def leave(self) -> None:
        """Count a call no longer; the last one closes a version that another has taken the place of."""
        self._open -= 1
        if self._retired and not self._open:
            await self._close()

    async def retire(self) -> None:
        """Close the version once its last call has ended."""
        self._retired = True
        if not self._open:
            await self._close()

    async def _close(self) -> None:
        for pool in self._pools.values():
            await pool.close()


def _apart(function: Function) -> str:
    """Why the function cannot run in place of a call to it: it is ``python``, or runs as ``system`` or ``other``."""
    if function.language == "python":
        return "python"
    return {"application": "", "system": "system"}.get(function.runs_as, "other")


def _values(loaded: Loaded, secrets: Mapping[str, str]) -> Document:
    values = dict(loaded.app.values)
    for name, secret in loaded.app.secret_values.items():
        if secret in secrets:
            values[name] = secrets[secret]
        else:
            loaded.problems.append(Problem(f"value {name}", f"the secret {secret!r} is not set"))
    for methods in loaded.endpoints.values():
        for endpoint in methods.values():
            if endpoint.secret and endpoint.secret not in secrets:
                where = f"endpoint {endpoint.method} {endpoint.route}"
                loaded.problems.append(Problem(where, f"the secret {endpoint.secret!r} is not set; nobody may call it"))
    wanted = loaded.data_api.proof[1]
    if wanted and wanted not in secrets:
        loaded.problems.append(Problem(FILE, f"the secret {wanted!r} is not set; nobody may call actions"))
    return values


def _sources(loaded: Loaded, settings: Settings) -> set[str]:
    names = {name for own, source in settings.sources.items() for name in (own, *source.aliases)}
    if len(settings.sources) == 1:  # then every name means it
        names |= {"mongodb-atlas", *loaded.app.sources, *loaded.app.clusters.values()}
    return names


def _drop_triggers(loaded: Loaded, settings: Settings) -> None:
    """Take triggers out of service that watch what is not there."""
    for name, trigger in [*loaded.triggers.items()]:
        watched = trigger.watched
        if watched is None:
            continue
        if settings.places.find(watched.source) is None:
            text = f"config.service_name: there is no data source {watched.source!r}"
        elif watched.database == settings.system_database:
            text = "config.database: the system database is the server's own"
        else:
            continue
        del loaded.triggers[name]
        loaded.problems.append(Problem(f"trigger {name}", text))


def _app(loaded: Loaded) -> Document:
    app_id = loaded.app.app_id or ""
    return {"id": app_id, "clientAppId": app_id, "name": loaded.app.name or "", "deployment": {"model": "LOCAL"}}


def compiled(function: Function, file: str) -> CodeType:
    """The code of a Python function. Raises SyntaxError."""
    return compile(function.source, file, "exec", dont_inherit=True)


async def broken(loaded: Loaded) -> dict[str, str]:
    """Which functions cannot be compiled, by name, and why. FunctionsUnavailable without Deno where it is needed."""
    found: dict[str, str] = {}
    for name, function in loaded.functions.items():
        if function.language == "python":
            try:
                compiled(function, function.file)
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None)
                found[name] = f"line {line}: {getattr(error, 'msg', error)}" if line else str(error)
    javascript = loaded.javascript
    if javascript:
        process = Process(b"", 256)
        try:
            await process.start()
            files = {name: {"source": function.source, "file": function.file} for name, function in javascript.items()}
            found |= await process.check(orjson.dumps(files))
        finally:
            await process.stop()
    return found


def log_in_function(settings: Settings) -> str | None:
    """The function that logs users in; None where none does."""
    return settings.custom_function if "custom-function" in settings.providers else None


def missing(loaded: Loaded, needed: Collection[str], logs_in: str | None = None) -> list[Problem]:
    """The functions that are not in service and that rules call, or that log users in."""
    absent = sorted(name for name in needed if name not in loaded.functions)
    found = [Problem("rules", f"%function calls {name!r}, which is not in service") for name in absent]
    if logs_in is not None and logs_in not in loaded.functions:
        found.append(Problem("custom_function", f"{logs_in!r} is not in service; nobody logs in by it"))
    return found


def kept(loaded: Loaded, faults: Mapping[str, str], before: Loaded | None) -> None:
    """Take what is broken out of service, or leave it as it was ``before``."""
    gone: dict[str, str] = {}
    for name, text in faults.items():
        owner = name.removeprefix(SCRIPT)
        earlier = None if before is None else before.functions.get(owner)
        if before is None or earlier is None:
            gone[name] = text
            continue
        now = loaded.functions[owner]
        loaded.problems.append(Problem(now.file, f"{text}; it stays as it was"))
        loaded.functions[owner] = replace(earlier, private=now.private, can_evaluate=now.can_evaluate)
        loaded.scripts.pop(SCRIPT + owner, None)
        if SCRIPT + owner in before.scripts:
            loaded.scripts[SCRIPT + owner] = before.scripts[SCRIPT + owner]
    loaded.drop(gone)
