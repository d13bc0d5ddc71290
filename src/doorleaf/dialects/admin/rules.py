"""The rules as they are written, for administrators, and what is wrong with others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from pydantic import Field
from typing_extensions import TypedDict

from doorleaf.dialects.about import About, Gives
from doorleaf.dialects.admin.keys import TAG
from doorleaf.dialects.base import Request, Route
from doorleaf.dialects.bodies import Body, MaybeObject, Object
from doorleaf.dialects.handling import handled
from doorleaf.documents import Document
from doorleaf.ejson import Mode
from doorleaf.errors import InvalidParameter

PATH = "/api/admin/v1/rules"


class Written(Protocol):
    """The rules in effect as they are written: by data source, with the place that each is for."""

    def __call__(self) -> list[Document]: ...


Judge = Callable[[Document, Document | None], list[str]]
"""The names of the roles of rules with a schema; raises InvalidParameter, which says where they are wrong."""


class AdminRules(TypedDict):
    data_source: str
    database: Annotated[str | None, Field(description="null in the rules for collections without any of their own.")]
    collection: str | None
    rules: Annotated[dict[str, Any], Field(description="`roles` and `filters`, as they are written.")]
    json_schema: Annotated[dict[str, Any] | None, Field(description="The schema, where there is one.")]


class AdminRulesListed(TypedDict):
    rules: list[AdminRules]


class AdminRulesCheck(Body):
    rules: Annotated[Object, Field(description="What would be in `rules.json`.")]
    json_schema: Annotated[MaybeObject, Field(description="What would be in `schema.json`.")] = None


class AdminRulesChecked(TypedDict):
    valid: bool
    problem: Annotated[str | None, Field(description="Where it is wrong, and how.")]
    roles: list[str]


_LIST = About(summary="List the rules in effect", tag=TAG, gives=Gives(content=AdminRulesListed), stores=False)
_CHECK = About(
    summary="Tell what is wrong with rules; they are not put into effect",
    tag=TAG,
    takes=AdminRulesCheck,
    example={"rules": {"roles": [{"name": "reader", "apply_when": {}, "read": True, "write": False}]}},
    gives=Gives(content=AdminRulesChecked),
    stores=False,
)


def rule_routes(written: Written, judge: Judge) -> tuple[Route, ...]:
    """The routes of rules."""

    async def listed(request: Request, given: None) -> Document:
        return {"rules": written()}

    async def check(request: Request, given: AdminRulesCheck) -> AdminRulesChecked:
        try:
            return {"valid": True, "problem": None, "roles": judge(given.rules, given.json_schema)}
        except InvalidParameter as error:
            return {"valid": False, "problem": error.message, "roles": []}

    return (
        # Rules have types that plain JSON would hide.
        handled("GET", PATH, "adminListRules", listed, _LIST, mode=Mode.RELAXED),
        handled("POST", f"{PATH}/check", "adminCheckRules", check, _CHECK),
    )
