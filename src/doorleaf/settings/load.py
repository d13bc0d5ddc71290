"""Where settings come from: flag > environment > file > default.

The environment is ``DOORLEAF_<NAME>`` (``DOORLEAF_<NAME>_FILE`` reads a secret from a file) and the familiar
``MONGODB_URI``, ``DATA_API_KEY`` and ``PORT``; the file is TOML. Whatever is not known is an error that names the
nearest known name, so a misspelt setting never falls back to its default in silence.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from doorleaf.settings.error import SettingsError as SettingsError
from doorleaf.settings.model import Settings
from doorleaf.settings.sources import DataSource

PREFIX = "DOORLEAF_"
FAMILIAR = {"MONGODB_URI": "uri", "DATA_API_KEY": "data_api_key", "PORT": "port"}
"""Variables that other programs use for the same thing; ``DOORLEAF_*`` wins over them."""
SECRETS = tuple(name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation))
"""The settings that are masked wherever they are shown, and that a ``_FILE`` variable may read from a file."""
FOREIGN = ("DOORLEAF_TEST_", "DOORLEAF_BENCH_", "DOORLEAF_SPECIFICATIONS", "DOORLEAF_KEY")
"""Variables of the tests and the benchmark, which are no settings."""
DEFAULT_FILE = "doorleaf.toml"


Below = Callable[[Path, Mapping[str, Any]], Mapping[str, Any]]
"""What an app in a folder says where the settings, those given here, say nothing."""


def load(flags: Mapping[str, Any] | None = None, *, config: Path | None = None, below: Below | None = None) -> Settings:
    """The settings in effect. ``flags`` holds those given on the command line, by setting name; None is not given.

    ``config`` names the file, else ``DOORLEAF_CONFIG`` does, else ``./doorleaf.toml`` is read if it is there. ``below``
    is asked what the folder of the setting ``app`` says. Raises SettingsError.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, value, origin in (
        *((name, value, f"flag --{name.replace('_', '-')}") for name, value in given.items()),
        *_environment(),
        *_file(config),
    ):
        if name not in values:
            values[name], origins[name] = value, origin
    if below is not None and values.get("app"):
        for name, value in below(Path(values["app"]), values).items():
            if name not in values:
                values[name], origins[name] = value, f"app {values['app']}"
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error, origins))) from None
    settings._origins = origins
    return settings


def for_trial(settings: Settings) -> Settings:
    """``settings`` by which an application can be built that makes no file: neither the secret nor an audit."""
    return settings.model_copy(update={"token_secret": SecretStr("-" * 32), "audit_file": None})


def _environment() -> Iterator[tuple[str, Any, str]]:
    known = [*(PREFIX + name.upper() for name in Settings.model_fields), f"{PREFIX}CONFIG"]
    known += [f"{PREFIX}{name.upper()}_FILE" for name in SECRETS]
    for variable in os.environ:
        name = variable.upper()
        if name.startswith(PREFIX) and name not in known and not name.startswith(FOREIGN):
            raise SettingsError(f"{variable}: no such setting; did you mean {_nearest(name, known)}?")
    given = {variable.upper(): text for variable, text in os.environ.items()}
    for name, field in Settings.model_fields.items():
        variable = PREFIX + name.upper()
        if variable in given:
            is_table = _expected(field.annotation) == "a table"
            yield name, _table(variable, given[variable]) if is_table else given[variable], f"environment {variable}"
    yield from _secret_files()
    for variable, name in FAMILIAR.items():
        if variable in os.environ:
            yield name, os.environ[variable], f"environment {variable}"


