"""An App Services app as its command line exports it: a folder of JSON files, read into one value.

Key order does not matter, Extended JSON is understood, and a mistake is an error that names the file and the place in
it. What Doorleaf has no counterpart for is not an error: it is noted, so that ``doorleaf import-app`` can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doorleaf import ejson
from doorleaf.access.app_services import data_api
from doorleaf.access.rules.expressions import RuleError
from doorleaf.access.rules.roles import CollectionRules, parse_rules
from doorleaf.access.rules.ruleset import SourceRules
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError, InvalidParameter


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the report: whether ``what`` (a file and perhaps a place in it) was taken, and how or why not."""

    taken: bool
    what: str
    text: str


@dataclass(slots=True)
class App:
    """An exported app, as read.

    ``clusters`` are the cluster names by data source; ``origins`` and ``addresses`` are None where the export says
    nothing, which is not the same as an empty list. ``secret_values`` are values that are secrets, by their names.
    """

    folder: Path
    name: str | None = None
    app_id: str | None = None
    sources: dict[str, SourceRules] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    values: Document = field(default_factory=dict)
    secret_values: dict[str, str] = field(default_factory=dict)
    environment: Document = field(default_factory=dict)
    providers: dict[str, Document] = field(default_factory=dict)
    custom_user_data: Document | None = None
    data_api: Document | None = None
    origins: list[str] | None = None
    addresses: list[str] | None = None
    notes: list[Note] = field(default_factory=list)

    def note(self, taken: bool, path: Path | str, text: str) -> None:
        """Add a line to the report."""
        what = str(path.relative_to(self.folder)) if isinstance(path, Path) else path
        self.notes.append(Note(taken, what, text))


SOURCE_KEYS = frozenset({"name", "type", "config", "version", "id", "secret_config"})
CUSTOM_USER_DATA_KEYS = frozenset(
    {"enabled", "mongo_service_name", "mongo_service_id", "database_name", "collection_name", "user_id_field"}
    | {"on_user_creation_function_name"}
)
VALUE_KEYS = frozenset({"name", "value", "private", "from_secret", "id"})
ROOT_FILES = ("root_config.json", "realm_config.json", "config.json", "stitch.json")
UNAVAILABLE = {
    "sync": "Device Sync is not available",
    "graphql": "GraphQL is not available",
    "hosting": "hosting is not available",
    "log_forwarders": "log forwarding is not available; the audit log and the access log are settings",
    "services": "third-party services, and rules exported by an old command line, are not taken; export the app anew",
}
ADDRESS_FILES = ("ip_access_list.json", "security/ip_access_list.json", "security/access_list.json")


def load_app(folder: Path) -> App:
    """The app in ``folder``. Raises :class:`RuleError` or InvalidParameter, naming the file and the place."""
    if not folder.is_dir():
        raise InvalidParameter(f"{folder}: no such folder")
    app = App(folder)
    _root(app)
    for path in sorted((folder / "data_sources").iterdir()) if (folder / "data_sources").is_dir() else ():
        if path.is_dir():
            _source(app, path)
    _auth(app)
    _values(app)
    _environment(app)
    _endpoints(app)
    _addresses(app)
    _functions(app)
    for name, text in UNAVAILABLE.items():
        if (folder / name).exists():
            files = [path for path in sorted((folder / name).rglob("*")) if path.is_file()] or [folder / name]
            for path in files:
                app.note(False, path, text)
    return app


# --- reading files ---------------------------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """The content of a JSON file; Extended JSON becomes values."""
    try:
        return ejson.loads(b'{"":' + path.read_bytes().strip() + b"}")[""]
    except OSError as error:
        raise InvalidParameter(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (DoorleafError, KeyError) as error:
        raise InvalidParameter(f"{path}: {error.message if isinstance(error, DoorleafError) else 'no JSON'}") from None


def _object(path: Path, known: frozenset[str] | None = None) -> Document:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InvalidParameter(f"{path}: expected an object")
    for key in content if known is not None else ():
        if known is not None and key not in known:
            raise InvalidParameter(f"{path}: unknown key {key!r}")
    return content


def _text(content: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = content.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidParameter(f"{path}: {key}: expected a string")
    return value or None


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.glob("*.json")) if path.is_file())


