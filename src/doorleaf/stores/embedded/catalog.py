"""What the database holds: collections with their options, and indexes. Immutable snapshots, one per version.

Table names come from integer ids that are never used again, so a statement prepared for a dropped collection fails
instead of reading another one, and no SQL is ever made from a user's text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import is_
from typing import Any
from zlib import crc32

import apsw
import bson

from doorleaf.documents import CODEC, Document
from doorleaf.errors import DataError
from doorleaf.mql.paths import array_index
from doorleaf.mql.values import compare, is_number
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.file.sqlite import DamagedDatabase
from doorleaf.stores.embedded.keys import KeyPattern

SCHEMA_1 = (
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), catalog INTEGER NOT NULL)",
    "INSERT INTO state VALUES (1, 1)",
    """CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, database TEXT NOT NULL, name TEXT NOT NULL,
        options BLOB NOT NULL, UNIQUE (database, name))""",
    """CREATE TABLE indexes (id INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER NOT NULL,
        specification BLOB NOT NULL, arrays INTEGER NOT NULL)""",
    "CREATE TABLE counts (collection INTEGER PRIMARY KEY, documents INTEGER NOT NULL, bytes INTEGER NOT NULL)",
)

SCHEMA_2 = (
    """CREATE TABLE watched (id INTEGER PRIMARY KEY AUTOINCREMENT, database TEXT NOT NULL, name TEXT NOT NULL,
        until INTEGER NOT NULL, UNIQUE (database, name))""",
    """CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, watch INTEGER NOT NULL, time INTEGER NOT NULL,
        event BLOB NOT NULL, before BLOB)""",
    "CREATE INDEX changes_of ON changes (watch, id)",
    "ALTER TABLE state ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0",
)

SCHEMA_3 = (
    "ALTER TABLE state ADD COLUMN tick INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE ticks (tick INTEGER PRIMARY KEY, change INTEGER NOT NULL)",
    "UPDATE watched SET until = 11",
)

SCHEMA_4 = (
    "ALTER TABLE collections ADD COLUMN sum INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE indexes ADD COLUMN sum INTEGER NOT NULL DEFAULT 0",
)

SCHEMA_5 = ("ALTER TABLE state ADD COLUMN system INTEGER NOT NULL DEFAULT 0",)
"""``system`` is 1 once what the server knows about callers is in a file of its own."""

SCHEMA_6 = (
    "DROP TABLE changes",
    "DROP TABLE watched",
    "DELETE FROM ticks",
    "UPDATE state SET pruned = 0",
    """CREATE TABLE watched (id INTEGER PRIMARY KEY AUTOINCREMENT, database TEXT NOT NULL, name TEXT NOT NULL,
        until INTEGER NOT NULL, since INTEGER NOT NULL, UNIQUE (database, name))""",
    """CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, database TEXT NOT NULL,
        name TEXT NOT NULL, kind TEXT NOT NULL, event BLOB NOT NULL, before BLOB)""",
    "CREATE INDEX changes_of ON changes (database, name, id)",
)
"""The log of changes is by what was changed, not by who watches; the few minutes of the old one are dropped."""

SCHEMA_7: tuple[str, ...] = ()
"""Options may have :data:`CONSTANTS`, which every version has to keep true that writes into the file."""

SCHEMA_8 = ("ALTER TABLE counts RENAME COLUMN bytes TO size",)
"""Whoever does not know of :data:`CONSTANTS` and still has the file open fails with every write of documents."""

SCHEMAS = (SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5, SCHEMA_6, SCHEMA_7, SCHEMA_8)
"""What each format of the file adds to the one before."""

VERSION = "SELECT catalog FROM state WHERE id = 1"

MAX_INDEXES = 64

TEMPORARY = "temp"
"""The option of a collection that is being made to take the place of another: when, in seconds since 1970."""

CONSTANTS = "constants"
"""The option of a collection with the fields, and their text, that every one of its documents has."""

CONSTANT_FIELDS = ("_tenantId", "_workspaceId")
"""The fields of which that is noted: they keep tenants apart, and mostly a collection has documents of one alone."""


@dataclass(frozen=True)
class Index:
    """One index. ``arrays`` is a bit mask of the fields in which any document ever had an array."""

    id: int
    specification: Document
    arrays: int
    name: str = field(init=False)
    fields: tuple[tuple[str, bool], ...] = field(init=False)
    usable: int = field(init=False)
    pattern: KeyPattern = field(init=False)
    insert: str = field(init=False)
    delete: str = field(init=False)

    def __post_init__(self) -> None:
        specification = self.specification
        fields = tuple((path, is_descending(kind)) for path, kind in specification["key"].items())
        # A numeric component is an array position and a field name at once: keys hold only one of the readings.
        numeric = [any(array_index(part) >= 0 for part in path.split(".")) for path, _ in fields]
        derived = {
            "name": specification["name"],
            "fields": fields,
            "usable": 0 if self.hidden else numeric.index(True) if True in numeric else len(fields),
            "pattern": KeyPattern(fields, sparse=bool(specification.get("sparse"))),
            "insert": f"INSERT INTO {self.table} (key, row) VALUES (?, ?)",  # noqa: S608 - an integer id
            "delete": f"DELETE FROM {self.table} WHERE key = ? AND row = ?",  # noqa: S608
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def table(self) -> str:
        return f"i{self.id}"

    @property
    def unique(self) -> bool:
        return bool(self.specification.get("unique")) or self.name == "_id_"

    @property
    def sparse(self) -> bool:
        return bool(self.specification.get("sparse"))

    @property
    def hidden(self) -> bool:
        return bool(self.specification.get("hidden"))

    @property
    def partial(self) -> Document | None:
        return self.specification.get("partialFilterExpression")

    @property
    def expire_after(self) -> float | None:
        return self.specification.get("expireAfterSeconds")

    @property
    def hashed(self) -> bool:
        return "hashed" in self.specification["key"].values()


def is_descending(kind: Any) -> bool:
    """Whether an index field's direction is negative; ``hashed`` is kept as ascending."""
    return is_number(kind) and compare(kind, 0) < 0


