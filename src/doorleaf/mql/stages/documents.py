"""The stages that look at one document at a time, and those that count, cut and sample them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bson.int64 import Int64

from doorleaf.documents import is_string
from doorleaf.mql import numbers
from doorleaf.mql.display import display, display_field
from doorleaf.mql.expressions import REDACT_VARIABLES, compile_expression
from doorleaf.mql.memory import Growth, bounded
from doorleaf.mql.projections.compile import compile_project
from doorleaf.mql.stages.build import (
    Build,
    Document,
    Read,
    Stage,
    Transform,
    fail,
    field_parts,
    get_nested,
    per_document,
    set_nested,
)
from doorleaf.mql.values import MISSING, approximate_size, as_document, type_name

# --- $match ----------------------------------------------------------------------------------------------------------


def match(argument: Any, build: Build) -> Stage:
    """``$match``."""
    if not isinstance(argument, dict):
        fail(15959, "the match filter must be an expression in an object")
    predicate = build.filter(argument)
    context = build.context

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        check = context.check
        for document in documents:
            check()
            if predicate(document):
                yield document

    return stage


# --- the shape of a document -----------------------------------------------------------------------------------------


def project(argument: Any, build: Build) -> Transform:
    """``$project``."""
    if not isinstance(argument, dict):
        fail(15969, "$project specification must be an object")
    return compile_project(argument, build.context, build.variables)


def unset(argument: Any, build: Build) -> Transform:
    """``$unset``."""
    if not is_string(argument) and not isinstance(argument, list):
        fail(31002, "$unset specification must be a string or an array")
    paths = [argument] if is_string(argument) else argument
    if not paths:
        fail(31119, "$unset specification must be a string or an array with at least one field")
    if not all(is_string(path) for path in paths):
        fail(31120, "$unset specification must be a string or an array containing only string values")
    tree: dict[str, Any] = {}
    for path in paths:
        _plant(tree, field_parts(path), None, "$unset", path)
    return lambda document: _without(document, tree)


def _without(document: Document, tree: dict[str, Any]) -> Document:
    result = document
    for name, below in tree.items():
        if name not in result:
            continue
        if result is document:
            result = dict(document)
        if below is None:
            del result[name]
        else:
            result[name] = _value_without(result[name], below)
    return result


def _value_without(value: Any, tree: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_value_without(item, tree) for item in value]
    document = as_document(value)
    return value if document is None else _without(document, tree)


def add_fields(name: str, argument: Any, build: Build) -> Transform:
    """``$addFields`` and ``$set``; ``name`` is the one used."""
    if not isinstance(argument, dict):
        fail(40272, f"{name} specification stage must be an object, got {type_name(argument)}")
    if not argument:
        fail(40177, f"Invalid {name} :: caused by :: specification must have at least one field")
    tree: dict[str, Any] = {}
    for path, value in argument.items():
        _plan(tree, field_parts(path), value, name, build)
    context = build.context

    def transform(document: Document) -> Document:
        growth = Growth()
        result = _added(document, tree, document, growth)
        return bounded(result, context) if growth.size else result

    return transform


def _plan(tree: dict[str, Any], parts: Sequence[str], value: Any, stage: str, build: Build) -> None:
    path = ".".join(parts)
    if not isinstance(value, dict) or any(key.startswith("$") for key in value):
        _plant(tree, parts, build.expression(value), stage, path)
        return
    if not value:
        text = f"an empty object is not a valid value. Found empty object at path {path}"
        fail(40180, f"Invalid {stage} :: caused by :: {text}")
    for key, inner in value.items():
        if "." in key:
            text = f"cannot use dotted field name '{key}' in a sub object: {display(value)}"
            fail(40183, f"Invalid {stage} :: caused by :: {text}")
        _plan(tree, [*parts, *field_parts(key)], inner, stage, build)


def _plant(tree: dict[str, Any], parts: Sequence[str], leaf: Any, stage: str, path: str) -> None:
    """Put ``leaf`` at a path of the tree, whose inner nodes are dicts; refuse a path that is there, above or below."""
    for depth, part in enumerate(parts[:-1]):
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            other = ".".join(parts[: depth + 1])
            _conflict(stage, path, other)
    if parts[-1] in tree:
        _conflict(stage, path, path)
    tree[parts[-1]] = leaf


def _conflict(stage: str, path: str, other: str) -> None:
    text = f"specification contains two conflicting paths. Cannot specify both '{path}' and '{other}'"
    fail(40176, f"Invalid {stage} :: caused by :: {text}")


def _added(document: Document, tree: dict[str, Any], root: Document, growth: Growth) -> Document:
    result = dict(document)
    for name, below in tree.items():
        if callable(below):
            value = below(root)
            growth.add(value)
        else:
            value = _value_added(result.get(name), below, root, growth)
        if value is MISSING:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def _value_added(value: Any, tree: dict[str, Any], root: Document, growth: Growth) -> Any:
    if isinstance(value, list):
        return [_value_added(item, tree, root, growth) for item in value]
    return _added(as_document(value) or {}, tree, root, growth)


def replace_root(argument: Any, build: Build) -> Transform:
    """``$replaceRoot``."""
    if not isinstance(argument, dict):
        fail(40229, f"expected an object as specification for $replaceRoot stage, got {type_name(argument)}")
    for name in argument:
        if name != "newRoot":
            fail(40415, f"BSON field '$replaceRoot.{name}' is an unknown field.")
    if "newRoot" not in argument:
        fail(40414, "BSON field '$replaceRoot.newRoot' is missing but a required field")
    return _replacement(build.expression(argument["newRoot"]), "'newRoot' expression")


def replace_with(argument: Any, build: Build) -> Transform:
    """``$replaceWith``."""
    return _replacement(build.expression(argument), "'replacement document'")


def _replacement(read: Read, what: str) -> Transform:
    def transform(document: Document) -> Document:
        value = read(document)
        result = as_document(value)
        if result is None:
            shown = "MISSING" if value is MISSING else display(value)
            # Two spaces, as the server's message has them.
            fail(
                40228,
                f"{what}  must evaluate to an object, but resulting value was: {shown}."
                f" Type of resulting value: '{type_name(value)}'. Input document: {display(document)}",
            )
        return result

    return transform


def redact(argument: Any, build: Build) -> Stage:
    """``$redact``."""
    names = {*build.variables, *REDACT_VARIABLES, "CURRENT", "ROOT"}
    decide = compile_expression(argument, build.context, names)

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            build.context.check()
            kept = level(document, document)
            if kept is not MISSING:
                yield kept

    def level(document: Document, root: Document) -> Any:
        variables = {**build.variables, **REDACT_VARIABLES, "ROOT": root, "CURRENT": document}
        decision = decide(document, variables)
        if decision == REDACT_VARIABLES["KEEP"]:
            return document
        if decision == REDACT_VARIABLES["PRUNE"]:
            return MISSING
        if decision != REDACT_VARIABLES["DESCEND"]:
            shown = "" if decision is MISSING else display(decision)
            text = "$redact's expression should not return anything aside from the variables $$KEEP, $$DESCEND, and"
            fail(17053, f"{text} $$PRUNE, but returned {shown}")
        below = ((name, descend(value, root)) for name, value in document.items())
        return {name: value for name, value in below if value is not MISSING}

    def descend(value: Any, root: Document) -> Any:
        if isinstance(value, list):
            below = [descend(item, root) for item in value]
            return [item for item in below if item is not MISSING]
        document = as_document(value)
        return value if document is None else level(document, root)

    return stage


# --- $unwind ---------------------------------------------------------------------------------------------------------

_UNWIND_OPTIONS = ("path", "includeArrayIndex", "preserveNullAndEmptyArrays")


def unwind(argument: Any, build: Build) -> Stage:
    """``$unwind``, in both forms."""
    options = {"path": argument} if is_string(argument) else argument
    if not isinstance(options, dict):
        given = type_name(options)
        fail(15981, f"expected either a string or an object as specification for $unwind stage, got {given}")
    parts = _unwind_path(options)
    index = _unwind_index(options)
    preserve = options.get("preserveNullAndEmptyArrays", False)

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        check = build.context.check
        for document in documents:
            value = get_nested(document, parts)
            if isinstance(value, list) and value:
                for position, item in enumerate(value):
                    check()
                    yield numbered(set_nested(document, parts, item), position)
                continue
            check()
            if value is None or value is MISSING or isinstance(value, list):
                if preserve:
                    gone = set_nested(document, parts, MISSING) if isinstance(value, list) else document
                    yield numbered(gone, None)
            else:
                yield numbered(document, None)

    def numbered(document: Document, position: int | None) -> Document:
        if index is None:
            return document
        return set_nested(document, index, None if position is None else Int64(position))

    return stage


def _unwind_path(options: Document) -> list[str]:
    for name in options:
        if name not in _UNWIND_OPTIONS:
            fail(28811, f"unrecognized option to $unwind stage: {name}")
    if "path" not in options:
        fail(28812, "no path specified to $unwind stage")
    path = options["path"]
    if not is_string(path):
        fail(28808, f"expected a string as the path for $unwind stage, got {type_name(path)}")
    if not path:
        fail(28812, "no path specified to $unwind stage")
    if not path.startswith("$"):
        fail(28818, f"path option to $unwind stage should be prefixed with a '$': {path}")
    return field_parts(path[1:])


def _unwind_index(options: Document) -> list[str] | None:
    preserve = options.get("preserveNullAndEmptyArrays", False)
    if not isinstance(preserve, bool):
        given = type_name(preserve)
        fail(28809, f"expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage, got {given}")
    if "includeArrayIndex" not in options:
        return None
    index = options["includeArrayIndex"]
    if not is_string(index) or not index:
        given = type_name(index)
        fail(28810, f"expected a non-empty string for the includeArrayIndex  option to $unwind stage, got {given}")
    if index.startswith("$"):
        fail(28822, f"includeArrayIndex option to $unwind stage should not be prefixed with a '$': {index}")
    return field_parts(index)


# --- counting and cutting --------------------------------------------------------------------------------------------


def parse_limit(argument: Any) -> int:
    """The number of ``$limit``."""
    number = _stage_number(argument, "$limit", 5107201)
    if number == 0:
        fail(15958, "the limit must be positive")
    return number


def parse_skip(argument: Any) -> int:
    """The number of ``$skip``."""
    return _stage_number(argument, "$skip", 5107200)


def _stage_number(argument: Any, name: str, code: int) -> int:
    shown = display_field(name, argument)
    if not numbers.is_number(argument):
        fail(code, f"invalid argument to {name} stage: Expected a number in: {shown}")
    number = numbers.integral(argument)
    if number is None:
        problem = "Expected an integer" if not numbers.is_nan(argument) else "Expected an integer, but found NaN in"
        if abs(numbers.to_double(argument)) >= 2**63:
            problem = "Cannot represent as a 64-bit integer"
        fail(code, f"invalid argument to {name} stage: {problem}: {shown}")
    if number < 0:
        fail(code, f"invalid argument to {name} stage: Expected a non-negative number in: {shown}")
    return number


def limit(argument: Any, build: Build) -> Stage:
    """``$limit``; reads no further than it must."""
    number = parse_limit(argument)
    return lambda documents: itertools.islice(documents, number)


def skip(argument: Any, build: Build) -> Stage:
    """``$skip``."""
    number = parse_skip(argument)

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        for position, document in enumerate(documents):
            build.context.check()
            if position >= number:
                yield document

    return stage


def count(argument: Any, build: Build) -> Stage:
    """``$count``; no document at all when there are none to count."""
    name = _count_name(argument)

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        total = 0
        for _ in documents:
            build.context.check()
            total += 1
        if total:
            yield {name: numbers.integer(total)}

    return stage


def _count_name(argument: Any) -> str:
    if not is_string(argument):
        fail(40156, "the count field must be a non-empty string")
    if not argument:
        fail(40157, "the count field must be a non-empty string")
    if argument.startswith("$"):
        fail(40158, "the count field cannot be a $-prefixed path")
    if "\0" in argument:
        fail(40159, "the count field cannot contain a null byte")
    if "." in argument:
        fail(40160, "the count field cannot contain '.'")
    return argument


def sample(argument: Any, build: Build) -> Stage:
    """``$sample``: so many documents at random, each at most once, in random order."""
    if not isinstance(argument, dict):
        fail(28745, "the $sample stage specification must be an object")
    for name, value in argument.items():
        if name != "size":
            fail(28748, f"unrecognized option to $sample: {name}")
        if not numbers.is_number(value):
            fail(28746, "size argument to $sample must be a number")
    if "size" not in argument:
        fail(28749, "$sample stage must specify a size")
    number = numbers.to_double(argument["size"])
    size = 0 if number != number else int(min(max(number, 0), 2**63))
    if size <= 0:
        fail(28747, "size argument to $sample must be a positive integer")
    chance = random.SystemRandom()

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        kept: list[Document] = []
        held = 0
        for position, document in enumerate(documents):
            build.context.check()
            place = position if position < size else chance.randrange(position + 1)
            if place >= size:
                continue
            weight = approximate_size(document)
            if place < len(kept):
                weight -= approximate_size(kept[place])
                kept[place] = document
            else:
                kept.append(document)
            build.context.charge(weight, "$sample")
            held += weight
        for place in range(len(kept) - 1, 0, -1):
            build.context.check()
            other = chance.randrange(place + 1)
            kept[place], kept[other] = kept[other], kept[place]
        yield from kept
        build.context.release(held)

    return stage


def transform_stage(transform: Transform, build: Build) -> Stage:
    """The stage of a transform that also updates know."""
    return per_document(transform, build.context)
