"""Why a request is allowed or refused: the role chosen, the filter added, the fields hidden, the rule that refused.

For administrators alone: what is told here is more than the caller in question may know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doorleaf.access.identity import Identity
from doorleaf.access.rules.conditions import in_query
from doorleaf.access.rules.fields import hidden
from doorleaf.access.rules.permit import Permit
from doorleaf.access.rules.roles import CollectionRules, Grant
from doorleaf.access.rules.ruleset import Rules
from doorleaf.access.rules.view import View
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.match import compile_filter
from doorleaf.mql.update import compile_update, replace
from doorleaf.operations import Operation

SENT = ("filter", "projection", "pipeline")
"""The parts of an operation that rules change."""


def explain(
    rules: Rules, operation: Operation[Any], identity: Identity, document: Document | None = None
) -> dict[str, Any]:
    """What the rules make of ``operation`` when ``identity`` asks for it, as plain BSON values.

    ``allowed`` says whether the database would be asked; with ``checks_documents`` each document that is written is
    looked at first. With ``document``, one as it is stored, also what happens to that one.
    """
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
        view = rules.view(operation.namespace, identity, operation.name)
        permit = rules.permit(operation, identity)
    except DoorleafError as error:
        told |= {"allowed": False, "refused": _refusal(error)}
        return told if view is None else {**told, **_view(rules, view, operation)}
    told |= {"allowed": True, "checks_documents": _is_guarded(permit)}
    told |= _view(rules, view, operation)
    told["sent"] = {name: value for name in SENT if (value := getattr(permit.operation, name, None))}
    if document is not None:
        told["document"] = _of_document(view, permit, document)
    return told


def _refusal(error: DoorleafError) -> dict[str, Any]:
    return {"error_code": error.code, "error": error.message, "rule": getattr(error, "rule", None)}


def _is_guarded(permit: Permit) -> bool:
    writes = getattr(permit.operation, "operations", None) or [permit.operation]
    return any(getattr(write, "guard", None) is not None for write in writes)


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
    sent: Any = permit.operation
    if hasattr(sent, "filter"):
        told["matches"] = bool(compile_filter(sent.filter, Context(), variables=_constants(sent))(document))
    guard = getattr(sent, "guard", None)
    if told.get("matches") and guard is not None:
        try:
            guard(document, _after(sent, document))
        except DoorleafError as error:
            told["refused"] = _refusal(error)
    return told


def _constants(operation: Any) -> Mapping[str, Any]:
    """The values of ``let``."""
    given = getattr(operation, "let", None) or {}
    return {name: compile_expression(value, Context())({}, {}) for name, value in given.items()}


def _after(operation: Any, document: Document) -> Document | None:
    if hasattr(operation, "replacement"):
        return replace(document, operation.replacement)
    if hasattr(operation, "update"):
        compiled = compile_update(
            operation.update, Context(), array_filters=operation.array_filters, variables=_constants(operation)
        )
        return compiled.apply(document)
    return None
