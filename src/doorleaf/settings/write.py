"""Settings as TOML: written anew, or added to a file of which everything else stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.items import Table


def toml(settings: Mapping[str, Any]) -> str:
    """A settings file with ``settings``: plain values first, then a table for each mapping."""
    return merged("", settings)


def merged(text: str, settings: Mapping[str, Any]) -> str:
    """The settings file ``text`` with ``settings`` added: plain ones in front of its first table, tables at the end.

    No name of ``settings`` may be in ``text``. Raises ValueError when ``text`` is no TOML.
    """
    document = tomlkit.parse(text if not text or text.endswith("\n") else text + "\n")
    for name, value in sorted(settings.items(), key=lambda item: isinstance(item[1], Mapping)):
        document.add(name, _table(value) if isinstance(value, Mapping) else _plain(value))
    return tomlkit.dumps(document)


def _table(content: Mapping[str, Any]) -> Table:
    table = tomlkit.table(is_super_table=bool(content) and all(isinstance(item, Mapping) for item in content.values()))
    for name, value in sorted(content.items(), key=lambda item: isinstance(item[1], Mapping)):
        table.add(name, _table(value) if isinstance(value, Mapping) else _plain(value))
    return table


def _plain(value: Any) -> Any:
    """A value in a table; tables in a list stand on one line."""
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        for name, item in value.items():
            inline.add(name, _plain(item))
        return inline
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for item in value:
            array.append(_plain(item))
        return array
    return tomlkit.item(value)
