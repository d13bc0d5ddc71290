"""Docstrings of functions and classes begin with a verb or with what is returned: the beginnings that do neither.

Those of public ones do not begin with "What" either, which says that there is something, and not what.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import doorleaf

ROOT = Path(doorleaf.__file__).parent
NO_BEGINNING = frozenset({"As", "Of", "In", "With", "Without", "Not", "When", "From", "By", "For", "To"})
"""Words that begin an inverted or elliptical sentence."""


def beginnings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Each function and class with the first word of its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            text = ast.get_docstring(node)
            if text:
                yield node.name, text.split()[0].rstrip(",.:;")


def test_docstrings_begin_with_a_verb_or_what_is_returned() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}: {word} …"
        for path in sorted(ROOT.rglob("*.py"))
        for name, word in beginnings(ast.parse(path.read_text(encoding="utf-8")))
        if word in NO_BEGINNING
    ]
    assert found == []


def public(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Each function and class that others may use, with the first word of its docstring."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if text := ast.get_docstring(node):
                yield node.name, text.split()[0]
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def test_public_docstrings_say_what_it_is() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.rglob("*.py"))
        for name, word in public(ast.parse(path.read_text(encoding="utf-8")))
        if word == "What"
    ]
    assert found == []


def test_public_beginnings_are_found() -> None:
    code = 'class C:\n    def f(self):\n        """What it is."""\n    def _g(self):\n        """What it was."""\n'
    assert list(public(ast.parse(code))) == [("f", "What")]


def test_beginnings_are_found() -> None:
    code = 'def f():\n    """Of a thing, the parts."""\nclass C:\n    """A thing."""\n'
    assert list(beginnings(ast.parse(code))) == [("f", "Of"), ("C", "A")]
