"""Field permissions as trees: which parts of a document a caller may read or write.

A tree is ``True`` (everything from here down), ``False`` (nothing), a *condition* (a filter, when the document itself
decides) or a :class:`Branch` of named fields and the rest. A condition is only ever at a leaf. A tree without
conditions is *constant*: it is the same for every document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from doorleaf.access.rules.conditions import Condition, at_path, disjunction, mentions_this
from doorleaf.documents import ABSENT, Document
from doorleaf.mql.paths import check_length
from doorleaf.mql.updates.basis import identical
from doorleaf.mql.values import as_document


@dataclass(frozen=True, slots=True)
class Branch:
    """Permissions of named fields; ``rest`` is the permission of every field that has no name here."""

    children: Mapping[str, Tree]
    rest: Condition


Tree = bool | Document | Branch
Decide = Callable[[Document, Any, Any], bool]
"""(condition, the field's value, its value before) → whether it holds; ABSENT is no value."""


def same(one: Tree, other: Tree) -> bool:
    """Whether two trees are written alike; 1 and true are two values."""
    if isinstance(one, Branch) and isinstance(other, Branch):
        if one.children.keys() != other.children.keys() or not same(one.rest, other.rest):
            return False
        return all(same(child, other.children[name]) for name, child in one.children.items())
    return not isinstance(one, Branch) and not isinstance(other, Branch) and identical(one, other)


def constant(tree: Tree) -> bool:
    """Whether no document can change ``tree``."""
    if isinstance(tree, Branch):
        return not isinstance(tree.rest, dict) and all(constant(child) for child in tree.children.values())
    return not isinstance(tree, dict)


def simplify(tree: Tree) -> Tree:
    """The same permissions with branches folded where all below agree."""
    if not isinstance(tree, Branch):
        return tree
    children = {name: simplify(child) for name, child in tree.children.items()}
    if isinstance(tree.rest, bool):
        children = {name: child for name, child in children.items() if child is not tree.rest}
        if not children:
            return tree.rest
    return Branch(children, tree.rest)


def both(tree: Tree, bound: Tree) -> Tree:
    """The tree of what ``tree`` and the constant tree ``bound`` both allow."""
    if bound is True or tree is False:
        return tree
    if bound is False or tree is True:
        return bound
    if isinstance(tree, dict):
        # Below its field, a condition on the field at hand would speak of something else.
        if mentions_this(tree) or not isinstance(bound, Branch):
            return False
        children = {name: both(tree, child) for name, child in bound.children.items()}
        return simplify(Branch(children, tree if bound.rest is True else False))
    if not isinstance(bound, Branch):
        return False
    names = {**tree.children, **bound.children}
    children = {name: both(tree.children.get(name, tree.rest), bound.children.get(name, bound.rest)) for name in names}
    return simplify(Branch(children, tree.rest if bound.rest is True else False))


def seen(tree: Tree, path: str = "") -> Condition:
    """The condition under which anything below is allowed, said of the whole document."""
    if isinstance(tree, dict):
        # Below an array, a query asks about all elements at once, and a field's permission about each.
        return at_path(tree, path) if (path and "." not in path) or not mentions_this(tree) else True
    if not isinstance(tree, Branch):
        return tree
    parts = [seen(child, _join(path, name)) for name, child in tree.children.items()]
    # The fields of the rest have no names, so what is said of their values cannot be asked in a query.
    rest: Condition = True if isinstance(tree.rest, dict) and mentions_this(tree.rest) else tree.rest
    return disjunction([*parts, rest])


def hidden(tree: Tree, path: str = "") -> Iterator[str]:
    """The paths that are not allowed, with ``*`` for all fields without a name and ``?`` where a document decides."""
    if isinstance(tree, Branch):
        for name, child in tree.children.items():
            yield from hidden(child, _join(path, name))
        if tree.rest is not True:
            yield _join(path, "*" if tree.rest is False else "*?")
    elif tree is not True:
        yield (path or "*") + ("" if tree is False else "?")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# --- paths -----------------------------------------------------------------------------------------------------------


def allows(tree: Tree, path: str) -> bool:
    """Whether everything at and below ``path`` is allowed, for every document.

    Array positions (numbers and the update placeholders ``$``, ``$[]``, ``$[x]``) may be passed over, so a numeric
    component has to be allowed both as a position and as a field's name.
    """
    return _allows(tree, _parts(path), at_root=True)


def _parts(path: str) -> list[str]:
    """The components of a path; raises DataError for more than a path may have."""
    parts = path.split(".") if path else []
    check_length(parts)
    return parts


def _allows(tree: Tree, parts: list[str], *, at_root: bool = False) -> bool:
    if not isinstance(tree, Branch):
        return tree is True
    if not parts:
        return False
    head, rest = parts[0], parts[1:]
    if head.startswith("$"):
        return _allows(tree, rest)
    as_field = _allows(tree.children.get(head, tree.rest), rest)
    return as_field and (at_root or not head.isdigit() or _allows(tree, rest))


def allows_in(tree: Tree, path: str, after: Any, before: Any, decide: Decide) -> bool:
    """Decide as :func:`allows` does, for one document as it becomes and was.

    A condition is asked about the values at its place.
    """
    return _allows_in(tree, _parts(path), after, before, decide, at_root=True)


def _allows_in(tree: Tree, parts: list[str], after: Any, before: Any, decide: Decide, *, at_root: bool = False) -> bool:
    if isinstance(tree, dict):
        return decide(tree, after, before)
    if not isinstance(tree, Branch):
        return tree
    if not parts:
        # The whole of a branch is allowed only if every field is, those that no document has included.
        every = [_allows_in(child, [], _get(after, name), _get(before, name), decide) for name, child in _all(tree)]
        return all(every)
    head, rest = parts[0], parts[1:]
    if head.startswith("$"):
        return _allows_in(tree, rest, ABSENT, ABSENT, decide)
    child = tree.children.get(head, tree.rest)
    as_field = _allows_in(child, rest, _get(after, head), _get(before, head), decide)
    return as_field and (at_root or not head.isdigit() or _allows_in(tree, rest, ABSENT, ABSENT, decide))


def _all(tree: Branch) -> Iterable[tuple[str, Tree]]:
    return [*tree.children.items(), ("", tree.rest)]


def _get(value: Any, name: str) -> Any:
    document = as_document(value)
    return ABSENT if document is None else document.get(name, ABSENT)


# --- reading ---------------------------------------------------------------------------------------------------------


def never(condition: Document, _after: Any, _before: Any) -> bool:
    """The decision of constant trees, which have nothing to decide."""
    raise AssertionError("a constant tree has no conditions")


def redact(tree: Tree, document: Document, decide: Decide = never) -> Document:
    """A copy of ``document`` without what ``tree`` does not allow."""
    if not isinstance(tree, Branch):
        if isinstance(tree, dict):
            tree = decide(tree, document, document)
        return document if tree else {}
    kept = {}
    for name, value in document.items():
        child = tree.children.get(name, tree.rest)
        if child is True:
            kept[name] = value
        elif child is not False:
            part = redact_value(child, value, decide)
            if part is not ABSENT:
                kept[name] = part
    return kept


def redact_value(tree: Tree, value: Any, decide: Decide = never) -> Any:
    """The part of a field's value that ``tree`` allows; ABSENT is nothing."""
    if isinstance(tree, dict):
        return value if decide(tree, value, value) else ABSENT
    if not isinstance(tree, Branch):
        return value if tree else ABSENT
    if isinstance(value, list):
        return [part for part in (redact_value(tree, item, decide) for item in value) if part is not ABSENT]
    document = as_document(value)
    if document is not None:
        return redact(tree, document, decide)
    # What is no document has none of the named fields.
    return value if tree.rest is True else ABSENT


def projections(tree: Tree) -> list[Document] | None:
    """Projections that, one after the other, hide what ``tree`` hides; None where none can say it for all documents."""
    if not isinstance(tree, Branch) or not constant(tree):
        return None
    if tree.rest is True:
        left_out: Document = {}
        return [left_out] if _excluded(tree, "", left_out) else None
    taken: Document = {}
    later: Document = {}
    if not _included(tree, "", taken, later):
        return None
    if "_id" not in tree.children:
        taken["_id"] = 0
    return [taken, later] if later else [taken]


def _excluded(tree: Branch, prefix: str, into: Document) -> bool:
    """Collect the paths to leave out; False where only some fields of a document are to be kept."""
    for name, child in tree.children.items():
        path = _join(prefix, name)
        if isinstance(child, Branch):
            if child.rest is not True or not _excluded(child, path, into):
                return False
        elif child is False:
            into[path] = 0
    return True


def _included(tree: Branch, prefix: str, into: Document, later: Document) -> bool:
    """Collect the paths to keep, and in ``later`` those that are to be left out of what was kept."""
    for name, child in tree.children.items():
        path = _join(prefix, name)
        if isinstance(child, Branch):
            if child.rest is True:
                into[path] = 1
                if not _excluded(child, path, later):
                    return False
            elif not _included(child, path, into, later):
                return False
        elif child is True:
            into[path] = 1
    return True


# --- writing ---------------------------------------------------------------------------------------------------------


def changes_allowed(tree: Tree, before: Any, after: Any, decide: Decide) -> bool:
    """Whether ``tree`` allows everything in which ``after`` differs from ``before`` (ABSENT is no value)."""
    if tree is True or _same(before, after):
        return True
    if isinstance(tree, dict):
        return decide(tree, after, before)
    if not isinstance(tree, Branch):
        return False
    old, new = as_document(before), as_document(after)
    if (old is not None or before is ABSENT) and (new is not None or after is ABSENT):
        old, new = old or {}, new or {}
        return all(
            changes_allowed(tree.children.get(name, tree.rest), old.get(name, ABSENT), new.get(name, ABSENT), decide)
            for name in {**old, **new}
        )
    if _list_or_absent(before) and _list_or_absent(after):
        return all(changes_allowed(tree, was, becomes, decide) for was, becomes in _pairs(before, after))
    rest = tree.rest
    return decide(rest, after, before) if isinstance(rest, dict) else rest


def _same(before: Any, after: Any) -> bool:
    if before is ABSENT or after is ABSENT:
        return before is after
    return identical(before, after)


def _list_or_absent(value: Any) -> bool:
    return isinstance(value, list) or value is ABSENT


def _pairs(before: Any, after: Any) -> Iterator[tuple[Any, Any]]:
    old, new = (value if isinstance(value, list) else [] for value in (before, after))
    for index in range(max(len(old), len(new))):
        yield (old[index] if index < len(old) else ABSENT), (new[index] if index < len(new) else ABSENT)


def limit_of(projection: Mapping[str, Any]) -> Tree:
    """The constant tree of a plain projection: of its names and nothing else, or of all but its names."""
    including = any(value for name, value in projection.items() if name != "_id") or (
        list(projection) == ["_id"] and bool(projection["_id"])
    )
    tree: Tree = Branch({}, not including)
    for name, value in projection.items():
        tree = _with(tree, name.split("."), bool(value), including)
    if including and "_id" not in projection:
        tree = _with(tree, ["_id"], True, True)
    return simplify(tree)


def _with(tree: Tree, parts: list[str], allowed: bool, including: bool) -> Tree:
    if not parts:
        return allowed
    branch = tree if isinstance(tree, Branch) else Branch({}, not including)
    below = branch.children.get(parts[0], Branch({}, not including))
    return Branch({**branch.children, parts[0]: _with(below, parts[1:], allowed, including)}, branch.rest)
