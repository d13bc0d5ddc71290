"""What an error looks like in JSON, for the OpenAPI document; :func:`~doorleaf.dialects.base.envelope` writes it."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

OPEN = ConfigDict(extra="allow")


@with_config(OPEN)
class WriteError(TypedDict):
    """A write of several that failed."""

    index: int
    code: int
    message: str
    errInfo: NotRequired[dict[str, Any]]  # MongoDB's name


@with_config(OPEN)
class Error(TypedDict):
    """An error."""

    error: Annotated[str, Field(description="What is wrong, for people.")]
    error_code: NotRequired[
        Annotated[str, Field(description="What is wrong, for programs; MongoDB's name where it has one.")]
    ]
    errInfo: NotRequired[  # MongoDB's name
        Annotated[
            dict[str, Any],
            Field(description="Of a document that a validator refuses, which of its rules are not satisfied."),
        ]
    ]
    writeErrors: NotRequired[  # MongoDB's name
        Annotated[
            list[WriteError],
            Field(description="Of several writes, those that failed; the counts of the others stand beside it."),
        ]
    ]
