"""What operations say, as PyMongo and MongoDB's commands want it; and what they refuse before anything is sent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from bson.raw_bson import RawBSONDocument

from doorleaf.documents import CODEC, Document, Pipeline
from doorleaf.errors import DataError, InvalidParameter
from doorleaf.operations import (
    Aggregate,
    CountDocuments,
    Distinct,
    Effect,
    Find,
    FindOne,
    Operation,
    RunCommand,
    altered,
)
from doorleaf.stores import base as stores

RAW: CodecOptions[RawBSONDocument] = CODEC.with_options(document_class=RawBSONDocument)
"""As :data:`doorleaf.documents.CODEC`, with documents left as BSON."""

DEFAULT_TIME_LIMIT = 30_000
"""Milliseconds for an operation that has no limit of its own: nothing is sent without one."""


def time_limit(operation: Operation[Any]) -> int:
    """The operation's time limit in milliseconds."""
    return operation.max_time_ms or DEFAULT_TIME_LIMIT


GRACE = 1.0
"""Seconds that an answer may come after the time limit: the server keeps the limit, and its refusal has to travel."""

READING_COMMANDS = frozenset(
    {"aggregate", "buildInfo", "collStats", "connectionStatus", "count", "dataSize", "dbHash", "dbStats", "distinct"}
    | {"explain", "find", "hello", "hostInfo", "isMaster", "listCollections", "listCommands", "listDatabases"}
    | {"listIndexes", "ping", "serverStatus", "validate"}
)
"""Commands that change nothing, so that they may be sent again; a pipeline that writes makes one that does."""


def may_write(operation: Operation[Any]) -> bool:
    """Whether ``operation`` may change something."""
    if isinstance(operation, RunCommand):
        name = next(iter(operation.command), "")
        return name not in READING_COMMANDS or (name == "aggregate" and outputs(operation.command.get("pipeline")))
    if isinstance(operation, Aggregate):
        return outputs(operation.pipeline)
    return operation.effect is not Effect.READ and operation.name not in READING_COMMANDS


def outputs(pipeline: Any) -> bool:
    """Whether a pipeline ends in ``$out`` or ``$merge``."""
    last = pipeline[-1] if isinstance(pipeline, list) and pipeline else None
    return isinstance(last, Mapping) and ("$out" in last or "$merge" in last)


def ordering(value: Mapping[str, Any] | None) -> list[tuple[str, Any]] | None:
    """A ``sort`` as the list PyMongo takes; None when it is absent or empty.

    PyMongo knows only integers, strings and objects here, MongoDB any whole number.
    """
    return [(key, _direction(key, item)) for key, item in value.items()] if value else None


def _direction(key: str, value: Any) -> Any:
    if isinstance(value, Decimal128):
        value = float(value.to_decimal())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str, Mapping)):
        raise DataError(f"Illegal key in $sort specification: {key}: {value}", number=15974)
    return value


def hinted(value: str | Document | None) -> str | list[tuple[str, Any]] | None:
    """A ``hint`` as PyMongo takes it; None when it is absent or empty."""
    return ordering(value) if isinstance(value, Mapping) else value or None


def _hint(value: str | Document | None) -> str | Document | None:
    """A ``hint`` as commands take it."""
    hint = hinted(value)
    return dict(hint) if isinstance(hint, list) else hint


def check_update(update: Document | Pipeline) -> None:
    """Refuse what MongoDB would take for a whole replacement."""
    if not isinstance(update, list) and not next(iter(update), "").startswith("$"):
        raise DataError("the update has no update operators: its fields must start with $", number=9)


def check_replacement(replacement: Document, *, upsert: bool) -> None:
    """Refuse update operators in a replacement; in the new document of an upsert later names may begin with ``$``."""
    for number, key in enumerate(replacement):
        if key.startswith("$") and not (upsert and number):
            raise DataError(f"the replacement must not contain update operators, it has '{key}'", number=52)


def present(**values: Any) -> Document:
    """The arguments that have a value, None being absent."""
    return {key: value for key, value in values.items() if value is not None}


def aggregating(operation: Aggregate) -> Document:
    """The options of an ``aggregate`` command that ``operation`` has."""
    return present(
        collation=operation.collation,
        hint=_hint(operation.hint),
        let=operation.let,
        comment=operation.comment,
        allowDiskUse=True if operation.allow_disk_use else None,
    )


def choosing(operation: FindOne | Find) -> Document:
    """The fields of a ``find`` command that say which documents, and in what form."""
    fields: Document = {"filter": operation.filter}
    if operation.sort:
        fields["sort"] = operation.sort
    if operation.projection:
        fields["projection"] = operation.projection
    if operation.skip:
        fields["skip"] = operation.skip
    if operation.collation:
        fields["collation"] = operation.collation
    if operation.hint:
        fields["hint"] = operation.hint
    if operation.let:
        fields["let"] = operation.let
    if operation.comment is not None:
        fields["comment"] = operation.comment
    return fields


def counting(operation: Find, until: float) -> CountDocuments:
    """The count of what a find matches, which has to be there at ``until``, a monotonic time."""
    return altered(operation.counting, max_time_ms=max(1, int((until - time.monotonic()) * 1000)))


def counting_options(operation: CountDocuments) -> Document:
    """The options of an ``aggregate`` command that counts."""
    return present(
        collation=operation.collation,
        hint=_hint(operation.hint),
        comment=operation.comment,
        maxTimeMS=time_limit(operation),
    )


def distinct_options(operation: Distinct) -> Document:
    """The options of a ``distinct`` command that ``operation`` has."""
    return present(collation=operation.collation, comment=operation.comment, maxTimeMS=time_limit(operation))


def require_small(size: int, operation: Operation[Any]) -> None:
    """Refuse an answer of ``size`` bytes where the operation may have fewer."""
    stores.require_small(size, operation.max_bytes)


def require_few(count: int, most: int) -> None:
    """Refuse a pipeline that answers ``count`` documents, where ``most`` may be."""
    if count > most:
        raise InvalidParameter(
            f"the pipeline answers more than {most} documents, the most that one answer may have; add a $limit stage"
        )


def document_count(batch: bytes) -> int:
    """How many documents ``batch`` has, BSON end to end."""
    count, position, end = 0, 0, len(batch)
    while position < end:
        position += int.from_bytes(batch[position : position + 4], "little")
        count += 1
    return count
