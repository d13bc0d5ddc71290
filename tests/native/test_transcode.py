"""The native transcoder writes what the Python writes, byte for byte, or declines; whatever bytes it is given."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from native_values import Values, fuzz, sanitized

from doorleaf.documents import CODEC, Documents
from doorleaf.ejson import Mode, encode_document, encode_documents, write

if write.native is None:
    pytest.skip("built without a C compiler", allow_module_level=True)

NATIVE: Any = write.native
ROOT = Path(__file__).parents[2]
MODES = (Mode.PLAIN, Mode.CANONICAL, Mode.RELAXED)
PLUS = write._PLUS

ORDINARY: dict[str, Any] = {
    "empty": {},
    "strings": {"a": "", "b": 'quotes " and \\ and / and \x7f', "c": "\0\x01\x1f\b\t\n\f\r", "long": "x" * 1000},
    "UTF-8": {"é": "ß", "漢字": "語", "𝄞": "🙂" * 20, "edges": "\x80߿ࠀ퟿￿\U00010000\U0010ffff"},
    "integers": {"a": 0, "b": -1, "c": 2**31 - 1, "d": -(2**31), "e": Int64(2**63 - 1), "f": Int64(-(2**63))},
    "doubles": {str(at): value for at, value in enumerate((0.0, -0.0, 1.0, -10.0, 0.1, 42.5, 1 / 3, 1e15, 123456.789))},
    "far doubles": {"a": 1e16, "b": 1.5e300, "c": 1e-5, "d": 1.25e-7, "e": 9.999e22, "f": 123456789012345678.0},
    "no numbers": {"a": float("nan"), "b": float("inf"), "c": float("-inf")},
    "ids": {"_id": ObjectId("64224f3cd79f54ad342dd9b1")},
    "dates": {"a": datetime(2026, 1, 2, 3, 4, 5, 678000), "b": datetime(1969, 12, 31), "c": datetime(2000, 2, 29)},
    "edges of dates": {"a": datetime(1, 1, 1), "b": datetime(9999, 12, 31, 23, 59, 59, 999000), "c": DatetimeMS(2**62)},
    "decimals": {text: Decimal128(text.replace("_", ".")) for text in ("0", "-0", "1_50", "1E+3", "1E-7", "0_000001")},
    "far decimals": {text: Decimal128(text.replace("_", ".")) for text in ("9_9E+6144", "1E-6176", "NaN", "-Infinity")},
    "binaries": {"a": b"", "b": b"1", "c": b"12", "d": b"123", "e": Binary(b"\xff" * 16, 4), "f": Binary(b"x", 128)},
    "expressions": {"a": Regex("^a/b\"", "msi"), "b": Regex("")},
    "others": {"a": None, "b": True, "c": False, "d": MinKey(), "e": MaxKey(), "f": Timestamp(1, 2), "g": Code("x()")},
    "nested": {"a": {"b": [1, [2, {"c": []}], {}]}, "e": []},
    "many fields": {f"field{number}": number for number in range(500)},
}  # fmt: skip

LEFT_TO_PYTHON: dict[str, bytes] = {
    "a DBRef": bson.encode({"a": DBRef("c", 1)}),
    "code with a scope": bson.encode({"a": Code("x", {"y": 1})}),
    "bytes that are not UTF-8": bson.encode({"a": "abc"}).replace(b"abc", b"a\xffc"),
    "half a surrogate pair": bson.encode({"a": "abc"}).replace(b"abc", b"\xed\xa0\x80"),
    "a name twice": bson.encode({"a": 1, "b": 2}).replace(b"b\0", b"a\0"),
    "a name twice among many": bson.encode({f"f{number:02}": number for number in range(40)}).replace(b"f39", b"f00"),
    "the old binary": bson.encode({"a": Binary(b"abc", 2)}),
    "the smallest double": bson.encode({"a": 5e-324}),
    "a power of two": bson.encode({"a": 2.0**-44}),
    "more fields than are compared": bson.encode({f"field{number}": number for number in range(600)}),
}


def in_python(batches: list[bytes], mode: Mode, monkeypatch: pytest.MonkeyPatch) -> bytes:
    with monkeypatch.context() as patch:
        patch.setattr(write, "native", None)
        return encode_documents(Documents(batches), mode)


def natively(batches: list[bytes], mode: Mode) -> bytes | None:
    found: bytes | None = NATIVE.documents(batches, MODES.index(mode), PLUS)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_ordinary_is_written(name: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    document = bson.encode(ORDINARY[name], codec_options=CODEC)
    expected = in_python([document], mode, monkeypatch)
    assert natively([document], mode) == expected
    assert b"[" + encode_document(document, mode) + b"]" == expected
    assert natively([document + document, b"", document], mode) == b"[" + b",".join([expected[1:-1]] * 3) + b"]"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LEFT_TO_PYTHON)
def test_what_is_rare_is_left_to_python(name: str, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    document = LEFT_TO_PYTHON[name]
    assert natively([document], mode) is None
    assert encode_documents(Documents([document]), mode) == in_python([document], mode, monkeypatch)


def test_arguments() -> None:
    assert natively([], Mode.PLAIN) == b"[]"
    for wrong in (4, -1):
        with pytest.raises(ValueError, match="mode"):
            NATIVE.documents([], wrong, PLUS)
    with pytest.raises(TypeError):
        NATIVE.documents(["text"], 0, PLUS)
    with pytest.raises(TypeError):
        NATIVE.documents((), 0, PLUS)


def test_depth_has_an_end() -> None:
    document = b"\x05\0\0\0\0"
    for _ in range(50_000):
        size = len(document) + 8
        document = size.to_bytes(4, "little") + b"\x03a\0" + document + b"\0"
        if size > 400_000:
            break
    assert natively([document], Mode.PLAIN) is None


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_write_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = Values(seed)
    written = 0
    for _ in range(500):
        document = bson.encode(values.document(), codec_options=CODEC)
        if values.random.random() < 0.4:
            document = values.damaged(document)
        for mode in MODES:
            found = natively([document], mode)
            if found is not None:
                written += 1
                assert found == in_python([document], mode, monkeypatch), (mode, document)
    assert written > 300


def test_no_byte_is_touched_that_is_not_its_own(tmp_path: Path) -> None:
    program = sanitized("fuzz.c", tmp_path)
    values, files = Values(99), []
    for number in range(40):
        files.append(tmp_path / f"{number}.bson")
        document = bson.encode(values.document(), codec_options=CODEC)
        files[-1].write_bytes(document if number % 4 else document + document)
    for name, ordinary in ORDINARY.items():
        files.append(tmp_path / f"{name}.bson")
        files[-1].write_bytes(bson.encode(ordinary, codec_options=CODEC))
    written, declined = fuzz(program, files)
    assert written > 1000
    assert declined > 1000


@pytest.mark.parametrize(("compiler", "native"), [("", True), ("false", False)])
def test_the_wheel_is_made_with_a_compiler_and_without(compiler: str, native: bool, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, project)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel"],
        cwd=project,
        env=os.environ | ({"CC": compiler} if compiler else {}),
        capture_output=True,
        check=True,
    )
    (wheel,) = (project / "dist").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert ("doorleaf/ejson/_transcode.abi3.so" in names) is native
    assert wheel.name.endswith("-none-any.whl") is not native
    assert "doorleaf/ejson/write.py" in names
    assert not [name for name in names if name.endswith((".c", ".h"))]


def test_what_one_python_compiles_another_can_load() -> None:
    """Formats with a # mean another function from 3.13 on, which earlier ones refuse to run."""
    source = (ROOT / "src" / "doorleaf" / "ejson" / "native" / "module.c").read_text(encoding="utf-8")
    formats = re.findall(r'(?:PyArg_Parse\w*|Py_BuildValue)\([^"]*"([^"]*)"', source)
    assert formats
    assert not [text for text in formats if "#" in text]


