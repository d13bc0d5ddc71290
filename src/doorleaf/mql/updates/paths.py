"""Where an update writes: the tree of its paths, and the walk of that tree through one document.

Every path of an update is a branch of one tree; a branch ends in a :class:`Leaf`, what is done there. The walk copies
what it changes on the way and shares the rest, so the document that came in is never touched, and a node that changed
nothing gives back the very object it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cmp_to_key
from typing import Any

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.display import display_field
from doorleaf.mql.paths import MAX_PADDING, check_length
from doorleaf.mql.values import MISSING, as_document

Path = tuple[str, ...]
Matcher = Callable[[dict[str, Any]], bool]

MAX_DEPTH = 180
"""Levels of documents and arrays that a stored document may have."""


class Remove(Enum):
    """The result of a leaf to take the value away: the field goes, an array element becomes null."""

    REMOVE = "remove"


REMOVE = Remove.REMOVE


@dataclass(slots=True)
class Run:
    """One application of an update: the document as it was, the index that ``$`` stands for, and whether it inserts."""

    document: dict[str, Any]
    positional: int | None
    inserting: bool
    context: Context

    def label(self) -> str:
        """The document's ``_id`` as the server's messages name it."""
        return display_field("_id", self.document["_id"]) if "_id" in self.document else "no id"


class Leaf:
    """The end of a path.

    ``update(value, run, path)`` answers the new value, the same object when nothing changes, or ``REMOVE``.
    ``create(run)`` answers the value where there was none, or MISSING to leave it so. ``depth`` is how many levels the
    operand has. ``tolerant`` leaves pass over a path that cannot be followed, the others raise error 28.
    """

    __slots__ = ("create", "depth", "moves", "tolerant", "update")

    def __init__(
        self,
        update: Callable[[Any, Run, Path], Any],
        create: Callable[[Run], Any] | None = None,
        *,
        depth: int = 0,
        tolerant: bool = False,
        moves: bool = False,
    ) -> None:
        self.update = update
        self.create = create
        self.depth = depth
        self.tolerant = tolerant
        self.moves = moves

    def existing(self, value: Any, run: Run, path: Path) -> Any:
        """The new value of a path that exists."""
        new = self.update(value, run, path)
        if new is value:
            return value
        if path[0] == "_id":
            raise self._immutable(path)
        if self.depth:
            check_depth(len(path) + self.depth)
        return new

    def missing(self, run: Run, taken: Path, rest: Path, holder: Any) -> Any:
        """The value of a path of which ``taken`` exists (it leads to ``holder``) and ``rest`` does not."""
        if self.create is None:
            if not self.tolerant and not viable(holder, rest[0]):
                raise _untraversable(taken, rest, holder)
            return MISSING
        new = self.create(run)
        if new is MISSING:
            return MISSING
        if not viable(holder, rest[0]):
            where = display_field(taken[-1] if taken else "", holder)
            raise DataError(f"Cannot create field '{rest[0]}' in element {{{where}}}", number=28)
        if taken and taken[0] == "_id":
            changed = f"{'.'.join(taken)}' to {display_field(taken[-1], holder)}"
            raise DataError(f"Updating the path '{changed} would modify the immutable field '_id'", number=66)
        if self.depth or len(taken) + len(rest) > MAX_DEPTH:
            check_depth(len(taken) + len(rest) + self.depth)
        return new

    def _immutable(self, path: Path) -> DataError:
        if self.moves:
            text = f"Unsetting the path '{'.'.join(path)}' using $rename would modify the immutable field '_id'"
        else:
            text = f"Performing an update on the path '{'.'.join(path)}' would modify the immutable field '_id'"
        return DataError(text, number=66)


def check_depth(depth: int) -> None:
    """Raise error 15 when a document would nest deeper than it may."""
    if depth > MAX_DEPTH:
        raise DataError(f"Document exceeds maximum nesting depth of {MAX_DEPTH}", number=15)


def viable(holder: Any, part: str) -> bool:
    """Whether ``part`` could be made inside ``holder``."""
    return as_document(holder) is not None or (isinstance(holder, list) and is_index(part))


def is_index(part: str) -> bool:
    """Whether a path component can be an array index."""
    return part.isascii() and part.isdigit()


def _untraversable(taken: Path, rest: Path, holder: Any) -> DataError:
    where = display_field(taken[-1] if taken else "", holder)
    path = ".".join(taken + rest)
    return DataError(f"Cannot use the part ({rest[0]}) of ({path}) to traverse the element ({{{where}}})", number=28)


# --- the tree --------------------------------------------------------------------------------------------------------

_POSITIONS_KEPT = 256


class Fields:
    """A node whose branches are field names or indexes, and perhaps the positional ``$``."""

    __slots__ = ("_by_position", "_ordered", "children", "positional")

    def __init__(self) -> None:
        self.children: dict[str, Node] = {}
        self.positional: Node | None = None
        self._ordered: list[tuple[str, Node]] | None = None
        self._by_position: dict[int, list[tuple[str, Node]]] = {}

    def child(self, name: str) -> Node | None:
        """The branch ``name``, if there is one."""
        return self.positional if name == "$" else self.children.get(name)

    def attach(self, name: str, node: Node) -> None:
        """Add the branch ``name``."""
        if name == "$":
            self.positional = node
        else:
            self.children[name] = node

    def existing(self, value: Any, run: Run, path: Path) -> Any:
        """Walk on through ``value``."""
        document = as_document(value)
        if document is not None:
            changed = self._in_document(document, run, path)
            return value if changed is document else changed
        if isinstance(value, list):
            return self._in_array(value, run, path)
        for name, child in self._branches(run, path):
            child.missing(run, path, (name,), value)
        return value

    def missing(self, run: Run, taken: Path, rest: Path, holder: Any) -> Any:
        """The document that the branches make of nothing, or MISSING."""
        made: dict[str, Any] = {}
        for name, child in run.context.each(self._branches(run, taken + rest)):
            value = child.missing(run, taken, (*rest, name), holder)
            if value is not MISSING:
                made[name] = value
        return made or MISSING

    def _in_document(self, document: dict[str, Any], run: Run, path: Path) -> dict[str, Any]:
        result = document
        for name, child in run.context.each(self._branches(run, path)):
            old = document.get(name, MISSING)
            if old is MISSING:
                new = child.missing(run, path, (name,), document)
            else:
                new = child.existing(old, run, (*path, name))
            if new is old:
                continue
            if result is document:
                result = dict(document)
            if new is REMOVE:
                del result[name]
            else:
                result[name] = new
        return result

    def _in_array(self, array: list[Any], run: Run, path: Path) -> list[Any]:
        result = array
        for name, child in run.context.each(self._branches(run, path)):
            index = int(name) if is_index(name) else len(array)
            if index < len(array):
                new = child.existing(array[index], run, (*path, name))
                if new is array[index]:
                    continue
            else:
                new = child.missing(run, path, (name,), array)
                if new is MISSING:
                    continue
            if result is array:
                result = list(array)
            _put(result, index, None if new is REMOVE else new)
        return result

    def _branches(self, run: Run, path: Path) -> list[tuple[str, Node]]:
        if self.positional is None:
            if self._ordered is None:
                self._ordered = _in_order(self.children, run.context)
            return self._ordered
        if run.positional is None:
            raise DataError("The positional operator did not find the match needed from the query.")
        branches = self._by_position.get(run.positional)
        if branches is None:
            name = str(run.positional)
            here = self.children.get(name)
            node = self.positional if here is None else merge(here, self.positional, (*path, name))
            branches = _in_order({**self.children, name: node}, run.context)
            if len(self._by_position) < _POSITIONS_KEPT:
                self._by_position[run.positional] = branches
        return branches


class Elements:
    """A node whose branches are ``$[]`` (the empty name) and ``$[identifier]``: the elements of an array."""

    __slots__ = ("_filters", "_merged", "children")

    def __init__(self, filters: Mapping[str, Matcher]) -> None:
        self.children: dict[str, Node] = {}
        self._filters = filters
        self._merged: dict[tuple[str, ...], Node] = {}

    def child(self, name: str) -> Node | None:
        """The branch of an identifier, if there is one."""
        return self.children.get(name)

    def attach(self, name: str, node: Node) -> None:
        """Add the branch of an identifier."""
        self.children[name] = node

    def missing(self, run: Run, taken: Path, rest: Path, holder: Any) -> Any:
        """Refused: array updates make no arrays."""
        path = ".".join(taken + rest)
        raise DataError(f"The path '{path}' must exist in the document in order to apply array updates.")

    def existing(self, value: Any, run: Run, path: Path) -> Any:
        """Walk on through every element that a filter picks."""
        if not isinstance(value, list):
            raise DataError(f"Cannot apply array updates to non-array element {display_field(path[-1], value)}")
        result = value
        for index, element in enumerate(run.context.each(value)):
            node = self._node_for(element, (*path, str(index)))
            if node is None:
                continue
            new = node.existing(element, run, (*path, str(index)))
            if new is element:
                continue
            if result is value:
                result = list(value)
            result[index] = None if new is REMOVE else new
        return result

    def _node_for(self, element: Any, path: Path) -> Node | None:
        if len(self.children) == 1:
            name, only = next(iter(self.children.items()))
            return only if not name or self._filters[name]({name: element}) else None
        names = tuple([name for name in sorted(self.children) if not name or self._filters[name]({name: element})])
        if len(names) < 2:
            return self.children[names[0]] if names else None
        node = self._merged.get(names)
        if node is None:
            node = self.children[names[0]]
            for name in names[1:]:
                node = merge(node, self.children[name], path)
            self._merged[names] = node
        return node

    def merged(self, other: Elements, path: Path) -> Elements:
        """Both nodes' branches in one."""
        result = Elements(self._filters)
        result.children = _union(self.children, other.children, path, "$[{}]")
        return result


