"""What the planner would do, and what it read: the answers of the ``explain`` command."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from doorleaf.documents import Document, is_string
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.stages.compile import SOURCES, check_later, compile_pipeline, pushdown, split_output
from doorleaf.mql.stages.reach import stage_of
from doorleaf.mql.values import integral, is_number, type_name
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.file.storage import Session
from doorleaf.stores.embedded.reading.distinct import Leaps, leaps
from doorleaf.stores.embedded.reading.matches import Matches, Query
from doorleaf.stores.embedded.reading.plans import Plan
from doorleaf.stores.embedded.reading.reads import Collections, exact_way, let_values
from doorleaf.stores.embedded.reading.scan import Scan

VERBOSITIES = ("queryPlanner", "executionStats", "allPlansExecution")


def explain(session: Session, database: str, command: Document, verbosity: str, context: Context) -> Document:
    """Explain ``command``: find, count, distinct, aggregate, update, delete or findAndModify."""
    name = next(iter(command), "")
    if name == "aggregate" and is_number(command[name]):
        raise Unsupported("explain of an aggregate without a collection is not supported by this data source")
    if name not in _EXPLAINED or not is_string(command[name]):
        raise DataError(f"Explain failed due to unknown command: {name}", number=59)
    namespace = Namespace(database, command[name])
    asked = _checked(name, _asked(name, command))
    collection = session.catalog.get(namespace)
    if collection is None:
        found = _Explained({"stage": "EOF"})
    else:
        query = Query(
            collection,
            asked.get("filter") or {},
            asked.get("sort") or None,
            integral(asked.get("skip") or 0) or 0,
            integral(asked.get("limit") or 0) or 0,
            asked.get("hint") or None,
            let_values(command.get("let"), context) or None,
        )
        found = _explained(session, name, command, query, context)
    planner: Document = {
        "namespace": str(namespace),
        "parsedQuery": asked.get("filter") or {},
        "winningPlan": found.plan,
        "rejectedPlans": found.rejected,
    }
    stats = _stats(found, context) if verbosity != "queryPlanner" else None
    rest = asked.get("rest")
    if name == "aggregate" and rest:
        cursor: Document = {"queryPlanner": planner}
        if stats is not None:
            cursor["executionStats"] = stats
        answer: Document = {"explainVersion": "1", "stages": [{"$cursor": cursor}, *rest]}
        if stats is not None and found.matches is not None:
            answer["joined"] = _joined(session, namespace, rest, found.matches, context)
    else:
        answer = {"explainVersion": "1", "queryPlanner": planner}
        if stats is not None:
            answer["executionStats"] = stats
    return {**answer, "command": {**command, "$db": database}, "ok": 1}


@dataclass(slots=True)
class _Explained:
    """A plan as it is shown, and what carrying it out tells; ``run`` answers results, keys and documents."""

    plan: Document
    rejected: list[Document] = field(default_factory=list)
    run: Callable[[], tuple[int, int, int]] = lambda: (0, 0, 0)
    matches: Matches | None = None


def _explained(session: Session, name: str, command: Document, query: Query, context: Context) -> _Explained:
    if name == "distinct" and is_string(command.get("key")):
        by_index = leaps(query.collection, query.filter, command["key"])
        if by_index is not None:
            return _leaping(session, by_index, query, context)
    if name == "count" and (query.filter or query.hint is not None):
        exact = exact_way(query, context)
        if exact is not None:
            scan = Scan(session, exact, context)
            return _Explained(_tree(name, exact, query), run=lambda: (scan.count(), scan.keys, 0))
    matches = Matches(session, query, context)
    made = matches.choice.plan
    rejected = [_rejected(way, keys, query) for way, keys in matches.choice.counted if way is not made]

    def run() -> tuple[int, int, int]:
        returned = sum(1 for _ in matches.rows())
        return returned, matches.scan.keys, matches.scan.examined

    return _Explained(_tree(name, made, query), rejected, run, matches)


def _leaping(session: Session, by_index: Leaps, query: Query, context: Context) -> _Explained:
    index = by_index.index
    shown = {"stage": "DISTINCT_SCAN", "keyPattern": dict(index.specification["key"]), "indexName": index.name}

    def run() -> tuple[int, int, int]:
        found = by_index.values(session, query.collection, context) or ()
        return len(found), by_index.keys, by_index.examined

    return _Explained(shown, run=run)


def _joined(
    session: Session, namespace: Namespace, rest: list[Document], matches: Matches, context: Context
) -> Document:
    """What the rest of a pipeline reads of other collections."""
    scans: list[Scan] = []
    reader = Collections(session, namespace.database, context, scans)
    transform = compile_pipeline(rest, context, matches.query.variables, reader)
    for _ in transform(matches.documents()):
        pass
    return {
        "totalKeysExamined": sum(scan.keys for scan in scans),
        "totalDocsExamined": sum(scan.examined for scan in scans),
    }


def _checked(name: str, asked: dict[str, Any]) -> dict[str, Any]:
    """``asked`` when each part has its type; error 14 or 51024 as the explained command would have it."""
    for part in ("filter", "sort"):
        if asked.get(part) is not None and not isinstance(asked[part], dict):
            raise _wrong_type(name, part, asked[part])
    for part in ("skip", "limit"):
        value = asked.get(part)
        if value is not None and (not is_number(value) or (integral(value) or 0) < 0 or integral(value) is None):
            raise DataError(f"BSON field '{part}' value must be >= 0 and a whole number", number=51024)
    hint = asked.get("hint")
    if hint is not None and not is_string(hint) and not isinstance(hint, dict):
        raise _wrong_type(name, "hint", hint)
    return asked


def _wrong_type(name: str, part: str, value: Any) -> DataError:
    return DataError(f"BSON field '{name}.{part}' is the wrong type '{type_name(value)}'", number=14)


def _first_of(command: Document, name: str) -> Document:
    listed = command.get(name)
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise DataError(f"explained write batches must be of size 1: {name}", number=72)
    return listed[0]


def _asked(name: str, command: Document) -> dict[str, Any]:
    if name == "find":
        return {key: command.get(key) for key in ("filter", "sort", "skip", "limit", "hint")}
    if name in ("count", "distinct"):
        return {"filter": command.get("query"), **{key: command.get(key) for key in ("skip", "limit", "hint")}}
    if name == "update":
        update = _first_of(command, "updates")
        return {"filter": update.get("q"), "hint": update.get("hint"), "limit": 0 if update.get("multi") else 1}
    if name == "delete":
        delete = _first_of(command, "deletes")
        return {"filter": delete.get("q"), "hint": delete.get("hint"), "limit": delete.get("limit", 0)}
    if name == "aggregate":
        pipeline = command.get("pipeline", [])
        if not isinstance(pipeline, list):
            raise _wrong_type(name, "pipeline", pipeline)
        check_later(pipeline[1:])
        if pipeline and (first := stage_of(pipeline[0])[0]) in SOURCES:
            raise Unsupported(f"explain of {first} is not supported by this data source")
        head = pushdown(split_output(pipeline)[0])
        return {
            "filter": head.filter,
            "sort": head.sort,
            "skip": head.skip,
            "limit": head.limit,
            "hint": command.get("hint"),
            "rest": head.rest,
        }
    return {"filter": command.get("query"), "sort": command.get("sort"), "hint": command.get("hint"), "limit": 1}


_EXPLAINED = ("find", "count", "distinct", "aggregate", "update", "delete", "findAndModify", "findandmodify")
_TOP = {"count": "COUNT", "update": "UPDATE", "delete": "DELETE", "findAndModify": "UPDATE", "findandmodify": "UPDATE"}


def _tree(name: str, made: Plan, query: Query) -> Document:
    filter = {} if made.exact else {"filter": query.filter}
    covered = name == "count" and made.exact
    if made.scan:
        tree: Document = {"stage": "COLLSCAN", **filter, "direction": "backward" if made.reverse else "forward"}
    elif made.branches:
        stage = "SORT_MERGE" if made.merged else "OR"
        tree = {"stage": stage, "inputStages": [_scan(leaf) for leaf in made.leaves()]}
    else:
        tree = _scan(made)
    if not made.scan and not covered:
        tree = {"stage": "FETCH", **filter, "inputStage": tree}
    if query.sort and not made.sorted:
        grouped = {"groupedBy": dict(made.grouped)} if made.grouped else {}
        tree = {"stage": "SORT", "sortPattern": dict(query.sort), **grouped, "inputStage": tree}
    if query.skip:
        tree = {"stage": "SKIP", "skipAmount": query.skip, "inputStage": tree}
    if query.limit and name == "find":
        tree = {"stage": "LIMIT", "limitAmount": query.limit, "inputStage": tree}
    return {"stage": _TOP[name], "inputStage": tree} if name in _TOP else tree


def _scan(leaf: Plan) -> Document:
    """The reading of one index."""
    index = leaf.index
    if index is None:
        raise AssertionError("only an index is read in branches")
    return {
        "stage": "IXSCAN",
        "keyPattern": dict(index.specification["key"]),
        "indexName": index.name,
        "isMultiKey": bool(index.arrays),
        "isUnique": index.unique,
        "isSparse": index.sparse,
        "isPartial": index.partial is not None,
        "indexVersion": 2,
        "direction": "backward" if leaf.reverse else "forward",
        "intervals": len(leaf.intervals),
    }


def _rejected(way: Plan, keys: int, query: Query) -> Document:
    """A plan that was not carried out; ``keysExamined`` were read of it before that was clear."""
    return {**_tree("", way, query), "keysExamined": keys}


def _stats(found: _Explained, context: Context) -> Document:
    """Read what the query would read; writes are not carried out."""
    started = time.monotonic()
    returned, keys, documents = found.run()
    return {
        "executionSuccess": True,
        "nReturned": returned,
        "executionTimeMillis": int((time.monotonic() - started) * 1000),
        "totalKeysExamined": keys,
        "totalDocsExamined": documents,
        "executionStages": {"stage": found.plan["stage"], "nReturned": returned},
    }
