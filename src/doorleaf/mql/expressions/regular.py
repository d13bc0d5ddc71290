"""Regular expressions: ``$regexMatch``, ``$regexFind`` and ``$regexFindAll``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from doorleaf.documents import is_string
from doorleaf.errors import DataError
from doorleaf.mql.context import Context
from doorleaf.mql.expressions.compile import Evaluate, Named, Scope, apply, fail, nullish, parser
from doorleaf.mql.regular.compile import Regular, compile_regex
from doorleaf.mql.values import regex_flags, type_name

_OUTPUT_LIMIT = 16 * 1024 * 1024


def _register(name: str, answer: Callable[[Regular | None, str, Context], Any]) -> None:
    """Register ``name``; ``answer`` gets no expression when the input or the pattern is null."""
    named = Named(
        (51103, f"{name} expects an object of named arguments but found: {{found}}"),
        (31024, f"{name} found an unknown argument: {{name}}"),
        {
            "input": (31022, f"{name} requires 'input' parameter"),
            "regex": (31023, f"{name} requires 'regex' parameter"),
        },
        ("options",),
    )

    def parse(argument: Any, scope: Scope) -> Evaluate:
        arguments = named.take(argument)
        context = scope.context

        def compute(text: Any, pattern: Any, *options: Any) -> Any:
            regular = _compiled(name, pattern, *options)
            if not nullish(text) and not is_string(text):
                fail(51104, f"{name} needs 'input' to be of type string")
            if nullish(text) or regular is None:
                return answer(None, "", context)
            return answer(regular, text, context)

        items = [scope.compile(arguments[key]) for key in ("input", "regex", "options") if key in arguments]
        return apply(compute, items, scope)

    parser(name)(parse)


def _compiled(name: str, pattern: Any, options: Any = None) -> Regular | None:
    if not nullish(pattern) and type_name(pattern) not in ("string", "regex"):
        fail(51105, f"{name} needs 'regex' to be of type string or regex")
    if not nullish(options) and not is_string(options):
        fail(51106, f"{name} needs 'options' to be of type string")
    flags = "" if nullish(options) else options
    if type_name(pattern) == "regex":
        own = regex_flags(pattern).replace("u", "")
        if own and not nullish(options):
            fail(51107, f"{name}: found regex option(s) specified in both 'regex' and 'option' fields")
        flags = own or flags
        pattern = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("utf-8", "replace")
    if "\0" in flags:
        fail(51110, f"{name}:  regular expression options cannot contain an embedded null byte")
    if nullish(pattern):
        return None
    if "\0" in pattern:
        fail(51109, f"{name}: regular expression cannot contain an embedded null byte")
    try:
        return compile_regex(pattern, flags)
    except DataError as error:
        if error.number == 51108:
            fail(51108, f"{name} invalid flag in regex options: {flags}")
        fail(51111, f"Invalid Regex in {name}: {error.message}")


def _matches(regular: Regular | None, text: str, context: Context) -> bool:
    return regular is not None and regular.matches(text, context)


def _find(regular: Regular | None, text: str, context: Context) -> Any:
    match = None if regular is None else regular.find(text, context)
    return None if match is None else _found(match)


def _found(match: Any) -> dict[str, Any]:
    return {"match": match.group(), "idx": match.start(), "captures": list(match.groups())}


def _find_all(regular: Regular | None, text: str, context: Context) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start = size = 0
    while regular is not None:
        context.check()
        match = regular.find(text, context, start)
        if match is None:
            break
        found.append(_found(match))
        size += 100 + sum(match.end(group) - match.start(group) + 8 for group in range(match.re.groups + 1))
        if size > _OUTPUT_LIMIT:
            fail(51151, f"$regexFindAll: the size of buffer to store output exceeded the {_OUTPUT_LIMIT} bytes limit")
        start = match.end() if match.end() > match.start() else match.end() + 1
        if start >= len(text):
            break
    return found


_register("$regexMatch", _matches)
_register("$regexFind", _find)
_register("$regexFindAll", _find_all)
