"""Updates: operators, pipelines and replacements, and the document that an upsert starts from.

An update is compiled once and applied to each document. It never changes the document it is given; what it did not
change it shares, and when it changed nothing it answers the very object it was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bson.objectid import ObjectId

from doorleaf.documents import is_string
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.display import display, display_field
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.order import validate_collation
from doorleaf.mql.stages.reach import stage_of
from doorleaf.mql.updates.basis import Compiling, depth_of, identical
from doorleaf.mql.updates.operators import OPERATORS, rename
from doorleaf.mql.updates.paths import (
    Fields,
    Matcher,
    Path,
    Run,
    array_identifier,
    check_depth,
    check_positional,
    plant,
    split_path,
)
from doorleaf.mql.values import MISSING, as_document, compare, type_name

MAX_DOCUMENT_SIZE = 16 * 1024 * 1024
"""Bytes of BSON that a document may have."""

Kind = Literal["operators", "pipeline", "replacement"]


class Update(Protocol):
    """A compiled update.

    ``paths`` are the dotted paths it may touch, as written (with ``$``, ``$[]`` and ``$[identifier]``); the path ``""``
    stands for the whole document. ``needs_positional`` tells that ``$`` occurs.
    """

    paths: frozenset[str]
    needs_positional: bool

    def apply(
        self, document: dict[str, Any], positional: int | None = None, *, inserting: bool = False
    ) -> dict[str, Any]:
        """The document after the update: the same object when nothing changed, else a new one.

        ``positional`` is the index that matched the filter. With ``inserting`` the document is an upsert's base
        (:func:`upsert_base`), and the answer has an ``_id``, as its first field.
        """
        ...


def validate_update(update: Any) -> Kind:
    """Which kind of update this is; raises error 9 or 52 for what is none, or a mixture."""
    if isinstance(update, list):
        return "pipeline"
    if not isinstance(update, dict):
        raise DataError("Update argument must be either an object or an array", number=9)
    names = list(update)
    if not names or not names[0].startswith("$"):
        check_replacement(update)
        return "replacement"
    for name in names:
        if name not in OPERATORS and name != "$rename":
            raise _unknown_modifier(name)
    return "operators"


def compile_update(
    update: Any,
    context: Context,
    *,
    array_filters: Sequence[dict[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
    collation: Mapping[str, Any] | None = None,
) -> Update:
    """Compile operators or a pipeline. ``variables`` are the values of ``let``. A replacement is refused (error 9)."""
    kind = validate_update(update)
    names = dict(variables or {})
    if kind == "pipeline":
        if array_filters:
            raise DataError("arrayFilters may not be specified for pipeline-style updates", number=9)
        return _compile_pipeline(update, context, names, collation)
    if kind == "replacement":
        raise _unknown_modifier(next(iter(update), ""))
    validate_collation(collation)
    compiling = Compiling(context, collation, names)
    return _compile_operators(update, compiling, array_filters or ())


def _unknown_modifier(name: str) -> DataError:
    expected = "Expected a valid update modifier or pipeline-style update specified as an array"
    return DataError(f"Unknown modifier: {name}. {expected}", number=9)


# --- operators -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class OperatorUpdate:
    """An update made of operators."""

    root: Fields
    paths: frozenset[str]
    needs_positional: bool
    dollars: frozenset[str]
    context: Context

    def apply(
        self, document: dict[str, Any], positional: int | None = None, *, inserting: bool = False
    ) -> dict[str, Any]:
        """See :class:`Update`."""
        result: dict[str, Any] = self.root.existing(document, Run(document, positional, inserting, self.context), ())
        if inserting:
            return finish_insert(result)
        for name in self.dollars:
            changed = result.get(name, MISSING) is not document.get(name, MISSING)
            if changed and name in result and (name not in document or name in self.paths):
                check_dollar_field(result, name)
        return result


def _compile_operators(
    update: dict[str, Any], compiling: Compiling, array_filters: Sequence[dict[str, Any]]
) -> OperatorUpdate:
    filters = _compile_array_filters(array_filters, compiling)
    root, used = Fields(), set[str]()
    paths: set[str] = set()
    positional = False
    for name, fields in update.items():
        if not isinstance(fields, dict):
            raise DataError(
                f"Modifiers operate on fields but we found type {type_name(fields)} instead."
                f" For example: {{$mod: {{<field>: ...}}}} not {{{display_field(name, fields)}}}",
                number=9,
            )
        for path, argument in fields.items():
            compiling.context.check()
            if name == "$rename":
                paths |= _plant_rename(root, path, argument)
                continue
            parts = split_path(path)
            positional = check_positional(parts) or positional
            plant(root, parts, OPERATORS[name](argument, path, compiling), filters, used)
            paths.add(path)
    for identifier in filters:
        if identifier not in used:
            unused = f"The array filter for identifier '{identifier}' was not used in the update"
            raise DataError(f"{unused} {display(update)}", number=9)
    dollars = frozenset(path.partition(".")[0] for path in paths if path.startswith("$"))
    return OperatorUpdate(root, frozenset(paths), positional, dollars, compiling.context)


def _plant_rename(root: Fields, path: str, argument: Any) -> set[str]:
    source = split_path(path)
    if not is_string(argument):
        raise DataError(f"The 'to' field for $rename must be a string: {display_field(path, argument)}")
    target = split_path(argument)
    shown = display_field(path, argument)
    if "\0" in argument:
        raise DataError("The 'to' field for $rename cannot contain an embedded null byte")
    if source == target:
        raise DataError(f"The source and target field for $rename must differ: {shown}")
    shorter = min(len(source), len(target))
    if source[:shorter] == target[:shorter]:
        raise DataError(f"The source and target field for $rename must not be on the same path: {shown}")
    for word, parts in (("source", source), ("destination", target)):
        if any(part == "$" or array_identifier(part) is not None for part in parts):
            raise DataError(f"The {word} field for $rename may not be dynamic: {'.'.join(parts)}")
    take, put = rename(source, target)
    plant(root, source, take, {}, set())
    plant(root, target, put, {}, set())
    return {path, argument}


# --- array filters ---------------------------------------------------------------------------------------------------

_IDENTIFIER = re.compile(r"[a-z][a-zA-Z0-9]*\Z")


def _compile_array_filters(array_filters: Sequence[dict[str, Any]], compiling: Compiling) -> dict[str, Matcher]:
    filters: dict[str, Matcher] = {}
    for condition in compiling.context.each(array_filters):
        predicate = compile_filter(
            condition, compiling.context, collation=compiling.collation, variables=compiling.variables
        )
        identifier = _identifier(condition)
        if identifier is None:
            raise DataError("Cannot use an expression without a top-level field name in arrayFilters", number=9)
        if not _IDENTIFIER.match(identifier):
            raise DataError(
                "The top-level field name must be an alphanumeric string beginning with a lowercase letter,"
                f" found '{identifier}'"
            )
        if identifier in filters:
            text = f"Found multiple array filters with the same top-level field name {identifier}"
            raise DataError(text, number=9)
        filters[identifier] = predicate
    return filters


def _identifier(condition: Mapping[str, Any]) -> str | None:
    """The one top-level field name of an array filter; None for a filter without any."""
    found: str | None = None
    for name, value in condition.items():
        if name in ("$and", "$or", "$nor"):
            names = [_identifier(part) for part in value]
        elif name == "$comment":
            continue
        elif name.startswith("$"):
            raise DataError("Match expression does not support placeholders.", number=9)
        else:
            names = [name.partition(".")[0]]
        for candidate in names:
            if found is not None and candidate is not None and candidate != found:
                text = f"Expected a single top-level field name, found '{found}' and '{candidate}'"
                raise DataError(text, number=9)
            found = candidate if candidate is not None else found
    return found


# --- pipelines -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class PipelineUpdate:
    """An update made of stages."""

    transforms: list[Callable[[dict[str, Any]], dict[str, Any]]]
    paths: frozenset[str]
    needs_positional: bool = False

    def apply(
        self, document: dict[str, Any], positional: int | None = None, *, inserting: bool = False
    ) -> dict[str, Any]:
        """See :class:`Update`."""
        result = document
        for transform in self.transforms:
            result = transform(result)
        if inserting:
            return finish_insert(_keep_id(document, result))
        if identical(result, document):
            return document
        check_depth(depth_of(result))
        return _keep_id(document, result)


def _compile_pipeline(
    pipeline: list[Any], context: Context, variables: dict[str, Any], collation: Mapping[str, Any] | None
) -> PipelineUpdate:
    from doorleaf.mql.stages.compile import UPDATE_STAGES, compile_transform  # with all expressions, a megabyte

    transforms = []
    paths: set[str] = set()
    for stage in pipeline:
        name, argument = stage_of(stage)
        if name not in UPDATE_STAGES:
            raise DataError(f"{name} is not allowed to be used within an update", number=72)
        transforms.append(compile_transform(name, argument, context, variables, collation))
        paths |= _stage_paths(name, argument)
    return PipelineUpdate(transforms, frozenset(paths))


def _stage_paths(name: str, argument: Any) -> set[str]:
    if name in ("$set", "$addFields"):
        return set(argument)
    if name == "$unset":
        return {argument} if is_string(argument) else set(argument)
    return {""}


# --- whole documents -------------------------------------------------------------------------------------------------


def replace(document: dict[str, Any], replacement: dict[str, Any], *, inserting: bool = False) -> dict[str, Any]:
    """``replacement`` with the ``_id`` of ``document`` first; error 66 if it has another one, 52 for a ``$`` name.

    The same object comes back when the replacement makes the document that is there, whether it has the ``_id`` or
    not. With ``inserting`` the document is an upsert's base, and what comes of it a new one, where ``$`` names may be.
    """
    if inserting:
        return finish_insert(_keep_id(document, replacement))
    check_replacement(replacement)
    check_depth(depth_of(replacement))
    replaced = _keep_id(document, replacement)
    return document if identical(document, replaced) else replaced


def _keep_id(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """``after`` with its ``_id`` first, or with that of ``before`` when it has none; error 66 when they differ."""
    old, new = before.get("_id", MISSING), after.get("_id", MISSING)
    if old is not MISSING and new is not MISSING and compare(old, new) != 0:
        raise DataError(
            "After applying the update, the (immutable) field '_id' was found to have been altered to"
            f" {display_field('_id', new)}",
            number=66,
        )
    if new is MISSING and old is MISSING:
        return dict(after)
    identity = old if new is MISSING else new
    return {"_id": identity, **{name: value for name, value in after.items() if name != "_id"}}


def finish_insert(document: dict[str, Any]) -> dict[str, Any]:
    """The document as an upsert inserts it: with an ``_id``, which is first and of a type that an ``_id`` may have."""
    identity = document.get("_id", MISSING)
    if identity is MISSING:
        return {"_id": ObjectId(), **document}
    check_id(identity)
    check_depth(depth_of(document))
    if next(iter(document)) == "_id":
        return document
    return {"_id": identity, **{name: value for name, value in document.items() if name != "_id"}}


def check_id(identity: Any) -> None:
    """Raise error 53 or 52 for a value that an ``_id`` cannot have."""
    kind = type_name(identity)
    if kind in ("array", "regex", "undefined"):
        raise DataError(f"The '_id' value cannot be of type {kind}", number=53)
    for name in identity if isinstance(identity, dict) else ():
        if name.startswith("$") and name not in ("$ref", "$id", "$db"):
            reason = f"The dollar ($) prefixed field '{name}' is not valid for storage."
            raise DataError(f"_id fields may not contain '$'-prefixed fields: {reason}", number=52)


def check_replacement(replacement: dict[str, Any]) -> None:
    """Raise error 52 when a top-level name begins with ``$``."""
    for name in replacement:
        if name.startswith("$"):
            check_dollar_field(replacement, name)


def check_dollar_field(document: dict[str, Any], name: str) -> None:
    """Raise error 52 for a top-level ``$`` name; ``$ref``, ``$id`` and ``$db`` must be a reference's (error 55)."""
    names = list(document)
    place = names.index(name)
    before = names[place - 1] if place else None
    if name == "$db" and before != "$id":
        raise DataError("Found $db field without a $id before it, which is invalid.", number=55)
    if name == "$id" and before != "$ref":
        raise DataError("Found $id field without a $ref before it, which is invalid.", number=55)
    if name == "$ref":
        if not is_string(document[name]):
            kind = type_name(document[name])
            raise DataError(f"The DBRef $ref field must be a String, not a {kind}", number=55)
        if names[place + 1 : place + 2] != ["$id"]:
            raise DataError("The DBRef $ref field must be followed by a $id field", number=55)
    if name not in ("$db", "$id", "$ref"):
        raise DataError(
            f"The dollar ($) prefixed field '{name}' in '{name}' is not allowed in the context of an update's"
            " replacement document. Consider using an aggregation pipeline with $replaceWith.",
            number=52,
        )


