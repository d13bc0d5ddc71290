"""The standard library's JSON reader so that it lets others run all the while: no call into C looks at much text."""

from __future__ import annotations

import json
import re
from json.decoder import JSONArray, JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any

from doorleaf.ejson.wrappers import LONGEST_NUMBER
from doorleaf.errors import MalformedJSON

_SLICE = 256 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")
_LONG_NUMBER = re.compile(rf"[-+.eE\d]{{{LONGEST_NUMBER + 1}}}")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Patient(json.JSONDecoder):
    """The reader in Python, which is ten times as slow as the one in C; it is documented nowhere, and the same in all
    versions."""

    def __init__(self, **hooks: Any) -> None:
        super().__init__(**hooks)
        self.parse_object, self.parse_array = _object, _array
        self.scan_once = _bounded(py_make_scanner(self))

    def decode(self, text: str, _w: Any = None) -> Any:
        """Read ``text``, which is one value."""
        return super().decode(text, _behind_space)


def _object(begin: Any, strict: bool, scan: Any, *hooks: Any) -> Any:
    return JSONObject(begin, strict, _bounded(scan), *hooks, _w=_behind_space)


def _array(begin: Any, scan: Any) -> Any:
    return JSONArray(begin, _bounded(scan), _w=_behind_space)


def _bounded(scan: Any) -> Any:
    """Read a value by ``scan``, unless it is a number that is too long."""

    def bounded(text: str, at: int) -> Any:
        if _LONG_NUMBER.match(text, at) is not None:
            raise MalformedJSON(f"malformed JSON: {too_long(text[at : at + 40])}")
        return scan(text, at)

    return bounded


def _behind_space(text: str, at: int) -> re.Match[str] | None:
    """The last of the white space from ``at`` on."""
    while (found := _SPACE.match(text, at, at + _SLICE)) is not None and found.end() == at + _SLICE:
        at += _SLICE
    return found


def too_long(begin: str) -> str:
    """The reason why a number that begins so is refused."""
    return f"the number {begin}… has more than {LONGEST_NUMBER} characters"


def halves(text: str) -> bool:
    """Whether ``text`` has half a surrogate pair."""
    if text.isascii():
        return False
    return any(_SURROGATE.search(text, at, at + _SLICE) is not None for at in range(0, len(text), _SLICE))
