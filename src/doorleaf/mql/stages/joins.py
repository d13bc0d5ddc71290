"""The stages that read other collections: ``$lookup``, ``$graphLookup`` and ``$unionWith``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson.int64 import Int64

from doorleaf.documents import is_string
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.display import display, display_field
from doorleaf.mql.expressions.compile import check_variable_name
from doorleaf.mql.numbers import integral, is_number
from doorleaf.mql.paths import array_index, lookup
from doorleaf.mql.stages.build import Build, Document, IndexedReader, Stage, fail, field_parts, set_nested
from doorleaf.mql.stages.sources import SubPipeline
from doorleaf.mql.values import MISSING, approximate_size, as_document, canonical, type_name

TABLE_LIMIT = 64 * 1024 * 1024
"""Bytes that the documents of another collection may take in a join's table before it reads them anew each time."""

_PLACE_WEIGHT = 100

CACHE_LIMIT = 16 * 1024 * 1024
"""Bytes of results of a sub-pipeline that are kept when it gives the same each time."""

JOINED_LIMIT = 100 * 1024 * 1024
"""Bytes that one document may be joined with."""

NOT_IN_SUB_PIPELINE = frozenset(("$out", "$merge", "$changeStream", "$changeStreamSplitLargeEvent"))

# --- equality with another collection --------------------------------------------------------------------------------


class Table:
    """The documents of a collection by the values of one path, to find those equal to any of some values.

    An index of the collection is used when there is one; else all documents are held, or read anew for every look-up
    when they are too many. Null finds a missing field too.
    """

    def __init__(self, collection: str, path: str, build: Build) -> None:
        self._collection = collection
        self._path = path
        self._build = build
        self._indexed = build.reader if isinstance(build.reader, IndexedReader) and build.collation is None else None
        self._rows: list[Document] = []
        self._places: dict[Any, list[int]] | None = None
        self._too_large = build.collation is not None

    def find(self, values: list[Any]) -> list[Document]:
        """The documents where the path has one of ``values``, in natural order."""
        condition = self._condition(values)
        if self._places is None and self._indexed is not None:
            found = self._indexed.matching(self._collection, condition)
            if found is not None:
                return list(found)
        if self._places is None and not self._too_large:
            self._load()
        if self._places is None:
            predicate = self._build.filter(condition)
            return [document for document in self._read() if predicate(document)]
        keys = {canonical(value) for value in self._build.context.each(values)}
        places: set[int] = set()
        for key in keys:
            places.update(self._places.get(key, ()))
        return [self._rows[place] for place in sorted(places)]

    def _read(self) -> Iterator[Document]:
        for document in self._build.reader(self._collection):
            self._build.context.check()
            yield document

    def _load(self) -> None:
        places: dict[Any, list[int]] = {}
        rows: list[Document] = []
        size = 0
        for document in self._read():
            size += approximate_size(document)
            if size > TABLE_LIMIT:
                self._too_large = True
                return
            for value in lookup(document, self._path):
                size += _PLACE_WEIGHT
                found = places.setdefault(canonical(None if value is MISSING else value), [])
                if not found or found[-1] != len(rows):
                    found.append(len(rows))
            rows.append(document)
        try:
            self._build.context.charge(size, "$lookup")
        except DataError:
            self._too_large = True
            return
        self._rows, self._places = rows, places

    def _condition(self, values: list[Any]) -> Document:
        if len(values) == 1:
            return {self._path: {"$eq": values[0]}}
        if any(type_name(value) == "regex" for value in values):
            # In $in a regular expression is a pattern; here it is a value.
            return {"$or": [{self._path: {"$eq": value}} for value in values]}
        return {self._path: {"$in": values}}


def values_at(document: Any, parts: Sequence[str]) -> Iterator[Any]:
    """All values of a path, through arrays, and each element of an array at its end."""
    if not parts:
        if isinstance(document, list):
            yield from document
        else:
            yield document
        return
    inner = as_document(document)
    if inner is not None:
        if parts[0] in inner:
            yield from values_at(inner[parts[0]], parts[1:])
    elif isinstance(document, list):
        index = array_index(parts[0])
        if 0 <= index < len(document):
            yield from values_at(document[index], parts[1:])
        if index < 0:
            for item in document:
                if as_document(item) is not None:
                    yield from values_at(item, parts)


