"""JSON as a stream: an array of documents, or documents one after another, as ``mongoexport`` writes them.

The standard library's scanner tells where a document ends; what it means is for :mod:`doorleaf.ejson` to say, as it
does for a request.
"""

from __future__ import annotations

import codecs
import json
import re

from doorleaf.ejson.patient import too_long
from doorleaf.ejson.wrappers import LONGEST_NUMBER
from doorleaf.transfer import ndjson
from doorleaf.transfer.rows import CHUNK_BYTES, MOST_ROW_BYTES, Blank, Read, Row, Rows, Unreadable

_SPACE = re.compile(r"[ \t\r\n]*")
_CUT = 16
"""An error so few characters before the end of what is there may only say that the rest is still to come."""

_LARGE = 1024 * 1024
"""Characters from which on a value's end is looked for without reading it."""
_MOST_MARKS = 8_000_000
"""Brackets and texts of one row: one with more has more values than :func:`doorleaf.ejson.loads` reads."""
_MARK = re.compile(r'["{}\[\]]')
_BORDER = re.compile(r"[ \t\r\n,\[\]{}]")

_SCANNER = json.JSONDecoder()
_PATIENT = json.JSONDecoder(parse_int=str)  # Python reads no integer of more than 4300 digits


def rows(read: Read) -> Rows:
    """The rows of one array of objects, or of objects with white space, or nothing, between them."""
    text = _Text(read)
    if text.next() == "[":
        yield from _array(text)
    else:
        while text.next():
            yield text.element()


def _array(text: _Text) -> Rows:
    text.at += 1
    mark = text.next()
    while mark != "]":
        yield text.element()
        mark = text.next()
        if mark not in ("]", ","):
            raise text.wrong("expected a comma or the end of the array" if mark else "the array does not end")
        if mark == ",":
            text.at += 1
            if text.next() == "]":
                raise text.wrong("expected an object behind the comma")
    text.at += 1
    if text.next():
        raise text.wrong("there is something behind the end of the array")


class _Text:
    """The text of a file, of which only what is not read yet is there; ``at`` is how far ``text`` is read."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._over = False
        self._line, self._counted = 1, 0
        self.text = ""
        self.at = 0

    @property
    def line(self) -> int:
        """The line of the next character."""
        for at in range(self._counted, self.at, CHUNK_BYTES):
            self._line += self.text.count("\n", at, min(at + CHUNK_BYTES, self.at))
        self._counted = self.at
        return self._line

    def wrong(self, why: str) -> Unreadable:
        """The error of text that is no JSON from here on."""
        return Unreadable(f"line {self.line}: malformed JSON: {why}")

    def next(self) -> str:
        """The next character that is no white space, "" at the end."""
        blank = Blank()
        while True:
            before = self.at
            found = _SPACE.match(self.text, self.at, self.at + CHUNK_BYTES)
            self.at = found.end() if found else self.at
            if self.at < min(before + CHUNK_BYTES, len(self.text)):
                return self.text[self.at]
            blank.add(self.at - before, self.line)
            if self.at == len(self.text) and not self._more():
                return ""

    def _more(self) -> bool:
        """Read on, at least as much as is there; whether there was more."""
        if self._over:
            return False
        line = self._let_go()
        pieces, wanted = [self.text], max(CHUNK_BYTES, min(len(self.text), MOST_ROW_BYTES - len(self.text)))
        while wanted > 0 and not self._over:
            chunk = self._read(CHUNK_BYTES)
            self._over = not chunk
            try:
                pieces.append(self._decode(chunk, final=not chunk))
            except UnicodeDecodeError:
                raise Unreadable(f"behind line {line}: the file is not UTF-8") from None
            wanted -= len(chunk)
        self.text = "".join(pieces)
        return len(self.text) > len(pieces[0])

    def element(self) -> Row:
        """The row of the value that begins here."""
        while True:
            end = self._bracket() if len(self.text) - self.at > _LARGE else self._end()
            if (end or len(self.text)) - self.at > MOST_ROW_BYTES:
                raise Unreadable(f"line {self.line}: the row is longer than {MOST_ROW_BYTES} characters")
            # What is no object may go on behind the end of what is there.
            if end and (end < len(self.text) or self._over or self.text[end - 1] in '}]"'):
                break
            if not self._more():
                raise self.wrong("it ends within a value")
        made = ndjson.row(self.line, self._bytes(end))
        large, self.at = end - self.at > _LARGE, end
        if large:
            self._let_go()
        return made

    def _bytes(self, end: int) -> bytes:
        """The text up to ``end``, a piece at a time: no call lasts long."""
        starts = range(self.at, end, CHUNK_BYTES)
        return b"".join([self.text[at : min(at + CHUNK_BYTES, end)].encode(errors="replace") for at in starts])

    def _let_go(self) -> int:
        """Hold what is read no longer; the line of what comes."""
        line = self.line
        self.text = self.text[self.at :]
        self.at = self._counted = 0
        return line

    def _bracket(self) -> int:
        """Where the value that begins here ends, by its brackets alone: one that may be large becomes no values before
        somebody has judged whether it may. 0 when that is not there yet."""
        if self.text[self.at] not in "{[":
            return self._plain()
        opened, at, marks = bytearray(), self.at, 0
        while at < len(self.text):
            found = _MARK.search(self.text, at, at + CHUNK_BYTES)
            if found is None:
                at += CHUNK_BYTES
                continue
            at, mark, marks = found.end(), found[0], marks + 1
            if marks > _MOST_MARKS:
                raise self.wrong("a row has more values than any may have")
            if mark == '"':
                at = self._behind_string(at)
                if not at:
                    return 0
            elif mark in "{[":
                opened.append(ord(mark) + 2)  # what closes it
            elif opened.pop() != ord(mark):
                self.at = at - 1
                raise self.wrong(f"{mark} closes another bracket")
            elif not opened:
                return at
        return 0

    def _plain(self) -> int:
        """Where the string, the number or the word that begins here ends; 0 when that is not there yet."""
        if self.text[self.at] == '"':
            return self._behind_string(self.at + 1)
        if _BORDER.search(self.text, self.at, self.at + LONGEST_NUMBER + 1) is None:
            raise self.wrong(too_long(self.text[self.at : self.at + 40]))
        return self._end()

    def _behind_string(self, at: int) -> int:
        """Where the string is over in which ``at`` is, 0 when its end is not there yet."""
        while (end := self.text.find('"', at)) >= 0:
            before, piece = end, ""
            while not piece and before > at and self.text[before - 1] == "\\":
                start = max(at, before - CHUNK_BYTES)
                piece = self.text[start:before].rstrip("\\")
                before = start + len(piece)
            if (end - before) % 2 == 0:
                return end + 1
            at = end + 1
        return 0

    def _end(self, scanner: json.JSONDecoder = _SCANNER) -> int:
        """Where the value that begins here ends, 0 when that is not there yet."""
        try:
            return scanner.raw_decode(self.text, self.at)[1]
        except json.JSONDecodeError as error:
            near = error.pos >= len(self.text) - _CUT or error.msg.startswith("Unterminated string")
            if near and not self._over:
                return 0
            self.at = error.pos
            raise self.wrong(f"{error.msg[:1].lower()}{error.msg[1:]}") from None
        except ValueError:
            return self._end(_PATIENT)
        except RecursionError:
            raise self.wrong("it is nested too deeply") from None
