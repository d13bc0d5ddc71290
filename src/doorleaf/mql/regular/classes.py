"""Characters and character classes of PCRE2 patterns for the ``regex`` module (see ``syntax``)."""

from __future__ import annotations

import re
from typing import NoReturn

from doorleaf.errors import DataError

_WORD = "A-Za-z0-9_"
_SPACE = r"\t\n\x0b\f\r\x20"
_HORIZONTAL = r"\t\x20\xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"
_VERTICAL = r"\n\x0b\f\r\x85\u2028\u2029"
_ASCII_TYPES = {"d": "0-9", "w": _WORD, "s": _SPACE, "h": _HORIZONTAL, "v": _VERTICAL}
_UCP_TYPES = {
    "d": r"\p{Nd}",
    "w": r"\p{L}\p{N}_",
    "s": r"\p{Z}" + _HORIZONTAL + _VERTICAL,
    "h": _HORIZONTAL,
    "v": _VERTICAL,
}
_CASED_TYPES = frozenset("w")
_POSIX = {
    "alpha": "A-Za-z",
    "lower": "a-z",
    "upper": "A-Z",
    "digit": "0-9",
    "alnum": "A-Za-z0-9",
    "ascii": r"\x00-\x7f",
    "blank": r"\t\x20",
    "cntrl": r"\x00-\x1f\x7f",
    "graph": r"\x21-\x7e",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": _SPACE,
    "word": _WORD,
    "xdigit": "A-Fa-f0-9",
}
_UCP_POSIX = {
    "alpha": r"\p{L}",
    "lower": r"\p{Ll}",
    "upper": r"\p{Lu}",
    "digit": r"\p{Nd}",
    "alnum": r"\p{L}\p{N}",
    "space": _UCP_TYPES["s"],
    "word": _UCP_TYPES["w"],
    "ascii": r"\x00-\x7f",
    "xdigit": "A-Fa-f0-9",
}
_PROPERTIES = {"L&": r"\p{Lu}\p{Ll}\p{Lt}", "Xan": r"\p{L}\p{N}", "Xwd": r"\p{L}\p{N}_", "Xsp": _UCP_TYPES["s"]}
_PROPERTIES |= {"Xps": _UCP_TYPES["s"], "Any": r"\x00-\U0010ffff"}
_CONTROL = {"a": 7, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9}
_POSIX_NAME = re.compile(r"\[:(\^?)(\w+):\]", re.ASCII)
_HEX = re.compile(r"\{\s*([0-9a-fA-F]+)\s*\}|([0-9a-fA-F]{0,2})")
_OCTAL = re.compile(r"[0-7]{1,3}")
_OCTAL_BRACES = re.compile(r"\{([0-7]+)\}")
_CODE_POINT = re.compile(r"\{U\+([0-9a-fA-F]+)\}")
_PROPERTY = re.compile(r"\{\s*(\^?)\s*([A-Za-z_&][\w& ]*)\s*\}|([A-Za-z])", re.ASCII)


def invalid(reason: str) -> NoReturn:
    """Raise the server's error for a pattern it does not take."""
    raise DataError(f"Regular expression is invalid: {reason}", number=51091)


def literal(char: str) -> str:
    """``char`` as itself in a ``regex`` pattern, in a class or outside."""
    return char if char.isalnum() or char == "_" or ord(char) > 127 else f"\\x{ord(char):02x}"


