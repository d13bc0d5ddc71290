"""Sorting: sort specifications, keys of documents, the first n; and collation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from bson.dbref import DBRef

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.display import display, display_field
from doorleaf.mql.paths import array_index, validate_field_path
from doorleaf.mql.values import MISSING, approximate_size, as_document, is_document, is_number, sort_token, truthy

T = TypeVar("T")
Document = dict[str, Any]
SortKey = Callable[[Document], Any]

_KEY_LIMIT = 32
_EMPTY_ARRAY = sort_token(MISSING)
_ARRAY = object()


# --- collation -------------------------------------------------------------------------------------------------------


def validate_collation(collation: Any) -> None:
    """Accept no collation or the binary one, ``{locale: "simple"}``; refuse every other by name."""
    if collation is None or collation == {}:
        return
    if not isinstance(collation, Mapping):
        raise DataError("BSON field 'collation' is the wrong type, expected type 'object'", number=14)
    locale = collation.get("locale")
    if locale is None:
        raise DataError("BSON field 'collation.locale' is missing but a required field", number=40414)
    if locale != "simple":
        raise Unsupported(f"collation with locale {locale!r} is not supported by this data source, only 'simple'")
    if len(collation) > 1:
        raise DataError("If locale is 'simple', no other collation options may be given")


# --- sort specifications ---------------------------------------------------------------------------------------------


class Descending:
    """A key that sorts in reverse."""

    __slots__ = ("token",)

    def __init__(self, token: Any) -> None:
        self.token = token

    def __lt__(self, other: Descending) -> bool:
        return bool(other.token < self.token)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(self.token == other.token)

    def __hash__(self) -> int:
        return hash(self.token)


def parse_sort(sort: Mapping[str, Any]) -> list[tuple[str, int]]:
    """``sort`` as (path, 1 or -1) pairs; raises the server's errors for a bad specification."""
    if not isinstance(sort, Mapping):
        raise DataError("the sort specification must be an object", number=14)
    pairs = [(path, _direction(path, value)) for path, value in sort.items()]
    if len(pairs) > _KEY_LIMIT:
        raise DataError("too many compound keys", number=13103)
    return pairs


def _direction(path: str, value: Any) -> int:
    document = as_document(value)
    if document is not None:
        if "$meta" in document:
            raise Unsupported(f"$meta in a sort is not supported by this data source: {path}")
        raise DataError("$meta is the only expression supported by $sort right now", number=17312)
    if not is_number(value):
        raise DataError(f"Illegal key in $sort specification: {display_field(path, value)}", number=15974)
    direction = int(float(str(value))) if truthy(value) and abs(float(str(value))) < 2 else 0
    if direction not in (1, -1):
        raise DataError("$sort key ordering must be 1 (for ascending) or -1 (for descending)", number=15975)
    validate_field_path(path)
    return direction


def compile_sort(sort: Mapping[str, Any], *, collation: Mapping[str, Any] | None = None) -> SortKey:
    """Compile ``{path: 1 or -1, ...}`` to a function from a document to a key for ``sorted``.

    An array counts as its smallest element ascending and its largest descending; a missing field as null.
    """
    validate_collation(collation)
    pairs = parse_sort(sort)
    if len(pairs) == 1 and "." not in pairs[0][0]:
        return _single_key(*pairs[0])
    paths = [path.split(".") for path, _ in pairs]
    descending = [direction < 0 for _, direction in pairs]

    def key(document: Document) -> Any:
        plain = [_plain_value(document, path) for path in paths]
        if _ARRAY not in plain:
            return _directed(plain, descending)
        return min(_directed(combination, descending) for combination in key_values(document, paths))

    return key


def _plain_value(document: Document, path: Sequence[str]) -> Any:
    """The value at a path through documents, None when it is missing, _ARRAY when any array is on the way."""
    value: Any = document
    for part in path:
        if value.__class__ is DBRef:
            value = value.as_doc()
        if not isinstance(value, dict):
            return None
        value = value.get(part)
        if value.__class__ is list:
            return _ARRAY
    return value


def _single_key(field: str, direction: int) -> SortKey:
    def key(document: Document) -> Any:
        value = document.get(field)
        if value.__class__ is list:
            tokens = [sort_token(item) for item in value] or [_EMPTY_ARRAY]
            token = min(tokens) if direction > 0 else max(tokens)
        else:
            token = sort_token(value)
        return token if direction > 0 else Descending(token)

    return key


def _directed(values: Sequence[Any], descending: Sequence[bool]) -> tuple[Any, ...]:
    tokens = [sort_token(value) for value in values]
    return tuple([Descending(token) if down else token for token, down in zip(tokens, descending, strict=True)])


# --- the values that index and sort keys are made of -----------------------------------------------------------------


