"""The stages that need all documents before they give one: sorting, grouping, buckets and facets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import count as counter
from itertools import pairwise
from operator import itemgetter
from typing import Any

from doorleaf.documents import is_string
from doorleaf.errors import Unsupported
from doorleaf.mql.accumulators.compile import Accumulator, Factory, compile_accumulator
from doorleaf.mql.context import Context
from doorleaf.mql.display import display, display_field
from doorleaf.mql.expressions import Constant, compile_expression
from doorleaf.mql.memory import Growth, bounded
from doorleaf.mql.numbers import INT32_MAX, integral, is_number
from doorleaf.mql.order import charged_top, compile_sort
from doorleaf.mql.stages.build import Build, Document, Read, Stage, fail, field_parts
from doorleaf.mql.stages.reach import STAGES
from doorleaf.mql.values import MISSING, approximate_size, as_document, canonical, sort_token, type_name, type_order

# --- $sort -----------------------------------------------------------------------------------------------------------


def sort(argument: Any, build: Build) -> Stage:
    """``$sort``."""
    return sort_top(argument, build, None)


def sort_top(argument: Any, build: Build, most: int | None) -> Stage:
    """``$sort``, holding only the first ``most`` documents at any time when a number is given."""
    if not isinstance(argument, dict):
        fail(15973, "the $sort key specification must be an object")
    if not argument:
        fail(15976, "$sort stage must have at least one sort key")
    key = compile_sort(argument, collation=build.collation)
    context = build.context

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        if most is None:
            held, size = hold(documents, context, "Sort")
            held = context.sort(held, key)
        else:
            held, size = charged_top(documents, key, most, context)
        try:
            yield from held
        finally:
            context.release(size)

    return stage


def hold(documents: Iterable[Document], context: Context, stage: str) -> tuple[list[Document], int]:
    """All documents at once, and the bytes charged for them, which the caller releases."""
    held: list[Document] = []
    size = 0
    for document in documents:
        context.check()
        weight = approximate_size(document)
        context.charge(weight, stage)
        size += weight
        held.append(document)
    return held, size


# --- $group ----------------------------------------------------------------------------------------------------------


class _Meter(Context):
    """Passes on what accumulators charge and remembers it, so that all of it can be given back."""

    __slots__ = ("_parent", "held")

    def __init__(self, parent: Context) -> None:
        super().__init__(parent.deadline, parent.now, memory_limit=parent.memory_limit)
        self._parent = parent
        self.held = 0

    def charge(self, size: int, stage: str = "Sort", number: int = 292) -> None:
        self._parent.charge(size, stage, number)
        self.held += size

    def release(self, size: int) -> None:
        self._parent.release(size)
        self.held -= size


class Accumulators:
    """The accumulated fields of ``$group`` and its kin."""

    def __init__(self, fields: dict[str, Any], build: Build) -> None:
        self._variables = build.variables
        self._meter = _Meter(build.context)
        self._fields = [(name, _accumulator(name, spec, self._meter, build)) for name, spec in fields.items()]

    def start(self, identity: Any = None) -> list[Accumulator]:
        """The accumulators of a new group."""
        document = as_document(identity)
        return [make(document) for _, make in self._fields]

    def add(self, group: list[Accumulator], document: Document) -> None:
        """Add a document to a group."""
        for accumulator in group:
            accumulator.add(document, self._variables)

    def results(self, group: list[Accumulator]) -> Document:
        """The fields of a group; a value that is missing is null."""
        found = {}
        growth = Growth()
        for (name, _), accumulator in zip(self._fields, group, strict=True):
            value = accumulator.result()
            growth.add(value)
            found[name] = None if value is MISSING else value
        return bounded(found, self._meter) if growth.size else found

    def release(self) -> None:
        """Give back the memory of all groups."""
        self._meter.release(self._meter.held)


def _accumulator(name: str, spec: Any, context: Context, build: Build) -> Factory:
    if not isinstance(spec, dict) or not next(iter(spec), "").startswith("$"):
        fail(40234, f"The field '{name}' must be an accumulator object")
    if "." in name:
        fail(40235, f"The field name '{name}' cannot contain '.'")
    if name.startswith("$"):
        fail(40236, f"The field name '{name}' cannot be an operator name")
    if len(spec) != 1:
        fail(40238, f"The field '{name}' must specify one accumulator")
    return compile_accumulator(spec, context, build.variables.keys())


_GROUP_WEIGHT = 200


def group(argument: Any, build: Build) -> Stage:
    """``$group``: groups in the order in which they were first seen."""
    if not isinstance(argument, dict):
        fail(15947, "a group's fields must be specified in an object")
    fields = {name: spec for name, spec in argument.items() if name != "_id"}
    accumulators = Accumulators(fields, build)
    if "_id" not in argument:
        fail(15955, "a group specification must include an _id")
    return _grouping(_identity(argument["_id"], build), accumulators, build)


def _identity(written: Any, build: Build) -> Read:
    """The ``_id`` of a document's group. A document of one field is made of its value, which is null when missing."""
    read = build.expression(written)
    if not isinstance(written, dict) or len(written) != 1 or next(iter(written)).startswith("$"):
        return read
    ((name, inner),) = written.items()
    only = build.expression(inner)

    def of(document: Document) -> Any:
        value = only(document)
        return {name: None if value is MISSING else value}

    return of


