# ruff: noqa: E501  # a function is a line
"""Functions that leave rejections, change what their global scope is made of, or have no stack left: it costs their call alone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from sandboxed import Recorder, Sandbox, run

from doorleaf.errors import FunctionFailed, FunctionsUnavailable, FunctionTimeout
from doorleaf.functions.sandbox import process

GOOD = {"good": "exports = (n) => n + 1"}
FIND = "context.services.get('mongodb-atlas').db('d').collection('c').findOne({})"


@pytest.mark.parametrize("count", [1, 50_000, 200_000])
@pytest.mark.parametrize("waits", [False, True])
def test_any_number_of_rejections_that_nobody_takes_are_let_go(count: int, waits: bool) -> None:
    source = f"exports = async (count) => {{ for (let i = 0; i < count; i++) Promise.reject(i); {'await ' + FIND if waits else ''}; return 'done' }}"

    async def work(sandbox: Sandbox) -> None:
        for number in range(2):
            assert await sandbox.run("f", count, seconds=60) == "done"
            assert await sandbox.run("good", number) == number + 1
        assert len(sandbox.pool.processes) == 1

    run({"f": source, **GOOD}, work, memory_mb=256)


def test_rejections_beyond_all_memory_are_an_error_of_the_function() -> None:
    source = "exports = () => { for (;;) Promise.reject() }"

    async def work(sandbox: Sandbox) -> None:
        with pytest.raises(FunctionFailed, match="memory"):
            await sandbox.run("f", seconds=120)
        assert await sandbox.run("good", 1) == 2

    run({"f": source, **GOOD}, work, memory_mb=64)


def test_a_function_that_breaks_its_own_global_scope_fails_and_no_other_call_does() -> None:
    functions = {
        "map": f"exports = () => {{ Map.prototype.get = () => {{ throw new Error('mine') }}; return {FIND} }}",
        "timer": "exports = () => new Promise(() => { setTimeout(() => {}, 1); Map.prototype.get = () => { throw 1 } })",
    }

    async def work(sandbox: Sandbox) -> None:
        for name in functions:
            with pytest.raises(FunctionFailed, match="the function broke what it gets its answers by"):
                await sandbox.run(name)
            assert await sandbox.run("good", 1) == 2
        assert len(sandbox.pool.processes) == 1

    run({**functions, **GOOD}, work)


STACK = "Object.defineProperty(new Error('x'), 'stack', { get() { throw 1 } })"
PROXY = "new Proxy({}, { getPrototypeOf() { throw 1 }, get() { throw 1 }, ownKeys() { throw 1 } })"


@pytest.mark.parametrize(("value", "shown"), [(STACK, "Error: x"), (PROXY, "a value that cannot be shown")])
def test_an_error_that_throws_when_it_is_shown_is_shown_as_far_as_it_can_be(value: str, shown: str) -> None:
    functions = {
        "throws": f"exports = () => {{ throw {value} }}",
        "says": f"exports = () => {{ console.log({value}); return 'said' }}",
        "later": f"exports = () => new Promise((done) => {{ setTimeout(() => {{ throw {value} }}, 1); setTimeout(() => done('late'), 5) }})",
    }

    async def work(sandbox: Sandbox) -> None:
        for name, answer in (("says", "said"), ("later", "late")):
            server = Recorder()
            assert await sandbox.run(name, server=server) == answer
            assert server.lines == [shown]
        with pytest.raises(FunctionFailed, match=r"^a value that cannot be shown$"):
            await sandbox.run("throws")
        assert await sandbox.run("good", 1) == 2
        assert len(sandbox.pool.processes) == 1

    run({**functions, **GOOD}, work)


class Echo(Recorder):
    """Answers what is asked in place with the text that was asked for."""

    def ask(self, text: bytes) -> bytes:
        self.asked.append(text)
        return orjson.dumps({"value": orjson.loads(text)["input"]["text"]})


def test_a_question_never_gets_the_answer_to_another_one_whatever_is_left_of_the_stack() -> None:
    source = """exports = () => {
      const wrong = [];
      let good = 0, failed = 0;
      const ask = (n) => {
        try {
          const got = utils.crypto.hash('sha1', `${n}`);
          if (got === `${n}`) good += 1;
          else wrong.push([n, got]);
        } catch { failed += 1 }
      };
      const deep = (n) => { try { deep(n + 1) } catch {} if (good < 300) ask(n) };
      ask(-1);
      good = 0;
      deep(0);
      ask(-2);
      return { wrong, good, failed: failed > 0 };
    }"""
    server = Echo()
    told: Any = run({"f": source}, lambda sandbox: sandbox.run("f", server=server, seconds=60))
    assert told == {"wrong": [], "good": 301, "failed": True}
    assert len(server.asked) > 301, "some were asked by whom no stack was left to wait"


def test_what_could_not_be_asked_for_is_not_waited_for() -> None:
    source = f"""exports = async () => {{
      let good = 0, failed = 0;
      const deep = () => {{
        try {{ deep() }} catch {{}}
        if (good >= 100) return;
        try {{ {FIND}.catch(() => {{ failed += 1 }}); good += 1 }} catch {{ failed += 1 }}
      }};
      deep();
      await new Promise(() => {{}});
    }}"""

    async def work(sandbox: Sandbox) -> None:
        with pytest.raises(FunctionFailed, match="never comes"):
            await sandbox.run("f", seconds=60)
        assert await sandbox.run("good", 1) == 2

    run({"f": source, **GOOD}, work)


def test_what_an_import_leaves_behind_takes_no_time_of_another_call() -> None:
    source = "exports = () => { import('x').catch(() => { for (;;) {} }); return 'done' }"

    async def work(sandbox: Sandbox) -> None:
        for _ in range(3):
            with suppress(FunctionTimeout):
                assert await sandbox.run("f", seconds=1) == "done"
            for number in range(3):
                assert await sandbox.run("good", number, seconds=30) == number + 1

    run({"f": source, **GOOD}, work)


@pytest.mark.parametrize("lacks", ["Deno[Deno.internal]", "runNextTicks", "runMicrotasks", "eventLoopHasMoreWork"])
def test_a_deno_without_what_functions_need_is_one_clear_error(
    lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = tmp_path / "host.js"
    source = Path(process.command(64)[-1]).read_text()
    host.write_text(source.replace(lacks, "undefined" if "." in lacks else "no_such_part"))
    command = [*process.command(64)[:-1], str(host)]
    monkeypatch.setattr(process, "command", lambda memory_mb: command)

    async def work(sandbox: Sandbox) -> None:
        for _ in range(2):
            with pytest.raises(
                FunctionsUnavailable, match=r"cannot run in Deno 2\.\d+\.\d+: install doorleaf\[functions\]"
            ):
                await sandbox.run("good", 1)
        assert not sandbox.pool.processes

    run(GOOD, work)


def test_a_call_leaves_no_memory_taken_that_the_next_one_needs() -> None:
    """Each is given 38 MB of text, as it came and as a value: most of the memory that there is."""

    async def work(sandbox: Sandbox) -> None:
        for _ in range(3):
            assert await sandbox.run("good", 1, "x" * 38_000_000, seconds=60) == 2

    run(GOOD, work, memory_mb=64)
