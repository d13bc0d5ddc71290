"""Why a request is allowed or refused: the role chosen, the filter added, the fields hidden, the rule that refused.

For administrators alone: what is told here is more than the caller in question may know.
"""

from __future__ import annotations

from typing import Any

from doorleaf.access.callers import Caller
from doorleaf.access.rules.concealing import compiling, let
from doorleaf.access.rules.conditions import in_query
from doorleaf.access.rules.fields import hidden
from doorleaf.access.rules.permit import Permit
from doorleaf.access.rules.roles import CollectionRules, Grant
from doorleaf.access.rules.ruleset import Rules
from doorleaf.access.rules.view import View
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.mql.context import Context
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.updates.compile import compile_update, replace
from doorleaf.operations import Aggregate, Operation
from doorleaf.operations.capabilities import Changing, Filtered, Projected, Replacing, Updating


def explain(
    rules: Rules, operation: Operation[Any], caller: Caller, document: Document | None = None
) -> dict[str, Any]:
    """Tell what the rules make of ``operation`` when ``caller`` asks for it, as plain BSON values.

    ``allowed`` says whether the database would be asked; with ``checks_documents`` each document that is written is
    looked at first. With ``document``, one as it is stored, also what happens to that one.
    """
    identity = caller.identity
    told: dict[str, Any] = {
        "operation": operation.name,
        "namespace": str(operation.namespace),
        "caller": {
            "id": identity.id,
            "type": identity.kind,
            "admin": identity.admin,
            "roles": list(identity.roles),
        },
    }
    if identity.admin:
        return {**told, "allowed": True, "reason": "rules are not asked for administrators"}
    view = None
    try:
        view = rules.view(operation.namespace, caller, operation.name)
        permit = rules.permit(operation, caller)
    except DoorleafError as error:
        told |= {"allowed": False, "refused": _refusal(error)}
        return told if view is None else {**told, **_view(rules, view, operation)}
    told |= {"allowed": True, "checks_documents": _is_guarded(permit)}
    told |= _view(rules, view, operation)
    told["sent"] = _sent(permit.operation)
    if document is not None:
        told["document"] = _of_document(view, permit, document)
    return told


def _refusal(error: DoorleafError) -> dict[str, Any]:
    return {"error_code": error.code, "error": error.message, "rule": getattr(error, "rule", None)}


def _is_guarded(permit: Permit) -> bool:
    return bool(permit.operation.guards)


def _sent(operation: Operation[Any]) -> dict[str, Any]:
    """The parts of an operation that rules change, as the database is asked for them."""
    sent: dict[str, Any] = {}
    if isinstance(operation, Filtered):
        sent["filter"] = operation.filter
    if isinstance(operation, Projected):
        sent["projection"] = operation.projection
    if isinstance(operation, Aggregate):
        sent["pipeline"] = operation.pipeline
    return {name: value for name, value in sent.items() if value}


def _view(rules: Rules, view: View, operation: Operation[Any]) -> dict[str, Any]:
    written = rules.rules_of(operation.namespace) or CollectionRules()
    granted = {item.name: item for item in view.grants}
    certain = next((item for item in view.grants if item.applies is True), None)
    only = certain is not None and view.grants[0] is certain
    return {
        "roles": [_role(role.name, granted.get(role.name), certain) for role in written.roles],
        "role": certain.name if only and certain is not None else None,
        "filters": [item.name for item in view.filters],
        "filter": view.query,
        "hidden": None if view.tree is None else [*hidden(view.tree)],
        "schema": written.schema is not None,
    }


def _role(name: str, granted: Grant | None, certain: Grant | None) -> dict[str, Any]:
    """One role: whether it applies (true, false, or a condition on the document), and what it grants then."""
    if granted is None:
        reached = certain is None
        return {"name": name, "applies": False if reached else None}
    return {
        "name": name,
        "applies": in_query(granted.applies),
        "reads": in_query(granted.sees),
        "hidden": [] if granted.whole_read is True else [*hidden(granted.readable)],
        "writes": "fields" if granted.whole_write is None else granted.whole_write,
        "unwritable": [] if granted.whole_write is not None else [*hidden(granted.writable)],
        "insert": granted.insert,
        "delete": granted.delete,
    }


def _of_document(view: View, permit: Permit, document: Document) -> dict[str, Any]:
    """What happens to one stored document."""
    role = next((item for item in view.grants if view.holds(item.applies, document, document)), None)
    visible = view.query is None or bool(compile_filter(view.query, Context())(document))
    told: dict[str, Any] = {"role": None if role is None else role.name, "visible": visible}
    told["seen"] = view.shown([dict(document)])[0] if visible else None
    sent = permit.operation
    context = compiling(sent)
    if isinstance(sent, Filtered):
        told["matches"] = bool(compile_filter(sent.filter, context, variables=let(sent, context))(document))
    if told.get("matches") and isinstance(sent, Changing) and sent.guard is not None:
        try:
            sent.guard(document, _after(sent, document))
        except DoorleafError as error:
            told["refused"] = _refusal(error)
    return told


def _after(operation: Operation[Any], document: Document) -> Document | None:
    if isinstance(operation, Replacing):
        return replace(document, operation.replacement)
    if isinstance(operation, Updating):
        context = compiling(operation)
        compiled = compile_update(
            operation.update, context, array_filters=operation.array_filters, variables=let(operation, context)
        )
        return compiled.apply(document)
    return None
