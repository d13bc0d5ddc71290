"""Functions that rules call, by ``%function``: whether one answers true."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from doorleaf.access.callers import Caller
from doorleaf.errors import (
    DoorleafError,
    FunctionsUnavailable,
    FunctionTimeout,
    StoreError,
    TooManyRequests,
)

DEPTH: ContextVar[int] = ContextVar("doorleaf_function_depth", default=-1)
"""How deep the function is that what goes on was caused by; -1 where none is."""

MOST_NESTED = 3
"""How deep functions that rules call may need rules that call functions themselves."""

_NESTED: ContextVar[int] = ContextVar("doorleaf_functions_of_rules", default=0)

Run = Callable[[str, list[Any], Caller, float], Awaitable[Any]]
"""What a function answers, whoever may call it."""


@contextlib.asynccontextmanager
async def _nested(name: str) -> AsyncGenerator[None, None]:
    nested = _NESTED.get() + 1
    if nested > MOST_NESTED:
        raise FunctionsUnavailable(f"the function {name} of the rules needs rules that call functions, and so on")
    token = _NESTED.set(nested)
    try:
        yield
    finally:
        _NESTED.reset(token)


async def judged(run: Run, name: str, arguments: list[Any], caller: Caller, until: float) -> bool:
    """Whether the function answers true. One that throws does not.

    Raises what says nothing about the caller: that it took too long, or could not be run.
    """
    async with _nested(name):
        try:
            return (await run(name, arguments, caller, until)) is True
        except (FunctionTimeout, FunctionsUnavailable, TooManyRequests, StoreError):
            raise
        except DoorleafError:
            return False
