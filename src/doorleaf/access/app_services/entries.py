"""Entries of an app's configuration files, and what is wrong with them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from doorleaf.documents import Document

VALIDATIONS = frozenset({"NO_VALIDATION", "SECRET_AS_QUERY_PARAM", "VERIFY_PAYLOAD"})
_USER = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not in service: what it is, and why. ``whole`` says that more may be missing than is named."""

    what: str
    text: str
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.text}"


def flag(entry: Document, key: str, *, default: bool = False) -> bool:
    """Whether ``entry`` says yes under ``key``; ValueError for what is neither yes nor no."""
    value = entry.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValueError(f"{key}: expected true or false")
    return value


def string(entry: Document, key: str) -> str:
    """The text that ``entry`` has under ``key``, "" without one; ValueError for what is no text."""
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key}: expected a string")
    return value or ""


def strings(entry: Document, key: str) -> tuple[str, ...]:
    """The texts that ``entry`` has under ``key``; ValueError for what is no list of them."""
    value = entry.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
        raise ValueError(f"{key}: expected an array of strings")
    return tuple(dict.fromkeys(value or ()))


def known(entry: Document, keys: frozenset[str], where: str = "") -> None:
    """Raise ValueError if ``entry`` has another key than ``keys``."""
    if unknown := entry.keys() - keys:
        raise ValueError(f"unknown key {where}{min(unknown)!r}")


def runs_as(entry: Document) -> str:
    """Whom ``entry`` says that something runs as: ``application`` (the caller), ``system``, ``script`` or a user's id.
    ValueError for a mistake.

    ``run_as_authed_user`` is what webhooks had for their caller. Here that goes without saying, and whom it means where
    it is false, or beside another, nobody knows.
    """
    who = _acts_as(entry)
    as_caller = who == "application"
    if flag(entry, "run_as_authed_user", default=as_caller) is not as_caller:
        why = "no other key says whom it runs as" if as_caller else "another key says that it runs as somebody else"
        raise ValueError(f"run_as_authed_user: {why}")
    return who


def _acts_as(entry: Document) -> str:
    if flag(entry, "run_as_system"):
        return "system"
    user, script = string(entry, "run_as_user_id"), string(entry, "run_as_user_id_script_source")
    if user:
        if not _USER.fullmatch(user):
            raise ValueError(f"run_as_user_id: {user[:100]!r} is no user's id")
        return user
    return "script" if script.strip() else "application"


def validation(entry: Document) -> tuple[str, str]:
    """How ``entry`` wants requests to prove themselves, and the name of the secret for it. ValueError for a mistake."""
    method = string(entry, "validation_method") or "NO_VALIDATION"
    if method not in VALIDATIONS:
        raise ValueError(f"validation_method: expected one of {', '.join(sorted(VALIDATIONS))}")
    if method == "NO_VALIDATION":
        return method, ""
    if not (secret := string(entry, "secret_name")):
        raise ValueError(f"secret_name: needed for {method}")
    return method, secret