# --- $lookup ---------------------------------------------------------------------------------------------------------

_LOOKUP_OPTIONS = ("from", "as", "localField", "foreignField", "let", "pipeline")


@dataclass(frozen=True, slots=True)
class Lookup:
    """The checked options of ``$lookup``; ``collection`` None reads none (the pipeline begins with ``$documents``)."""

    collection: str | None
    target: list[str]
    local: list[str] | None
    foreign: str
    let: Document
    pipeline: list[Document] | None


def parse_lookup(argument: Any) -> Lookup:
    """Check the options of ``$lookup``."""
    if not isinstance(argument, dict):
        fail(9, f"the $lookup stage specification must be an object, but found {type_name(argument)}")
    for name, value in argument.items():
        if name not in _LOOKUP_OPTIONS:
            fail(9, f"unknown argument to $lookup: {name}")
        if name in ("as", "localField", "foreignField") and not is_string(value):
            shown = display_field(name, value)
            fail(9, f"$lookup argument '{shown}' must be a string, is type {type_name(value)}")
    if "let" in argument and not isinstance(argument["let"], dict):
        shown, kind = display_field("let", argument["let"]), type_name(argument["let"])
        fail(9, f"$lookup argument '{shown}' must be an object, is type {kind}")
    pipeline = argument.get("pipeline")
    if "pipeline" in argument and not isinstance(pipeline, list):
        fail(14, "'pipeline' option must be specified as an array")
    collection = _from_collection("$lookup", argument) if "from" in argument else None
    if collection is None and not _has_documents(pipeline):
        text = "must specify 'pipeline' when 'from' is empty"
        if pipeline is not None:
            text = "$lookup stage without explicit collection must have a pipeline with $documents as first stage"
        fail(9, text)
    if collection is None and "localField" in argument:
        raise Unsupported("$lookup with $documents and localField is not supported")
    if "as" not in argument:
        fail(9, "must specify 'as' field for a $lookup")
    if ("localField" in argument) != ("foreignField" in argument):
        fail(9, "$lookup requires both or neither of 'localField' and 'foreignField' to be specified")
    if pipeline is None and "localField" not in argument:
        fail(9, "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to be specified")
    if pipeline is None and "let" in argument:
        fail(9, "$lookup with a 'let' argument must also specify 'pipeline'")
    local = field_parts(argument["localField"]) if "localField" in argument else None
    foreign = ".".join(field_parts(argument["foreignField"])) if local is not None else ""
    return Lookup(collection, field_parts(argument["as"]), local, foreign, argument.get("let", {}), pipeline)


def _has_documents(pipeline: list[Any] | None) -> bool:
    return bool(pipeline) and isinstance(pipeline[0], dict) and "$documents" in pipeline[0]  # type: ignore[index]


def _from_collection(stage: str, argument: Document) -> str:
    collection = argument["from"]
    if not is_string(collection):
        if not isinstance(collection, dict):
            fail(9, f"{stage} 'from' field must be a string, but found {type_name(collection)}")
        database, name = collection.get("db", ""), collection.get("coll", "")
        text = f"{stage} with syntax {{from: {{db:<>, coll:<>}},..}} is not supported for"
        fail(9, f"{text} db: {database} and coll: {name}")
    if not collection or "$" in collection or "\0" in collection or collection.startswith("."):
        fail(73, f"invalid {stage} namespace: {collection}")
    return collection


def lookup_stage(argument: Any, build: Build) -> Stage:
    """``$lookup``: equality, a sub-pipeline, or both."""
    options = parse_lookup(argument)
    foreign = _Foreign(options, build)

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            build.context.check()
            joined, size = foreign.joined(document)
            with build.context.holding(size, "$lookup"):
                yield set_nested(document, options.target, joined)

    return stage