def raw(fields: list[tuple[str, Any]], array: bool = False) -> bytes:
    """BSON of ``fields``, whose names may come twice; a list is a document, a tuple an array, all else a number."""
    written = b""
    for index, (name, value) in enumerate(fields):
        name = str(index) if array else name
        if isinstance(value, int):
            written += b"\x10" + name.encode() + b"\0" + value.to_bytes(4, "little")
        else:
            inner = [("", member) for member in value] if isinstance(value, tuple) else value
            kind = b"\x04" if isinstance(value, tuple) else b"\x03"
            written += kind + name.encode() + b"\0" + raw(inner, array=isinstance(value, tuple))
    return (len(written) + 5).to_bytes(4, "little") + written + b"\0"


def test_documents_after_one_another_are_as_they_are_alone() -> None:
    """What is remembered of the names of the document before makes no difference, also where names come twice."""
    chance = random.Random(11)

    def any_fields(depth: int) -> list[tuple[str, Any]]:
        return [(chance.choice(("a", "b", 'a"', "")), any_value(depth)) for _ in range(chance.choice((0, 1, 1, 2, 3)))]

    def any_value(depth: int) -> Any:
        kind = chance.random() if depth < 3 else 1.0
        if kind < 0.3:
            return any_fields(depth + 1)
        return tuple(any_value(depth + 1) for _ in range(chance.randint(0, 2))) if kind < 0.5 else chance.randint(0, 9)

    alike = declined = 0
    for _ in range(3000):
        first = any_fields(0)
        documents = [first, *(chance.choice((first, any_fields(0), first[:-1], [*first, ("b", 1)])) for _ in range(4))]
        alone = [NATIVE.document(raw(document), 0, False) for document in documents]
        together = NATIVE.documents([b"".join(map(raw, documents))], 0, False)
        if None in alone:
            declined += 1
            assert together is None
        else:
            alike += 1
            assert together == b"[" + b",".join(alone) + b"]"
    assert alike > 200
    assert declined > 200


def test_names_stand_for_the_place_they_are_in() -> None:
    one, twice = raw([("l", ([("x", 1)], [("x", 2)]))]), raw([("l", ([("x", 1), ("x", 2)],))])
    assert NATIVE.documents([one + one], 0, False) == b'[{"l":[{"x":1},{"x":2}]},{"l":[{"x":1},{"x":2}]}]'
    assert NATIVE.documents([one + twice], 0, False) is None
    wide = raw([(f"n{number}", number) for number in range(400)])
    assert json.loads(NATIVE.documents([wide * 3], 0, False)) == [{f"n{number}": number for number in range(400)}] * 3
    again = raw([*((f"n{number}", number) for number in range(400)), ("n399", 1)])
    assert NATIVE.documents([wide + again], 0, False) is None


def test_what_stands_before_and_behind() -> None:
    one = raw([("a", 1)])
    assert NATIVE.documents([one, b"", one], 0, False, b'{"documents":', b"}") == b'{"documents":[{"a":1},{"a":1}]}'
    assert NATIVE.documents([], 0, False, b"<", b">") == b"<[]>"
    assert NATIVE.documents([one * 4000], 0, False, b"<") == b"<[" + b",".join([b'{"a":1}'] * 4000) + b"]"
    for wrong in ("<", None, bytearray(b"<")):
        with pytest.raises(TypeError):
            NATIVE.documents([one], 0, False, wrong)
