"""Projections parsed into a tree, with MongoDB's rules, codes and texts; for ``find`` and for ``$project``."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from bson.decimal128 import Decimal128

from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.display import display, display_field
from doorleaf.mql.numbers import INT32_MAX, INT32_MIN
from doorleaf.mql.paths import validate_field_path
from doorleaf.mql.values import is_nan, is_number, truthy, type_name

Evaluate = Callable[[Any, dict[str, Any]], Any]
Element = Callable[[dict[str, Any]], int | None]

_DEPTH_LIMIT = 100


class Tree:
    """One level of a projection.

    ``leaves`` are the fields named with 1 or 0, ``children`` the fields with a level below, ``computed`` the fields
    with an expression; ``order`` lists what computes anything, as written.
    """

    __slots__ = ("children", "computed", "leaves", "order")

    def __init__(self) -> None:
        self.leaves: dict[str, bool] = {}
        self.children: dict[str, Tree] = {}
        self.computed: dict[str, Evaluate] = {}
        self.order: list[str] = []

    def has(self, name: str) -> bool:
        return name in self.leaves or name in self.computed

    def computes(self) -> bool:
        """Whether any field here or below is computed."""
        return bool(self.computed) or any(child.computes() for child in self.children.values())

    def level(self, parts: list[str], path: str) -> Tree:
        """The level that holds the last of ``parts``, made when it is not there."""
        tree = self
        for position, name in enumerate(parts[:-1]):
            if tree.has(name):
                rest = ".".join(parts[position + 1 :])
                raise DataError(f"Path collision at {path} remaining portion {rest}", number=31249)
            if name not in tree.children:
                tree.children[name] = Tree()
                tree.order.append(name)
            tree = tree.children[name]
        if tree.has(parts[-1]) or parts[-1] in tree.children:
            raise DataError(f"Path collision at {path}", number=31250)
        return tree


class Slice:
    """``{path: {$slice: n}}`` or ``[skip, limit]``."""

    __slots__ = ("limit", "parts", "skip")

    def __init__(self, parts: list[str], skip: int | None, limit: int) -> None:
        self.parts = parts
        self.skip = skip
        self.limit = limit


class Projection:
    """A parsed projection: its kind, its tree, and what is applied after the tree."""

    __slots__ = ("inclusion", "positional", "slices", "tree")

    def __init__(self, tree: Tree, inclusion: bool, slices: list[Slice], positional: list[str] | None) -> None:
        self.tree = tree
        self.inclusion = inclusion
        self.slices = slices
        self.positional = positional


class ProjectionParser:
    """Parses one projection.

    ``find`` allows what only ``find`` has: ``$slice`` of an array, ``$elemMatch`` and ``path.$``. ``element``
    compiles an ``$elemMatch`` filter to a function that gives the index of the matching element.
    """

    def __init__(
        self,
        context: Context,
        variables: Collection[str],
        *,
        find: bool,
        element: Callable[[dict[str, Any]], Element] | None = None,
    ) -> None:
        self.context = context
        self.variables = variables
        self.find = find
        self.element = element
        self.root = Tree()
        self.inclusion: bool | None = None
        self.slices: list[Slice] = []
        self.positional: list[str] | None = None
        self.has_element_match = False
        self.id_included = False

    def parse(self, projection: dict[str, Any]) -> Projection:
        """The whole projection."""
        for name, value in projection.items():
            self._field(name, value, self.root, [])
        inclusion = self.inclusion if self.inclusion is not None else self._default_kind()
        if inclusion and not any(name == "_id" or name.startswith("_id.") for name in projection):
            self.root.leaves["_id"] = True
        return Projection(self.root, inclusion, self.slices, self.positional)

    def _default_kind(self) -> bool:
        """Whether a projection of nothing but ``_id``, ``$slice`` and ``$elemMatch`` includes."""
        if self.slices:
            return self.id_included
        return self.has_element_match or self.id_included

    def _field(self, name: str, value: Any, tree: Tree, above: list[str]) -> None:
        positional = self._is_positional(name)
        if isinstance(value, dict):
            if positional:
                raise DataError("positional projection cannot be used with an expression or sub object", number=31271)
            self._document(name, value, tree, above)
        elif isinstance(value, bool) or is_number(value):
            if not truthy(value):
                self._exclude(name, tree, above)
            elif positional:
                self._include_position(name, tree, above)
            else:
                self._include(name, tree, above)
        elif positional:
            raise DataError("positional projection cannot be used with a literal", number=31308)
        else:
            self._literal(name, value, tree, above)

    def _is_positional(self, name: str) -> bool:
        if ".$." in name:
            raise DataError(
                "As of 4.4, it's illegal to specify positional operator in the middle of a path."
                "Positional projection may only be used at the end, for example: a.b.$. If the query previously used"
                " a form like a.b.$.d, remove the parts following the '$' and the results will be equivalent.",
                number=31394,
            )
        if not name.endswith(".$"):
            return False
        if not self.find:
            raise DataError("Cannot use positional projection in aggregation projection", number=31324)
        return True

    def _plant(self, name: str, tree: Tree) -> tuple[Tree, str]:
        """The level and the last part of path ``name`` in ``tree``."""
        validate_field_path(name)
        parts = name.split(".")
        if len(parts) > _DEPTH_LIMIT:
            raise DataError("FieldPath is too long", number=5984700)
        return tree.level(parts, name), parts[-1]

    # --- inclusion and exclusion ---------------------------------------------------------------------------------

    def _include(self, name: str, tree: Tree, above: list[str]) -> None:
        level, last = self._plant(name, tree)
        level.leaves[last] = True
        if name == "_id" and not above:
            self.id_included = True
        else:
            self._set_inclusion(name)

    def _set_inclusion(self, name: str) -> None:
        if self.inclusion is False:
            raise DataError(f"Cannot do inclusion on field {name} in exclusion projection", number=31253)
        self.inclusion = True

    def _exclude(self, name: str, tree: Tree, above: list[str]) -> None:
        level, last = self._plant(name, tree)
        level.leaves[last] = False
        if name == "_id" and not above:
            return
        if self.inclusion is True:
            raise DataError(f"Cannot do exclusion on field {name} in inclusion projection", number=31254)
        self.inclusion = False

    def _include_position(self, name: str, tree: Tree, above: list[str]) -> None:
        if self.positional is not None:
            raise DataError("Cannot specify more than one positional projection per query.", number=31276)
        if self.has_element_match:
            raise DataError("Cannot specify positional operator and $elemMatch.", number=31256)
        path = name.removesuffix(".$")
        level, last = self._plant(path, tree)
        level.leaves[last] = True
        self.positional = [*above, *path.split(".")]
        self._set_inclusion(name)

    # --- expressions ---------------------------------------------------------------------------------------------

    def _literal(self, name: str, value: Any, tree: Tree, above: list[str]) -> None:
        self._compute(name, self._compile(value), tree)
        if self.inclusion is False:
            text = f"Cannot use an expression {display_field(name, value)} in an exclusion projection"
            raise DataError(text, number=31310)
        self.inclusion = True

    def _compute(self, name: str, evaluate: Evaluate, tree: Tree) -> None:
        level, last = self._plant(name, tree)
        level.computed[last] = evaluate
        level.order.append(last)

    def _compile(self, expression: Any) -> Evaluate:
        from doorleaf.mql.expressions import compile_expression

        return compile_expression(expression, self.context, self.variables)

    def _document(self, name: str, value: dict[str, Any], tree: Tree, above: list[str]) -> None:
        if not value:
            raise DataError("An empty sub-projection is not a valid value. Found empty object at path", number=51270)
        first = next(iter(value))
        if len(value) == 1 and first.startswith("$"):
            self._operator(name, first, value, tree, above)
            return
        level, last = self._plant(name, tree)
        level.children[last] = Tree()
        level.order.append(last)
        for inner, item in value.items():
            self._field(inner, item, level.children[last], [*above, *name.split(".")])

    def _operator(self, name: str, operator: str, value: dict[str, Any], tree: Tree, above: list[str]) -> None:
        if self.find and operator == "$slice" and self._slice(name, value["$slice"], tree, above):
            return
        if operator == "$elemMatch":
            self._element_match(name, value["$elemMatch"], tree, above)
            return
        if operator == "$meta":
            raise Unsupported("$meta in a projection is not supported by this data source")
        if self.inclusion is False:
            raise DataError("Cannot use expression other than $meta in exclusion projection", number=31252)
        try:
            evaluate = self._compile(value)
        except DataError as error:
            if error.number == 168 and error.message == f"Unrecognized expression '{operator}'":
                raise DataError(f"Unknown expression {operator}", number=31325) from None
            if self.find and operator == "$slice":
                raise DataError(
                    f"Invalid $slice syntax. The given syntax {display(value)} did not match the find() syntax because"
                    f" :: {_slice_mistake(value['$slice'])} :: The given syntax did not match the expression $slice"
                    f" syntax. :: caused by :: {error.message}",
                    number=error.number,
                ) from None
            raise
        self.inclusion = True
        self._compute(name, evaluate, tree)

    def _slice(self, name: str, argument: Any, tree: Tree, above: list[str]) -> bool:
        """Take the form of ``find``; False when it is not, and may be the expression ``$slice``."""
        if is_number(argument):
            skip, limit = None, _int32(argument)
        elif isinstance(argument, list) and len(argument) == 2 and all(is_number(item) for item in argument):
            skip, limit = _int32(argument[0]), _int32(argument[1])
            if limit <= 0:
                return False
        else:
            return False
        level, last = self._plant(name, tree)
        # Kept in an inclusion; an exclusion drops leaves that are kept, and so leaves the field as it is.
        level.leaves[last] = True
        self.slices.append(Slice([*above, *name.split(".")], skip, limit))
        return True

    def _element_match(self, name: str, argument: Any, tree: Tree, above: list[str]) -> None:
        if not self.find or self.element is None:
            raise DataError("Cannot use $elemMatch in this context", number=168)
        if not isinstance(argument, dict):
            text = f"elemMatch: Invalid argument, object required, but got {type_name(argument)}"
            raise DataError(text, number=31274)
        if self.positional is not None:
            raise DataError("Cannot specify positional operator and $elemMatch.", number=31255)
        if "." in name or above:
            raise DataError("Cannot use $elemMatch projection on a nested field.", number=31275)
        find = self.element({name: {"$elemMatch": argument}})
        self._compute(name, _element_evaluate(name, find), tree)
        self.has_element_match = True


def _element_evaluate(name: str, find: Element) -> Evaluate:
    from doorleaf.mql.values import MISSING

    def evaluate(root: dict[str, Any], _variables: dict[str, Any]) -> Any:
        index = find(root)
        return MISSING if index is None else [root[name][index]]

    return evaluate


def _int32(value: Any) -> int:
    """A number cut to an int32, as the server reads it."""
    plain = value.to_decimal() if isinstance(value, Decimal128) else value
    if is_nan(value):
        return 0
    if plain in (math.inf, -math.inf):
        return INT32_MAX if plain > 0 else INT32_MIN
    return max(INT32_MIN, min(INT32_MAX, int(plain)))


def _slice_mistake(argument: Any) -> str:
    if not isinstance(argument, list):
        return "Location31273: $slice only supports numbers and [skip, limit] arrays"
    if len(argument) != 2:
        return "Location31272: $slice array argument should be of form [skip, limit]"
    for word, code, value in (("skip", 31257, argument[0]), ("limit", 31258, argument[1])):
        if not is_number(value):
            return f"Location{code}: $slice expects the {word} argument to be a number, got {type_name(value)}"
    return f"Location31259: $slice limit must be positive, got {_int32(argument[1])}"
