"""Entries of an app's configuration files, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

from doorleaf.documents import Document


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
