"""The stages that begin a pipeline with what is known of a collection: ``$collStats`` and ``$indexStats``."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from doorleaf.documents import Document, Pipeline
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.stages.reach import stage_of
from doorleaf.mql.values import is_nan, is_number, type_name
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.file.storage import Session, counts
from doorleaf.stores.embedded.statistics import collection_statistics

_NOT_MEASURED = ("latencyStats", "queryExecStats", "operationStats")


def source_of(
    session: Session, namespace: Namespace, pipeline: Pipeline, context: Context
) -> tuple[list[Document], Pipeline] | None:
    """The documents that such a stage gives, and the stages after it; None where a pipeline begins otherwise."""
    if not pipeline:
        return None
    name, argument = stage_of(pipeline[0])
    source = _SOURCES.get(name)
    return None if source is None else (source(session, namespace, argument, context), pipeline[1:])


def _collection(session: Session, namespace: Namespace, argument: Any, context: Context) -> list[Document]:
    if not isinstance(argument, dict):
        text = f"$collStats must take a nested object but found: {type_name(argument)}"
        raise DataError(text, number=5447000)
    for part, asked in argument.items():
        if part in _NOT_MEASURED:
            raise Unsupported(f"$collStats.{part} is not supported by this data source")
        if part not in ("storageStats", "count"):
            raise DataError(f"BSON field '$collStats.{part}' is an unknown field.", number=40415)
        if not isinstance(asked, dict):
            text = f"BSON field '$collStats.{part}' is the wrong type '{type_name(asked)}', expected type 'object'"
            raise DataError(text, number=14)
        for name in asked:
            if part == "count" or name != "scale":
                raise DataError(f"BSON field '$collStats.{part}.{name}' is an unknown field.", number=40415)
    answer: Document = {"ns": str(namespace), "host": platform.node(), "localTime": context.now}
    if "storageStats" in argument:
        scale = _scale(argument["storageStats"].get("scale", 1))
        _require(session, namespace, "storageStats")
        found = collection_statistics(session, namespace, scale, context)
        answer["storageStats"] = {name: value for name, value in found.items() if name not in ("ns", "ok")}
    if "count" in argument:
        collection = _require(session, namespace, "count")
        answer["count"] = counts(session, collection)[0]
    return [answer]


def _require(session: Session, namespace: Namespace, part: str) -> Any:
    collection = session.catalog.get(namespace)
    if collection is None:
        raise DataError(
            f"Unable to retrieve {part} in $collStats stage :: caused by :: Collection [{namespace}] not found.",
            number=26,
        )
    return collection


def _scale(value: Any) -> int:
    if not is_number(value):
        raise DataError(f"BSON field '$collStats.storageStats.scale' is the wrong type '{type_name(value)}'", number=14)
    scale = 0.0 if is_nan(value) else float(str(value))
    if not 1 <= scale < 2**63:
        raise DataError("BSON field 'scale' value must be >= 1", number=51024)
    return int(scale)


def _indexes(session: Session, namespace: Namespace, argument: Any, context: Context) -> list[Document]:
    """The indexes without ``accesses``, since nobody counts how often one is used."""
    if not isinstance(argument, dict) or argument:
        raise DataError("The $indexStats stage specification must be an empty object", number=28803)
    collection = session.catalog.get(namespace)
    return [
        {
            "name": index.name,
            "key": dict(index.specification["key"]),
            "host": platform.node(),
            "spec": dict(index.specification),
        }
        for index in (collection.indexes if collection is not None else ())
    ]


_SOURCES: dict[str, Callable[[Session, Namespace, Any, Context], list[Document]]] = {
    "$collStats": _collection,
    "$indexStats": _indexes,
}
