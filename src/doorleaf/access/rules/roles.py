"""Roles of a collection, as App Services writes them, and what they grant one caller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from doorleaf.access.rules.conditions import Condition, bind, conjunction, disjunction, negation
from doorleaf.access.rules.expressions import (
    FIELD,
    Expression,
    FunctionCall,
    RuleError,
    calls_of,
    mentions_request,
    parse,
)
from doorleaf.access.rules.fields import Branch, Tree, seen, simplify
from doorleaf.access.rules.filters import QueryFilter, parse_filter
from doorleaf.access.rules.schema import Schema, parse_schema
from doorleaf.documents import is_string
from doorleaf.mql.values import type_name

RULES_KEYS = frozenset({"roles", "filters", "database", "collection", "schema", "relationships", "id"})
ROLE_KEYS = frozenset(
    {"name", "apply_when", "document_filters", "read", "write", "insert", "delete", "search", "fields"}
    | {"additional_fields"}
)
FIELD_KEYS = frozenset({"read", "write", "fields", "additional_fields"})


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Permissions of a field: parsed expressions or None, and those of its sub-fields."""

    read: Expression | None = None
    write: Expression | None = None
    fields: Mapping[str, FieldRule] = field(default_factory=dict)
    additional: FieldRule | None = None

    def expressions(self) -> Iterable[Expression | None]:
        """All expressions here and below."""
        yield from (self.read, self.write)
        for child in (*self.fields.values(), *([self.additional] if self.additional is not None else [])):
            yield from child.expressions()


@dataclass(frozen=True, slots=True)
class Role:
    """A role as parsed; None is what the file leaves undefined."""

    name: str
    apply_when: Expression
    gate: Mapping[str, Expression] | None
    read: Expression | None
    write: Expression | None
    insert: Expression
    delete: Expression
    search: Expression
    fields: FieldRule


@dataclass(frozen=True, slots=True)
class CollectionRules:
    """The roles, filters and schema of one namespace, or a data source's default; ``written`` is what they were
    made of, ``rules`` and perhaps ``json_schema``."""

    roles: tuple[Role, ...] = ()
    filters: tuple[QueryFilter, ...] = ()
    schema: Schema | None = None
    written: Mapping[str, Any] = field(default_factory=dict)

    @property
    def looks_at_request(self) -> bool:
        """Whether what the rules grant can differ between two requests of one caller."""
        own = any(map(mentions_request, self._trees()))
        return own or (self.schema is not None and self.schema.looks_at_request)

    def calls(self) -> list[FunctionCall]:
        """The functions that have to be called before the rules decide anything."""
        return [call for tree in self._trees() for call in calls_of(tree)]

    def _trees(self) -> list[Any]:
        trees: list[Any] = [part for item in self.filters for part in (item.apply_when, item.query)]
        for role in self.roles:
            trees += [role.apply_when, role.read, role.write, role.insert, role.delete, role.search]
            trees += [*(role.gate or {}).values(), *role.fields.expressions()]
        return trees


def parse_rules(source: Any, where: str, schema: Any = None, schema_where: str = "schema") -> CollectionRules:
    """Rules from the content of a ``rules.json`` and a ``schema.json``; raises :class:`RuleError` with the place."""
    _only(source, RULES_KEYS, where)
    roles = tuple(
        parse_role(role, f"{where}.roles[{index}]") for index, role in enumerate(_list(source, "roles", where))
    )
    names = [role.name for role in roles]
    for name in names:
        if names.count(name) > 1:
            raise RuleError(f"{where}.roles: two roles have the name {name!r}")
    filters = tuple(
        parse_filter(item, f"{where}.filters[{index}]") for index, item in enumerate(_list(source, "filters", where))
    )
    if schema is None and source.get("schema") is not None:
        schema, schema_where = source["schema"], f"{where}.schema"
    # An empty schema is what an export has for a collection without one.
    written = {
        "rules": {key: source[key] for key in ("roles", "filters") if key in source},
        "json_schema": schema or None,
    }
    return CollectionRules(roles, filters, parse_schema(schema, schema_where) if schema else None, written)


