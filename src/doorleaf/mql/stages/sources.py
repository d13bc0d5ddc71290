"""What a sub-pipeline reads from another collection, with indexes where they spare reading all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from doorleaf.mql.stages.build import Build, Document, HeadReader, Stage
from doorleaf.mql.stages.head import Head, pushdown

MOST_STAGES = 100
"""Stages of a sub-pipeline that is looked at for a head."""


class SubPipeline:
    """A sub-pipeline, compiled once and run for each outer document with the variables that are set by then."""

    def __init__(self, pipeline: Any, build: Build) -> None:
        self._build = build
        self._head = _head(pipeline, build)
        if self._head is None:
            self._first: Stage = iter
            self._rest: Stage = build.compile(pipeline, build)
            return
        # Each stage is compiled once: pipelines in pipelines would else double at every level.
        self._first = build.compile(self._head.stages(), build)
        self._rest = build.compile(self._head.rest, build)

    def of(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents that it gives for documents that are at hand."""
        return self._rest(self._first(documents))

    def over(self, collection: str | None) -> Iterator[Document]:
        """The documents that it gives for a whole collection; None has no documents."""
        if collection is None:
            return self.of(())
        reader = self._build.reader
        if self._head is not None and isinstance(reader, HeadReader):
            found = reader.beginning(collection, self._head, self._build.variables)
            if found is not None:
                return self._rest(found)
        return self.of(reader(collection))


def _head(pipeline: Any, build: Build) -> Head | None:
    """The head of a pipeline that indexes may serve, None where there is none."""
    if not isinstance(build.reader, HeadReader) or build.collation is not None or not isinstance(pipeline, list):
        return None
    if len(pipeline) > MOST_STAGES or any(isinstance(stage, dict) and "$documents" in stage for stage in pipeline):
        return None
    head = pushdown(pipeline)
    return head if head.chooses else None