def _grouping(read: Read, accumulators: Accumulators, build: Build) -> Stage:
    context, variables = build.context, build.variables

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        groups: dict[Any, tuple[Any, list[Accumulator]]] = {}
        size = 0
        for document in documents:
            context.check()
            value = read(document)
            value = None if value is MISSING else value
            key = value if value.__class__ is int or value.__class__ is str else canonical(value)
            found = groups.get(key)
            if found is None:
                weight = _GROUP_WEIGHT + approximate_size(value)
                context.charge(weight, "$group")
                size += weight
                found = groups[key] = (value, accumulators.start(value))
            for accumulator in found[1]:
                accumulator.add(document, variables)
        try:
            for value, accumulated in groups.values():
                context.check()
                yield {"_id": value, **accumulators.results(accumulated)}
        finally:
            context.release(size)
            accumulators.release()

    return stage


def sort_by_count(argument: Any, build: Build) -> Stage:
    """``$sortByCount``."""
    text = "the sortByCount field must be defined as a $-prefixed path or an expression inside an object"
    if isinstance(argument, dict):
        if not next(iter(argument), "").startswith("$"):
            fail(40147, text)
    elif is_string(argument):
        if not argument.startswith("$"):
            fail(40148, text)
    else:
        fail(40149, "the sortByCount field must be specified as a string or as an object")
    grouped = group({"_id": argument, "count": {"$sum": 1}}, build)
    sorted_by_count = sort({"count": -1}, build)
    return lambda documents: sorted_by_count(grouped(documents))


# --- $bucket ---------------------------------------------------------------------------------------------------------

_BUCKET_OPTIONS = ("groupBy", "boundaries", "default", "output")


def bucket(argument: Any, build: Build) -> Stage:
    """``$bucket``."""
    if not isinstance(argument, dict):
        fail(40201, f"Argument to $bucket stage must be an object, but found type: {type_name(argument)}.")
    for name in argument:
        if name not in _BUCKET_OPTIONS:
            fail(40197, f"Unrecognized option to $bucket: {name}.")
    group_by = argument.get("groupBy")
    if "groupBy" in argument and not _is_expression(group_by):
        text = "The $bucket 'groupBy' field must be defined as a $-prefixed path or an expression, but found:"
        fail(40202, f"{text} {display(group_by)}.")
    boundaries = _boundaries(argument.get("boundaries", MISSING), build)
    default = MISSING
    if "default" in argument:
        default = _constant(argument["default"], build)
        if default is MISSING:
            text = "The $bucket 'default' field must be a constant expression, but found:"
            fail(40195, f"{text} {display(argument['default'])}.")
    accumulators = Accumulators(_output(argument, "$bucket", 40196), build)
    if "groupBy" not in argument or not boundaries:
        fail(40198, "$bucket requires 'groupBy' and 'boundaries' to be specified.")
    _check_default(default, boundaries, build)
    read = _bucket_reader(build.expression(group_by), boundaries, default, build)
    grouped = _grouping(read, accumulators, build)
    in_order = sort({"_id": 1}, build)
    return lambda documents: in_order(grouped(documents))