def _table(variable: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise SettingsError(f"{variable}: expected a JSON object") from None


def _secret_files() -> Iterator[tuple[str, Any, str]]:
    """What ``DOORLEAF_URI_FILE``, ``MONGODB_URI_FILE`` and the like point to, without the final line break."""
    own = {PREFIX + name.upper(): name for name in SECRETS}
    for variable, name in (own | {v: n for v, n in FAMILIAR.items() if n in SECRETS}).items():
        path = os.environ.get(f"{variable}_FILE")
        if path is None:
            continue
        if variable in os.environ:
            raise SettingsError(f"{variable} and {variable}_FILE are both set; only one may be")
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingsError(f"{variable}_FILE: cannot read {path}: {reason}") from None
        yield name, text.rstrip("\r\n"), f"environment {variable}_FILE"


def _file(config: Path | None) -> Iterator[tuple[str, Any, str]]:
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    path = Path(named or DEFAULT_FILE)
    if not path.is_file():
        if named:
            raise SettingsError(f"{path}: no such file")
        return
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{path}: {error}") from None
    problems = list(_mistakes(Settings, table, ""))
    if problems:
        raise SettingsError("\n".join(f"{path}: {problem}" for problem in problems))
    for name, value in table.items():
        yield name, value, f"file {path}"


# --- what is wrong -----------------------------------------------------------------------------------------------


def _mistakes(model: type[BaseModel], table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Unknown keys and wrong types of a TOML table; the parser's own leniency ("3000" for 3000) is for variables."""
    for key, value in table.items():
        field = model.model_fields.get(key)
        if field is None:
            yield f"{prefix}{key}: no such setting; did you mean {prefix}{_nearest(key, model.model_fields)}?"
            continue
        expected = _expected(field.annotation)
        if not _fits(expected, value):
            yield f"{prefix}{key}: expected {expected}, got {_type_name(value)}"
        elif key == "data_sources":
            for name, source in value.items():
                if isinstance(source, dict):
                    yield from _mistakes(DataSource, source, f"data_sources.{name}.")
                else:
                    yield f"data_sources.{name}: expected a table, got {_type_name(source)}"
        elif (inner := _model(field.annotation)) is not None:
            for index, table_of in enumerate(value) if isinstance(value, list) else [("", value)]:
                yield from _mistakes(inner, table_of, f"{prefix}{key}{f'[{index}]' if index != '' else ''}.")
        elif expected == "a table":
            kind = _expected(get_args(field.annotation)[1])
            for name, item in value.items():
                if not _fits(kind, item):
                    yield f"{prefix}{key}.{name}: expected {kind}, got {_type_name(item)}"


def _model(annotation: Any) -> type[BaseModel] | None:
    """The table that ``annotation`` stands for: itself, optional, or in an array."""
    for option in (annotation, *get_args(annotation)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def _leaf(path: Sequence[str | int]) -> tuple[Any, Iterable[str]]:
    """What the setting at ``path`` of a mistake may hold, and the names of the table it is in."""
    model: type[BaseModel] = Settings
    annotation: Any = None
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        annotation = field.annotation
        model = DataSource if part == "data_sources" else _model(annotation) or model
    return annotation, model.model_fields


def _expected(annotation: Any) -> str:
    """The kind of value a setting takes, in words."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    options = [option for option in get_args(annotation) if option is not type(None)]
    kind = get_origin(annotation)
    if kind is tuple:
        return "an array of strings" if _model(annotation) is None else "an array of tables"
    if kind is dict or _model(annotation) is not None:
        return "a table"
    if kind is Literal:
        return "one of " + ", ".join(map(str, options))
    if annotation is bool:
        return "true or false"
    if annotation is int:
        return "an integer"
    return "any value" if annotation is Any else "a string"


def _fits(expected: str, value: Any) -> bool:
    match expected:
        case "true or false":
            return isinstance(value, bool)
        case "an integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "a table":
            return isinstance(value, dict)
        case "an array of tables":
            return isinstance(value, list) and all(isinstance(item, dict) for item in value)
        case "an array of strings":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        case "a string":
            return isinstance(value, str)
        case "any value":
            return True
    return value in expected.removeprefix("one of ").split(", ")


def _type_name(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")


def _nearest(name: str, known: Iterable[str]) -> str:
    return get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _explain(error: ValidationError, origins: Mapping[str, str]) -> Iterator[str]:
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        path = ".".join(str(part) for part in item["loc"])
        name = str(item["loc"][0]) if item["loc"] else ""
        field = Settings.model_fields.get(name)
        if field is None:
            text = item["msg"].removeprefix("Value error, ")
            unknown = item["type"] == "extra_forbidden"
            yield f"{path}: no such setting; did you mean {_nearest(path, Settings.model_fields)}?" if unknown else text
            continue
        origin = origins.get(name, "")
        where = f"{path} ({origin})" if origin else path
        if item["type"] == "extra_forbidden":
            nearest = _nearest(str(item["loc"][-1]), _leaf(item["loc"])[1])
            yield f"{where}: no such setting; did you mean {nearest}?"
        elif item["type"].endswith(("_type", "_parsing", "_error")) and item["type"] != "value_error":
            annotation = _leaf(item["loc"])[0]
            if len(item["loc"]) > 1 and get_origin(annotation) is dict:
                annotation = get_args(annotation)[1]
            yield f"{where}: expected {_expected(annotation)}"
        else:
            text = item["msg"].removeprefix("Value error, ")
            yield f"{where}: {text.replace('Input should be', 'must be')}"
