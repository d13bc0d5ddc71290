"""The registry of error codes: every code that the source names is in it, with its status, and every one is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import doorleaf
from doorleaf import errors
from doorleaf.errors import CODE_NAMES, CODES, MOST_TOLD, DoorleafError, FunctionError, shortened
from doorleaf.http import connections

ROOT = Path(doorleaf.__file__).parent
KNOWN = CODES.keys() | set(CODE_NAMES.values())


def classes(cls: type[DoorleafError] = DoorleafError) -> Iterator[type[DoorleafError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from classes(child)


def named(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every code that a module writes out, with what it is given to: ``code="…"`` in a call, ``code = "…"``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and keyword.value.value:
                    yield str(keyword.value.value), getattr(node.func, "id", "")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if getattr(target, "attr", getattr(target, "id", "")) == "code" and node.value.value:
                    yield str(node.value.value), ""


WRITTEN = [
    (str(path.relative_to(ROOT)), *found)
    for path in sorted(ROOT.rglob("*.py"))
    for found in named(ast.parse(path.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("path", "code", "raised"), WRITTEN, ids=lambda value: str(value))
def test_every_code_is_registered(path: str, code: str, raised: str) -> None:
    assert code in KNOWN, f"{path}: register it in errors.CODES"
    status = {cls.__name__: cls.status for cls in classes()}.get(raised)
    if status is not None and code in CODES:
        assert status in CODES[code].statuses


def test_what_is_written_is_found() -> None:
    assert len(WRITTEN) > 40
    found = set(named(ast.parse('class A(B):\n    code = "X"\nraise NotFound("no", code="Y")\ne.code = "Z"')))
    assert found == {("X", ""), ("Y", "NotFound"), ("Z", "")}


@pytest.mark.parametrize("cls", list(classes()), ids=lambda cls: cls.__name__)
def test_every_class_has_a_code(cls: type[DoorleafError]) -> None:
    if cls is errors.DataError or (issubclass(cls, errors.DataError) and cls.code == errors.DataError.code):
        assert cls.code in CODE_NAMES.values()
    else:
        assert cls.status in CODES[cls.code].statuses


@pytest.mark.parametrize("cls", list(classes()), ids=lambda cls: cls.__name__)
def test_no_message_is_long_but_a_function_s_own(cls: type[DoorleafError]) -> None:
    long = "begins " + "x" * 10_000 + " ends"
    error = cls.__new__(cls)
    DoorleafError.__init__(error, long, fields={"index": 7, "keyValue": long})
    assert error.fields == {"index": 7, "keyValue": long}, "what is data is whole"
    assert str(error) == error.message
    if issubclass(cls, FunctionError):
        assert error.message == long
    else:
        assert len(error.message) <= MOST_TOLD
        assert (error.message[:7], error.message[-5:]) == ("begins ", " ends")
        assert shortened(error.message) == error.message


def test_the_codes_of_connections_are_registered() -> None:
    for status, code in connections._CODES.items():
        assert status in CODES[code].statuses


def test_every_registered_code_is_used() -> None:
    used = {code for _, code, _ in WRITTEN} | {cls.code for cls in classes()}
    used |= set(connections._CODES.values()) | set(CODE_NAMES.values())
    assert CODES.keys() - used == set()
