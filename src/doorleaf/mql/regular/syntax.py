"""PCRE2 patterns, as MongoDB takes them, rewritten for the ``regex`` module.

The options m, s and x are resolved here, so that the result depends on ``IGNORECASE`` alone; capture groups keep their
numbers. ``\\d \\w \\s \\b`` and the POSIX classes are ASCII unless the pattern begins with ``(*UCP)``.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from doorleaf.errors import Unsupported
from doorleaf.mql.regular.classes import CharacterClasses, invalid, literal

_NESTING_LIMIT = 250
_REPEAT_LIMIT = 65535
_WEIGHT_LIMIT = 200_000
_QUANTIFIER = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_NAME = re.compile(r"[^\W\d]\w{0,31}", re.ASCII)
_FLAGS = re.compile(r"\^?[a-zA-Z]*(?:-[a-zA-Z]*)?")
_START_VERB = re.compile(r"\(\*(UCP|UTF8?|LF|NO_START_OPT|NO_AUTO_POSSESS|NO_JIT|NO_DOTSTAR_ANCHOR)\)")
_VERBS = {"FAIL": "(?!)", "F": "(?!)", "PRUNE": "(*PRUNE)", "SKIP": "(*SKIP)"}
_OPENERS = {"?:": "(?:", "?=": "(?=", "?!": "(?!", "?<=": "(?<=", "?<!": "(?<!", "?>": "(?>", "?|": "(?|"}
_SIMPLE = {
    "A": r"\A",
    "G": r"\A",
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "R": r"(?>\r\n|[\n\x0b\f\r\x85\u2028\u2029])",
    "X": r"\X",
    "K": r"\K",
}


class Flags(NamedTuple):
    """Options in force at one place of a pattern."""

    caseless: bool = False
    multiline: bool = False
    dotall: bool = False
    extended: bool = False


def translate(pattern: str, options: str) -> str:
    """The ``regex`` module's form of ``pattern``; raises code 51091 for what cannot be expressed."""
    flags = Flags("i" in options, "m" in options, "s" in options, "x" in options)
    ucp = False
    start = 0
    while match := _START_VERB.match(pattern, start):
        ucp = ucp or match[1] == "UCP"
        start = match.end()
    return _Translation(pattern, start, ucp).whole(flags)


