# ruff: noqa: E501  # a lie is a line
"""A JavaScript process that lies: whatever it sends costs its own call at most, and gets it nothing that it may not have."""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from asgi import application
from machine import NICE, can_be_nicer
from sandboxed import Recorder, Sandbox, call, run, until
from shop_app import alone

from doorleaf.errors import DoorleafError, FunctionFailed
from doorleaf.functions.sandbox.process import MAX_MESSAGE, MAX_RESULT, MOST_WAITING, Kind, result

GOOD = "exports = (n) => n + 1"
WAITS = "exports = () => context.services.get('mongodb-atlas').db('d').collection('c').findOne({})"


THIS = 0x5EEDF00D
"""Stands for the number of the call that goes on."""


def message(kind: int, text: bytes = b"", number: int = 0, length: int | None = None) -> bytes:
    return struct.pack("<IBI", len(text) if length is None else length, kind, number) + text


REQUEST = message(Kind.REQUEST, b'{"to":"database"}', 7)
ENDS = [
    (message(99), "has no meaning"),
    (message(0), "has no meaning"),
    (message(Kind.CALL, b"{}"), "has no meaning"),
    (message(Kind.REPLY, b"{}"), "has no meaning"),
    (message(Kind.SETUP, b"{}"), "has no meaning"),
    (message(Kind.WOKEN), "has no meaning"),
    (message(Kind.SLEEP, b"soon"), "has no meaning"),
    (message(Kind.SLEEP, b"-1"), "has no meaning"),
    (message(Kind.SLEEP, b"9" * 5000), "has no meaning"),
    (message(Kind.SLEEP, "²".encode()), "has no meaning"),
    (message(Kind.LINE, length=MAX_MESSAGE + 1), "more than 16 MiB"),
    (message(Kind.REQUEST, length=0xFFFFFFFF), "more than 16 MiB"),
    (message(Kind.RESULT, length=MAX_RESULT + 1), "more than 16 MiB"),
    (REQUEST * (MOST_WAITING + 1), "1000 things at once"),
    (message(Kind.SEND, b'{"to":"http"}', 7) * (MOST_WAITING + 1), "1000 things at once"),
    (message(Kind.SLEEP, b"60000") * 2, "has no meaning"),
    (b"".join(message(Kind.SLEEP, b"60000", number) for number in range(MOST_WAITING + 1)), "has no meaning"),
    (message(Kind.FAILED, b"not JSON", THIS), "the function failed"),
    (message(Kind.FAILED, b'{"message":{"a":1},"name":[],"stack":5}', THIS), "the function failed"),
    (message(Kind.FAILED, b"[1]", THIS), "the function failed"),
    (message(Kind.RESULT, b"not JSON", THIS), "nothing that can be read"),
    (message(Kind.RESULT, b"[]", THIS), "nothing that can be read"),
    (message(Kind.RESULT, b'{"said":5}', THIS), "nothing that can be read"),
    (message(Kind.RESULT, b'{"said":null,"value":18446744073709551615}', THIS), "nothing that can be read"),
    (message(Kind.RESULT, b'{"value":1}', THIS) + message(Kind.RESULT, b'{"value":2}', THIS), "answered"),
    (message(Kind.RESULT, b'{"value":1}', THIS) + REQUEST * 50, "answered"),
    (message(Kind.RESULT, b'{"value":1}', THIS) + message(Kind.ASK, b"{}"), "answered"),
    (message(Kind.RESULT, b'{"value":1}', number=12345), "answered"),
    (message(Kind.FAILED, b'{}'), "answered"),
    (message(Kind.FORGET, number=9) * 3, "answered"),
    (message(Kind.CANCEL, number=9) * 3, "answered"),
    (message(Kind.CANCEL, b"x" * 100_000, 1), "answered"),
    (message(Kind.RESULT, b'{"value":1}', THIS) + message(Kind.SEND, b"{}", 7) + message(Kind.CANCEL, number=7), "answered"),
    (message(Kind.LINE, b"\xff\xfe"), "answered"),
    (message(Kind.LINE, b"x" * 100_000), "answered"),
    (message(Kind.ASK, b"\x00"), "answered"),  # and the process, which asked nothing, lets the answer be
]  # fmt: skip


class Believing(Recorder):
    """Answers what can be read of what it is asked."""

    def request(self, number: int, text: bytes, *, sends: bool = False) -> None:
        self.requests.append(text)

    def ask(self, text: bytes) -> bytes:
        self.asked.append(text)
        return b'{"error":"refused"}'

    def line(self, text: bytes) -> None:
        self.lines.append(repr(text))