Node = Fields | Elements | Leaf


def merge(left: Node, right: Node, path: Path) -> Node:
    """One node that does what two do at the same place; error 40 when both end there."""
    if isinstance(left, Fields) and isinstance(right, Fields):
        result = Fields()
        result.children = _union(left.children, right.children, path, "{}")
        if left.positional is not None and right.positional is not None:
            result.positional = merge(left.positional, right.positional, (*path, "$"))
        else:
            result.positional = left.positional or right.positional
        return result
    if isinstance(left, Elements) and isinstance(right, Elements):
        return left.merged(right, path)
    raise DataError(f"Update created a conflict at '{'.'.join(path)}'", number=40)


def _union(left: dict[str, Node], right: dict[str, Node], path: Path, template: str) -> dict[str, Node]:
    result = dict(left)
    for name, node in right.items():
        here = result.get(name)
        result[name] = node if here is None else merge(here, node, (*path, template.format(name)))
    return result


def _put(array: list[Any], index: int, value: Any) -> None:
    if index < len(array):
        array[index] = value
        return
    if index - len(array) > MAX_PADDING:
        raise DataError(f"can't backfill more than {MAX_PADDING} elements", number=34)
    array.extend([None] * (index - len(array)))
    array.append(value)


def _in_order(children: dict[str, Node], context: Context) -> list[tuple[str, Node]]:
    return context.sort(list(children.items()), lambda branch: _name_key(branch[0]))