class CharacterClasses:
    """A cursor over a pattern that reads escapes and bracketed classes."""

    def __init__(self, pattern: str, start: int, ucp: bool) -> None:
        self.pattern = pattern
        self.position = start
        self.ucp = ucp
        self.types = _UCP_TYPES if ucp else _ASCII_TYPES
        self.last_collating = max(pattern.rfind(".]"), pattern.rfind("=]"))

    def peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def take(self) -> str:
        char = self.pattern[self.position]
        self.position += 1
        return char

    def boundary(self, negated: bool) -> str:
        word = f"[{self.types['w']}]"
        inside = f"(?<={word})(?={word})|(?<!{word})(?!{word})"
        edge = f"(?<={word})(?!{word})|(?<!{word})(?={word})"
        return f"(?-i:{inside if negated else edge})"

    def type_escape(self, char: str, caseless: bool) -> str | None:
        """One-character class for ``\\d``, ``\\H``, ``\\pL`` and the like; None when ``char`` begins no such escape."""
        if char in "pP":
            return self.property(negated=char == "P")
        members = self.types.get(char.lower()) if char.isalpha() else None
        if members is None:
            if char == "C":
                invalid("\\C is not supported")
            return None
        text = f"[{'^' if char.isupper() else ''}{members}]"
        # Case folding must not widen a type: with i, [A-Z] would also match the Kelvin sign.
        return f"(?-i:{text})" if caseless and char.lower() in _CASED_TYPES else text

    def property(self, negated: bool) -> str:
        match = _PROPERTY.match(self.pattern, self.position)
        if match is None:
            invalid("malformed \\P or \\p sequence")
        self.position = match.end()
        name = (match[2] or match[3]).strip()
        negated ^= bool(match[1])
        members = _PROPERTIES.get(name, f"\\p{{{name}}}")
        return f"(?-i:[{'^' if negated else ''}{members}])"

    def literal_escape(self, char: str) -> str:
        """The character that an escape stands for."""
        code = self._escape_code(char)
        if code is None:
            if char.isalnum() and char.isascii():
                invalid("unrecognized character follows \\")
            return literal(char)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            invalid("character code point value in \\x{} or \\o{} is too large")
        return f"\\U{code:08x}" if code > 255 else f"\\x{code:02x}"

    def _escape_code(self, char: str) -> int | None:
        if char in _CONTROL:
            return _CONTROL[char]
        if char == "x":
            match = _HEX.match(self.pattern, self.position)
            self.position = match.end() if match else self.position
            return int((match[1] or match[2] or "0") if match else "0", 16)
        if char == "c":
            control = self.peek()
            if not control or not " " <= control <= "~":
                invalid("\\c must be followed by a printable ASCII character")
            self.position += 1
            return ord(control.upper()) ^ 64
        if char == "o" or char == "N":
            match = (_OCTAL_BRACES if char == "o" else _CODE_POINT).match(self.pattern, self.position)
            if match is None:
                invalid(f"malformed \\{char} sequence")
            self.position = match.end()
            return int(match[1], 8 if char == "o" else 16)
        if char in "01234567":
            match = _OCTAL.match(self.pattern, self.position - 1)
            self.position = match.end() if match else self.position
            return int(match[0] if match else char, 8)
        return None

    # --- [...] ---------------------------------------------------------------------------------------------------

    def character_class(self, caseless: bool) -> str:
        """A bracketed class, after its ``[``; members that are no plain set become alternatives."""
        negated = self.peek() == "^"
        self.position += negated
        plain: list[str] = []
        others: list[str] = []
        first = True
        while first or self.peek() != "]":
            if self.position >= len(self.pattern):
                invalid("missing terminating ] for character class")
            self._member(plain, others, caseless)
            first = False
        self.position += 1
        members = "".join(plain)
        if not others:
            return f"[{'^' if negated else ''}{members}]" if members else ("(?s:.)" if negated else "(?!)")
        alternatives = "|".join(([f"[{members}]"] if members else []) + others)
        return f"(?:(?!{alternatives})(?s:.))" if negated else f"(?:{alternatives})"

    def _member(self, plain: list[str], others: list[str], caseless: bool) -> None:
        posix = _POSIX_NAME.match(self.pattern, self.position)
        if posix is not None:
            self.position = posix.end()
            self._posix(posix[2], bool(posix[1]), plain, others, caseless)
            self._no_range()
            return
        if self.pattern.startswith(("[.", "[="), self.position) and self.position + 2 <= self.last_collating:
            invalid("POSIX collating elements are not supported")
        start = self._class_character(plain, others, caseless)
        if start is None:
            return
        if self.peek() == "-" and self.pattern[self.position + 1 : self.position + 2] not in ("]", ""):
            self.position += 1
            end = self._class_character([], [], caseless)
            if end is None:
                invalid("invalid range in character class")
            plain.append(f"{start}-{end}")
        else:
            plain.append(start)

    def _class_character(self, plain: list[str], others: list[str], caseless: bool) -> str | None:
        """One literal character of a class; a type such as ``\\d`` is added to the lists and gives None."""
        char = self.take()
        if char != "\\":
            return literal(char)
        if self.position >= len(self.pattern):
            invalid("\\ at end of pattern")
        char = self.take()
        if char == "b":
            return "\\x08"
        if char == "Q":
            self._quoted(plain)
            return None
        if char == "E":
            return None
        if char in "BRX" or (char == "N" and self.peek() != "{"):
            invalid("escape sequence is invalid in character class")
        single = self.type_escape(char, caseless)
        if single is None:
            return self.literal_escape(char)
        if single.startswith("[") and not single.startswith("[^"):
            plain.append(single[1:-1])
        else:
            others.append(single)
        self._no_range()
        return None

    def _quoted(self, plain: list[str]) -> None:
        end = self.pattern.find("\\E", self.position)
        if end < 0:
            invalid("missing terminating ] for character class")
        plain += [literal(char) for char in self.pattern[self.position : end]]
        self.position = end + 2

    def _posix(self, name: str, negated: bool, plain: list[str], others: list[str], caseless: bool) -> None:
        if caseless and name in ("lower", "upper"):
            name = "alpha"
        members = (_UCP_POSIX if self.ucp else _POSIX).get(name)
        if members is None:
            invalid(f"the POSIX class [:{name}:] is {'not supported with (*UCP)' if name in _POSIX else 'unknown'}")
        if negated or caseless:
            others.append(f"(?-i:[{'^' if negated else ''}{members}])")
        else:
            plain.append(members)

    def _no_range(self) -> None:
        if self.peek() == "-" and self.pattern[self.position + 1 : self.position + 2] not in ("]", ""):
            invalid("invalid range in character class")