class _Foreign:
    """The other side of a ``$lookup``."""

    def __init__(self, options: Lookup, build: Build) -> None:
        self._options = options
        self._build = build
        self._let = {name: _let_variable(name, value, build) for name, value in options.let.items()}
        self._sub: SubPipeline | None = None
        self._inner = build
        pipeline = options.pipeline
        if pipeline is not None:
            check_sub_pipeline("$lookup", 51047, pipeline)
            self._inner = build.nested(options.let)
            self._sub = SubPipeline(pipeline, self._inner)
        self._table = Table(options.collection or "", options.foreign, build) if options.local is not None else None
        visible = self._inner.variables.keys()
        self._constant = options.local is None and not _varies(pipeline, visible)
        self._kept: list[Document] | None = None

    def joined(self, document: Document) -> tuple[list[Document], int]:
        """The documents that belong to ``document``, and the bytes of those that are held for it alone."""
        if self._kept is not None:
            return self._kept, 0
        for name, read in self._let.items():
            self._inner.variables[name] = read(document)
        for name in self._build.variables:
            if name not in self._let:
                self._inner.variables[name] = self._build.variables[name]
        result: list[Document] = []
        size = 0
        for other in self._found(document):
            self._build.context.check()
            size += approximate_size(other)
            if size > JOINED_LIMIT:
                place = self._options.collection
                text = (
                    f"Total size of documents in {place} matching pipeline's $lookup stage exceeds {JOINED_LIMIT} bytes"
                )
                fail(4568, text)
            result.append(other)
        if self._constant:
            self._constant = False
            if size <= CACHE_LIMIT:
                self._build.context.charge(size, "$lookup")
                self._kept = result
                return result, 0
        # Without a pipeline they are those of the table, which it has been charged for.
        return result, size if self._sub is not None else 0

    def _found(self, document: Document) -> Iterable[Document]:
        if self._table is not None and self._options.local is not None:
            # What the path does not reach, and an empty array, are as null.
            equal = self._table.find(list(values_at(document, self._options.local)) or [None])
            return equal if self._sub is None else self._sub.of(equal)
        return () if self._sub is None else self._sub.over(self._options.collection)


def _let_variable(name: str, value: Any, build: Build) -> Callable[[Document], Any]:
    check_variable_name(name)
    return build.expression(value)


def check_sub_pipeline(stage: str, code: int, pipeline: list[Any]) -> None:
    """Refuse the stages that a sub-pipeline of ``stage`` may not have."""
    for inner in pipeline:
        for name in inner if isinstance(inner, dict) else ():
            if name in NOT_IN_SUB_PIPELINE:
                fail(code, f"{name} is not allowed within a {stage}'s sub-pipeline")


_CHANCE = ("$rand", "$sample", "$sampleRate")


def _varies(value: Any, visible: Iterable[str]) -> bool:
    """Whether a pipeline can give different results when run again: by outer variables or by chance."""
    if isinstance(value, dict):
        return any(
            name in ("$sample", "$rand", "$sampleRate") or _varies(item, visible) for name, item in value.items()
        )
    if isinstance(value, list):
        return any(_varies(item, visible) for item in value)
    return is_string(value) and value.startswith("$$") and value[2:].partition(".")[0] in visible


# --- $unionWith ------------------------------------------------------------------------------------------------------


def union_with(argument: Any, build: Build) -> Stage:
    """``$unionWith``, in both forms."""
    options = {"coll": argument} if is_string(argument) else argument
    if not isinstance(options, dict):
        given = type_name(options)
        fail(9, f"the $unionWith stage specification must be an object or string, but found {given}")
    for name in options:
        if name not in ("coll", "pipeline"):
            fail(40415, f"BSON field '$unionWith.{name}' is an unknown field.")
    collection, pipeline = options.get("coll"), options.get("pipeline", [])
    if "coll" in options and not is_string(collection):
        fail(14, f"BSON field '$unionWith.coll' is the wrong type '{type_name(collection)}', expected type 'string'")
    if not isinstance(pipeline, list):
        fail(14, f"BSON field '$unionWith.pipeline' is the wrong type '{type_name(pipeline)}', expected type 'array'")
    if collection is None and not _has_documents(pipeline):
        text = "$unionWith stage without explicit collection must have a pipeline with $documents as first stage"
        fail(9, text)
    check_sub_pipeline("$unionWith", 31441, pipeline)
    joined = SubPipeline(pipeline, build.nested())

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        yield from documents
        yield from joined.over(collection)

    return stage


# --- $graphLookup ----------------------------------------------------------------------------------------------------