def _is_expression(value: Any) -> bool:
    if is_string(value):
        return value.startswith("$")
    return isinstance(value, dict) and next(iter(value), "").startswith("$")


def _constant(value: Any, build: Build) -> Any:
    """The value of a constant expression, MISSING for any other."""
    compiled = compile_expression(value, build.context, build.variables.keys())
    return compiled.value if isinstance(compiled, Constant) else MISSING


def _boundaries(given: Any, build: Build) -> list[Any]:
    if given is MISSING:
        return []
    if not isinstance(given, list):
        fail(40200, f"The $bucket 'boundaries' field must be an array, but found type: {type_name(given)}.")
    values = [_constant(item, build) for item in given]
    for item, value in zip(given, values, strict=True):
        if value is MISSING:
            text = "The $bucket 'boundaries' field must be an array of constant values, but found value:"
            fail(40191, f"{text} {display(item)}.")
    if len(values) < 2:
        text = "The $bucket 'boundaries' field must have at least 2 values, but found"
        fail(40192, f"{text} {len(values)} value(s).")
    for position, (lower, upper) in enumerate(pairwise(values)):
        if type_order(lower) != type_order(upper):
            text = (
                "All values in the the 'boundaries' option to $bucket must have the same type. Found conflicting types"
            )
            fail(40193, f"{text} {type_name(lower)} and {type_name(upper)}.")
        if sort_token(lower) >= sort_token(upper):
            fail(
                40194,
                f"The 'boundaries' option to $bucket must be sorted, but elements {position} and {position + 1} are not"
                f" in ascending order ({display(lower)} is not less than {display(upper)}).",
            )
    return values


def _check_default(default: Any, boundaries: list[Any], build: Build) -> None:
    if default is MISSING or type_order(default) != type_order(boundaries[0]):
        return
    if sort_token(boundaries[0]) <= sort_token(default) < sort_token(boundaries[-1]):
        text = "The $bucket 'default' field must be less than the lowest boundary or greater than or equal to"
        fail(40199, f"{text} the highest boundary.")


def _bucket_reader(read: Read, boundaries: list[Any], default: Any, build: Build) -> Read:
    tokens = [sort_token(boundary) for boundary in boundaries]

    def bucket_of(document: Document) -> Any:
        place = bisect_right(tokens, sort_token(read(document)))
        if 0 < place < len(tokens):
            return boundaries[place - 1]
        if default is MISSING:
            fail(40066, "$switch could not find a matching branch for an input, and no default was specified.")
        return default

    return bucket_of


def _output(argument: Document, stage: str, code: int) -> dict[str, Any]:
    if "output" not in argument:
        return {"count": {"$sum": 1}}
    output = argument["output"]
    if not isinstance(output, dict):
        fail(code, f"The {stage} 'output' field must be an object, but found type: {type_name(output)}.")
    return output


# --- $bucketAuto -----------------------------------------------------------------------------------------------------

_BUCKET_AUTO_OPTIONS = ("groupBy", "buckets", "output", "granularity")


