"""PCRE2 patterns: what they match, compared with what the ``regex`` module alone would say."""

from __future__ import annotations

import time

import pytest

from doorleaf.errors import DataError, StoreTimeout
from doorleaf.mql.context import Context
from doorleaf.mql.regular.compile import compile_regex

MATCHES: list[tuple[str, str, list[str], list[str]]] = [
    ("", "", ["", "x"], []),
    ("a|", "", ["z"], []),
    (r"^\d$", "", ["3"], ["٣", "x"]),
    (r"^\D$", "", ["٣", "x"], ["3"]),
    (r"(*UCP)^\d$", "", ["3", "٣"], ["x"]),
    (r"(*UTF8)(*UCP)^\w$", "", ["é", "_"], ["-"]),
    (r"^\w$", "i", ["k", "K"], ["\u212a", "é"]),
    (r"^[\w]$", "i", ["k"], ["\u212a"]),
    (r"^[^\W]$", "", ["a"], ["é", "-"]),
    (r"^[\Wa]$", "", ["é", "a", "-"], ["b"]),
    (r"^[^\D5]$", "", ["4"], ["5", "x"]),
    ("^k$", "i", ["k", "K", "\u212a"], ["x"]),
    ("^ß$", "i", ["ß", "ẞ"], ["ss"]),
    (r"^\s$", "", [" ", "\t", "\x0b", "\f"], ["\u00a0", "x"]),
    (r"^\h$", "", [" ", "\t", "\u00a0", "\u2003"], ["\n"]),
    (r"^\H$", "", ["x", "\n"], [" "]),
    (r"^\v$", "", ["\n", "\x0b", "\u2028"], [" ", "v"]),
    (r"^\V$", "", ["x", " "], ["\x0b"]),
    (r"^\R$", "", ["\r\n", "\n", "\x85"], ["\n\r", "x"]),
    (r"^\N$", "", ["x"], ["\n"]),
    (r"^\N$", "s", ["x"], ["\n"]),
    (r"^\X$", "", ["e\u0301", "x"], ["xy"]),
    ("^$", "m", ["", "a\n\nb"], ["a\n"]),
    ("^b", "m", ["a\nb"], ["ab"]),
    ("a$", "m", ["a\nb", "a\n"], ["ab"]),
    ("a$", "", ["a", "a\n"], ["a\nb", "a\n\n"]),
    (r"a\z", "", ["a"], ["a\n"]),
    (r"a\Z", "", ["a", "a\n"], ["a\n\n"]),
    (r"\Ab", "m", ["b"], ["a\nb"]),
    ("^a.b$", "", ["axb"], ["a\nb", "ab"]),
    ("^a.b$", "s", ["a\nb"], ["ab"]),
    ("^(?s)a.b$", "", ["a\nb"], ["ab"]),
    ("^(?s:a.b).$", "", ["a\nbx"], ["a\nb\n"]),
    ("(?m)^b", "", ["a\nb"], ["ab"]),
    (r"^\Qa.b\E+$", "", ["a.b", "a.bbb"], ["axb", "a.ba.b"]),
    (r"^\Qa.b", "", ["a.bc"], ["axb"]),
    (r"^a\Eb$", "", ["ab"], ["a"]),
    ("^ a b # c\n d $", "x", ["abd"], ["a b", "ab"]),
    ("^(?x) a b (?-x) c$", "", ["ab c"], ["abc"]),
    (r"^a\ b[ ]$", "x", ["a b "], ["ab"]),
    ("(?i)ab", "", ["xAB"], ["ax"]),
    ("^a(?i)b|c$", "", ["aB", "C", "c"], ["AB"]),
    ("^(a(?i)b|c)d$", "", ["aBd", "Cd"], ["aBD", "ABd"]),
    ("^(?i:a)b$", "", ["Ab"], ["AB"]),
    ("^(?i)k(?-i)x$", "", ["Kx"], ["KX"]),
    ("^(?^:a)b$", "i", ["aB"], ["AB"]),
    (r"\bcat\b", "", ["a cat.", "écat"], ["cats"]),
    (r"(*UCP)\bcat\b", "", ["a cat."], ["écat"]),
    (r"\Bcat", "", ["xcat"], ["cat"]),
    ("^[[:alpha:]]+$", "", ["aZ"], ["é", "1"]),
    ("^[[:^alpha:]]+$", "", ["1é"], ["a"]),
    ("^[[:upper:]]$", "", ["A"], ["a"]),
    ("^[[:upper:]]$", "i", ["A", "a"], ["1"]),
    ("^[^[:space:]x]$", "", ["a"], [" ", "x"]),
    ("^[[:punct:]]$", "", ["!", "~", "_"], ["a", " "]),
    ("^[]a]$", "", ["]", "a"], ["b"]),
    ("^[^]a]$", "", ["b"], ["]", "a"]),
    (r"^[a\-z]$", "", ["-", "z"], ["b"]),
    ("^[a-]$", "", ["-", "a"], ["b"]),
    (r"^[\b]$", "", ["\b"], ["b"]),
    (r"^[\Qa-c\E]$", "", ["a", "-", "c"], ["b"]),
    ("^[a&&b]$", "", ["a", "&"], ["c"]),
    ("^[[a]$", "", ["[", "a"], ["b"]),
    (r"^\p{Lu}$", "", ["É"], ["é", "1"]),
    (r"^\p{Lu}$", "i", ["É"], ["é"]),
    (r"^\pL+$", "", ["éa"], ["1"]),
    (r"^\P{L}$", "", ["1"], ["a"]),
    (r"^\p{^L}$", "", ["1"], ["a"]),
    (r"^[\p{Greek}\d]+$", "", ["αβ1"], ["a"]),
    (r"^\p{L&}$", "", ["a"], ["1"]),
    (r"^\x41\x{e9}\101\o{101}\cA\e\a$", "", ["AéAA\x01\x1b\x07"], ["x"]),
    (r"^\07$", "", ["\x07"], ["7"]),
    (r"^(a)\1$", "", ["aa"], ["a1"]),
    (r"^(a)\11$", "", ["a\t"], ["aa1"]),
    (r"^(a)\g{1}\g1\g{-1}$", "", ["aaaa"], ["aaa"]),
    (r"^(?<n>a|b)\k<n>\k{n}\k'n'\g{n}(?P=n)$", "", ["aaaaaa", "bbbbbb"], ["aaaaab"]),
    (r"^(?P<n>a)(?'m'b)\2\1$", "", ["abba"], ["abab"]),
    (r"^(\d)-(?1)(?<p>[ab])(?&p)$", "", ["1-2ab"], ["1-xab"]),
    ("^(?|(a)|(b))\\1$", "", ["aa", "bb"], ["ab"]),
    ("^(?>a+)b", "", ["aab"], ["aac"]),
    ("^a++a", "", [], ["aaa"]),
    ("^a?+a$", "", ["aa"], ["a"]),
    ("^a*?b$", "", ["aab"], ["aa"]),
    ("^(?=a)a(?!b)", "", ["ac"], ["ab"]),
    ("(?<=a)b(?<!xab)", "", ["ab"], ["xab"]),
    ("^(a)?(?(1)b|c)$", "", ["ab", "c"], ["ac", "b"]),
    ("^(?(?=a)ab|c)$", "", ["ab", "c"], ["a"]),
    ("^(?(DEFINE)(?<d>\\d+))(?&d)$", "", ["12"], ["x"]),
    ("^a{2}$", "", ["aa"], ["a", "a{2}"]),
    ("^a{,2}$", "", ["a{,2}"], ["aa"]),
    ("^a{x}{$", "", ["a{x}{"], ["a"]),
    ("^(?:foo){e<=1}$", "", ["foo{e<=1}"], ["fo"]),
    ("^a(?#comment)b$", "", ["ab"], ["a"]),
    ("^a(*FAIL)|b$", "", ["b"], ["a"]),
    (r"^foo\.bar", "", ["foo.bar!"], ["fooxbar", "xfoo.bar"]),
    (r"a/b#c", "", ["a/b#c"], ["abc"]),
    ("^é", "", ["éa"], ["e"]),
    (r"\/\_\-\@", "", ["/_-@"], ["x"]),
]


