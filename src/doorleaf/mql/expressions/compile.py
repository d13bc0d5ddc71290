"""The compiler of aggregation expressions: literals, field paths, variables and the registry of operators.

An expression becomes a closure ``fn(root, variables) -> value``; :data:`~doorleaf.mql.values.MISSING` stands for a
field that is not there. What depends on nothing becomes a :class:`Constant`. Closures never change what they are given,
and what they build is never deeper or larger than a document may be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from doorleaf.documents import is_string
from doorleaf.errors import DataError, Unsupported
from doorleaf.mql.context import Context
from doorleaf.mql.display import display
from doorleaf.mql.memory import GROWING, MEMORY, bounded, grown, reading, values_of, weight_of
from doorleaf.mql.paths import check_length, field_path
from doorleaf.mql.values import MISSING, is_document, type_name

Evaluate = Callable[[Any, dict[str, Any]], Any]
Parser = Callable[[Any, "Scope"], Evaluate]

REDACT_VARIABLES: dict[str, str] = {"DESCEND": "descend", "PRUNE": "prune", "KEEP": "keep"}
"""The variables that ``$redact`` declares, with their values; others may not name them."""

PARSERS: dict[str, Parser] = {}
"""Every operator by name: how its argument is compiled."""

REFUSED: dict[str, str] = {
    "$function": "server-side JavaScript is not supported",
    "$accumulator": "server-side JavaScript is not supported",
    "$where": "server-side JavaScript is not supported",
    "$meta": "there is no metadata (text score, search score, sort key) to read",
    "$encStrContains": "not supported",
    "$encStrEndsWith": "not supported",
    "$encStrNormalizedEq": "not supported",
    "$encStrStartsWith": "not supported",
    "$sigmoid": "not supported",
    "$toHashedIndexKey": "not supported",
}
"""Operators that MongoDB has and this engine does not, with the reason."""


def fail(number: int, message: str) -> NoReturn:
    """Raise the database's error ``number``."""
    raise DataError(message, number=number)


class Constant:
    """A compiled expression that depends on nothing; ``weight`` are the bytes charged for its value."""

    __slots__ = ("value", "weight")
    reads = True

    def __init__(self, value: Any, weight: int = 0) -> None:
        self.value = value
        self.weight = weight

    def __call__(self, root: Any, variables: dict[str, Any]) -> Any:
        return self.value


class Scope:
    """The things that an expression may refer to: the operation's context and the variables declared around it.

    ``failures`` are the errors of constant parts. The server raises them before it reads a document, even from a branch
    that would never be taken; only what ``$switch`` and ``$cond`` drop for good does not count.
    """

    __slots__ = ("context", "failures", "names")

    def __init__(self, context: Context, names: Iterable[str] = (), failures: list[DataError] | None = None) -> None:
        self.context = context
        self.names = frozenset(names)
        self.failures: list[DataError] = [] if failures is None else failures

    def declaring(self, *names: str) -> Scope:
        """The scope inside ``names``, each checked to be a name that a user may give to a variable."""
        for name in names:
            check_variable_name(name)
        return Scope(self.context, self.names.union(names), self.failures)

    def compile(self, expression: Any) -> Evaluate:
        """Compile any expression."""
        self.context.check()
        if isinstance(expression, dict):
            return self._document(expression)
        if isinstance(expression, (list, tuple)):
            return _array([self.compile(item) for item in expression], self.context)
        if is_string(expression) and expression.startswith("$") and type_name(expression) == "string":
            return self._variable(expression[2:]) if expression.startswith("$$") else self._field(expression[1:])
        return Constant(expression)

    def compile_unused(self, expression: Any) -> None:
        """Check an expression that will never be evaluated."""
        failed = len(self.failures)
        self.compile(expression)
        del self.failures[failed:]

    def fold(self, evaluate: Evaluate, items: Collection[Evaluate | None]) -> Evaluate:
        """``evaluate``, or the value it has when all ``items`` that it uses are constant."""
        if not all(item is None or isinstance(item, Constant) for item in items):
            return evaluate
        context = self.context
        context.check_now()
        try:
            value = evaluate({}, {})
        except DataError as error:
            if error.number == MEMORY:
                raise
            self.failures.append(error)
            return evaluate
        # It is held for as long as the operation lasts, and what it was made of is not.
        weight = weight_of(value)
        context.charge(
            weight - sum([item.weight for item in items if isinstance(item, Constant)]), "An expression", MEMORY
        )
        return Constant(value, weight)

    def compile_optional(self, arguments: Mapping[str, Any], name: str) -> Evaluate | None:
        """Compile a named argument, None when it was not given."""
        return self.compile(arguments[name]) if name in arguments else None

    def _document(self, document: dict[str, Any]) -> Evaluate:
        if any(name.startswith("$") for name in document):
            return self._operator(document)
        for name in document:
            check_field_name(name)
        fields = [(name, self.compile(item)) for name, item in document.items()]
        return _object(fields, self.context)

    def _operator(self, document: dict[str, Any]) -> Evaluate:
        name = next(iter(document))
        if len(document) != 1 and name.startswith("$"):
            shown = display(document)
            fail(15983, f"an object representing an expression must have exactly one field: {shown}")
        if not name.startswith("$"):
            check_field_name(next(key for key in document if key.startswith("$")))
        parser = PARSERS.get(name)
        if parser is not None:
            return parser(document[name], self)
        if name in REFUSED:
            raise Unsupported(f"expression {name} is not supported: {REFUSED[name]}")
        fail(168, f"Unrecognized expression '{name}'")

    def _field(self, path: str) -> Evaluate:
        if not path:
            fail(16872, "'$' by itself is not a valid FieldPath")
        parts = split_path(path)
        if "CURRENT" in self.names:
            return _variable_path("CURRENT", parts)
        return _root_path(parts)

    def _variable(self, text: str) -> Evaluate:
        name, dot, rest = text.partition(".")
        check_variable_name(name, reading=True)
        parts = split_path(rest) if dot else []
        if name in REDACT_VARIABLES and name in self.names:
            return Constant(MISSING if parts else REDACT_VARIABLES[name])
        if name in self.names:
            return _variable_path(name, parts)
        if name in ("ROOT", "CURRENT"):
            return _root_path(parts)
        if name == "NOW":
            return Constant(MISSING if parts else self.context.now)
        if name == "REMOVE":
            return Constant(MISSING)
        if name in ("CLUSTER_TIME", "USER_ROLES", "SEARCH_META"):
            raise Unsupported(f"variable $${name} is not supported: there is no such metadata here")
        fail(17276, f"Use of undefined variable: {name}")