@dataclass(frozen=True)
class Collection:
    """One collection; its documents are rows (id, document, sum) of table ``d<id>``, in natural order of id."""

    id: int
    database: str
    name: str
    options: Document
    indexes: tuple[Index, ...]
    plain: dict[str, Index] = field(init=False, compare=False)
    """By path, the best index on that field alone that holds every value and no array."""
    points: dict[str, str] = field(init=False, compare=False)
    """By the paths of ``plain``, the statement for (catalog's version, document, sum) of the first match of a key."""
    constants: dict[str, str] = field(init=False, compare=False)
    """What every document has: see :data:`CONSTANTS`."""
    unasked: dict[str, str] = field(init=False, compare=False)
    """Those of ``constants`` of which no index speaks, so that no plan needs a condition on them."""

    def __post_init__(self) -> None:
        plain: dict[str, Index] = {}
        for index in self.indexes:
            if index.usable != 1 or len(index.fields) > 1 or index.arrays or index.partial is not None:
                continue
            path, descending = index.fields[0]
            if not descending and (path not in plain or index.unique):
                plain[path] = index
        object.__setattr__(self, "plain", plain)
        object.__setattr__(self, "points", {path: self._point(index) for path, index in plain.items()})
        constants = self.options.get(CONSTANTS, {})
        object.__setattr__(self, "constants", constants)
        object.__setattr__(self, "unasked", self._unasked(constants) if constants else constants)

    def _unasked(self, constants: dict[str, str]) -> dict[str, str]:
        paths = (path for index in self.indexes for path in (*index.specification["key"], *_paths(index.partial)))
        asked = {path.partition(".")[0] for path in paths}
        return {name: text for name, text in constants.items() if name not in asked}

    def _point(self, index: Index) -> str:
        return (
            f"SELECT ({VERSION}), d.document, d.sum FROM {index.table} AS i"  # noqa: S608 - integer ids
            f" LEFT JOIN {self.table} AS d ON d.id = i.row WHERE i.key = ? ORDER BY i.key, i.row LIMIT 1"
        )

    @property
    def table(self) -> str:
        return f"d{self.id}"

    @property
    def namespace(self) -> str:
        return f"{self.database}.{self.name}"

    def index(self, name: str) -> Index | None:
        """The index called ``name``."""
        return next((index for index in self.indexes if index.name == name), None)