def _list(source: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = source.get(key)
    if value is not None and not isinstance(value, list):
        raise RuleError(f"{where}.{key}: expected an array, got {type_name(value)}")
    return value or []


def parse_role(source: Any, where: str) -> Role:
    """One role."""
    _only(source, ROLE_KEYS, where)
    name = source.get("name")
    if not is_string(name) or not 0 < len(name) <= 100:
        raise RuleError(f"{where}.name: expected a string of 1 to 100 characters")
    gate = source.get("document_filters")
    if gate is not None:
        place = f"{where}.document_filters"
        _only(gate, frozenset({"read", "write"}), place)
        gate = {key: _defined(gate, key, place) for key in ("read", "write")}
    return Role(
        name=name,
        apply_when=parse({} if source.get("apply_when") is None else source["apply_when"], f"{where}.apply_when"),
        gate=gate,
        read=_optional(source, "read", where),
        write=_optional(source, "write", where),
        insert=_defined(source, "insert", where),
        delete=_defined(source, "delete", where),
        search=_defined(source, "search", where),
        fields=_parse_fields(source, where),
    )


def _defined(source: Mapping[str, Any], key: str, where: str) -> Expression:
    return True if source.get(key) is None else parse(source[key], f"{where}.{key}")


def _optional(source: Mapping[str, Any], key: str, where: str) -> Expression | None:
    return None if source.get(key) is None else parse(source[key], f"{where}.{key}")


def _parse_fields(source: Mapping[str, Any], where: str) -> FieldRule:
    listed = source.get("fields")
    if listed is not None and not isinstance(listed, Mapping):
        raise RuleError(f"{where}.fields: expected an object, got {type_name(listed)}")
    rules = {}
    for name, rule in (listed or {}).items():
        place = f"{where}.fields.{name}"
        if not name or "." in name or name.startswith("$"):
            raise RuleError(f"{place}: is no field's name; a nested field is written with fields inside fields")
        _only(rule, FIELD_KEYS, place)
        nested = _parse_fields(rule, place)
        rules[name] = FieldRule(*_permissions(rule, place), nested.fields, nested.additional)
    additional = None
    if source.get("additional_fields") is not None:
        place = f"{where}.additional_fields"
        _only(source["additional_fields"], frozenset({"read", "write"}), place)
        additional = FieldRule(*_permissions(source["additional_fields"], place))
    return FieldRule(fields=rules, additional=additional)


def _permissions(source: Mapping[str, Any], where: str) -> tuple[Expression | None, Expression | None]:
    read, write = (
        None if source.get(key) is None else parse(source[key], f"{where}.{key}", FIELD) for key in ("read", "write")
    )
    return read, write


def _only(source: Any, known: frozenset[str], where: str) -> None:
    if not isinstance(source, Mapping):
        raise RuleError(f"{where}: expected an object, got {type_name(source)}")
    for key in source:
        if key not in known:
            raise RuleError(f"{where}: unknown key {key!r}")


# --- what a role grants a caller -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """A role bound to a caller. Conditions are over ``{root, prev, this, prevThis}``."""

    name: str
    applies: Condition
    gate_read: Condition
    gate_write: Condition
    whole_read: Condition
    whole_write: Condition | None
    insert: Condition
    delete: Condition
    readable: Tree
    writable: Tree

    @property
    def sees(self) -> Condition:
        """Documents of which this role may read something."""
        return conjunction([self.gate_read, disjunction([self.whole_read, seen(self.readable)])])


def grant(role: Role, caller: Mapping[str, Any]) -> Grant:
    """``role`` for ``caller``: see :func:`doorleaf.access.rules.conditions.bind`."""
    write = None if role.write is None else bind(role.write, caller)
    whole_read, readable = _reading(role, write, caller)
    gate = {key: bind(tree, caller) for key, tree in (role.gate or {"read": True, "write": True}).items()}
    return Grant(
        name=role.name,
        applies=bind(role.apply_when, caller),
        gate_read=disjunction([gate["read"], gate["write"]]),
        gate_write=gate["write"],
        whole_read=whole_read,
        whole_write=write,
        insert=bind(role.insert, caller),
        delete=bind(role.delete, caller),
        readable=readable,
        writable=False if write is not None else simplify(_tree(role.fields, caller, ("write",), top=True)),
    )


def _reading(role: Role, write: Condition | None, caller: Mapping[str, Any]) -> tuple[Condition, Tree]:
    """The condition to read the whole document, and the fields to read without it.

    A defined ``read`` leaves no field level.
    """
    may_write = False if write is None else write
    if role.read is not None:
        return disjunction([bind(role.read, caller), may_write]), False
    fields = simplify(_tree(role.fields, caller, ("read", "write"), top=True))
    if fields is True:
        return True, True
    return may_write, fields


def _tree(rule: FieldRule, caller: Mapping[str, Any], kinds: tuple[str, ...], *, top: bool = False) -> Tree:
    """A permission on a parent overrides those of its sub-fields; a field without any is denied."""
    if not top and (rule.read is not None or rule.write is not None):
        return _any(rule, caller, kinds)
    if not rule.fields and rule.additional is None:
        return False
    rest = False if rule.additional is None else _any(rule.additional, caller, kinds)
    return Branch({name: _tree(child, caller, kinds) for name, child in rule.fields.items()}, rest)


def _any(rule: FieldRule, caller: Mapping[str, Any], kinds: tuple[str, ...]) -> Condition:
    given = [tree for kind in kinds if (tree := getattr(rule, kind)) is not None]
    return disjunction([bind(tree, caller) for tree in given])


def grants(roles: Iterable[Role], caller: Mapping[str, Any]) -> list[Grant]:
    """The roles that may still apply to ``caller``, in order; one that surely applies ends the list."""
    listed = []
    for role in roles:
        bound = grant(role, caller)
        if bound.applies is False:
            continue
        listed.append(bound)
        if bound.applies is True:
            break
    return listed


@dataclass(frozen=True, slots=True)
class Slice:
    """Documents that a caller reads in one way: those of ``condition``, each as ``tree`` shows it."""

    condition: Condition
    tree: Tree


def slices(granted: list[Grant]) -> list[Slice]:
    """All documents of which the caller may read something, in parts that have no document in common."""
    listed: list[Slice] = []
    passed: list[Condition] = []
    for item in granted:
        here = conjunction([*passed, item.applies, item.gate_read])
        whole = item.whole_read
        listed.append(Slice(conjunction([here, whole]), True))
        listed.append(Slice(conjunction([here, negation(whole), seen(item.readable)]), item.readable))
        passed.append(negation(item.applies))
    return [part for part in listed if part.condition is not False]


def read_condition(granted: list[Grant]) -> Condition:
    """The documents of which the caller may read something: the first role that applies to a document decides."""
    options: list[Condition] = []
    passed: list[Condition] = []
    for item in granted:
        options.append(conjunction([*passed, item.applies, item.sees]))
        passed.append(negation(item.applies))
    return disjunction(options)