def key_values(document: Document, paths: Sequence[Sequence[str]]) -> list[tuple[Any, ...]]:
    """The combinations of values at ``paths`` that a compound key has, one for each element of an array on the way.

    A missing value is None and an empty array MISSING, which is below null. Raises code 2 when two paths go through
    different arrays.
    """
    values: list[Any] = [None] * len(paths)
    pending = [(index, document, list(path)) for index, path in enumerate(paths)]
    return _combinations(pending, values)


def _combinations(pending: list[tuple[int, Any, list[str]]], values: list[Any]) -> list[tuple[Any, ...]]:
    array: list[Any] | None = None
    through: list[tuple[int, list[str]]] = []
    origin: list[str] = []
    for index, container, parts in pending:
        value, rest = _until_array(container, parts)
        if value.__class__ is not list:
            values[index] = None if value is MISSING else value
            continue
        taken = parts[: len(parts) - len(rest)]
        if array is None:
            array, origin = value, taken
        elif array is not value:
            raise DataError(f"cannot sort with keys that are parallel arrays [{taken[-1]}] [{origin[-1]}]")
        through.append((index, rest))
    if array is None:
        return [tuple(values)]
    return _expand(array, through, values)


def _expand(array: list[Any], through: list[tuple[int, list[str]]], values: list[Any]) -> list[tuple[Any, ...]]:
    """The combinations below one array: of paths that name an element by index, and of paths that spread over all."""
    indexed: list[tuple[int, Any, list[str]]] = []
    spread: list[tuple[int, list[str]]] = []
    for index, rest in through:
        position = array_index(rest[0]) if rest else -1
        if not 0 <= position < len(array):
            spread.append((index, rest))
            continue
        _refuse_ambiguous(array, rest[0])
        item = array[position]
        if len(rest) == 1 and item.__class__ is list:
            # An element named by its index counts whole, even when it is an array.
            values[index] = item or MISSING
        else:
            indexed.append((index, _Holder(item), ["", *rest[1:]]))
    if not array or not spread:
        for index, rest in spread:
            values[index] = None if rest else MISSING
        return _combinations(indexed, values)
    found: list[tuple[Any, ...]] = []
    for item in array:
        chosen = list(values)
        inner = list(indexed)
        for index, rest in spread:
            if not rest:
                chosen[index] = item
            elif is_document(item):
                inner.append((index, item, rest))
            else:
                chosen[index] = None
        found += _combinations(inner, chosen)
    return found


def _refuse_ambiguous(array: list[Any], name: str) -> None:
    if any(name in (as_document(item) or ()) for item in array):
        raise DataError(
            "Ambiguous field name found in array (do not use numeric field names in embedded elements in an array),"
            f" field: '{name}' for array: {display(array)}",
            number=16746,
        )


class _Holder:
    """An array element that was named by its index, as the start of the rest of its path."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _until_array(container: Any, parts: list[str]) -> tuple[Any, list[str]]:
    """The value at a path, or the first array on the way, with the parts that are left."""
    value = container
    for position, part in enumerate(parts):
        if value.__class__ is _Holder:
            value = value.value
        else:
            value = value.as_doc() if value.__class__ is DBRef else value
            if not isinstance(value, dict):
                return MISSING, []
            value = value.get(part, MISSING)
        if value.__class__ is list:
            return value, parts[position + 1 :]
    return value, []


# --- sorting with bounded memory -------------------------------------------------------------------------------------


def sort_documents(
    documents: Iterable[T],
    key: Callable[[T], Any],
    context: Context,
    *,
    size: Callable[[T], int] = approximate_size,
) -> list[T]:
    """All documents in order of ``key``, stable; charges their ``size`` in bytes to ``context``."""
    found: list[T] = []
    for document in documents:
        context.check()
        context.charge(size(document))
        found.append(document)
    return context.sort(found, key)


def top(
    documents: Iterable[T],
    key: Callable[[T], Any],
    n: int,
    context: Context,
    *,
    size: Callable[[T], int] = approximate_size,
) -> list[T]:
    """The first ``n`` documents in order of ``key``, stable, holding and charging few more than ``n`` at a time."""
    return charged_top(documents, key, n, context, size=size)[0] if n > 0 else []


def charged_top(
    documents: Iterable[T],
    key: Callable[[T], Any],
    n: int,
    context: Context,
    *,
    size: Callable[[T], int] = approximate_size,
) -> tuple[list[T], int]:
    """The documents of :func:`top`, at least one, and the bytes that are charged for them."""
    room = max(2 * n, n + 256)
    held: list[tuple[Any, int, T, int]] = []
    bound: Any = None

    def cut() -> None:
        held[:] = context.sort(held, itemgetter(0, 1))
        context.release(sum(entry[3] for entry in held[n:]))
        del held[n:]

    for sequence, document in enumerate(documents):
        context.check()
        entry = key(document)
        if bound is not None and not entry < bound:
            continue
        weight = size(document)
        context.charge(weight)
        held.append((entry, sequence, document, weight))
        if len(held) >= room:
            cut()
            bound = held[-1][0]
    cut()
    return [entry[2] for entry in held], sum(entry[3] for entry in held)
