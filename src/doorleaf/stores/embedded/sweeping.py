"""Sweeping: documents and logged changes whose time has come go, and what processes that ended have left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial

import apsw

from doorleaf.errors import DoorleafError
from doorleaf.mql.context import Context
from doorleaf.operations import OWN_TURN, DropCollection
from doorleaf.stores.embedded import administration, discarding
from doorleaf.stores.embedded.changes import log as change_log
from doorleaf.stores.embedded.file import compacting
from doorleaf.stores.embedded.host import Host
from doorleaf.stores.embedded.writing import building

WRITE_SECONDS = 30.0
"""How long each of its writes may take."""

TAKING_SECONDS = 60.0
"""For how long a sweep takes away what was put aside, so that documents expire meanwhile; the next one goes on."""

_log = logging.getLogger(__name__)


async def sweep(store: Host) -> int:
    """Take out the documents and the logged changes whose time has come, in writes that keep nobody for long; answers
    how many documents. Raises DoorleafError and the driver's errors."""
    await _clear(store)
    while not store.now(change_log.is_idle):
        pruned = await store.write(lambda transaction: change_log.prune(transaction.session), _context())
        if pruned < change_log.PRUNED_AT_ONCE:
            break
    while store.now(compacting.is_loose):
        if not await store.write(compacting.give_back, _context()):
            break
    for abandoned in store.now(administration.abandoned):
        await store.execute(DropCollection(namespace=abandoned, turn=OWN_TURN))
    total = 0
    for namespace, name in store.now(administration.expiring):
        is_over = False
        while not is_over:
            context = _context()
            expire = partial(administration.expire, namespace=namespace, name=name, context=context)
            taken, is_over = await store.write(expire, context)
            total += taken
    await _take_away(store)
    return total


async def sweep_for_ever(store: Host, seconds: float) -> None:
    """Sweep every ``seconds`` until it is cancelled; an error is logged, and the next sweep tries again."""
    with contextlib.suppress(DoorleafError, apsw.Error):
        await _clear(store)
    while True:
        await asyncio.sleep(seconds)
        try:
            await sweep(store)
        except (DoorleafError, apsw.Error):
            _log.exception("what has expired or was dropped could not be taken out")


async def _clear(store: Host) -> None:
    """Take away what is left of indexes whose process ended while it built them."""
    for left in store.now(building.left):
        await store.write(partial(building.drop_unfinished, log=left), _context())


async def _take_away(store: Host) -> None:
    """Take away the tables that were put aside, or a part where there is much; others write in between."""
    until = time.monotonic() + TAKING_SECONDS
    for table in store.now(discarding.aside):
        is_gone = False
        while not is_gone and time.monotonic() < until:
            is_gone = await store.write(partial(discarding.take_away, table=table), _context())
            await asyncio.sleep(discarding.SECONDS)


def _context() -> Context:
    return Context(time.monotonic() + WRITE_SECONDS)