class _Translation(CharacterClasses):
    """One pass over a pattern."""

    def __init__(self, pattern: str, start: int, ucp: bool) -> None:
        super().__init__(pattern, start, ucp)
        self.total_groups = _count_groups(pattern)
        self.groups = 0
        self.names: dict[str, int] = {}
        self.open: list[int] = []
        self.calls: list[tuple[tuple[int, ...], int | str]] = []
        self.branch_reset = False
        self.depth = 0
        self.weight = 0
        self.repeats = 1

    def whole(self, flags: Flags) -> str:
        text = self.alternatives(flags)
        if self.position < len(self.pattern):
            invalid("unmatched closing parenthesis")
        self.check_calls()
        return text

    def check_calls(self) -> None:
        """Refuse calls that lead back to where they are: how deep they go, the text decides."""
        reached: dict[int, set[int]] = {}
        for inside, target in self.calls:
            number = target if isinstance(target, int) else self.names.get(target, 0)
            for group in inside:
                reached.setdefault(group, set()).add(number)
        state: dict[int, bool] = {}
        pending = [(group, False) for group in reached]
        while pending:
            group, done = pending.pop()
            if done:
                state[group] = True
            elif group not in state:
                state[group] = False
                pending.append((group, True))
                pending += [(number, False) for number in reached.get(group, ())]
            elif not state[group]:
                _no_recursion()

    def alternatives(self, flags: Flags) -> str:
        """Everything up to the closing parenthesis or the end; inline options last until there."""
        caseless = flags.caseless
        out: list[str] = []
        open_scopes = 0
        while self.position < len(self.pattern) and self.peek() != ")":
            if self.peek() == "|":
                self.position += 1
                out.append(")" * open_scopes + "|")
                open_scopes = int(flags.caseless != caseless)
                out.append(_scope(flags.caseless) * open_scopes)
                continue
            changed = self.inline_flags(flags)
            if changed is not None:
                if changed.caseless != flags.caseless:
                    out.append(_scope(changed.caseless))
                    open_scopes += 1
                flags = changed
                continue
            out.append(self.item(flags))
        out.append(")" * open_scopes)
        return "".join(out)

    def item(self, flags: Flags) -> str:
        """One atom with its quantifier."""
        if flags.extended and self.skip_space():
            return ""
        before = self.weight
        self.weight += 1
        atom = self.atom(flags)
        if not atom:
            return ""
        if flags.extended:
            self.skip_space()
        text = self.quantifier()
        # Required repeats are unrolled when compiled, so that nested ones could take all memory.
        self.weight = before + (self.weight - before) * self.repeats
        if self.weight > _WEIGHT_LIMIT:
            invalid("regular expression is too large")
        return atom + text

    def atom(self, flags: Flags) -> str:
        char = self.take()
        if char == "\\":
            return self.escape(flags)
        if char == "[":
            return self.character_class(flags.caseless)
        if char == "(":
            return self.group(flags)
        if char == ".":
            return "(?s:.)" if flags.dotall else "."
        if char == "^":
            # Unlike Python, PCRE has no line start after a newline that ends the subject.
            return r"(?:^|(?<=\n)(?!\Z))" if flags.multiline else "^"
        if char == "$":
            return r"(?=\n|\Z)" if flags.multiline else "$"
        if char in "*+?" or (char == "{" and _QUANTIFIER.match(self.pattern, self.position - 1)):
            invalid("quantifier does not follow a repeatable item")
        return literal(char)

    def quantifier(self) -> str:
        self.repeats = 1
        char = self.peek()
        if char in ("*", "+", "?"):
            self.position += 1
            text = char
        elif char == "{" and (match := _QUANTIFIER.match(self.pattern, self.position)):
            self.position = match.end()
            text = self.bounded(match)
        else:
            return ""
        if self.peek() in ("?", "+"):
            text += self.take()
        return text

    def bounded(self, match: re.Match[str]) -> str:
        low = int(match[1])
        high = int(match[3]) if match[3] else low
        if max(low, high) > _REPEAT_LIMIT:
            invalid("number too big in {} quantifier")
        if high < low:
            invalid("numbers out of order in {} quantifier")
        self.repeats = max(low, 1)
        return match[0]

    # --- backslash -----------------------------------------------------------------------------------------------

    def escape(self, flags: Flags) -> str:
        if self.position >= len(self.pattern):
            invalid("\\ at end of pattern")
        char = self.take()
        if char in _SIMPLE:
            return _SIMPLE[char]
        if char == "Q":
            return self.quoted()
        if char == "E":
            return ""
        if char in "bB":
            return self.boundary(negated=char == "B")
        if char == "N":
            return "[^\\n]" if self.peek() != "{" else self.literal_escape(char)
        if char in "kg":
            return self.reference(char)
        if char in "123456789" and (number := self.decimal_reference(char)):
            return self.backreference(number)
        single = self.type_escape(char, flags.caseless)
        return single if single is not None else self.literal_escape(char)

    def quoted(self) -> str:
        end = self.pattern.find("\\E", self.position)
        text = self.pattern[self.position :] if end < 0 else self.pattern[self.position : end]
        self.position = len(self.pattern) if end < 0 else end + 2
        if not text:
            return ""
        # A quantifier after \E belongs to the last character alone, which holds without a group.
        return "".join(literal(char) for char in text)

    def decimal_reference(self, first: str) -> int:
        """The group that ``\\12`` names, or 0 when it is an octal number; consumes the digits of a reference."""
        digits = re.compile(r"\d*", re.ASCII).match(self.pattern, self.position)
        number = int(first + (digits[0] if digits else ""))
        if number >= 10 and number > self.total_groups:
            return 0
        self.position = digits.end() if digits else self.position
        return number

    def backreference(self, number: int) -> str:
        if not 0 < number <= self.total_groups:
            invalid("reference to non-existent subpattern")
        return f"(?:\\{number})"

    def reference(self, char: str) -> str:
        """``\\k<name>``, ``\\g{name}``, ``\\g{2}``, ``\\g{-1}``, ``\\g2``; with ``\\g<...>`` a call."""
        closer = {"<": ">", "'": "'", "{": "}"}.get(self.peek())
        if closer is None:
            number = re.compile(r"[+-]?\d+", re.ASCII).match(self.pattern, self.position)
            if char == "k" or number is None:
                invalid(f"\\{char} is not followed by a name or number")
            self.position = number.end()
            return self.backreference(self.absolute(number[0]))
        end = self.pattern.find(closer, self.position + 1)
        if end < 0:
            invalid(f"\\{char} is not followed by a terminated name")
        name = self.pattern[self.position + 1 : end]
        self.position = end + 1
        if char == "g" and closer != "}":
            return self.call(name)
        if char == "g" and re.fullmatch(r"[+-]?\d+", name, re.ASCII):
            return self.backreference(self.absolute(name))
        return f"(?P={self.known(name)})"

    def absolute(self, text: str) -> int:
        if text[0] in "+-":
            if self.branch_reset:
                invalid("a relative reference after a branch reset group is not supported")
            offset = int(text)
            return self.groups + 1 + offset if offset < 0 else self.groups + offset
        return int(text)

    def call(self, name: str) -> str:
        """A call of a group by number or name, which may not lead back to the group it is in."""
        if name in ("R", "0"):
            _no_recursion()
        if re.fullmatch(r"[+-]?\d+", name, re.ASCII):
            number = self.absolute(name)
            if not 0 < number <= self.total_groups:
                invalid("reference to non-existent subpattern")
            self.calls.append((tuple(self.open), number))
            return f"(?{number})"
        if not _NAME.fullmatch(name):
            invalid("subpattern name expected")
        self.calls.append((tuple(self.open), name))
        return f"(?&{name})"

    def known(self, name: str) -> str:
        if name not in self.names:
            invalid("reference to non-existent subpattern")
        return name

    # --- groups --------------------------------------------------------------------------------------------------

    def inline_flags(self, flags: Flags) -> Flags | None:
        """Options set for the rest of the group, ``(?i)``; None when something else comes."""
        if not self.pattern.startswith("(?", self.position):
            return None
        match = _FLAGS.match(self.pattern, self.position + 2)
        if match is None or not match[0] or self.pattern[match.end() : match.end() + 1] != ")" or match[0] == "R":
            return None
        self.position = match.end() + 1
        return _apply_flags(match[0], flags)

    def group(self, flags: Flags) -> str:
        self.depth += 1
        if self.depth > _NESTING_LIMIT:
            invalid("parentheses are too deeply nested")
        text = self.group_text(flags)
        self.depth -= 1
        return text

    def group_text(self, flags: Flags) -> str:
        if self.peek() == "*":
            return self.verb()
        if self.peek() != "?":
            return "(" + self.capturing(flags)
        for opener in ("?<=", "?<!", "?:", "?=", "?!", "?>", "?|"):
            if self.pattern.startswith(opener, self.position):
                self.position += len(opener)
                self.branch_reset = self.branch_reset or opener == "?|"
                return _OPENERS[opener] + self.body(flags)
        self.position += 1
        return self.special_group(flags)

    def special_group(self, flags: Flags) -> str:
        char = self.peek()
        if char == "#":
            self.position = self.find(")", "missing terminating ) of a comment") + 1
            return ""
        if char == "(":
            return self.conditional(flags)
        if char == "P" and self.pattern[self.position + 1 : self.position + 2] in ("=", ">"):
            return self.python_reference()
        if char in ("<", "'", "P"):
            return self.named_group(flags)
        if char == "&" or char == "R" or re.compile(r"[+-]?\d", re.ASCII).match(self.pattern, self.position):
            end = self.find(")", "missing closing parenthesis")
            name = self.pattern[self.position : end].removeprefix("&")
            self.position = end + 1
            return self.call(name)
        match = _FLAGS.match(self.pattern, self.position)
        if match is None or self.pattern[match.end() : match.end() + 1] != ":":
            invalid("unrecognized character after (? or (?-")
        self.position = match.end() + 1
        inner = _apply_flags(match[0], flags)
        return (_scope(inner.caseless) if inner.caseless != flags.caseless else "(?:") + self.body(inner)

    def body(self, flags: Flags) -> str:
        text = self.alternatives(flags)
        if self.peek() != ")":
            invalid("missing closing parenthesis")
        self.position += 1
        return text + ")"

    def named_group(self, flags: Flags) -> str:
        if self.peek() == "P":
            self.position += 1
        closer = {"<": ">", "'": "'"}.get(self.peek())
        name = _NAME.match(self.pattern, self.position + 1)
        if closer is None or name is None or self.pattern[name.end() : name.end() + 1] != closer:
            invalid("subpattern name expected")
        if name[0] in self.names:
            invalid("two named subpatterns have the same name")
        self.names[name[0]] = self.groups + 1
        self.position = name.end() + 1
        return f"(?P<{name[0]}>" + self.capturing(flags)

    def capturing(self, flags: Flags) -> str:
        self.groups += 1
        self.open.append(self.groups)
        text = self.body(flags)
        self.open.pop()
        return text

    def python_reference(self) -> str:
        kind = self.pattern[self.position + 1]
        end = self.find(")", "missing closing parenthesis")
        name = self.pattern[self.position + 2 : end]
        self.position = end + 1
        return f"(?P={self.known(name)})" if kind == "=" else self.call(name)

    def conditional(self, flags: Flags) -> str:
        if re.compile(r"\(\?<?[=!]").match(self.pattern, self.position):
            self.position += 1
            return "(?" + self.group(flags) + self.body(flags)
        end = self.find(")", "malformed number or name after (?(")
        name = self.pattern[self.position + 1 : end].strip("<>'")
        self.position = end + 1
        if name != "DEFINE" and not (name.isdigit() and 0 < int(name) <= self.total_groups) and name not in self.names:
            invalid(f"the condition ({name}) is not supported")
        return f"(?({name})" + self.body(flags)

    def verb(self) -> str:
        end = self.find(")", "missing closing parenthesis")
        name = self.pattern[self.position + 1 : end]
        self.position = end + 1
        if name not in _VERBS:
            invalid(f"(*{name}) is not supported")
        return _VERBS[name]

    def find(self, text: str, reason: str) -> int:
        end = self.pattern.find(text, self.position)
        return end if end >= 0 else invalid(reason)

    def skip_space(self) -> bool:
        """Skip white space and comments of extended patterns; whether there was any."""
        start = self.position
        while (char := self.peek()) and char in " \t\n\x0b\f\r#":
            self.position += 1
            if char == "#":
                end = self.pattern.find("\n", self.position)
                self.position = len(self.pattern) if end < 0 else end + 1
        return self.position > start


