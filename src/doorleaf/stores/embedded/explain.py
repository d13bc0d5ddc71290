"""What the planner would do, and what it read: the answers of the ``explain`` command."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from doorleaf.documents import Document
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.stages import pushdown, split_output
from doorleaf.operations import Namespace
from doorleaf.stores.embedded.planner import Plan, plan
from doorleaf.stores.embedded.reads import Matches, Query
from doorleaf.stores.embedded.scan import chosen
from doorleaf.stores.embedded.storage import Session

VERBOSITIES = ("queryPlanner", "executionStats", "allPlansExecution")


def explain(session: Session, database: str, command: Document, verbosity: str, context: Context) -> Document:
    """Explain ``command``: find, count, distinct, aggregate, update, delete or findAndModify."""
    name = next(iter(command), "")
    if name not in _EXPLAINED or not isinstance(command[name], str):
        raise DataError(f"Explain failed due to unknown command: {name}", number=59)
    namespace = Namespace(database, command[name])
    asked = _asked(name, command)
    answer: Document = {"explainVersion": "1"}
    collection = session.catalog.get(namespace)
    if collection is None:
        planned: Document = {"stage": "EOF"}
        stats = _stats(planned, 0, 0, 0, 0.0)
    else:
        query = Query(
            collection,
            asked.get("filter") or {},
            asked.get("sort") or None,
            int(asked.get("skip") or 0),
            int(asked.get("limit") or 0),
            asked.get("hint") or None,
        )
        made = chosen(session, plan(collection, query.filter, query.sort, hint=query.hint), context)
        planned = _tree(name, made, query)
        stats = _run(session, query, planned, context) if verbosity != "queryPlanner" else {}
    planner: Document = {
        "namespace": str(namespace),
        "parsedQuery": asked.get("filter") or {},
        "winningPlan": planned,
        "rejectedPlans": [],
    }
    if name == "aggregate" and asked["rest"]:
        cursor: Document = {"queryPlanner": planner}
        if stats and verbosity != "queryPlanner":
            cursor["executionStats"] = stats
        answer["stages"] = [{"$cursor": cursor}, *asked["rest"]]
    else:
        answer["queryPlanner"] = planner
        if verbosity != "queryPlanner":
            answer["executionStats"] = stats
    return {**answer, "command": {**command, "$db": database}, "ok": 1}


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
        head = pushdown(split_output(command.get("pipeline") or [])[0])
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
    direction = "backward" if made.reverse else "forward"
    if made.index is None:
        tree: Document = {"stage": "COLLSCAN", **filter, "direction": direction}
    else:
        index = made.index
        scan: Document = {
            "stage": "IXSCAN",
            "keyPattern": dict(index.specification["key"]),
            "indexName": index.name,
            "isMultiKey": bool(index.arrays),
            "isUnique": index.unique,
            "isSparse": index.sparse,
            "isPartial": index.partial is not None,
            "indexVersion": 2,
            "direction": direction,
            "intervals": len(made.intervals),
        }
        tree = scan if name == "count" and made.exact else {"stage": "FETCH", **filter, "inputStage": scan}
    if query.sort and not made.sorted:
        tree = {"stage": "SORT", "sortPattern": dict(query.sort), "inputStage": tree}
    if query.skip:
        tree = {"stage": "SKIP", "skipAmount": query.skip, "inputStage": tree}
    if query.limit and name == "find":
        tree = {"stage": "LIMIT", "limitAmount": query.limit, "inputStage": tree}
    return {"stage": _TOP[name], "inputStage": tree} if name in _TOP else tree


def _run(session: Session, query: Query, planned: Document, context: Context) -> Document:
    """Read what the query would read; writes are not carried out."""
    started = time.monotonic()
    matches = Matches(session, query, context)
    returned = sum(1 for _ in matches.rows())
    scan = matches.scan
    return _stats(planned, returned, scan.keys, scan.examined, time.monotonic() - started)


def _stats(planned: Mapping[str, Any], returned: int, keys: int, documents: int, seconds: float) -> Document:
    return {
        "executionSuccess": True,
        "nReturned": returned,
        "executionTimeMillis": int(seconds * 1000),
        "totalKeysExamined": keys,
        "totalDocsExamined": documents,
        "executionStages": {"stage": planned["stage"], "nReturned": returned},
    }
