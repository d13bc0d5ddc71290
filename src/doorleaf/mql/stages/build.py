"""What aggregation stages are built with: the operation's context, variables, other collections, nested fields.

A compiled stage is a function from documents to documents, lazy where MongoDB's is. Documents are never changed in
place: a stage copies what it changes and shares the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol, runtime_checkable

from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.expressions import compile_expression
from doorleaf.mql.filters.compile import compile_filter
from doorleaf.mql.paths import check_length
from doorleaf.mql.values import MISSING, as_document

Document = dict[str, Any]
Stage = Callable[[Iterable[Document]], Iterator[Document]]
Transform = Callable[[Document], Document]
Read = Callable[[Document], Any]

MAX_SUB_PIPELINES = 20
"""Levels of pipelines within pipelines."""


class Reader(Protocol):
    """Gives all documents of a collection, in natural order; none for a collection that does not exist."""

    def __call__(self, collection: str, database: str | None = None) -> Iterable[Document]: ...


@runtime_checkable
class IndexedReader(Protocol):
    """A reader that can also look up: the documents that match ``filter``, or None when no index would help.

    The answer is exact, in natural order, and compares strings as the collection's default does (no collation).
    """

    def matching(self, collection: str, filter: Document) -> Iterable[Document] | None:
        """The documents of ``collection`` that match, or None."""
        ...


@runtime_checkable
class HeadReader(Protocol):
    """A reader that can carry out the head of a sub-pipeline with indexes."""

    def beginning(self, collection: str, head: Any, variables: Mapping[str, Any]) -> Iterable[Document] | None:
        """The documents that a :class:`~doorleaf.mql.stages.head.Head` gives, or None when no index would help.

        They are in the head's order, and in natural order where it has neither a sort nor a limit.
        """
        ...


def no_reader(collection: str, database: str | None = None) -> Iterable[Document]:
    """The reader of a place where there are no other collections."""
    return ()


@dataclass(frozen=True, slots=True)
class Build:
    """The surroundings of the stages of one pipeline.

    ``variables`` are read when the stages run, so a sub-pipeline is compiled once and sees other values each time.
    ``compile`` compiles a sub-pipeline.
    """

    context: Context
    variables: dict[str, Any]
    reader: Reader
    collation: Mapping[str, Any] | None
    compile: Callable[[Any, Build], Stage]
    depth: int = 0
    alone: bool = False
    """Whether the pipeline has no collection."""

    def expression(self, expression: Any) -> Read:
        """An expression as a function of the document; MISSING where it has no value."""
        compiled = compile_expression(expression, self.context, self.variables.keys())
        variables = self.variables
        return lambda document: compiled(document, variables)

    def filter(self, condition: Document) -> Callable[[Document], bool]:
        """A filter as a predicate."""
        return compile_filter(condition, self.context, collation=self.collation, variables=self.variables)

    def nested(self, names: Iterable[str] | None = None) -> Build:
        """The surroundings of a sub-pipeline: with the same variables, or with its own copy and further ``names``."""
        if self.depth >= MAX_SUB_PIPELINES:
            text = f"Maximum number of nested sub-pipelines exceeded. Limit is {MAX_SUB_PIPELINES}"
            raise DataError(text, number=232, code="MaxSubPipelineDepthExceeded")
        variables = self.variables if names is None else {**self.variables, **dict.fromkeys(names)}
        return replace(self, variables=variables, depth=self.depth + 1)


def fail(number: int, message: str) -> NoReturn:
    """Raise MongoDB's error ``number``."""
    raise DataError(message, number=number)


def per_document(transform: Transform, context: Context) -> Stage:
    """A stage of a transform."""

    def stage(documents: Iterable[Document]) -> Iterator[Document]:
        check = context.check
        for document in documents:
            check()
            yield transform(document)

    return stage


# --- nested fields ---------------------------------------------------------------------------------------------------


def get_nested(document: Document, parts: Sequence[str]) -> Any:
    """The value of a dotted path through documents only; MISSING where it meets anything else."""
    value: Any = document
    for part in parts:
        inner = as_document(value)
        if inner is None:
            return MISSING
        value = inner.get(part, MISSING)
    return value


def set_nested(document: Document, parts: Sequence[str], value: Any) -> Document:
    """A copy of ``document`` with the path set, making documents where there are none; MISSING takes it away."""
    name = parts[0]
    if len(parts) > 1:
        inner = as_document(document.get(name))
        if inner is None and value is MISSING:
            return document
        value = set_nested(inner or {}, parts[1:], value)
    if value is not MISSING:
        return {**document, name: value}
    return {other: kept for other, kept in document.items() if other != name}


def field_parts(path: str) -> list[str]:
    """The components of a field path that a stage writes or reads, each checked."""
    if not path:
        fail(40352, "FieldPath cannot be constructed with empty string")
    if path.endswith("."):
        fail(40353, "FieldPath must not end with a '.'.")
    parts = path.split(".")
    check_length(parts)
    for part in parts:
        if not part:
            fail(15998, "FieldPath field names may not be empty strings.")
        if part.startswith("$"):
            fail(
                16410, f"FieldPath field names may not start with '$'. Consider using $getField or $setField: '{part}'."
            )
        if "\0" in part:
            fail(16411, "FieldPath field names may not contain '\\0'.")
    return parts