def _no_recursion() -> NoReturn:
    raise Unsupported("recursion in regular expressions is not supported by this data source")


def _scope(caseless: bool) -> str:
    return "(?i:" if caseless else "(?-i:"


def _apply_flags(text: str, flags: Flags) -> Flags:
    if text.startswith("^"):
        flags, text = Flags(), text[1:]
    on, _, off = text.partition("-")
    fields = {"i": "caseless", "m": "multiline", "s": "dotall", "x": "extended"}
    for letters, value in ((on, True), (off, False)):
        for letter in letters:
            if letter not in fields or "xx" in letters:
                invalid(f"the option setting (?{text}) is not supported")
            flags = flags._replace(**{fields[letter]: value})
    return flags


_NAMED = re.compile(r"\?P?<(?![=!])|\?'")
_BRACKET_END = re.compile(r"\\.|\[:\^?\w+:\]|\]", re.S)


def _count_groups(pattern: str) -> int:
    """How many capture groups a pattern has, in one pass over it."""
    count = position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "\\":
            if pattern[position : position + 1] == "Q":
                position = _after(pattern, "\\E", position)
            position += 1
        elif char == "[":
            position = _after_class(pattern, position)
        elif char == "(":
            if pattern.startswith("?#", position) or (
                pattern.startswith("?(", position) and not pattern.startswith("?(?", position)
            ):
                position = _after(pattern, ")", position)
            elif pattern[position : position + 1] not in ("?", "*") or _NAMED.match(pattern, position):
                count += 1
    return count


def _after(pattern: str, text: str, position: int) -> int:
    """The place after ``text``, or the end."""
    found = pattern.find(text, position)
    return len(pattern) if found < 0 else found + len(text)


def _after_class(pattern: str, position: int) -> int:
    """The place after a bracketed class that begins at ``position``, or the end: then the pattern is invalid."""
    position += pattern.startswith("^", position)
    position += pattern.startswith("]", position)
    for match in _BRACKET_END.finditer(pattern, position):
        if match[0] == "]":
            return match.end()
    return len(pattern)