def bucket_auto(argument: Any, build: Build) -> Stage:
    """``$bucketAuto``, without ``granularity``."""
    if not isinstance(argument, dict):
        fail(40240, f"The argument to $bucketAuto must be an object, but found type: {type_name(argument)}.")
    for name in argument:
        if name not in _BUCKET_AUTO_OPTIONS:
            fail(40245, f"Unrecognized option to $bucketAuto: {name}.")
    if "groupBy" in argument and not _is_expression(argument["groupBy"]):
        text = (
            "The $bucketAuto 'groupBy' field must be defined as a $-prefixed path or an expression object, but found:"
        )
        fail(40239, f"{text} {display(argument['groupBy'])}")
    if "granularity" in argument:
        raise Unsupported("$bucketAuto with granularity is not supported")
    if "groupBy" not in argument or "buckets" not in argument:
        fail(40246, "$bucketAuto requires 'groupBy' and 'buckets' to be specified.")
    buckets = _bucket_number(argument["buckets"])
    accumulators = Accumulators(_output(argument, "$bucketAuto", 40244), build)
    read = build.expression(argument["groupBy"])

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        held, size = hold(documents, build.context, "$bucketAuto")
        try:
            yield from _buckets(held, read, buckets, accumulators, build)
        finally:
            build.context.release(size)
            accumulators.release()

    return stage


def _bucket_number(value: Any) -> int:
    if not is_number(value):
        kind = type_name(value)
        fail(40241, f"The $bucketAuto 'buckets' field must be a numeric value, but found type: {kind}.")
    number = integral(value)
    if number is None or abs(number) > INT32_MAX:
        text = "The $bucketAuto 'buckets' field must be representable as a 32-bit integer, but found"
        fail(40242, f"{text} {display(value)}.")
    if number <= 0:
        fail(40243, f"The $bucketAuto 'buckets' field must be greater than 0, but found: {number}.")
    return number


def _buckets(
    documents: list[Document], read: Read, buckets: int, accumulators: Accumulators, build: Build
) -> Iterator[Document]:
    entries = []
    for position, document in enumerate(documents):
        build.context.check()
        value = read(document)
        value = None if value is MISSING else value
        entries.append((sort_token(value), position, value))
    entries = build.context.sort(entries, itemgetter(0, 1))
    share = max(1, int(len(entries) / buckets + 0.5))
    start = 0
    for number in counter(1):
        if start >= len(entries):
            return
        end = len(entries) if number == buckets else min(start + share, len(entries))
        # Equal values stay together, so that the upper boundary can exclude them.
        while end < len(entries) and entries[end][0] == entries[end - 1][0]:
            end += 1
        group_of = accumulators.start()
        for _, position, _ in build.context.sort(entries[start:end], itemgetter(1)):
            build.context.check()
            accumulators.add(group_of, documents[position])
        upper = entries[end][2] if end < len(entries) else entries[end - 1][2]
        yield {"_id": {"min": entries[start][2], "max": upper}, **accumulators.results(group_of)}
        start = end


# --- $facet ----------------------------------------------------------------------------------------------------------


def facet(argument: Any, build: Build) -> Stage:
    """``$facet``: one document with the results of several pipelines over the same documents."""
    if not isinstance(argument, dict) or not argument:
        shown = display_field("$facet", argument)
        fail(40169, f"the $facet specification must be a non-empty object, but found: {shown}")
    pipelines = {}
    for name, pipeline in argument.items():
        _check_facet(name, pipeline)
        pipelines[name] = build.compile(pipeline, build.nested())

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        held, size = hold(documents, build.context, "$facet")
        try:
            answer: Document = {}
            for name, run in pipelines.items():
                answer[name], weight = hold(run(held), build.context, "$facet")
                size += weight
            yield bounded(answer, build.context)
        finally:
            build.context.release(size)

    return stage


def _check_facet(name: str, pipeline: Any) -> None:
    if "." in name:
        fail(16412, f"FieldPath field names may not contain '.'. Consider using $getField or $setField: '{name}'.")
    field_parts(name)
    if not isinstance(pipeline, list):
        fail(40170, f"arguments to $facet must be arrays, {name} is type {type_name(pipeline)}")
    for stage in pipeline:
        if not isinstance(stage, dict):
            kind = type_name(stage)
            fail(
                40171,
                f"elements of arrays in $facet spec must be non-empty objects, {name} argument contained an element"
                f" of type {kind}: {display(stage)}",
            )
        inner = next(iter(stage), "")
        if inner in STAGES and not STAGES[inner].facet:
            fail(40600, f"{inner} is not allowed to be used within a $facet stage")