# --- the parts of an app ---------------------------------------------------------------------------------------------


def _root(app: App) -> None:
    path = next((path for name in ROOT_FILES if (path := app.folder / name).is_file()), None)
    meta = app.folder / ".mdb" / "meta.json"
    if meta.is_file():
        app.app_id = _text(_object(meta), "app_id", meta)
    if path is None:
        return
    root = _object(path)
    app.name = _text(root, "name", path)
    app.app_id = _text(root, "app_id", path) or _text(root, "client_app_id", path) or app.app_id
    app.environment = {"tag": _text(root, "environment", path) or "", "values": {}}
    security = root.get("security") or {}
    if not isinstance(security, dict):
        raise InvalidParameter(f"{path}: security: expected an object")
    for key in security:
        if key not in ("allowed_request_origins", "ip_access_list"):
            raise InvalidParameter(f"{path}: security: unknown key {key!r}")
    origins = security.get("allowed_request_origins", root.get("allowed_request_origins"))
    if origins is not None:
        app.origins = _strings(origins, f"{path}: allowed_request_origins")
    if security.get("ip_access_list") is not None:
        app.addresses = _listed(security["ip_access_list"], f"{path}: security.ip_access_list")
    if app.app_id is not None:
        app.note(True, path, f"the app id {app.app_id}")
    for key in ("location", "provider_region", "deployment_model"):
        if root.get(key):
            app.note(False, f"{path.name}: {key}", "Doorleaf runs where you run it")
    known = {"name", "app_id", "client_app_id", "environment", "security", "allowed_request_origins", "config_version"}
    for key in root.keys() - known - {"location", "provider_region", "deployment_model"}:
        app.note(False, f"{path.name}: {key}", "has no counterpart")


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidParameter(f"{where}: expected an array of strings")
    return value


def _listed(value: Any, where: str) -> list[str]:
    """Entries of an access list: strings, or objects with ``address`` or ``ip`` and a comment."""
    if not isinstance(value, list):
        raise InvalidParameter(f"{where}: expected an array")
    addresses = []
    for index, entry in enumerate(value):
        address = entry if isinstance(entry, str) else None
        if isinstance(entry, dict):
            address = entry.get("address", entry.get("ip"))
        if not isinstance(address, str) or not address:
            raise InvalidParameter(f"{where}[{index}]: expected an address")
        addresses.append(address)
    return addresses


def _source(app: App, folder: Path) -> None:
    name = folder.name
    config = folder / "config.json"
    if config.is_file():
        content = _object(config, SOURCE_KEYS)
        name = _text(content, "name", config) or name
        details = content.get("config") or {}
        cluster = _text(details, "clusterName", config) if isinstance(details, dict) else None
        if cluster is not None:
            app.clusters[name] = cluster
        app.note(True, config, f"the data source {name}" + (f", also called {cluster}" if cluster else ""))
        for key in details if isinstance(details, dict) else ():
            if key != "clusterName":
                app.note(False, f"{config.relative_to(app.folder)}: {key}", "the connection string says this")
    default = folder / "default_rule.json"
    rules = parse_rules(_object(default), str(default)) if default.is_file() else None
    if rules is not None:
        _note_rules(app, default, rules)
    collections = {
        (database.name, collection.name): _collection(app, collection, database.name)
        for database in sorted(path for path in folder.iterdir() if path.is_dir())
        for collection in sorted(path for path in database.iterdir() if path.is_dir())
    }
    app.sources[name] = SourceRules(collections, rules)


