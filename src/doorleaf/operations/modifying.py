"""What is done to the options of a collection that is there, and is no action of its own."""

from __future__ import annotations

from dataclasses import dataclass

from doorleaf.documents import Document
from doorleaf.operations import results
from doorleaf.operations.base import Effect, Operation
from doorleaf.operations.parameters import Kind, parameter


@dataclass(kw_only=True)
class SetValidator(Operation[results.CommandResult]):
    """Judges what is written to a collection by ``validator`` from now on; ``{}`` judges nothing."""

    name = "setValidator"
    effect = Effect.ADMIN
    summary = "Change the validator of a collection"
    result = results.CommandResult

    validator: Document = parameter(Kind.DOCUMENT, "A filter that documents have to match.", required=True)


@dataclass(kw_only=True)
class GetValidator(Operation[results.CommandResult]):
    """Answers as ``listCollections`` does, with the options of one collection."""

    name = "getValidator"
    summary = "Read the validator of a collection"
    result = results.CommandResult
