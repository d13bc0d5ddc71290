"""The functions, HTTPS endpoints and triggers of an app's folder, as its command line exported it.

What is broken is a :class:`Problem` that names its place; the rest of the app is there nevertheless.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from doorleaf.access.app_services.data_api import FILE, DataApi, read_data_api
from doorleaf.access.app_services.entries import Problem, flag, runs_as, string, validation
from doorleaf.access.app_services.exported import App, load_app, read_json
from doorleaf.access.rules.expressions import calls_of, parse
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.functions.triggers.config import Trigger, load_triggers

MAX_SOURCE_BYTES = 5 * 1024 * 1024
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "*"})
FUNCTION_KEYS = frozenset(
    {"name", "private", "can_evaluate", "disable_arg_logs", "run_as_system", "run_as_user_id", "id", "_id"}
    | {"run_as_user_id_script_source", "run_as_authed_user"}
)
ENDPOINT_KEYS = frozenset(
    {"route", "http_method", "function_name", "validation_method", "secret_name", "respond_result", "return_type"}
    | {"fetch_custom_user_data", "create_user_on_auth", "disabled", "id", "_id"}
)
SCRIPT = "run_as_user_id_script_source of "
"""Before the name of a function: the name of the script that says whom it runs as."""

_NAME = re.compile(r"[A-Za-z0-9_./-]{1,200}")


@dataclass(frozen=True, slots=True)
class Function:
    """One function. ``runs_as`` is ``application`` (the caller), ``system``, ``script`` or a user's id.

    ``can_evaluate`` is an expression over the caller and, as ``%%args``, the arguments.
    """

    name: str
    language: Literal["javascript", "python"]
    file: str
    source: str
    private: bool = True
    runs_as: str = "application"
    can_evaluate: Any = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpsEndpoint:
    """A route and a method with their function, as the app's configuration has them."""

    route: str
    method: str
    function: str
    validation: str = "NO_VALIDATION"
    secret: str = ""
    respond_result: bool = False
    return_type: str = "JSON"
    fetch_custom_user_data: bool = False
    create_user_on_auth: bool = False


@dataclass(slots=True)
class Loaded:
    """The functions in an app's folder, and all that it says of them. ``scripts`` are those that say whom a function
    runs as.

    ``named`` are the names of all triggers in the folder, those with mistakes too; None when some cannot be read.
    """

    app: App
    functions: dict[str, Function] = field(default_factory=dict)
    scripts: dict[str, Function] = field(default_factory=dict)
    endpoints: dict[str, dict[str, HttpsEndpoint]] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    named: frozenset[str] | None = None
    data_api: DataApi = field(default_factory=DataApi)
    problems: list[Problem] = field(default_factory=list)

    @property
    def javascript(self) -> dict[str, Function]:
        """Everything that runs in a JavaScript process, by name."""
        found = {name: function for name, function in self.functions.items() if function.language == "javascript"}
        return found | self.scripts

    def listed(self) -> list[Document]:
        """The functions, each with the endpoints that it answers."""
        routes: dict[str, list[str]] = {}
        for route, methods in self.endpoints.items():
            for method, endpoint in methods.items():
                routes.setdefault(endpoint.function, []).append(f"{method} {route}")
        return [
            {"name": name, "file": it.file, "runs_as": it.runs_as, "private": it.private,
             "endpoints": sorted(routes.get(name, []))}
            for name, it in sorted(self.functions.items())
        ]  # fmt: skip

    def drop(self, broken: Mapping[str, str]) -> None:
        """Take functions out of service, each with the reason, and the endpoints that need them."""
        for name, text in broken.items():
            function = self.functions.pop(name, None) or self.scripts.pop(name, None)
            if function is not None:
                self.problems.append(Problem(function.file, text))
        for route, methods in [*self.endpoints.items()]:
            for method, endpoint in [*methods.items()]:
                if endpoint.function in broken or SCRIPT + endpoint.function in broken:
                    del methods[method]
                    self.problems.append(Problem(f"endpoint {method} {route}", "its function is broken"))
            if not methods:
                del self.endpoints[route]
        for name, trigger in [*self.triggers.items()]:
            if trigger.function in broken or SCRIPT + trigger.function in broken:
                del self.triggers[name]
                self.problems.append(Problem(f"trigger {name}", "its function is broken"))


