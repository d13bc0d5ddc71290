"""Rule expressions as App Services writes them, parsed into a small tree.

Forms: ``true``, ``false``, or an object whose keys are joined by AND. A key is a document path (``owner``,
``%%root.owner``, ``%%prevRoot.owner``), an expansion (``%%user.id``, ``%%values.limit``, ``%%true``), or a logical
operator (``%and``, ``%or``, ``%not``, ``%nor``; ``$`` is as good as ``%``), or ``%function``. What is not understood,
or has no meaning where it stands, is refused here, so that a rule that was taken can always be decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from doorleaf.documents import is_string
from doorleaf.errors import InvalidParameter
from doorleaf.mql.values import type_name

DOCUMENT_SCOPES = {"%%root": "root", "%%prevRoot": "prev", "%%this": "this", "%%prev": "prevThis"}
CALLER_SCOPES = {"%%user": "user", "%%request": "request", "%%values": "values", "%%environment": "environment"}
ELSEWHERE = {"%%args": "services", "%%partition": "sync", "%%stringToOid": "values, written %stringToOid"}
"""Expansions that exist and mean nothing in the rules of a collection."""

LOGICAL = frozenset({"and", "or", "not", "nor"})
COMPARISONS = frozenset({"exists", "in", "nin", "eq", "ne", "gt", "gte", "lt", "lte"})
CONVERSIONS = frozenset({"stringToOid", "oidToString", "stringToUuid", "uuidToString"})

NOTHING: frozenset[str] = frozenset()
"""No document: conditions that are decided before any is looked at."""
WHOLE = frozenset({"root", "prev"})
"""The document as it becomes, and as it was."""
FIELD = frozenset({"root", "prev", "this", "prevThis"})
"""The same, and the field at hand."""


class RuleError(InvalidParameter):
    """A rule that cannot be taken; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Field:
    """A place in a document: ``scope`` is root, prev, this or prevThis; ``path`` is dotted, "" for the whole."""

    scope: str
    path: str

    @property
    def full(self) -> str:
        """The path in a document that has the scopes as its fields."""
        return f"{self.scope}.{self.path}" if self.path else self.scope


@dataclass(frozen=True, slots=True)
class Expansion:
    """Something the caller decides, such as ``%%user.data.name``: its path without the percent signs."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversion:
    """``%stringToOid`` and its kin over one operand."""

    name: str
    operand: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left`` and ``right`` are literals, fields, expansions, conversions, or lists and objects of those."""

    left: Any
    operator: str
    right: Any


@dataclass(frozen=True, slots=True)
class Logic:
    """``operator`` is and, or, not."""

    operator: str
    parts: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """``%function``: whether the function ``name`` of the app answers true to ``arguments``, which no document
    decides: what it answers is part of a query."""

    name: str
    arguments: tuple[Any, ...]


Expression = bool | Comparison | Logic | FunctionCall


def parse(expression: Any, where: str, scopes: frozenset[str] = WHOLE) -> Expression:
    """The tree of ``expression``, which may look at ``scopes`` of a document; ``where`` names the place for errors.

    Raises :class:`RuleError`.
    """
    return _Parser(scopes).condition(expression, where)


def parse_operand(value: Any, where: str, scopes: frozenset[str] = NOTHING) -> Any:
    """A value in which expansions and conversions are taken apart."""
    return _Parser(scopes).operand(value, where)


def operator_of(key: str) -> str | None:
    """The operator's name in a key such as ``%in`` or ``$in``; None for a path or an expansion."""
    return key[1:] if key[:1] in ("%", "$") and key[:2] != "%%" else None


def is_conversion(value: Any) -> bool:
    """Whether ``value`` is written like ``{"%stringToOid": …}``."""
    return isinstance(value, Mapping) and len(value) == 1 and operator_of(next(iter(value))) in CONVERSIONS