def check_size(encoded: bytes, *, inserting: bool = False) -> None:
    """Raise error 17419, or 17420 for an upsert, when a document's BSON is larger than 16 MiB."""
    if len(encoded) <= MAX_DOCUMENT_SIZE:
        return
    if inserting:
        raise DataError(f"Document to upsert is larger than {MAX_DOCUMENT_SIZE}", number=17420)
    raise DataError(f"Resulting document after update is larger than {MAX_DOCUMENT_SIZE}", number=17419)


# --- upserts ---------------------------------------------------------------------------------------------------------


def upsert_base(filter: Mapping[str, Any], *, replacing: bool = False) -> dict[str, Any]:
    """The document that an upsert starts from: what the filter says must be equal, dotted paths as nested documents.

    For a replacement only the ``_id`` counts. Raises error 54 when a path is given twice, 111 for a part of ``_id`` in
    a replacement, 224 for ``$expr``.
    """
    equalities: dict[Path, Any] = {}
    _collect(filter, equalities, replacing)
    base: dict[str, Any] = {}
    for parts in sorted(equalities, key=".".join):
        container = base
        for part in parts[:-1]:
            container = container.setdefault(part, {})
        container[parts[-1]] = equalities[parts]
    return base


def _collect(condition: Mapping[str, Any], equalities: dict[Path, Any], replacing: bool) -> None:
    for name, value in condition.items():
        if name == "$expr":
            raise DataError("$expr is not allowed in the query predicate for an upsert", number=224)
        if name == "$and" or (name == "$or" and len(value) == 1):
            for part in value:
                _collect(part, equalities, replacing)
        elif not name.startswith("$"):
            for equal in _equal_values(value):
                _require(name, equal, equalities, replacing)


