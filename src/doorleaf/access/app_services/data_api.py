"""``data_api_config.json`` of an exported app: what it wants of requests to actions, and what of it cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from doorleaf.access.app_services.entries import flag, runs_as, string, strings, validation
from doorleaf.access.rules.expressions import calls_of, parse
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError

FILE = "data_api_config.json"
KEYS = frozenset(
    {"disabled", "versions", "return_type", "validation_method", "verification_method", "secret_name"}
    | {"create_user_on_auth", "fetch_custom_user_data", "log_function_arguments", "can_evaluate", "run_as_system"}
    | {"run_as_user_id", "run_as_user_id_script_source", "run_as_authed_user"}
)
VERSIONS = ("v1", "beta")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DataApi:
    """The needs of requests to actions. ``allowed`` is the condition in ``can_evaluate`` as it was parsed, True without
    one; ``proof`` is how they prove themselves, as to endpoints, and the name of the secret for it; ``runs_as`` is
    ``application`` (the caller), ``system`` or a user's id; ``creates_users`` is None where the file does not say.

    One that is ``closed`` has a mistake that could let in whom it should not, and makes no users. ``told`` has a line
    for each thing that it says: whether it was taken, its key, and how or why not.
    """

    disabled: bool = False
    closed: bool = False
    allowed: Any = True
    proof: tuple[str, str] = ("NO_VALIDATION", "")
    runs_as: str = "application"
    canonical: bool = False
    creates_users: bool | None = None
    has_custom_data: bool = True
    told: tuple[tuple[bool, str, str], ...] = ()


def read_data_api(source: Document) -> DataApi:
    """Read the content of the file, whose keys are known to be among :data:`KEYS`."""
    told: list[tuple[bool, str, str]] = []

    def read(key: str, reader: Callable[[Document], T], default: T) -> T:
        try:
            return reader(source)
        except (DoorleafError, ValueError) as error:
            text = getattr(error, "message", str(error)).removeprefix(f"{key}: ")
            told.append((False, key, f"{text}; nobody may call actions"))
            return default

    is_on = read("versions", _versions, True)
    found = DataApi(
        disabled=read("disabled", lambda source: flag(source, "disabled"), False) or not is_on,
        allowed=read("can_evaluate", _condition, True),
        proof=read("validation_method", _validation, ("NO_VALIDATION", "")),
        runs_as=read("run_as", _runs_as, "application"),
        creates_users=read("create_user_on_auth", lambda source: _said(source, "create_user_on_auth"), None),
        has_custom_data=read("fetch_custom_user_data", lambda source: _said(source, "fetch_custom_user_data"), None)
        is not False,
        canonical=source.get("return_type") == "EJSON",
    )
    closed = bool(told)
    if source.get("return_type") not in (None, "", "JSON", "EJSON"):
        told.append((False, "return_type", "expected JSON or EJSON"))
    if source.get("log_function_arguments"):
        told.append((False, "log_function_arguments", "no log has the content of requests"))
    told = [*_taken(found), *told]
    return replace(found, closed=closed, creates_users=False if closed else found.creates_users, told=tuple(told))


def _taken(found: DataApi) -> Iterator[tuple[bool, str, str]]:
    """A line for each thing that counts."""
    if found.disabled:
        yield True, "disabled", "nobody but keys with full rights may call actions"
    if found.allowed is not True:
        yield True, "can_evaluate", "served by the setting app"
    method, secret = found.proof
    if secret:
        yield True, "validation_method", f"{method}, with the secret {secret!r}, which no export holds"
    if found.runs_as == "system":
        yield True, "run_as_system", "run_as: rules are not asked, for any caller"
    elif found.runs_as != "application":
        yield True, "run_as_user_id", f"run_as: {found.runs_as}, who must be made here anew"
    if found.creates_users is not None:
        yield True, "create_user_on_auth", f"a token of somebody new makes {'a' if found.creates_users else 'no'} user"
    if not found.has_custom_data:
        yield True, "fetch_custom_user_data", "rules see no custom data of those who call actions"
    if found.canonical:
        yield True, "return_type", "return_type: answers are Extended JSON where Accept asks for none"


def _versions(source: Document) -> bool:
    """Whether any version is on. Both are served alike, so that which one does not matter."""
    if unknown := [name for name in strings(source, "versions") if name not in VERSIONS]:
        raise ValueError(f"expected some of {', '.join(VERSIONS)}, got {unknown[0][:100]}")
    return source.get("versions") != []


def _said(source: Document, key: str) -> bool | None:
    return None if source.get(key) is None else flag(source, key)


def _condition(source: Document) -> Any:
    given = source.get("can_evaluate")
    if given is True or given in (None, {}):  # 1 is no condition, though it equals True
        return True
    tree = parse(given, "can_evaluate")
    if any(calls_of(tree)):
        raise ValueError("%function is for the rules of collections")
    return tree


def _validation(source: Document) -> tuple[str, str]:
    method = string(source, "validation_method") or string(source, "verification_method")
    return validation({**source, "validation_method": method})


def _runs_as(source: Document) -> str:
    who = runs_as(source)
    if who == "script":
        raise ValueError("run_as_user_id_script_source: scripts are not available here")
    return who
