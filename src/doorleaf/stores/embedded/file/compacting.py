"""Making the file smaller: bit by bit while it is in use, or written anew as a whole."""

from __future__ import annotations

import apsw

from doorleaf.stores.embedded.discarding import aside
from doorleaf.stores.embedded.file.sqlite import failure
from doorleaf.stores.embedded.file.storage import Session, Storage, begin_writing
from doorleaf.stores.embedded.writing.rows import Transaction

STEP_PAGES = 256
"""Pages that one write gives back: few enough for others not to wait."""

SPARE = 4
"""Unused pages stay, to be used again, while they are less than this part of the file."""


def is_loose(session: Session) -> bool:
    """Whether the file has so many unused pages that some should be given back, and can be."""
    execute = session.execute
    unused: int = execute("PRAGMA freelist_count").get
    return bool(unused * SPARE > execute("PRAGMA page_count").get and execute("PRAGMA auto_vacuum").get == 2)


def give_back(transaction: Transaction) -> bool:
    """Give some of the file's unused pages back to the disk; whether there are more to give."""
    execute = transaction.session.execute
    unused: int = execute("PRAGMA freelist_count").get
    for _ in execute(f"PRAGMA incremental_vacuum({min(STEP_PAGES, unused)})"):
        pass
    return unused > STEP_PAGES


def compact(storage: Storage) -> tuple[int, int]:
    """Write the file anew without unused space, so that it can be made smaller bit by bit from then on; its size in
    bytes before and after. Others that write wait meanwhile, and the disk needs as much space again."""
    storage.prepare()
    session = storage.session(writing=True, busy=30.0)
    storage.sharing.take()
    try:
        begin_writing(session)  # nobody is in the middle of something
        for table in aside(session):
            session.execute(f"DROP TABLE {table}")
        session.execute("COMMIT")
        before = storage.path.stat().st_size
        session.execute("PRAGMA auto_vacuum = INCREMENTAL")
        session.execute("VACUUM")
        session.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        return before, storage.path.stat().st_size
    except apsw.Error as error:
        raise failure(error) from error
    finally:
        storage.sharing.give()
        session.close()
        storage.close()