def load_functions(folder: Path) -> Loaded:
    """The app in ``folder``. Raises what :func:`load_app` raises: rules are never left out."""
    loaded = Loaded(load_app(folder))
    _functions(loaded, folder / "functions")
    for name in ("https_endpoints", "http_endpoints"):
        _endpoints(loaded, folder / name / "config.json")
    _data_api(loaded)
    loaded.triggers, loaded.named = load_triggers(folder / "triggers", loaded.functions, loaded.problems)
    return loaded


def stamp(folder: Path) -> frozenset[tuple[str, int, int]]:
    """A value that is another one as soon as a file in ``folder`` is another one; packages are looked at by folder
    alone."""
    found = []
    for path, folders, files in os.walk(folder):
        if "node_modules" in folders:
            folders.remove("node_modules")
            files.append("node_modules")
        for name in files:
            try:
                about = os.stat(os.path.join(path, name))
            except OSError:
                continue  # it went away meanwhile
            found.append((os.path.join(path, name), about.st_mtime_ns, about.st_size))
    return frozenset(found)


# --- functions -----------------------------------------------------------------------------------------------------


def _functions(loaded: Loaded, folder: Path) -> None:
    entries = {entry["name"]: entry for entry in _entries(loaded, folder / "config.json", "name", FUNCTION_KEYS)}
    for path in sorted(folder.glob("*/config.json")):  # as old command lines have them, each in a folder
        if (path.parent / "source.js").is_file():
            entries |= {entry["name"]: entry for entry in _entries(loaded, path, "name", FUNCTION_KEYS)}
    found = dict(_sources(loaded, folder))
    for name, entry in entries.items():
        if name not in found:
            loaded.problems.append(Problem(f"function {name}", "has no file"))
            continue
        path, source = found.pop(name)
        _function(loaded, name, path, source, entry)
    for name, (path, source) in found.items():
        _function(loaded, name, path, source, {})