def _paths(condition: Document | None) -> Iterator[str]:
    """The fields, and the logical operators, of a partial index's condition."""
    for path, value in (condition or {}).items():
        yield path
        for part in value if isinstance(value, list) else ():
            if isinstance(part, dict):
                yield from _paths(part)


@dataclass(frozen=True)
class Catalog:
    """All collections as of one version of the catalog. ``watched`` has the watch of what is logged by database
    and name; an empty name is the whole database, two are everything: see
    :mod:`doorleaf.stores.embedded.changes.log`."""

    version: int
    collections: dict[tuple[str, str], Collection]
    watched: dict[tuple[str, str], int] = field(default_factory=dict)
    rows: dict[tuple[str, int], tuple[Any, Any]] = field(default_factory=dict, compare=False, repr=False)
    """What was read from the file, by table and number, with what was made of it."""

    def get(self, namespace: Namespace) -> Collection | None:
        """The collection of ``namespace``, or None."""
        return self.collections.get((namespace.database, namespace.collection))

    def of(self, database: str) -> list[Collection]:
        """The collections of ``database``, sorted by name."""
        found = [collection for (owner, _), collection in self.collections.items() if owner == database]
        return sorted(found, key=lambda collection: collection.name)

    def databases(self) -> list[str]:
        """The names of all databases that have a collection, sorted."""
        return sorted({owner for owner, _ in self.collections})

    def changed(self, collection: Collection) -> Catalog:
        """This catalog with one collection put in or replaced, in memory only."""
        return replace(self, collections={**self.collections, (collection.database, collection.name): collection})


def sum_of(*values: str | bytes | int) -> int:
    """The checksum of a row of the catalog: of its values but the sum."""
    parts = (value if isinstance(value, bytes) else str(value).encode() for value in values)
    return crc32(b"\x00".join(parts))


_INDEXES = "SELECT id, collection, specification, arrays, sum FROM indexes ORDER BY id"
_COLLECTIONS = "SELECT id, database, name, options, sum FROM collections"


def load(connection: apsw.Connection, known: Catalog | None = None) -> Catalog:
    """Read the catalog as ``connection``'s transaction sees it; raises ``DamagedDatabase`` for what has changed.

    What is as it was in the ``known`` one is taken from there: of thousands of collections few change at once.
    """
    before = known.rows if known is not None else {}
    rows: dict[tuple[str, int], tuple[Any, Any]] = {}
    indexes: dict[int, list[Index]] = {}
    for row in connection.execute(_INDEXES):
        key = ("index", row[0])
        had = before.get(key)
        rows[key] = had if had is not None and had[0] == row else (row, _index(*row))
        indexes.setdefault(row[1], []).append(rows[key][1])
    collections = {}
    for row in connection.execute(_COLLECTIONS):
        key = ("collection", row[0])
        had, found = before.get(key), tuple(indexes.get(row[0], ()))
        if had is None or had[0] != row or not _same(had[1].indexes, found):
            had = (row, _collection(*row, indexes=found))
        rows[key] = had
        collections[had[1].database, had[1].name] = had[1]
    watches = connection.execute("SELECT id, database, name FROM watched")
    watched = {(database, name): number for number, database, name in watches}
    return Catalog(connection.execute(VERSION).get, collections, watched, rows)


def _same(some: tuple[Index, ...], others: tuple[Index, ...]) -> bool:
    """Whether these are the same objects."""
    return len(some) == len(others) and all(map(is_, some, others))


