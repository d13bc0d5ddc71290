"""What no operation does: work for a worker that ends in ways of its own, or not at all."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from typing import Any

import bson

from doorleaf.stores.embedded.encoding import decode


def hold_the_interpreter(session: Any, context: Any) -> None:
    """Never look at the clock, and let no other thread run."""
    re.match(r"(a|aa)+$", "a" * 60 + "!")


def listen_to_nobody(session: Any, context: Any) -> None:
    """The same, deaf to every signal that one can be deaf to."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    hold_the_interpreter(session, context)


def hold_the_lock(writing: Any, context: Any) -> None:
    """Keep others from writing, and never look at the clock."""
    from doorleaf.stores.embedded.writing.planned import for_a_moment

    with writing.transaction(context), for_a_moment(writing, context):
        hold_the_interpreter(writing, context)


def take_a_long_step(writing: Any, context: Any) -> str:
    """What one call into C does with a large document: look at no clock while others cannot write."""
    from doorleaf.stores.embedded.writing.planned import for_a_moment

    with writing.transaction(context), for_a_moment(writing, context):
        context.check_now()
        until = time.process_time() + 0.4
        while time.process_time() < until:
            pass
    return "done"


def go_on_for_ever(writing: Any, context: Any, commits: int = 0) -> None:
    """Write in some transactions, and in one more without an end."""
    from doorleaf.stores.embedded.writing.planned import for_a_moment

    for _ in range(commits):
        with writing.transaction(context), for_a_moment(writing, context):
            pass
    with writing.transaction(context), for_a_moment(writing, context):
        while True:
            context.check_now()


def go_on_behind_others(writing: Any, context: Any) -> None:
    """The same behind what was committed."""
    go_on_for_ever(writing, context, 2)


def decode_too_much(session: Any, context: Any) -> None:
    """Decode a document that takes more memory than there is."""
    decode(bson.encode({"a": [{"": {}}] * 700_000}))


def answer(session: Any, context: Any) -> str:
    """End in order."""
    return "answer"


def leave(session: Any, context: Any) -> None:
    """End in the middle."""
    os._exit(7)


def raise_outside(session: Any, context: Any) -> None:
    """Fail where nobody tells the server: in what sends answers."""
    _break(RuntimeError("broken"))


def have_no_memory_outside(session: Any, context: Any) -> None:
    """The same for lack of memory."""
    _break(MemoryError())


def _break(error: BaseException) -> None:
    from doorleaf.stores.embedded.processes import worker

    def end(self: Any, kind: int, payload: bytes) -> None:
        raise error

    worker._Sender.end = end  # type: ignore[method-assign]  # in this process alone, which ends


def crash(session: Any, context: Any) -> None:
    """End as a library without memory does not expect to."""
    ctypes.string_at(0)


def crash_full(session: Any, context: Any) -> None:
    """The same with much memory."""
    held = bytearray(90 * 1024 * 1024)
    held[::4096] = b"x" * len(held[::4096])
    ctypes.string_at(0)


def insert_without_memory(writing: Any, context: Any, failure: type[Exception]) -> Any:
    """Insert many documents, of which one in the middle takes more memory than there is."""
    from doorleaf.operations import InsertMany, Namespace
    from doorleaf.stores.embedded.writing import slices

    def some(transaction: Any, *arguments: Any) -> Any:
        if writing.committed:
            raise failure
        return insert_some(transaction, *arguments)

    insert_some = slices._insert_some
    setattr(slices, "_insert_some", some)  # noqa: B010  # in this process alone
    writing.sliced = True
    operation = InsertMany(namespace=Namespace("db", "c"), documents=[])
    given = slices.batches([{"_id": number} for number in range(40_000)])
    return slices.insert_many(writing, operation, given, context)