def _sources(loaded: Loaded, folder: Path) -> Iterable[tuple[str, tuple[Path, str]]]:
    """Every file with a function in it, by the function's name."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix not in (".js", ".py") or not path.is_file() or {"node_modules", "__pycache__"} & {*inside.parts}:
            continue
        name = inside.with_suffix("").as_posix()
        if path.name == "source.js" and (path.parent / "config.json").is_file():
            name = inside.parent.as_posix()
        where = str(path.relative_to(loaded.app.folder))
        try:
            if path.stat().st_size > MAX_SOURCE_BYTES:
                raise ValueError(f"is larger than {MAX_SOURCE_BYTES // 1024 // 1024} MiB")
            if not _NAME.fullmatch(name):
                raise ValueError("its name has characters other than letters, digits, _, -, . and /")
            yield name, (path, path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            text = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(getattr(error, "strerror", error))
            loaded.problems.append(Problem(where, text))


def _function(loaded: Loaded, name: str, path: Path, source: str, entry: Document) -> None:
    file = str(path.relative_to(loaded.app.folder))
    try:
        if name in loaded.functions:
            raise ValueError("another file has a function of this name")
        acts_as = runs_as(entry)
        allowed = {} if entry.get("can_evaluate") is None else entry["can_evaluate"]
        if any(calls_of(parse(arguments_as_document(allowed), "can_evaluate"))):
            raise ValueError("can_evaluate: %function is for the rules of collections")
        private = flag(entry, "private", default=not entry)
        language: Literal["javascript", "python"] = "python" if path.suffix == ".py" else "javascript"
        loaded.functions[name] = Function(name, language, file, source, private, acts_as, allowed)
        if acts_as == "script":
            script = SCRIPT + name
            written = entry["run_as_user_id_script_source"]
            loaded.scripts[script] = Function(script, "javascript", f"{file} ({SCRIPT[:-4]})", written)
    except (DoorleafError, ValueError) as error:
        loaded.problems.append(Problem(file, getattr(error, "message", str(error))))


def arguments_as_document(expression: Any) -> Any:
    """``expression`` with ``%%args`` as a part of the document that it is about: ``{"args": [...]}``."""
    if isinstance(expression, str) and (expression == "%%args" or expression.startswith("%%args.")):
        return expression.replace("%%args", "%%root.args", 1)
    if isinstance(expression, list):
        return [arguments_as_document(item) for item in expression]
    if isinstance(expression, dict):
        return {arguments_as_document(key): arguments_as_document(value) for key, value in expression.items()}
    return expression


# --- endpoints -----------------------------------------------------------------------------------------------------


def _endpoints(loaded: Loaded, path: Path) -> None:
    for entry in _entries(loaded, path, "route", ENDPOINT_KEYS):
        route, method = entry["route"], entry.get("http_method")
        where = f"endpoint {method} {route}"
        try:
            if flag(entry, "disabled"):
                continue
            endpoint = _endpoint(loaded, entry)
            methods = loaded.endpoints.setdefault(endpoint.route, {})
            if endpoint.method in methods:
                raise ValueError("the route has this method already")
            methods[endpoint.method] = endpoint
        except ValueError as error:
            loaded.problems.append(Problem(where, str(error)))


def _endpoint(loaded: Loaded, entry: Document) -> HttpsEndpoint:
    route = entry["route"]
    if not route.startswith("/") or "{" in route or len(route) > 500:
        raise ValueError("route: expected a path such as /hello, which begins with /")
    method = string(entry, "http_method") or "*"
    if method not in METHODS:
        raise ValueError(f"http_method: expected one of {', '.join(sorted(METHODS))}")
    method_of_proof, secret = validation(entry)
    returns = entry.get("return_type") or "JSON"
    if returns not in ("JSON", "EJSON"):
        raise ValueError("return_type: expected JSON or EJSON")
    name = entry.get("function_name")
    if not isinstance(name, str) or name not in loaded.functions:
        raise ValueError(f"function_name: there is no function {name!r}")
    flags = ("respond_result", "fetch_custom_user_data", "create_user_on_auth")
    return HttpsEndpoint(
        route.rstrip("/") or "/", method, name, method_of_proof, secret, return_type=returns,
        **{key: flag(entry, key) for key in flags},
    )  # fmt: skip


def _data_api(loaded: Loaded) -> None:
    loaded.data_api = read_data_api(loaded.app.data_api or {})
    for taken, key, text in loaded.data_api.told:
        if not taken:
            loaded.problems.append(Problem(FILE, f"{key}: {text}"))


# --- files ---------------------------------------------------------------------------------------------------------


def _entries(loaded: Loaded, path: Path, key: str, known: frozenset[str]) -> Iterable[Document]:
    """The entries of a configuration file that have a name under ``key`` and no unknown keys."""
    if not path.is_file():
        return
    where = str(path.relative_to(loaded.app.folder))
    try:
        content = read_json(path)
    except DoorleafError as error:
        loaded.problems.append(Problem(where, error.message.removeprefix(f"{path}: "), whole=True))
        return
    entries = content if isinstance(content, list) else [content]
    for index, entry in enumerate(entries):
        name = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(name, str) or not name:
            loaded.problems.append(Problem(f"{where}[{index}]", f"expected an object with {key}"))
        elif unknown := entry.keys() - known:
            loaded.problems.append(Problem(f"{where}: {name}", f"unknown key {min(unknown)!r}"))
        else:
            yield entry