def _collection(app: App, folder: Path, database: str) -> CollectionRules:
    rules, schema = folder / "rules.json", folder / "schema.json"
    content = _object(rules) if rules.is_file() else {}
    for key, expected in (("database", database), ("collection", folder.name)):
        if content.get(key, expected) != expected:
            raise RuleError(f"{rules}: {key}: is {content[key]!r} in the folder of {expected!r}")
    written = _object(schema) if schema.is_file() else None
    parsed = parse_rules(content, str(rules), written, str(schema))
    if rules.is_file():
        _note_rules(app, rules, parsed)
    if written:
        app.note(True, schema, "the schema")
    relationships = folder / "relationships.json"
    if relationships.is_file() and _object(relationships):
        app.note(False, relationships, "relationships belong to GraphQL and Sync, which are not available")
    return parsed


def _note_rules(app: App, path: Path, rules: CollectionRules) -> None:
    roles = ", ".join(role.name for role in rules.roles) or "none"
    filters = f"; filters: {len(rules.filters)}" if rules.filters else ""
    app.note(True, path, f"roles: {roles}{filters}")


def _auth(app: App) -> None:
    providers = app.folder / "auth" / "providers.json"
    if providers.is_file():
        for name, content in _object(providers).items():
            if not isinstance(content, dict):
                raise InvalidParameter(f"{providers}: {name}: expected an object")
            app.providers[name] = content
    for path in _files(app.folder / "auth_providers"):
        content = _object(path)
        app.providers[_text(content, "name", path) or path.stem] = content
    data = app.folder / "auth" / "custom_user_data.json"
    if data.is_file():
        content = _object(data, CUSTOM_USER_DATA_KEYS)
        app.custom_user_data = content if content.get("enabled") else None
        if content.get("on_user_creation_function_name"):
            app.note(False, data, "on_user_creation_function_name: no function is run then")


def _values(app: App) -> None:
    for path in _files(app.folder / "values"):
        content = _object(path, VALUE_KEYS)
        name = _text(content, "name", path) or path.stem
        if content.get("from_secret"):
            secret = _text(content, "value", path) or ""
            app.secret_values[name] = secret
            app.note(False, path, f"the value {name} is the secret {secret!r}, which no export holds")
        elif "value" not in content:
            raise InvalidParameter(f"{path}: value is missing")
        else:
            app.values[name] = content["value"]
            app.note(True, path, f"%%values.{name}")


def _environment(app: App) -> None:
    tag = app.environment.get("tag") or ""
    chosen = tag or "no-environment"
    for path in _files(app.folder / "environments"):
        values = _object(path, frozenset({"values", "name"})).get("values") or {}
        if not isinstance(values, dict):
            raise InvalidParameter(f"{path}: values: expected an object")
        if path.stem == chosen:
            app.environment = {"tag": tag, "values": values}
            app.note(True, path, f"%%environment, with {len(values)} values")
        elif values:
            app.note(False, path, f"belongs to another environment than the app's, which is {chosen}")


def _endpoints(app: App) -> None:
    for folder in ("https_endpoints", "http_endpoints"):
        path = app.folder / folder / "data_api_config.json"
        if path.is_file():
            app.data_api = _object(path, data_api.KEYS)
        custom = app.folder / folder / "config.json"
        for endpoint in read_json(custom) if custom.is_file() else ():
            route = endpoint.get("route", "?") if isinstance(endpoint, dict) else "?"
            app.note(True, f"{custom.relative_to(app.folder)}: {route}", "served by the setting app")


def _functions(app: App) -> None:
    folder = app.folder / "functions"
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".js", ".py") and "node_modules" not in path.relative_to(folder).parts:
            app.note(True, path, "served by the setting app")
    if (folder / "node_modules").is_dir():
        app.note(True, folder / "node_modules", "packages of the functions")
    for path in _files(app.folder / "triggers"):
        app.note(True, path, "served by the setting app")


def _addresses(app: App) -> None:
    for name in ADDRESS_FILES:
        path = app.folder / name
        if path.is_file():
            content = read_json(path)
            listed = content.get("ip_access_list", content.get("entries")) if isinstance(content, dict) else content
            app.addresses = _listed(listed, str(path))
    folder = app.folder / "ip_access_list"
    if folder.is_dir():
        app.addresses = [address for path in _files(folder) for address in _listed([read_json(path)], str(path))]