def _index(number: int, owner: int, specification: bytes, arrays: int, checksum: int) -> Index:
    _compare(checksum, number, owner, specification, arrays)
    decoded = bson.decode(specification, CODEC)
    # An earlier version took JavaScript code for a name; as text it can be listed and dropped.
    decoded["name"] = str(decoded["name"])
    return Index(number, decoded, arrays)


def _collection(
    number: int, database: str, name: str, options: bytes, checksum: int, *, indexes: tuple[Index, ...]
) -> Collection:
    _compare(checksum, number, database, name, options)
    return Collection(number, database, name, bson.decode(options, CODEC), indexes)


def unfinished(connection: apsw.Connection) -> list[str]:
    """The logs of indexes that are being built, or were: see :mod:`doorleaf.stores.embedded.writing.building`."""
    statement = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'b[0-9]*_[0-9]*'"
    return [name for (name,) in connection.execute(statement)]


def tables_of(log: str) -> list[str]:
    """The tables of the indexes that are being built with ``log``."""
    first, count = map(int, log[1:].split("_"))
    return [f"i{number}" for number in range(first, first + count)]


def _compare(checksum: int, *values: str | bytes | int) -> None:
    if sum_of(*values) != checksum:
        raise DamagedDatabase("the database file is damaged: its catalog is not as it was written")


def described(collection: Collection) -> Document:
    """The options of ``collection`` that somebody chose: those without :data:`CONSTANTS`, which follow documents."""
    return {name: value for name, value in collection.options.items() if name != CONSTANTS}


def seal_index(connection: apsw.Connection, number: int, collection: int, specification: bytes, arrays: int) -> None:
    """Note what is known of the arrays in an index, under a new checksum."""
    checksum = sum_of(number, collection, specification, arrays)
    connection.execute("UPDATE indexes SET arrays = ?, sum = ? WHERE id = ?", (arrays, checksum, number))


def seal_collection(connection: apsw.Connection, collection: Collection, options: bytes) -> None:
    """Note the options of a collection, as BSON, under a new checksum."""
    checksum = sum_of(collection.id, collection.database, collection.name, options)
    connection.execute("UPDATE collections SET options = ?, sum = ? WHERE id = ?", (options, checksum, collection.id))


def seal(connection: apsw.Connection) -> None:
    """Give the catalog of a file of an earlier format its checksums."""
    for table, select in (("indexes", _INDEXES), ("collections", _COLLECTIONS)):
        for row in [*connection.execute(select)]:
            connection.execute(f"UPDATE {table} SET sum = ? WHERE id = ?", (sum_of(*row[:-1]), row[0]))  # noqa: S608


_BAD_IN_DATABASE = frozenset('/\\. "$*<>:|?\x00')


def check_database(name: str) -> None:
    """Raise code 73 for a name that no database can have."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > 63 or _BAD_IN_DATABASE.intersection(name):
        raise DataError(f"Invalid database name: '{_shown(name)}'", number=73)


def check_namespace(namespace: Namespace) -> None:
    """Raise code 73 for a namespace that cannot hold documents."""
    check_database(namespace.database)
    name = namespace.collection
    reason = ""
    if not name:
        reason = f"Invalid namespace specified '{_shown(namespace.database)}.'"
    elif "$" in name or "\x00" in name or name.startswith(".") or name.endswith(".") or ".." in name:
        reason = f"Invalid collection name: {_shown(name)}"
    elif name.startswith("system."):
        reason = f"Invalid system namespace: {_shown(str(namespace))}"
    elif len(str(namespace).encode("utf-8", "surrogatepass")) > 255:
        reason = "Fully qualified namespace is too long, the most is 255 bytes"
    if reason:
        raise DataError(reason, number=73)
    try:
        str(namespace).encode()
    except UnicodeEncodeError:
        raise DataError("Invalid collection name: it is not valid Unicode", number=73) from None


def _shown(name: str) -> str:
    return name.encode("unicode_escape", "backslashreplace").decode("ascii") if "\x00" in name else name[:120]