def compile_expression(expression: Any, context: Context, variables: Collection[str] = ()) -> Evaluate:
    """Compile ``expression``, which may use ``variables`` beside the system's.

    The result is called as ``fn(root_document, variable_values)`` with a value for every name in ``variables``; it
    answers a value or ``MISSING``. Mistakes raise :class:`DataError` with the server's code, here or when called;
    operators that exist elsewhere and not here raise :class:`Unsupported`.
    """
    scope = Scope(context, variables)
    compiled = scope.compile(expression)
    if scope.failures:
        raise scope.failures[0]
    return compiled


# --- names and paths -------------------------------------------------------------------------------------------------


def check_variable_name(name: str, *, reading: bool = False) -> None:
    """Refuse what cannot name a variable; only system variables, which are read, start with a capital."""
    if not name:
        fail(9, "empty variable names are not allowed")
    if name == "CURRENT":
        return
    first = name[0]
    if not (first.islower() or (reading and first.isalpha())) and first.isascii():
        fail(9, f"'{name}' starts with an invalid character for a user variable name")
    for letter in name[1:]:
        if letter.isascii() and not letter.isalnum() and letter != "_":
            fail(9, f"'{name}' contains an invalid character for a variable name: '{letter}'")


def check_field_name(name: str) -> None:
    """Refuse what cannot be a field in an expression: empty, with ``$`` in front, a dot or a null byte."""
    if not name:
        fail(15998, "FieldPath field names may not be empty strings.")
    if name.startswith("$") and name not in ("$ref", "$id", "$db"):
        fail(16410, "FieldPath field names may not start with '$'. Consider using $getField or $setField.")
    if "\0" in name:
        fail(16411, "FieldPath field names may not contain '\\0'.")
    if "." in name:
        fail(16412, "FieldPath field names may not contain '.'. Consider using $getField or $setField.")


def split_path(path: str) -> list[str]:
    """The components of a dotted path, each checked."""
    if not path or path.endswith("."):
        fail(40353, "FieldPath must not end with a '.'.")
    parts = path.split(".")
    check_length(parts)
    for part in parts:
        check_field_name(part)
    return parts


def _root_path(parts: Sequence[str]) -> Evaluate:
    if not parts:
        return _root
    if len(parts) == 1:
        name = parts[0]

        def field(root: Any, variables: dict[str, Any]) -> Any:
            return root.get(name, MISSING)

        return reading(field)

    def path(root: Any, variables: dict[str, Any]) -> Any:
        return field_path(root, parts)

    return path


def _root(root: Any, variables: dict[str, Any]) -> Any:
    return root


def _variable_path(name: str, parts: Sequence[str]) -> Evaluate:
    if not parts:

        def variable(root: Any, variables: dict[str, Any]) -> Any:
            return variables.get(name, MISSING)

        return reading(variable)

    def path(root: Any, variables: dict[str, Any]) -> Any:
        value = variables.get(name, MISSING)
        if value.__class__ is not list:
            return field_path(value, parts)
        found = [field_path(item, parts) for item in value if is_document(item)]
        return [item for item in found if item is not MISSING]

    return path


