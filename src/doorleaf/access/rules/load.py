"""Rules from the settings: the folder of an exported app, tables of the settings file, or both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from doorleaf import ejson
from doorleaf.access.app_services.exported import load_app
from doorleaf.access.rules.expressions import RuleError
from doorleaf.access.rules.roles import CollectionRules, parse_rules
from doorleaf.access.rules.ruleset import Rules, SourceRules
from doorleaf.errors import DoorleafError
from doorleaf.settings.model import Settings

DEFAULT = "default"
"""The name of a data source's default rules in the settings file, beside ``<database>.<collection>``."""


def load_rules(settings: Settings) -> Rules:
    """The rules that ``settings`` give. Raises :class:`RuleError` that names the place."""
    folder = settings.rules_dir or settings.app
    app = None if folder is None else load_app(folder)
    sources: dict[str, SourceRules] = {}
    found = {} if app is None else app.sources
    tables = _tables(settings.rules)
    # Where there is one data source, its name does not matter; where the rules tell several apart, it does.
    one = settings.default_source if len(settings.sources) == 1 and len({*found, *tables}) == 1 else None
    for place, listed in ((str(folder), found), ("rules", tables)):
        for name, rules in listed.items():
            known = one or settings.places.own(name)
            if known not in settings.sources:
                raise RuleError(
                    f"{place}: the data source {name!r} is not configured; "
                    f"give it to one of data_sources as its name or in its aliases"
                )
            sources[known] = _merged(sources.get(known), rules, f"{place}: {name}")
    return Rules(
        sources,
        default_source=settings.default_source,
        values={**({} if app is None else app.values), **read_table(settings.values, "values")},
        environment={} if app is None else app.environment,
        validation=settings.schema_validation,
        near=[name for name, source in settings.sources.items() if source.data_dir is not None],
    )


def _merged(one: SourceRules | None, other: SourceRules, where: str) -> SourceRules:
    if one is None:
        return other
    twice = [".".join(key) for key in one.collections.keys() & other.collections.keys()]
    if twice or (one.default is not None and other.default is not None):
        raise RuleError(f"{where}: {(twice or [DEFAULT])[0]} has rules already")
    return SourceRules({**one.collections, **other.collections}, one.default or other.default)


def _tables(tables: Mapping[str, Any]) -> dict[str, SourceRules]:
    """``rules."<source>"."<database>.<collection>"`` of the settings."""
    return {name: _source(table, f"rules.{name}") for name, table in tables.items()}


def _source(table: Any, where: str) -> SourceRules:
    if not isinstance(table, Mapping):
        raise RuleError(f"{where}: expected a table of collections")
    collections: dict[tuple[str, str], CollectionRules] = {}
    default = None
    for name, written in table.items():
        place = f"{where}.{json.dumps(name)}"
        rules = parse_rules(read_table(written, place), place)
        if name == DEFAULT:
            default = rules
            continue
        database, dot, collection = name.partition(".")
        if not (database and dot and collection):
            raise RuleError(f"{place}: expected <database>.<collection> or {DEFAULT}")
        collections[database, collection] = rules
    return SourceRules(collections, default)


def read_table(table: Any, where: str) -> dict[str, Any]:
    """A table of the settings file as BSON values: Extended JSON in it counts, and so do TOML's dates."""
    if not isinstance(table, Mapping):
        raise RuleError(f"{where}: expected a table")
    try:
        return ejson.loads(json.dumps(table, default=_dated).encode())
    except DoorleafError as error:
        raise RuleError(f"{where}: {error.message}") from None
    except (TypeError, ValueError) as error:
        raise RuleError(f"{where}: {error}") from None


def _dated(value: Any) -> Any:
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise TypeError(f"a value of the type {type(value).__name__} has no meaning here")
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return {"$date": moment.isoformat(timespec="milliseconds")}
