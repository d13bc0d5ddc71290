"""Refuses what would scan a large collection of a MongoDB without an index, by asking how it would run.

Only operations that are bounded (``max_scan``) are looked at. Each costs an ``explain``, and a count by metadata where
that shows a collection scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from doorleaf import operations as op
from doorleaf.documents import CODEC, Document, is_string
from doorleaf.mql.stages.reach import STAGES, inner_pipelines
from doorleaf.operations import Operation
from doorleaf.operations.capabilities import Collated, Filtered, Hinted, Parametrized, Skipping, Sorted
from doorleaf.stores.base import scan_refused
from doorleaf.stores.mongo.arguments import present, time_limit
from doorleaf.stores.mongo.lanes.retries import repeated

Database = AsyncDatabase[Document]

_READING_COMMANDS = frozenset({"find", "aggregate", "count", "distinct", "findAndModify"})
_NOT_PLANS = frozenset({"rejectedPlans", "command", "parsedQuery", "filter", "serverInfo"})


async def check(database: Database, operation: Operation[Any], most: int) -> None:
    """Raise code 291 when ``operation`` would read a collection of more than ``most`` documents without an index."""
    if operation.parts:
        for part in operation.parts:
            await check(database.client.get_database(part.namespace.database, codec_options=CODEC), part, most)
        return
    milliseconds = time_limit(operation)
    for command in _commands(operation, most):
        await _check(database, command, most, milliseconds)
    if isinstance(operation, op.Aggregate):
        await _joins(database, operation.pipeline, most, milliseconds)


def _commands(operation: Operation[Any], most: int) -> Iterator[Document]:
    """The commands whose plans say how ``operation`` reads."""
    collection = operation.namespace.collection
    if isinstance(operation, op.BulkWrite):
        for write in operation.operations:
            yield from _commands(write, most)
    elif isinstance(operation, op.Aggregate):
        first = operation.pipeline[0] if operation.pipeline else {}
        limit = first.get("$limit") if isinstance(first, dict) else None
        if not (isinstance(limit, int) and limit <= most):
            fields = present(let=operation.let, hint=operation.hint, collation=operation.collation)
            yield {"aggregate": collection, "pipeline": operation.pipeline, "cursor": {}, **fields}
    elif isinstance(operation, op.Distinct):
        fields = present(collation=operation.collation)
        yield {"distinct": collection, "key": operation.key, "query": operation.filter, **fields}
    elif isinstance(operation, Filtered):
        yield from _find(operation, most)
    elif isinstance(operation, op.RunCommand):
        yield from _of_command(operation.command)


def _find(operation: Operation[Any], most: int) -> Iterator[Document]:
    """A write finds its documents as a find does."""
    assert isinstance(operation, Filtered)  # noqa: S101  # what others have is looked at elsewhere
    sort = (operation.sort or None) if isinstance(operation, Sorted) else None
    skip = operation.skip if isinstance(operation, Skipping) else 0
    limit = _most_matches(operation)
    if not operation.filter and not sort and limit and limit + skip <= most:
        return
    fields = present(
        sort=sort,
        hint=(operation.hint or None) if isinstance(operation, Hinted) else None,
        collation=(operation.collation or None) if isinstance(operation, Collated) else None,
        let=(operation.let or None) if isinstance(operation, Parametrized) else None,
    )
    yield {"find": operation.namespace.collection, "filter": operation.filter, **fields}


def _most_matches(operation: Operation[Any]) -> int:
    """How many documents that match an operation looks for; 0 is all of them."""
    if isinstance(operation, (op.Find, op.CountDocuments)):
        return operation.limit
    return 0 if operation.many else 1


def _of_command(command: Document) -> Iterator[Document]:
    name = next(iter(command), "")
    if name in _READING_COMMANDS:
        bare = {key: value for key, value in command.items() if key not in ("maxTimeMS", "comment")}
        yield {**bare, "cursor": {}} if name == "aggregate" else bare
    for key in ("updates", "deletes"):
        for write in command.get(key) or () if name in ("update", "delete") else ():
            if isinstance(write, dict):
                yield {"find": command[name], "filter": write.get("q") or {}, **present(hint=write.get("hint"))}


async def _check(database: Database, command: Document, most: int, milliseconds: int) -> None:
    explain = {"explain": command, "verbosity": "queryPlanner", "maxTimeMS": milliseconds}
    explained = await repeated(database.client, lambda: database.command(explain, codec_options=CODEC))
    # Not every server names the namespace in its plans; without one the plan is that of the command's own collection.
    own = f"{database.name}.{command[next(iter(command))]}"
    for namespace in {*_scanned(explained, own)}:
        name, _, collection = namespace.partition(".")
        counted = database.client[name][collection]
        if await counted.estimated_document_count(maxTimeMS=milliseconds) > most:
            raise scan_refused(namespace, most)


def _scanned(explained: Any, namespace: str) -> Iterator[str]:
    """The namespaces that a plan reads without an index; for a view those it is made of."""
    if isinstance(explained, list):
        for item in explained:
            yield from _scanned(item, namespace)
    elif isinstance(explained, Mapping):
        if is_string(explained.get("namespace")):
            namespace = explained["namespace"]
        if explained.get("stage") == "COLLSCAN":
            yield namespace
        for key, value in explained.items():
            # What stands beside $cursor are the stages of the pipeline as they came.
            if key not in _NOT_PLANS and (key[:1] != "$" or key == "$cursor"):
                yield from _scanned(value, namespace)


# --- other collections that a pipeline reads ---------------------------------------------------------------------


async def _joins(database: Database, pipeline: Any, most: int, milliseconds: int) -> None:
    """Check what the plan of a pipeline does not show: joins and unions, at any depth."""
    for stage in pipeline if isinstance(pipeline, list) else ():
        for name, operand in stage.items() if isinstance(stage, dict) else ():
            reach = STAGES.get(name)
            if reach is None or reach.writes:
                continue
            if reach.places:
                await _join(database, name, operand, most, milliseconds)
            else:
                for inner in inner_pipelines(name, operand):
                    await _joins(database, inner, most, milliseconds)


async def _join(database: Database, name: str, operand: Any, most: int, milliseconds: int) -> None:
    joined = operand if isinstance(operand, dict) else {"coll": operand}
    source = joined.get("coll" if name == "$unionWith" else "from")
    if isinstance(source, dict):
        other, collection = database.client[str(source.get("db", database.name))], source.get("coll")
    else:
        other, collection = database, source
    pipeline = joined.get("pipeline") or []
    await _joins(other, pipeline, most, milliseconds)
    if not is_string(collection):  # $documents, or what the server will refuse
        return
    field = joined.get("connectToField" if name == "$graphLookup" else "foreignField")
    if is_string(field):
        if await _has_index(other, collection, field):
            return
        if await other[collection].estimated_document_count(maxTimeMS=milliseconds) > most:
            raise scan_refused(f"{other.name}.{collection}", most)
        return
    variables = dict.fromkeys(joined["let"]) if isinstance(joined.get("let"), dict) else None
    command = {"aggregate": collection, "pipeline": pipeline, "cursor": {}, **present(let=variables)}
    await _check(other, command, most, milliseconds)


async def _has_index(database: Database, collection: str, field: str) -> bool:
    if field == "_id":
        return True
    async for index in await database[collection].list_indexes():
        usable = not index.get("hidden") and "partialFilterExpression" not in index
        if usable and next(iter(index["key"]), None) == field:
            return True
    return False