# --- literals --------------------------------------------------------------------------------------------------------


def _array(items: list[Evaluate], context: Context) -> Evaluate:
    if all(isinstance(item, Constant) for item in items):
        return Constant([_null(item({}, {})) for item in items])
    few = len(items) <= _FEW

    def build(root: Any, variables: dict[str, Any]) -> list[Any]:
        built: list[Any] = []
        size = 0
        for item in items if few else context.each(items):
            value = item(root, variables)
            if value.__class__ in GROWING:
                size = grown(size, value)
            built.append(None if value is MISSING else value)
        return bounded(built, context) if size else built

    return build


_FEW = 64
"""Parts of a literal that need no look at the clock."""


def _object(fields: list[tuple[str, Evaluate]], context: Context) -> Evaluate:
    few = len(fields) <= _FEW

    def build(root: Any, variables: dict[str, Any]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        size = 0
        for name, item in fields if few else context.each(fields):
            value = item(root, variables)
            if value.__class__ in GROWING:
                size = grown(size, value)
            if value is not MISSING:
                built[name] = value
        return bounded(built, context) if size else built

    if all(isinstance(item, Constant) for _, item in fields):
        return Constant(build({}, {}))
    return build


def _null(value: Any) -> Any:
    return None if value is MISSING else value


# --- the registry ----------------------------------------------------------------------------------------------------


def parser(name: str) -> Callable[[Parser], Parser]:
    """Register how the argument of operator ``name`` is compiled."""

    def register(parse: Parser) -> Parser:
        PARSERS[name] = parse
        return parse

    return register


def function(
    name: str, low: int, high: int | None = -1, *, context: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of the operands' values as operator ``name``.

    It takes ``low`` operands, or up to ``high`` (None: any number), and the operation's context first when it asks.
    """
    most = low if high == -1 else high

    def register(compute: Callable[..., Any]) -> Callable[..., Any]:
        def parse(argument: Any, scope: Scope) -> Evaluate:
            items = operands(name, argument, low, most)
            bound = partial(compute, scope.context) if context else compute
            return apply(bound, [scope.compile(item) for item in items], scope)

        PARSERS[name] = parse
        return compute

    return register


def operands(name: str, argument: Any, low: int, high: int | None) -> Sequence[Any]:
    """The operands of ``argument`` (an array is its elements, anything else one operand), counted."""
    items = argument if isinstance(argument, (list, tuple)) else [argument]
    if low <= len(items) and (high is None or len(items) <= high):
        return items
    if low == high:
        fail(16020, f"Expression {name} takes exactly {low} arguments. {len(items)} were passed in.")
    most = "" if high is None else f", and at most {high}"
    fail(28667, f"Expression {name} takes at least {low} arguments{most}, but {len(items)} were passed in.")


def apply(compute: Callable[..., Any], items: Sequence[Evaluate], scope: Scope) -> Evaluate:
    """The closure that calls ``compute`` with the values of ``items``."""
    return scope.fold(_call(compute, items, scope.context), items)


def _call(compute: Callable[..., Any], items: Sequence[Evaluate], context: Context) -> Evaluate:
    if len(items) == 1:
        only = items[0]
        return lambda root, variables: compute(only(root, variables))
    if len(items) == 2 and isinstance(items[1], Constant):
        first, second = items
        return lambda root, variables: compute(first(root, variables), second(root, variables))
    return lambda root, variables: compute(*values_of(items, root, variables, context))


Error = tuple[int, str]


class Named:
    """The named arguments of one operator, and the errors of getting them wrong.

    Texts may hold ``{found}`` (the type that came instead of an object) and ``{name}`` (the unknown argument).
    """

    __slots__ = ("optional", "required", "shape", "unknown")

    def __init__(
        self, shape: Error, unknown: Error, required: Mapping[str, Error], optional: Collection[str] = ()
    ) -> None:
        self.shape = shape
        self.unknown = unknown
        self.required = required
        self.optional = optional

    def take(self, argument: Any) -> dict[str, Any]:
        """``argument`` checked: an object, of known names, with all the required ones."""
        if not isinstance(argument, dict):
            fail(self.shape[0], self.shape[1].replace("{found}", type_name(argument)))
        for name in argument:
            if name not in self.required and name not in self.optional:
                fail(self.unknown[0], self.unknown[1].replace("{name}", name))
        for name, (number, text) in self.required.items():
            if name not in argument:
                fail(number, text)
        return argument


def nullish(value: Any) -> bool:
    """Whether ``value`` is null or missing."""
    return value is None or value is MISSING


def evaluate_all(items: Mapping[str, Evaluate | None], root: Any, variables: dict[str, Any]) -> dict[str, Any]:
    """The values of named arguments that were given."""
    return {name: item(root, variables) for name, item in items.items() if item is not None}