class _Parser:
    def __init__(self, scopes: frozenset[str]) -> None:
        self._scopes = scopes

    # --- conditions ---

    def condition(self, expression: Any, where: str) -> Expression:
        if isinstance(expression, bool):
            return expression
        if is_string(expression) and expression.startswith("%%"):
            if expression in ("%%true", "%%false"):
                return expression == "%%true"
            return self._compared(self.operand(expression, where), "eq", True, where)
        if not isinstance(expression, Mapping):
            raise RuleError(f"{where}: expected true, false or an object, got {type_name(expression)}")
        parts = tuple(self._entry(key, value, f"{where}.{key}") for key, value in expression.items())
        return parts[0] if len(parts) == 1 else Logic("and", parts)

    def _entry(self, key: str, value: Any, where: str) -> Expression:
        name = operator_of(key)
        if name in LOGICAL:
            return self._logical(name, value, where)
        if name == "function":
            return self._function(value, where)
        if name in CONVERSIONS:
            raise RuleError(f"{where}: {key} converts a value; it stands behind a path, not in front of one")
        if name in COMPARISONS:
            raise RuleError(f"{where}: {key} compares something: it stands behind a path")
        if name is not None:
            raise RuleError(f"{where}: unknown operator {key!r}")
        if key in ("%%true", "%%false"):
            return self._constant(key == "%%true", value, where)
        return self._comparison(self.operand(key if key.startswith("%%") else f"%%root.{key}", where), value, where)

    def _function(self, value: Any, where: str) -> FunctionCall:
        if not isinstance(value, Mapping) or value.keys() - {"name", "arguments"}:
            raise RuleError(f"{where}: expected an object with name and arguments")
        name, arguments = value.get("name"), value.get("arguments")
        if not is_string(name) or not name:
            raise RuleError(f"{where}.name: expected the name of a function")
        if arguments is not None and not isinstance(arguments, list):
            raise RuleError(f"{where}.arguments: expected an array, got {type_name(arguments)}")
        call = FunctionCall(name, tuple(self.operand(item, f"{where}.arguments") for item in arguments or []))
        if any(isinstance(part, Field) for part in parts_of(call.arguments)):
            raise RuleError(
                f"{where}.arguments: cannot be fields of the document, since functions are called before any is read"
            )
        return call

    def _logical(self, name: str, value: Any, where: str) -> Expression:
        if name == "not":
            return Logic("not", (self.condition(value, where),))
        if not isinstance(value, list):
            raise RuleError(f"{where}: expected an array of expressions, got {type_name(value)}")
        parts = tuple(self.condition(part, f"{where}[{index}]") for index, part in enumerate(value))
        return Logic("not", (Logic("or", parts),)) if name == "nor" else Logic(name, parts)

    def _constant(self, wanted: bool, value: Any, where: str) -> Expression:
        """``{"%%true": …}``: what follows is true, or equal to true."""
        if isinstance(value, (bool, Mapping)) and not is_conversion(value):
            inner = self.condition(value, where)
            return inner if wanted else Logic("not", (inner,))
        return self._compared(self.operand(value, where), "eq", wanted, where)

    def _comparison(self, left: Any, value: Any, where: str) -> Expression:
        if isinstance(value, Mapping) and value and not is_conversion(value):
            names = [operator_of(key) for key in value]
            if any(name is not None for name in names):
                parts = tuple(
                    self._operator(left, key, name, operand, f"{where}.{key}")
                    for (key, operand), name in zip(value.items(), names, strict=True)
                )
                return parts[0] if len(parts) == 1 else Logic("and", parts)
        return self._compared(left, "eq", self.operand(value, where), where)

    def _operator(self, left: Any, key: str, name: str | None, operand: Any, where: str) -> Expression:
        if name == "not":
            return Logic("not", (self._comparison(left, operand, where),))
        if name == "function":
            raise _no_functions(where)
        if name not in COMPARISONS:
            raise RuleError(f"{where}: unknown operator {key!r}")
        right = self.operand(operand, where)
        if name == "exists" and not isinstance(right, bool):
            raise RuleError(f"{where}: expected true or false")
        if name in ("in", "nin") and not isinstance(right, (list, Field, Expansion)):
            raise RuleError(f"{where}: expected an array or an expansion")
        return self._compared(left, str(name), right, where)

    def _compared(self, left: Any, operator: str, right: Any, where: str) -> Comparison:
        whole = [_is_whole(left), _is_whole(right)]
        # A query can compare two documents with each other, and ask for one; with a value it cannot.
        if any(whole) and operator != "exists" and not (all(whole) and operator in ("eq", "ne")):
            raise RuleError(f"{where}: the whole document can only be asked for with %exists")
        return Comparison(left, operator, right)

    # --- values ---

    def operand(self, value: Any, where: str) -> Any:
        """A literal, a :class:`Field`, an :class:`Expansion`, a :class:`Conversion`, or a list or object of those."""
        if is_string(value):
            return self._expansion(value, where) if value.startswith("%%") else value
        if isinstance(value, Mapping):
            if is_conversion(value):
                return self._conversion(value, where)
            for key in value:
                if operator_of(key) is not None:
                    raise (
                        _no_functions(where)
                        if operator_of(key) == "function"
                        else RuleError(f"{where}: unknown operator {key!r}")
                    )
            return {key: self.operand(item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self._member(item, f"{where}[{index}]") for index, item in enumerate(value)]
        if value is not None and type_name(value) == "regex":
            raise RuleError(f"{where}: a regular expression is not a value of rules")
        return value

    def _member(self, item: Any, where: str) -> Any:
        member = self.operand(item, where)
        if isinstance(member, Field) or (isinstance(member, Conversion) and isinstance(member.operand, Field)):
            raise RuleError(f"{where}: a list cannot hold fields of the document; write one comparison for each")
        return member

    def _expansion(self, text: str, where: str) -> Any:
        if text in ("%%true", "%%false"):
            return text == "%%true"
        head, dot, path = text.partition(".")
        if dot and not all(part and not part.startswith("$") for part in path.split(".")):
            raise RuleError(f"{where}: {text!r} is no path")
        if head in CALLER_SCOPES:
            return Expansion((CALLER_SCOPES[head], *(path.split(".") if path else ())))
        scope = DOCUMENT_SCOPES.get(head)
        if scope is None:
            hint = f"; it belongs to {ELSEWHERE[head]}" if head in ELSEWHERE else ""
            raise RuleError(f"{where}: unknown expansion {head!r}{hint}")
        if scope not in self._scopes:
            raise RuleError(f"{where}: {head} has no meaning here")
        return Field(scope, path)

    def _conversion(self, value: Mapping[str, Any], where: str) -> Conversion:
        ((key, inner),) = value.items()
        name = key[1:]
        operand = self.operand(inner, where)
        if isinstance(operand, (Conversion, list, dict)):
            raise RuleError(f"{where}: {key} takes one plain value")
        if isinstance(operand, Field) and name in ("stringToUuid", "uuidToString"):
            raise RuleError(f"{where}: {key} takes a value of the caller, not of the document")
        return Conversion(name, operand)


def _is_whole(operand: Any) -> bool:
    return isinstance(operand, Field) and not operand.path and operand.scope in WHOLE


def _no_functions(where: str) -> RuleError:
    return RuleError(f"{where}: %function is a condition of its own and no value; write it alone or behind %%true")


def parts_of(tree: Any) -> Iterator[Any]:
    """Every field, expansion, conversion and function call in a tree or operand, at any depth."""
    if isinstance(tree, (Field, Expansion)):
        yield tree
    elif isinstance(tree, Comparison):
        yield from parts_of(tree.left)
        yield from parts_of(tree.right)
    elif isinstance(tree, Logic):
        for part in tree.parts:
            yield from parts_of(part)
    elif isinstance(tree, Conversion):
        yield tree
        yield from parts_of(tree.operand)
    elif isinstance(tree, FunctionCall):
        yield tree
        yield from parts_of(tree.arguments)
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from parts_of(item)
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from parts_of(item)


def calls_of(tree: Any) -> Iterator[FunctionCall]:
    """The functions that ``tree`` calls."""
    return (part for part in parts_of(tree) if isinstance(part, FunctionCall))


def mentions_request(tree: Any) -> bool:
    """Whether ``tree`` can be decided differently for two requests of one caller."""
    return any(
        isinstance(part, FunctionCall) or (isinstance(part, Expansion) and part.path[0] == "request")
        for part in parts_of(tree)
    )