def _equal_values(value: Any) -> list[Any]:
    """What a condition on a field says the field is equal to."""
    document = as_document(value)
    if document is None or not next(iter(document), "").startswith("$") or "$ref" in document:
        return [] if type_name(value) == "regex" else [value]
    found = []
    for name, operand in document.items():
        if name == "$eq":
            found.append(operand)
        elif name == "$in" and len(operand) == 1 and type_name(operand[0]) != "regex":
            found.append(operand[0])
        elif name == "$all":
            found += [item for item in operand if _plain(item)]
    return found


def _plain(item: Any) -> bool:
    return type_name(item) != "regex" and not (isinstance(item, dict) and "$elemMatch" in item)


def _require(path: str, value: Any, equalities: dict[Path, Any], replacing: bool) -> None:
    parts = tuple(path.split("."))
    if replacing:
        if parts[0] != "_id":
            return
        if len(parts) > 1:
            text = f"field at '_id' must be exactly specified, field at sub-path '{path}'found"
            raise DataError(text, number=111)
    for other in equalities:
        if other == parts:
            raise DataError(f"cannot infer query fields to set, path '{path}' is matched twice", number=54)
        shorter, longer = sorted((other, parts), key=len)
        if longer[: len(shorter)] == shorter:
            both = f"both paths '{'.'.join(longer)}' and '{'.'.join(shorter)}' are matched"
            raise DataError(f"cannot infer query fields to set, {both}", number=54)
    equalities[parts] = value
