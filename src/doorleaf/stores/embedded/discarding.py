"""Tables that are dropped: a large one is only put aside at once, and taken away bit by bit where nobody waits.

SQLite gives all pages of a table back in one step that nothing can interrupt, and others cannot write meanwhile.
"""

from __future__ import annotations

import time

from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.writing.rows import Transaction

LARGE_ROWS, LARGE_BYTES = 10_000, 8 * 1024 * 1024
"""Tables of more are put aside."""

SECONDS = 0.02
"""How long one write takes rows away."""

_ROWS, _BYTES = 250, 2 * 1024 * 1024
"""What is taken away between two looks at the clock, and one row at least."""

_ASIDE = "gone_"


def discard(session: Session, table: str) -> None:
    """Drop a table: at once where it is small, or the disk is full so that its space is needed."""
    if _is_large(session, table) and not session.storage.room.is_full:
        session.execute(f"ALTER TABLE {table} RENAME TO {_ASIDE}{table}")
    else:
        session.execute(f"DROP TABLE {table}")


def aside(session: Session) -> list[str]:
    """The tables that were put aside."""
    found = session.execute("SELECT name FROM sqlite_schema WHERE name GLOB ?", (f"{_ASIDE}[di][0-9]*",))
    return [name for (name,) in found]


def take_away(transaction: Transaction, table: str, seconds: float = SECONDS) -> bool:
    """Take rows of a table away that was put aside, then the table; whether it is gone, by whomever."""
    session = transaction.session
    if table not in aside(session):
        return True
    until = time.monotonic() + seconds
    keys, size = ("id", "length(document)") if table.startswith(f"{_ASIDE}d") else ("key, row", "length(key)")
    names = keys.split(", ")
    statement = f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in names)}"  # noqa: S608
    while time.monotonic() < until:
        found, held = [], 0
        for *row, length in session.rows(f"SELECT {keys}, {size} FROM {table} LIMIT {_ROWS}", ()):  # noqa: S608
            found.append(row)
            held += length
            if held >= _BYTES:
                break
        if not found:
            session.execute(f"DROP TABLE {table}")
            return True
        session.connection.executemany(statement, found)
    return False


def _is_large(session: Session, table: str) -> bool:
    """Whether a table has many rows, or much in them, as far as the first of them tell."""
    size = "length(document)" if table.startswith("d") else "length(key)"
    some = f"SELECT {size} AS size FROM {table} LIMIT {LARGE_ROWS + 1}"  # noqa: S608 - tables named by integers
    rows, held = session.execute(f"SELECT COUNT(*), TOTAL(size) FROM ({some})").get  # noqa: S608 - as above
    return bool(rows > LARGE_ROWS or held > LARGE_BYTES)