def test_what_a_process_makes_up_costs_its_own_call_at_most() -> None:
    async def lie(sandbox: Sandbox, told: bytes) -> str:
        server = Believing(later=None)
        calling = asyncio.ensure_future(sandbox.pool.call(call("waits"), server, 60))
        await until(partial(bool, server.requests))
        [process] = sandbox.pool.processes
        process.received(told.replace(struct.pack("<I", THIS), struct.pack("<I", process.number)))
        process.reply(1, b'{"value":null}')
        try:
            result(await calling)
        except FunctionFailed as error:
            return error.message
        return "answered"

    async def work(sandbox: Sandbox) -> None:
        for told, expected in ENDS:
            assert expected in await lie(sandbox, told), told[:60]
            assert await sandbox.run("good", 1, seconds=60) == 2, told[:60]

    run({"waits": WAITS, "good": GOOD}, work)


def test_no_kind_of_message_is_a_newline_which_would_cut_it_in_two_writes() -> None:
    """Deno's standard output is Rust's, which writes what comes up to a newline first."""
    assert ord("\n") not in set(Kind)


def test_a_message_in_pieces_and_many_at_once_are_the_same() -> None:
    async def work(sandbox: Sandbox) -> list[Any]:
        server = Believing(later=None)
        calling = asyncio.ensure_future(sandbox.pool.call(call("waits"), server, 60))
        await until(partial(bool, server.requests))
        [process] = sandbox.pool.processes
        told = (
            message(Kind.LINE, b"a") + message(Kind.LINE, b"bc") + message(Kind.RESULT, b'{"value":5}', process.number)
        )
        for index in range(len(told)):
            process.received(told[index : index + 1])
        return [result(await calling), server.lines]

    assert run({"waits": WAITS}, work) == [{"value": 5}, ["b'a'", "b'bc'"]]


SAYS = (
    "exports = (request, response) => { response.setBody('x'); const said = EJSON.parse(request.body.text());"
    " Object.prototype.toJSON = function () { return Object.hasOwn(this, 'said') ? { said } : this } }"
)


def test_what_a_function_makes_of_its_response_is_its_own_error(tmp_path: Path) -> None:
    """``toJSON`` of all objects changes whatever it writes."""
    deep = b"[" * 900 + b"]" * 900
    unread, text = "nothing that can be read", "setHeader: expected a name and a value, both text"
    status, body = "setStatusCode: expected a status", "setBody: expected text or Binary"
    with application(tmp_path / "data", app=alone(tmp_path / "app", "says", SAYS), functions_seconds=60) as app:
        for said, expected in (
            (b"5", unread), (b"null", unread), (b"[]", unread), (b'"x"', unread), (b"{}", status), (b'{"status":true}', status),
            (b'{"status":200,"headers":[5]}', text), (b'{"status":200,"headers":[null]}', text), (b'{"status":200,"headers":["ab"]}', text),
            (b'{"status":200,"headers":[["a","b","c"]]}', text), (b'{"status":200,"headers":[["a",1]]}', text), (b'{"status":200,"headers":[["a",' + deep + b"]]}", text),
            (b'{"status":200,"body":{"base64":"!"}}', body), (b'{"status":200,"body":{"base64":[]}}', body), (b'{"status":200,"body":{"base64":null}}', body),
        ):  # fmt: skip
            answer = app.call("POST", "/endpoint/says", said)
            assert (answer.status, answer.json["error_code"]) == (400, "FunctionExecutionError"), (
                said[:60],
                answer.body,
            )
            assert expected in answer.json["error"], (said[:60], answer.body)
        answer = app.call("POST", "/endpoint/says", b'{"status":201,"headers":[["x-a","b"]],"body":{"text":"own"}}')
        assert (answer.status, answer.headers["x-a"], answer.body) == (201, "b", b"own")


HOSTILE = {
    "loops": "exports = () => { console.log('here'); for (;;) {} }",
    "spins": "exports = async () => { console.log('here'); for (;;) await null }",
    "backtracks": "exports = () => { console.log('here'); return /(a+)+$/.test('a'.repeat(60) + 'b') }",
    "hoards": "exports = () => { console.log('here'); const all = []; for (;;) all.push('x'.repeat(1e6) + all.length) }",
    "asks": "exports = async () => { console.log('here'); for (;;) await context.functions.execute('other', 'x'.repeat(1e5)) }",
    "shouts": "exports = () => { for (;;) console.log('x'.repeat(1e4)) }",
}


@can_be_nicer
def test_others_are_served_while_a_function_does_its_worst() -> None:
    async def work(sandbox: Sandbox) -> None:
        for name in HOSTILE:
            server = Recorder()
            hostile = asyncio.ensure_future(sandbox.run(name, server=server, seconds=60))
            await until(partial(bool, server.lines))
            for number in range(20):
                assert await sandbox.run("good", number, seconds=60) == number + 1
            assert not hostile.done() or name == "hoards", name  # nobody waited for its end
            assert all(psutil.Process(it.pid).nice() > NICE for it in sandbox.pool.processes)
            hostile.cancel()
            with pytest.raises((asyncio.CancelledError, DoorleafError)):
                await hostile

    run({**HOSTILE, "good": GOOD, "other": GOOD}, work, most=2, apart=("other",))