_GRAPH_STRINGS = ("as", "connectFromField", "connectToField", "depthField")
_GRAPH_OPTIONS = (*_GRAPH_STRINGS, "from", "startWith", "maxDepth", "restrictSearchWithMatch")


@dataclass(frozen=True, slots=True)
class Graph:
    """The checked options of ``$graphLookup``."""

    collection: str
    target: list[str]
    connect_from: list[str]
    connect_to: str
    depth_field: list[str] | None
    max_depth: int | None


def parse_graph(argument: Any) -> Graph:
    """Check the options of ``$graphLookup``."""
    if not isinstance(argument, dict):
        fail(9, f"the $graphLookup stage specification must be an object, but found {type_name(argument)}")
    if "from" not in argument:
        fail(9, f"missing 'from' option to $graphLookup stage specification: {display(argument)}")
    collection = _from_collection("$graphLookup", argument)
    for name, value in argument.items():
        if name not in _GRAPH_OPTIONS:
            fail(40104, f"Unknown argument to $graphLookup: {name}")
        if name in _GRAPH_STRINGS and not is_string(value):
            text = f"expected string as argument for {name}, found: {display(value)}"
            fail(40103, text)
    needed = ("startWith", "connectFromField", "connectToField", "as")
    if any(name not in argument for name in needed):
        text = (
            "$graphLookup requires 'from', 'as', 'startWith', 'connectFromField', and 'connectToField' to be specified."
        )
        fail(40105, text)
    depth_field = field_parts(argument["depthField"]) if "depthField" in argument else None
    return Graph(
        collection,
        field_parts(argument["as"]),
        field_parts(argument["connectFromField"]),
        ".".join(field_parts(argument["connectToField"])),
        depth_field,
        _max_depth(argument),
    )


def _max_depth(argument: Document) -> int | None:
    if "maxDepth" not in argument:
        return None
    value = argument["maxDepth"]
    if not is_number(value):
        fail(40100, f"maxDepth must be numeric, found type: {type_name(value)}")
    number = integral(value)
    if number is None:
        fail(40102, f"maxDepth could not be represented as a long long: {display(value)}")
    if number < 0:
        fail(40101, f"maxDepth requires a nonnegative argument, found: {number}")
    return number


def graph_lookup(argument: Any, build: Build) -> Stage:
    """``$graphLookup``: breadth first, each document once."""
    graph = parse_graph(argument)
    start = build.expression(argument["startWith"])
    only = None
    if "restrictSearchWithMatch" in argument:
        condition = argument["restrictSearchWithMatch"]
        if not isinstance(condition, dict):
            fail(40185, f"restrictSearchWithMatch must be an object, found {type_name(condition)}")
        only = build.filter(condition)
    table = Table(graph.collection, graph.connect_to, build)

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        for document in documents:
            build.context.check()
            reached, size = _reached(graph, table, start(document), only, build)
            with build.context.holding(size, "$graphLookup"):
                yield set_nested(document, graph.target, reached)

    return stage


def _reached(
    graph: Graph, table: Table, start: Any, only: Callable[[Document], bool] | None, build: Build
) -> tuple[list[Document], int]:
    """The documents that are reached from ``start``, and their bytes, charged as long as they become more."""
    frontier = [] if start is MISSING else start if isinstance(start, list) else [start]
    reached: dict[Any, Document] = {}
    depth, size = 0, 0
    while frontier and (graph.max_depth is None or depth <= graph.max_depth):
        following: dict[Any, Any] = {}
        for found in table.find(frontier):
            build.context.check()
            if only is not None and not only(found):
                continue
            if "_id" not in found:
                text = f"Documents in the '{graph.collection}' namespace must contain an _id for de-duplication"
                fail(40271, f"{text} in $graphLookup")
            key = canonical(found["_id"])
            if key in reached:
                continue
            weight = approximate_size(found)
            build.context.charge(weight, "$graphLookup")
            size += weight
            reached[key] = found if graph.depth_field is None else set_nested(found, graph.depth_field, Int64(depth))
            for value in values_at(found, graph.connect_from):
                following[canonical(value)] = value
        frontier = list(following.values())
        depth += 1
    build.context.release(size)
    return list(reached.values()), size