@pytest.mark.parametrize(("pattern", "options", "matching", "others"), MATCHES)
def test_patterns(pattern: str, options: str, matching: list[str], others: list[str]) -> None:
    expression = compile_regex(pattern, options)
    context = Context()
    for text in matching:
        assert expression.matches(text, context), text
        assert expression.find(text, context) is not None, text
    for text in others:
        assert not expression.matches(text, context), text
        assert expression.find(text, context) is None, text


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", "missing closing parenthesis"),
        ("a)", "unmatched closing parenthesis"),
        ("[a", "missing terminating ]"),
        ("[z-a]", "bad character range"),
        (r"[\d-z]", "invalid range in character class"),
        ("[[:nope:]]", "POSIX class [:nope:] is unknown"),
        ("[[.a.]]", "POSIX collating elements are not supported"),
        ("*a", "quantifier does not follow a repeatable item"),
        ("a{2}{3}", "quantifier does not follow a repeatable item"),
        ("a{70000}", "number too big in {} quantifier"),
        ("a\\", "\\ at end of pattern"),
        (r"\y", "unrecognized character follows"),
        (r"\C", "\\C is not supported"),
        (r"\p{Foo}", ""),
        (r"\x{110000}", "too large"),
        (r"(a)\2", "non-existent"),
        (r"\k<x>", "non-existent"),
        ("(?<a>x)(?<a>y)", "same name"),
        ("(?<1>x)", "subpattern name expected"),
        ("(?J)a", "option setting"),
        ("(?U)a+", "option setting"),
        ("(*COMMIT)a", "(*COMMIT) is not supported"),
        ("(*CRLF)a", "(*CRLF) is not supported"),
        ("(?(1)a)", "is not supported"),
        ("(?C1)a", "unrecognized character after (?"),
        ("(" * 300 + ")" * 300, "too deeply nested"),
        ("((a{1000}){1000}){1000}", "too large"),
        ("x" * 40000, "longer than"),
    ],
)
def test_refused_patterns(pattern: str, reason: str) -> None:
    with pytest.raises(DataError, match="Regular expression is invalid") as caught:
        compile_regex(pattern)
    assert caught.value.number == 51091
    assert reason in caught.value.message


def test_capture_groups_keep_their_numbers() -> None:
    match = compile_regex(r"(?i)(\w+)[\W]+(?:x)?(?<last>\d+)\b").find("ab -- 12", Context())
    assert match is not None
    assert match.groups() == ("ab", "12")
    assert match.span(2) == (6, 8)


def test_finding_from_a_position() -> None:
    expression = compile_regex("a")
    assert expression.find("banana", Context(), 2).start() == 3
    assert expression.find("banana", Context(), 6) is None


def test_compiled_patterns_are_kept() -> None:
    assert compile_regex("^a.b", "i") is compile_regex("^a.b", "i")
    assert compile_regex("^a.b", "i") is not compile_regex("^a.b", "")


def test_deadline() -> None:
    expression = compile_regex("(x+x+)+y")
    with pytest.raises(StoreTimeout):
        expression.find("x" * 10000, Context(time.monotonic() + 0.1))
    with pytest.raises(StoreTimeout):
        expression.find("x", Context(deadline=0.0))
