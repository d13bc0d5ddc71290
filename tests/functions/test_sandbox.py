# ruff: noqa: E501  # a function is a line
"""JavaScript processes: what a call gives back, what it costs others when it goes wrong, and that it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from sandboxed import Recorder, Sandbox, call, run, until

from doorleaf.errors import DoorleafError, FunctionFailed, FunctionsUnavailable, FunctionTimeout
from doorleaf.functions.sandbox import process
from doorleaf.functions.sandbox.process import result

VALUES = """exports = (given) => ({ given, int: 7, long: 2 ** 40, double: 1.5, whole: BSON.Double(2), huge: 1e300, nan: NaN,
  negative: -0, bigint: 5n, big: BSON.Long('9007199254740993'), decimal: BSON.Decimal128.fromString('1.10'),
  id: new BSON.ObjectId('64224f3cd79f54ad342dd9b1'), date: new Date(1638551310749), regex: /^a/i, nothing: undefined, nil: null,
  binary: new BSON.Binary('hé'), bytes: new Uint8Array([1, 2]), list: [1, undefined, 'x'], stamp: BSON.Timestamp(1, 2) })"""


def test_values_keep_their_types() -> None:
    given = {
        "id": {"$oid": "64224f3cd79f54ad342dd9b1"},
        "long": {"$numberLong": "5"},
        "big": {"$numberLong": "9007199254740993"},
    }
    answer = run({"values": VALUES}, lambda sandbox: sandbox.run("values", given))
    assert answer == {
        "given": {"id": {"$oid": "64224f3cd79f54ad342dd9b1"}, "long": 5, "big": {"$numberLong": "9007199254740993"}},
        "int": 7, "long": 2**40, "double": 1.5, "whole": {"$numberDouble": "2.0"}, "huge": {"$numberDouble": "1e+300"},
        "nan": {"$numberDouble": "NaN"}, "negative": {"$numberDouble": "-0.0"}, "bigint": {"$numberLong": "5"},
        "big": {"$numberLong": "9007199254740993"}, "decimal": {"$numberDecimal": "1.10"},
        "id": {"$oid": "64224f3cd79f54ad342dd9b1"}, "date": {"$date": {"$numberLong": "1638551310749"}},
        "regex": {"$regularExpression": {"pattern": "^a", "options": "i"}}, "nil": None,
        "binary": {"$binary": {"base64": "aMOp", "subType": "00"}}, "bytes": {"$binary": {"base64": "AQI=", "subType": "00"}},
        "list": [1, None, "x"], "stamp": {"$timestamp": {"t": 1, "i": 2}},
    }  # fmt: skip


def test_a_function_asks_the_database_through_the_server_alone() -> None:
    source = """exports = async function (id) {
      const things = context.services.get('mongodb-atlas').db('shop').collection('things');
      const cursor = things.find({ owner: id }, { name: 1 }).sort({ name: -1 }).skip(1).limit(2);
      return [await things.findOne({ _id: BSON.ObjectId('64224f3cd79f54ad342dd9b1') }), await cursor.toArray()];
    }"""
    server = Recorder(b'{"value":[{"n":{"$numberInt":"1"}}]}')
    assert run({"f": source}, lambda sandbox: sandbox.run("f", "u1", server=server)) == [[{"n": 1}], [{"n": 1}]]
    place = {"to": "database", "source": "mongodb-atlas", "database": "shop", "collection": "things"}
    assert server.requests == [
        {**place, "action": "findOne", "fields": {"filter": {"_id": {"$oid": "64224f3cd79f54ad342dd9b1"}}}},
        {**place, "action": "find", "fields": {
            "filter": {"owner": "u1"}, "projection": {"name": 1}, "sort": {"name": -1}, "skip": 1, "limit": 2}},
    ]  # fmt: skip


def test_a_refused_operation_is_an_error_that_can_be_caught() -> None:
    source = """exports = async function () {
      try { await context.services.get('mongodb-atlas').db('d').collection('c').insertOne({}) }
      catch (error) { return [error instanceof Error, error.name, error.code, error.message] }
    }"""
    server = Recorder(b'{"error":{"message":"twice","code":11000}}')
    assert run({"f": source}, lambda sandbox: sandbox.run("f", server=server)) == [True, "MongoError", 11000, "twice"]


def test_many_requests_are_open_at_once_and_timers_go_on_meanwhile() -> None:
    source = """exports = async function () {
      const c = context.services.get('mongodb-atlas').db('d').collection('c');
      let ticks = 0;
      const timer = setInterval(() => { ticks += 1 }, 1);
      await new Promise((done) => setTimeout(done, 20));
      const found = await Promise.all(Array.from({ length: 50 }, (_, index) => c.findOne({ index })));
      clearInterval(timer);
      return [found.length, ticks > 0];
    }"""
    server = Recorder(b'{"value":1}', later=0.02)
    assert run({"f": source}, lambda sandbox: sandbox.run("f", server=server)) == [50, True]
    assert [request["fields"]["filter"]["index"] for request in server.requests] == list(range(50))


def test_what_a_function_asks_for_and_says_goes_out_in_its_order_whatever_comes_behind() -> None:
    source = """exports = async function (size) {
      const c = context.services.get('mongodb-atlas').db('d').collection('c');
      const asked = [c.findOne({ a: 1 }), c.insertOne({ text: 'é'.repeat(size) }), c.findOne({ a: 2 })];
      console.log(size);
      asked.push(c.findOne({ a: 3 }));
      return (await Promise.all(asked)).length;
    }"""

    async def work(sandbox: Sandbox) -> None:
        for size in (1, 20_000, 40_000, 3_000_000):
            server = Recorder(b'{"value":1}')
            assert await sandbox.run("f", size, server=server) == 4
            told = [request["fields"] for request in server.requests]
            texts = [{"document": {"text": "é" * size}}]
            assert told == [{"filter": {"a": 1}}, *texts, {"filter": {"a": 2}}, {"filter": {"a": 3}}]
            assert server.lines == [str(size)]

    run({"f": source}, work)


def test_what_a_function_does_not_wait_for_is_asked_for_all_the_same() -> None:
    source = """exports = function () {
      const c = context.services.get('mongodb-atlas').db('d').collection('c');
      c.insertOne({ a: 1 });
      setTimeout(() => c.insertOne({ a: 2 }), 1);
      return 'done';
    }"""
    server = Recorder()
    assert run({"f": source}, lambda sandbox: sandbox.run("f", server=server)) == "done"
    assert [request["fields"]["document"] for request in server.requests] == [{"a": 1}]


def test_rejections_that_nobody_takes_are_let_go() -> None:
    """Each holds five megabytes; a process has 64 for all."""
    source = "exports = () => { Promise.reject(new Array(640_000).fill(1.5)); return 'done' }"

    async def work(sandbox: Sandbox) -> None:
        for _ in range(40):
            assert await sandbox.run("f") == "done"
        assert len(sandbox.pool.processes) == 1

    run({"f": source}, work, memory_mb=64)


def test_timers_go_off_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_SLEEPS", 20)
    source = """exports = (count) => new Promise((done) => {
      const timer = setInterval(() => { if ((count -= 1) === 0) done(clearInterval(timer) ?? "done") }, 1);
    })"""
    assert run({"f": source}, lambda sandbox: sandbox.run("f", 10)) == "done"
    with pytest.raises(FunctionFailed, match="timers of a function go off at most 20 times"):
        run({"f": source}, lambda sandbox: sandbox.run("f", 30))


def test_functions_call_each_other_in_place_but_those_with_other_rights_through_the_server() -> None:
    functions = {
        "add": "exports = (a, b) => a + b",
        "outer": "exports = async function () { return [context.functions.execute('add', 1, 2), await context.functions.execute('other', 3)] }",
        "other": "exports = () => { throw new Error('must not run here') }",
        "deep": "exports = function (n) { return n ? context.functions.execute('deep', n - 1) : 'end' }",
    }
    server = Recorder(b'{"value":"from the server"}')

    async def work(sandbox: Sandbox) -> Any:
        outer = await sandbox.run("outer", server=server)
        deep = await sandbox.run("deep", 10)
        with pytest.raises(FunctionFailed, match="at most 10 deep"):
            await sandbox.run("deep", 11)
        with pytest.raises(FunctionFailed, match="function not found: 'nothing'"):
            await sandbox.run("nothing")
        return outer, deep

    assert run(functions, work, apart=("other",)) == ([3, "from the server"], "end")
    assert server.requests == [{"to": "function", "name": "other", "arguments": [3]}]


def test_console_goes_to_the_log_and_is_bounded() -> None:
    server = Recorder()
    source = "exports = function () { console.log('hello', { a: 1 }); for (let i = 0; i < 1000; i++) console.error('x'.repeat(9999)) }"
    run({"f": source}, lambda sandbox: sandbox.run("f", server=server))
    assert server.lines[0] == 'hello {"a":1}'
    assert len(server.lines) == 200
    assert max(map(len, server.lines)) < 4100


# --- what goes wrong costs its own call alone -------------------------------------------------------------------------

GOOD = {"good": "exports = (n) => n + 1"}


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("exports = () => { for (;;) {} }", FunctionTimeout, "longer than it may"),
        ("exports = async () => { for (;;) await null }", FunctionTimeout, "longer than it may"),
        ("exports = () => new Promise((done) => setTimeout(done, 60000))", FunctionTimeout, "longer than it may"),
        ("exports = () => { const f = () => Promise.resolve().then(f); f(); return new Promise(() => {}) }", FunctionTimeout, "longer"),
        ("exports = () => { const f = () => { Promise.resolve().then(f) }; f(); return 'an answer' }", FunctionTimeout, "longer than it may"),
        ("exports = () => /(a+)+$/.test('a'.repeat(40) + 'b')", FunctionTimeout, "longer than it may"),
        ("exports = () => new Promise(() => {})", FunctionFailed, "something that never comes"),
        ("exports = () => { const all = []; for (;;) all.push(new Array(1000).fill(all.length)) }", FunctionFailed, "memory"),
        ("exports = () => { const all = []; for (;;) all.push(new Uint8Array(1e7).fill(1)) }", FunctionFailed, "allocation failed"),
        ("exports = () => 'x'.repeat(17 * 1024 * 1024)", FunctionFailed, "more than 16 MiB"),
        ("exports = () => { throw new TypeError('bad thing') }", FunctionFailed, "^bad thing$"),
        ("exports = () => { throw { code: 5 } }", FunctionFailed, '^{"code":5}$'),
        ("exports = async () => { await null; throw 'text' }", FunctionFailed, "^text$"),
        ("exports = () => { const f = () => f() + 1; return f() }", FunctionFailed, "call stack"),
        ("exports = () => { const a = {}; a.a = a; return a }", FunctionFailed, "nested too deeply"),
        ("exports = () => { let a = ; }", FunctionFailed, "^f: Unexpected token"),
        ("exports = 5", FunctionFailed, "exports no function"),
        ("exports = () => require('stream/web')", FunctionFailed, "refused"),
    ],
)  # fmt: skip
def test_a_call_that_goes_wrong_costs_itself_alone(source: str, error: type[DoorleafError], message: str) -> None:
    async def work(sandbox: Sandbox) -> None:
        assert await sandbox.run("good", 1) == 2
        # What ends by its own doing has all the time that a busy machine takes.
        with pytest.raises(error, match=message):
            await sandbox.run("f", seconds=1.0 if error is FunctionTimeout else 60.0)
        assert await sandbox.run("good", 2) == 3

    run({"f": source, **GOOD}, work)


def test_a_stack_is_for_the_log_and_has_the_apps_own_lines_alone() -> None:
    source = "exports = function () {\n  const fail = () => {\n    throw new RangeError('no') }\n  fail() }"

    async def work(sandbox: Sandbox) -> FunctionFailed:
        with pytest.raises(FunctionFailed) as caught:
            await sandbox.run("f")
        return caught.value

    error = run({"f": source}, work)
    assert (error.message, error.thrown) == ("no", "RangeError")
    assert "functions/f.js:3" in error.stack
    assert "host.js" not in error.stack
    assert "prelude" not in error.stack


KILLS = int(os.environ.get("DOORLEAF_TEST_KILLS", "5"))
"""How many processes are killed in the middle of a call."""


def test_killing_the_process_is_one_clear_error_each_time() -> None:
    """And nothing is left behind: no process, no open file, no task."""

    async def work(sandbox: Sandbox) -> None:
        me, files, tasks = psutil.Process(), list[int](), list[int]()
        for number in range(KILLS + 1):
            server = Recorder(later=None)
            name = ("waits", "loops", "sleeps")[number % 3]
            calling = asyncio.ensure_future(sandbox.run(name, server=server))
            await until(partial(bool, server.lines))
            [process] = sandbox.pool.processes
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(FunctionsUnavailable, match="has ended"):
                await calling
            await until(lambda: not sandbox.pool.processes)
            files.append(me.num_fds())
            tasks.append(len(asyncio.all_tasks()))
        assert max(files) == files[0]
        assert max(tasks) <= tasks[0]
        assert await sandbox.run("good", 1) == 2
        assert len(sandbox.pool.processes) == 1

    functions = {
        "waits": "exports = () => { console.log(1); return context.services.get('mongodb-atlas').db('d').collection('c').findOne({}) }",
        "loops": "exports = () => { console.log(1); for (;;) {} }",
        "sleeps": "exports = () => { console.log(1); return new Promise((done) => setTimeout(done, 60000)) }",
    }
    run({**functions, **GOOD}, work)
    assert not [child for child in psutil.Process().children() if "deno" in child.name()]


def test_a_process_that_ended_before_its_first_call_is_one_clear_error() -> None:
    async def work(sandbox: Sandbox) -> None:
        one = process.Process(b"", 64)
        await one.start()
        os.kill(one.pid, signal.SIGKILL)
        await until(lambda: not one.alive)
        one.send(process.Kind.SETUP, 0, b"{}")  # to nobody
        with pytest.raises(FunctionsUnavailable, match="has ended"):
            await one.call(call("f"), Recorder(), 30)

    run({"f": "exports = () => 1"}, work)


def test_a_check_that_takes_too_long_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 0.05)

    async def work() -> None:
        one = process.Process(b"", 64)
        await one.start()
        os.kill(one.pid, signal.SIGSTOP)
        try:
            with pytest.raises(FunctionsUnavailable, match="could not be compiled in time"):
                await one.check(b"{}")
        finally:
            await one.stop()

    asyncio.run(work())


def test_a_call_that_nobody_waits_for_any_more_is_ended() -> None:
    async def work(sandbox: Sandbox) -> None:
        calling = asyncio.ensure_future(sandbox.run("loops"))
        await until(lambda: bool(sandbox.pool.processes))
        await asyncio.sleep(0.05)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert await sandbox.run("good", 1) == 2

    run({"loops": "exports = () => { for (;;) {} }", **GOOD}, work)


def test_more_calls_than_processes_wait_for_their_turn() -> None:
    async def work(sandbox: Sandbox) -> list[int]:
        found: list[int] = await asyncio.gather(*(sandbox.run("good", number) for number in range(40)))
        assert len(sandbox.pool.processes) <= 2
        return found

    assert run(GOOD, work, most=2) == list(range(1, 41))


def test_a_process_begins_its_next_call_before_the_answer_of_the_last_is_looked_at() -> None:
    async def work(sandbox: Sandbox) -> None:
        servers = [Recorder(), Recorder(), Recorder()]
        begun: list[bool] = []

        async def called(number: int) -> None:
            assert await sandbox.run("good", number, server=servers[number]) == number + 1
            begun.append(all(server.process is None for server in servers[number + 2 :]))
            begun.append(all(server.process is not None for server in servers[number + 1 : number + 2]))

        await asyncio.gather(*map(called, range(3)))
        assert begun == [True] * 6

    run(GOOD, work)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from sandboxed import setup, call, Recorder\n"
        "from doorleaf.functions.sandbox.pool import Pool\n"
        "async def main():\n"
        "    pool = Pool(setup({'f': 'exports = () => { console.log(1); for (;;) {} }'}), most=1, memory_mb=64)\n"
        "    server = Recorder()\n"
        "    calling = asyncio.ensure_future(pool.call(call('f'), server, 100))\n"
        "    while not server.lines: await asyncio.sleep(0.01)\n"
        "    print([p.pid for p in pool.processes][0], flush=True)\n"
        "    await calling\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        assert child.wait(timeout=30) is None or not child.is_running()


def test_a_cancelled_wait_for_a_process_gives_its_turn_away() -> None:
    async def work(sandbox: Sandbox) -> None:
        first = asyncio.ensure_future(sandbox.run("slow"))
        await until(lambda: bool(sandbox.pool.processes))
        second, third = (asyncio.ensure_future(sandbox.pool.call(call("good", 1), Recorder(), 30)) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        assert await first == 1
        assert b"2" in await third

    run({"slow": "exports = () => new Promise((done) => setTimeout(() => done(1), 100))", **GOOD}, work)


def test_a_call_that_a_process_had_not_begun_is_made_by_another_one() -> None:
    """A process is ended while it has nothing to do, so that nobody has noticed when the next call comes."""

    async def work(sandbox: Sandbox) -> None:
        for number in range(5):
            assert await sandbox.run("good", number) == number + 1
            [process] = sandbox.pool.processes
            os.kill(process.pid, signal.SIGSTOP)
            text = call("good", 7, *(["x" * 300_000] if number % 2 else []))
            calling = asyncio.ensure_future(sandbox.pool.call(text, Recorder(), 60))
            await asyncio.sleep(0.05)  # the call is on its way to a process that reads nothing
            assert not calling.done()
            os.kill(process.pid, signal.SIGKILL)
            assert result(await calling) == {"value": 8}
            assert process not in sandbox.pool.processes

    run(GOOD, work)


def test_a_call_that_had_begun_is_not_made_twice() -> None:
    async def work(sandbox: Sandbox) -> None:
        server = Recorder(later=None)
        for count, name in enumerate(("asks", "says"), 1):
            calling = asyncio.ensure_future(sandbox.run(name, server=server))
            while len(server.requests) + len(server.lines) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            [process] = sandbox.pool.processes
            os.kill(process.pid, signal.SIGKILL)
            with pytest.raises(FunctionsUnavailable, match="has ended"):
                await calling
        assert len(server.requests) + len(server.lines) == 2
        calling = asyncio.ensure_future(sandbox.run("loops", server=server))
        await until(lambda: bool(sandbox.pool.processes))
        [process] = sandbox.pool.processes
        await until(lambda: psutil.Process(process.pid).cpu_times().user > 1)  # it runs, and has told nobody anything
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(FunctionsUnavailable, match="has ended"):
            await calling

    functions = {
        "asks": "exports = () => context.services.get('mongodb-atlas').db('d').collection('c').insertOne({})",
        "says": "exports = () => { console.log(1); for (;;) {} }",
        "loops": "exports = () => { for (;;) {} }",
    }
    run(functions, work)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process holds back")
def test_a_process_holds_no_signal_back_that_the_server_does() -> None:
    async def work(sandbox: Sandbox) -> None:
        await sandbox.run("good", 1)
        [process] = sandbox.pool.processes
        with open(f"/proc/{process.pid}/status") as status:  # noqa: ASYNC230
            assert "SigBlk:\t0000000000000000\n" in status.read()

    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
    try:
        run(GOOD, work)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