def compare_names(left: str, right: str) -> int:
    """The order in which fields are updated: by name, and by number where both are numbers."""
    if _is_number(left) and _is_number(right) and len(left) != len(right):
        return -1 if len(left) < len(right) else 1
    return int(left > right) - int(left < right)


_name_key = cmp_to_key(compare_names)


def _is_number(name: str) -> bool:
    return is_index(name) and (name[0] != "0" or len(name) == 1)


# --- building the tree -----------------------------------------------------------------------------------------------


def split_path(path: str) -> Path:
    """The components of an update path; error 56 for an empty one."""
    if not path:
        raise DataError("An empty update path is not valid.", number=56)
    parts = tuple(path.split("."))
    check_length(parts)
    if "" in parts:
        raise DataError(f"The update path '{path}' contains an empty field name, which is not allowed.", number=56)
    return parts


def array_identifier(part: str) -> str | None:
    """The identifier in ``$[identifier]``, empty for ``$[]``; None for any other component."""
    return part[2:-1] if len(part) >= 3 and part.startswith("$[") and part.endswith("]") else None


def check_positional(parts: Path) -> bool:
    """Whether the path has a ``$``; error 2 when it has two or begins with one."""
    count = parts.count("$")
    path = ".".join(parts)
    if count > 1:
        raise DataError(f"Too many positional (i.e. '$') elements found in path '{path}'")
    if parts[0] == "$":
        raise DataError(f"Cannot have positional (i.e. '$') element in the first position in path '{path}'")
    return count == 1


def plant(root: Fields, parts: Path, leaf: Leaf, filters: Mapping[str, Matcher], used: set[str]) -> None:
    """Add one path to the tree; ``used`` collects the identifiers of array filters. Error 40 on a conflict."""
    current: Fields | Elements = root
    for position, part in enumerate(parts[:-1]):
        name = _branch_name(parts, position, part, filters, used)
        wants_elements = array_identifier(parts[position + 1]) is not None
        child = current.child(name)
        if child is None:
            child = Elements(filters) if wants_elements else Fields()
            current.attach(name, child)
        if not isinstance(child, Elements if wants_elements else Fields):
            raise _conflict(parts, position + 1)
        current = child
    name = _branch_name(parts, len(parts) - 1, parts[-1], filters, used)
    if current.child(name) is not None:
        raise _conflict(parts, len(parts))
    current.attach(name, leaf)


def _branch_name(parts: Path, position: int, part: str, filters: Mapping[str, Matcher], used: set[str]) -> str:
    identifier = array_identifier(part)
    if identifier is None:
        return part
    path = ".".join(parts)
    if position == 0:
        raise DataError(
            f"Cannot have array filter identifier (i.e. '$[<id>]') element in the first position in path '{path}'"
        )
    if identifier and identifier not in filters:
        raise DataError(f"No array filter found for identifier '{identifier}' in path '{path}'")
    used.add(identifier)
    return identifier


def _conflict(parts: Path, length: int) -> DataError:
    path, place = ".".join(parts), ".".join(parts[:length])
    return DataError(f"Updating the path '{path}' would create a conflict at '{place}'", number=40)
