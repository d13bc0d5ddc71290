"""The triggers of an app's folder: what each is about, and which function it calls."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorleaf.access.app_services.entries import Problem, flag, known, string, strings
from doorleaf.access.app_services.exported import read_json
from doorleaf.documents import Document
from doorleaf.errors import DoorleafError
from doorleaf.functions.triggers.times import check_schedule
from doorleaf.functions.triggers.watched import Watched, watched
from doorleaf.settings.providers import PROVIDERS

KEYS = frozenset(
    {"name", "type", "disabled", "config", "event_processors", "function_name", "function_id", "error_handler"}
    | {"id", "_id"}
)
SCHEDULED_KEYS = frozenset({"schedule", "schedule_type", "skip_catchup_events", "skip_catchup_event"})
AUTHENTICATION_KEYS = frozenset({"operation_type", "providers"})
HAPPENINGS = ("LOGIN", "CREATE", "DELETE")
"""What an AUTHENTICATION trigger can be about."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger; ``kind`` is its type. ``place`` says what it is about, as text: another one is another beginning.

    One that ``skips`` makes up for nothing that it missed. SCHEDULED has a ``schedule``; AUTHENTICATION has
    ``operations`` and ``providers``, DATABASE what is ``watched``.
    """

    name: str
    kind: str
    function: str
    disabled: bool = False
    skips: bool = False
    schedule: str = ""
    operations: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    watched: Watched | None = None

    @property
    def place(self) -> str:
        return self.schedule if self.watched is None else self.watched.place


def load_triggers(
    folder: Path, functions: Collection[str], problems: list[Problem]
) -> tuple[dict[str, Trigger], frozenset[str] | None]:
    """The triggers in ``folder`` by name, and the names of all that are there; None where a file cannot be read.

    What is wrong with one is a problem, and it is not among the triggers.
    """
    found: dict[str, Trigger] = {}
    named: set[str] = set()
    whole = True
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        where = f"triggers/{path.name}"
        try:
            content = read_json(path)
        except DoorleafError as error:
            problems.append(Problem(where, error.message.removeprefix(f"{path}: "), whole=True))
            whole = False
            continue
        try:
            if not isinstance(content, dict):
                raise ValueError("expected an object")
            name = string(content, "name") or path.stem
            if name in named:
                raise ValueError(f"another file has a trigger called {name!r}")
            named.add(name)
            found[name] = _trigger(name, content, functions, lambda text, at=where: problems.append(Problem(at, text)))
        except (ValueError, DoorleafError) as error:
            problems.append(Problem(where, getattr(error, "message", str(error))))
    return found, frozenset(named) if whole else None


def _trigger(name: str, content: Document, functions: Collection[str], note: Any) -> Trigger:
    known(content, KEYS)
    if not _NAME.fullmatch(name):
        raise ValueError("name: a trigger's name has up to 64 letters, digits, _ and -")
    function = _function(content)
    if function not in functions:
        raise ValueError(f"function_name: there is no function {function!r}")
    config = content.get("config")
    if not isinstance(config, dict):
        raise ValueError("config: expected an object")
    kind, disabled = string(content, "type"), flag(content, "disabled")
    match kind:
        case "SCHEDULED":
            known(config, SCHEDULED_KEYS, "config.")
            schedule = " ".join(string(config, "schedule").split())
            check_schedule(schedule)
            return Trigger(name, kind, function, disabled, _skips(config), schedule=schedule)
        case "AUTHENTICATION":
            known(config, AUTHENTICATION_KEYS, "config.")
            operations, providers = _operations(config), _providers(config, note)
            return Trigger(name, kind, function, disabled, operations=operations, providers=providers)
        case "DATABASE":
            return Trigger(name, kind, function, disabled, _skips(config), watched=watched(config))
    raise ValueError("type: expected DATABASE, SCHEDULED or AUTHENTICATION")


def _skips(config: Document) -> bool:
    return flag(config, "skip_catchup_events") or flag(config, "skip_catchup_event")


def _function(content: Document) -> str:
    """The name of the function that a trigger calls, where older and newer command lines write it."""
    processors = content.get("event_processors")
    if processors is None:
        return string(content, "function_name")
    if not isinstance(processors, dict):
        raise ValueError("event_processors: expected an object")
    for name in processors:
        if name != "FUNCTION":
            raise ValueError(f"event_processors: {name} is not available, only FUNCTION")
    handler = content.get("error_handler")
    if isinstance(handler, dict) and isinstance(handler.get("config"), dict) and handler["config"].get("enabled"):
        raise ValueError("error_handler: is not available")
    processor = processors.get("FUNCTION")
    config = processor.get("config") if isinstance(processor, dict) else None
    if not isinstance(config, dict):
        raise ValueError("event_processors.FUNCTION.config: expected an object")
    known(config, frozenset({"function_name", "function_id"}), "event_processors.FUNCTION.config.")
    return string(config, "function_name") or string(content, "function_name")


def _operations(config: Document) -> tuple[str, ...]:
    """What of users an AUTHENTICATION trigger wants to know: one word, or several."""
    given = config.get("operation_type")
    listed = (given,) if isinstance(given, str) else strings(config, "operation_type")
    if not listed or not set(listed) <= set(HAPPENINGS):
        raise ValueError(f"config.operation_type: expected {', '.join(HAPPENINGS[:-1])} or {HAPPENINGS[-1]}")
    return listed


def _providers(config: Document, note: Any) -> tuple[str, ...]:
    """The providers that an AUTHENTICATION trigger is about; those that are not here are noted."""
    listed = strings(config, "providers")
    here = tuple(name for name in listed if name in PROVIDERS)
    if not here:
        raise ValueError(f"config.providers: expected some of {', '.join(PROVIDERS)}")
    for name in listed:
        if name not in PROVIDERS:
            note(f"config.providers: nobody logs in with {name} here; the trigger runs for the others")
    return here
