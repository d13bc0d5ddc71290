# ruff: noqa: E501  # an attempt is a line
"""Attempts to get out of the sandbox, or to reach the next caller from it: none gets through."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from sandboxed import Recorder, Sandbox, run

from doorleaf.errors import FunctionFailed

OTHER_REALM = """
  const realm = (value) => {
    if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return 'none';
    let maker;
    try { maker = value.constructor?.constructor } catch { return 'none' }
    if (maker === undefined || maker === Function) return 'none';
    try { const got = maker('return globalThis')(); return got === globalThis ? 'none' : 'OUT ' + typeof got.Deno } catch (e) { return 'none' }
  };
"""
"""`realm(value)` is `none` unless code can be run in another realm by way of `value`."""

NOTHING_THERE = [
    "typeof Deno", "typeof process", "typeof Worker", "typeof XMLHttpRequest", "typeof WebSocket", "typeof importScripts",
    "typeof window", "typeof self", "typeof global", "typeof navigator", "typeof localStorage", "typeof caches",
    "typeof EventSource", "typeof BroadcastChannel", "typeof MessageChannel", "typeof WebAssembly", "typeof postMessage",
    "typeof FinalizationRegistry", "typeof Atomics.waitAsync", "typeof __bootstrap", "typeof ShadowRealm",
    "typeof tell === 'undefined' ? 'undefined' : 'there'", "typeof shared",
    "typeof (function () { return this })().Deno", "typeof globalThis.constructor.constructor('return this')().Deno",
    "typeof Function('return this')().process", "typeof (0, eval)('this').Deno", "typeof Reflect.getPrototypeOf(globalThis).Deno",
    "typeof new Function('return Deno === undefined')",
]  # fmt: skip

IMPORTS = [
    "import('node:fs')", "import('node:process')", "import('node:child_process')", "import('node:vm')", "import('npm:lodash')",
    "import('jsr:@std/fs')", "import('https://example.com/a.js')", "import('data:text/javascript,export default 1')",
    "import('file:///etc/passwd')", "import('./host.js')", "import('ext:core/ops')", "import('blob:null/1')",
    "eval(\"import('node:fs')\")", "new Function(\"return import('node:os')\")()", "(0, eval)(\"import('node:net')\")",
    "(async () => {}).constructor(\"return import('node:fs')\")()",
]  # fmt: skip

ESCAPES = [
    "realm(context)", "realm(context.functions.execute)", "realm(context.http.get)", "realm(console)", "realm(console.log)",
    "realm(setTimeout)", "realm(BSON)", "realm(BSON.ObjectId)", "realm(EJSON.parse)", "realm(fetch)", "realm(utils.crypto.hash)",
    "realm(context.services.get('mongodb-atlas').db('x').collection('y').findOne)", "realm(require)", "realm(module)", "realm(exports)",
    "realm(context.user)", "realm(context.values)", "realm(context.request)", "realm(given)", "realm(given[0])",
    "realm(URL)", "realm(new URL('http://a'))", "realm(new URL('http://a').searchParams)", "realm(Buffer)", "realm(Buffer.from('a'))", "realm(crypto)",
    "realm(crypto.getRandomValues)", "realm(new TextEncoder().encode('a'))", "realm(new TextDecoder())", "realm(structuredClone({ a: context.user }))",
    "realm(atob)", "realm(new AbortController().signal)", "realm(AbortSignal.abort().reason)", "realm(new Event('x'))", "realm(queueMicrotask)", "realm(require('crypto'))", "realm(require('events'))", "realm(require('util').inspect)",
    "realm(require('stream'))", "realm(require('process'))", "realm(require('process').env)", "realm(require('timers').setTimeout)", "realm(require('path').join)",
    "realm(require('string_decoder').StringDecoder)", "realm(require('http').request)", "realm(require('fs'))", "realm(require('net').connect)", "realm(require('url').parse)", "realm(new (require('stream').PassThrough)())", "realm(require('crypto').KeyObject)",
    "(() => { try { require('zlib').gunzipSync('x') } catch (e) { return realm(e) } })()", "(() => { try { require('fs').readFileSync('x') } catch (e) { return realm(e) } })()",
    "(() => { try { require('crypto').createPublicKey('-----BEGIN PUBLIC KEY-----') } catch (e) { return realm(e) } return 'OUT' })()",
    "(() => { const { KeyObject, createSecretKey } = require('crypto'); try { return new KeyObject({}, { type: 'secret' }) } catch (e) { return realm(e) } })()",
    # errors that come from the other side
    "(() => { try { new URL({ toString() { throw realm } }) } catch (e) { return realm(e) } })()",
    "(() => { try { new URL('a'.repeat(1e7)) } catch (e) { return realm(e) } })()",
    "(() => { let got = 'none'; const f = () => { try { f() } catch (e) {} try { new URL('http://a') } catch (e) { const r = realm(e); if (r !== 'none') got = r } }; f(); return got })()",
    "(() => { let got = 'none'; const f = () => { try { f() } catch (e) {} try { crypto.randomUUID() } catch (e) { const r = realm(e); if (r !== 'none') got = r } }; f(); return got })()",
    "(() => { JSON.parse = (text) => ({ href: text }); Object.defineProperty(String.prototype, 'href', { get() { return 'x' } }); return realm(new URL('http://a').href) })()",
    "(() => { try { require('nothing') } catch (e) { return realm(e) } })()",
    "(() => { try { require({ toString() { throw realm } }) } catch (e) { return realm(e) } })()",
    "(() => { try { context.functions.execute('broken') } catch (e) { return realm(e) } })()",
    "(() => { try { setTimeout({}) } catch (e) { return realm(e) } })()",
    "(() => { try { new BSON.Binary(new Uint8Array(1), 0).text.call({}) } catch (e) { return realm(e) } })()",
    "(() => { try { EJSON.parse('{') } catch (e) { return realm(e) } })()",
    "(() => { let got = 'none'; const f = () => { try { console.log('x'); f() } catch (e) { const r = realm(e); if (r !== 'none') got = r } }; f(); return got })()",
    "(() => { let got = 'none'; const f = () => { try { f() } catch (e) {} try { setTimeout(() => 1, 1) } catch (e) { const r = realm(e); if (r !== 'none') got = r } }; f(); return got })()",
    "(() => { let got = 'none'; const f = () => { try { f() } catch (e) {} try { require('x') } catch (e) { const r = realm(e); if (r !== 'none') got = r } }; f(); return got })()",
    "(() => { let got = 'none'; const f = () => { try { f() } catch (e) {} try { context.functions.execute('other') } catch (e) { const r = realm(e); if (r !== 'none') got = r } }; f(); return got })()",
    "(() => { Uint8Array.prototype.toBase64 = () => '!'; try { new BSON.Binary(new Uint8Array(1)).text(); return 'none' } catch (e) { return e instanceof Error ? realm(e) : 'OUT' } })()",
    "(() => { String.prototype.toString = () => 5; try { new BSON.Binary('x').buffer } catch (e) { return e instanceof Error ? realm(e) : 'OUT' } return 'none' })()",
    "(() => { Uint8Array.fromBase64 = realm; Object.defineProperty(Object.prototype, 'get', { value: realm }); try { BSON.ObjectId } catch (e) { return realm(e) } return 'none' })()",
    "(() => { Object.defineProperty(Object.prototype, 'ObjectId', { get() { throw this } }); try { return realm(BSON.ObjectId('0'.repeat(24))) } catch (e) { return realm(e) } })()",
    "(async () => { await new Promise((done) => setTimeout(done, 1)); try { require('nothing') } catch (e) { return realm(e) } })()",
    # frames of the caller
    "(() => { let got = 'none'; Error.prepareStackTrace = (e, sites) => { got = 'OUT'; return '' }; new Error('x').stack; return got })()",
    "(() => { const o = {}; Error.prepareStackTrace = (e, s) => s; Error.captureStackTrace(o); return typeof o.stack === 'string' ? 'none' : 'OUT' })()",
    "(() => { try { delete Error.prepareStackTrace; Object.defineProperty(Error, 'prepareStackTrace', { value: () => 'OUT' }) } catch {} return new Error('x').stack })()",
    # what the surroundings call with
    "(() => { let got = 'none'; const call = Map.prototype.get; Map.prototype.get = function (...all) { got = all.concat(this).map(realm).find((r) => r !== 'none') ?? got; return call.apply(this, all) }; console.log('x'); setTimeout(() => 1); return got })()",
    "(() => { let got = 'none'; const parse = JSON.parse; JSON.parse = function (...all) { got = realm(arguments.callee.caller ?? {}); return parse(...all) }; try { require('x') } catch {} return got })()",
    "(async () => { let got = 'none'; const then = Promise.prototype.then; Promise.prototype.then = function (...all) { got = all.map(realm).find((r) => r !== 'none') ?? got; return then.apply(this, all) }; await context.functions.execute('other'); return got })()",
    "(async () => { let got = 'none'; try { await import('x') } catch (e) { got = realm(e) } return got })()",
    "(() => { class T extends Promise { constructor(work) { super((a, b) => { work(a, b) }) } } return realm(new T(() => 1)) })()",
    "(() => { const seen = []; const p = new Proxy({}, { get: (t, k) => { seen.push(k); return undefined } }); context.functions.execute('other', p); return 'none' })()",
    "(() => { Object.defineProperty(globalThis, 'then', { get() { return (f) => f('OUT') } }); return 'none' })()",
    "(() => { globalThis.constructor = null; Object.setPrototypeOf(globalThis, null); return 'none' })()",
]  # fmt: skip


def in_one(expressions: list[str]) -> dict[str, str]:
    return {
        f"f{index}": f"exports = async function (...given) {{ {OTHER_REALM} return await {text} }}"
        for index, text in enumerate(expressions)
    }


def answers(expressions: list[str]) -> list[Any]:
    async def work(sandbox: Sandbox) -> list[Any]:
        return [
            await sandbox.run(f"f{index}", {"a": 1}, server=Recorder(b'{"value":{"a":[1]}}'))
            for index in range(len(expressions))
        ]

    more = {"broken": "exports = ;", "other": "exports = () => 1"}
    found: list[Any] = run({**in_one(expressions), **more}, work, apart=("other",))
    return found


def test_there_is_nothing_to_take_hold_of() -> None:
    harmless = ("undefined", "function", "object")
    for expression, answer in zip(NOTHING_THERE, answers(NOTHING_THERE), strict=True):
        allowed = harmless if "new Function" in expression else ("undefined",)
        assert answer in allowed, expression


def test_nothing_can_be_imported() -> None:
    tried = [
        f"(async () => {{ try {{ await {text}; return 'IN' }} catch (error) {{ return realm(error) }} }})()"
        for text in IMPORTS
    ]
    assert answers(tried) == ["none"] * len(IMPORTS)


def test_no_value_leads_out_of_the_realm() -> None:
    for expression, answer in zip(ESCAPES, answers(ESCAPES), strict=True):
        assert "OUT" not in str(answer), expression
        assert answer == "none" or str(answer).startswith("Error: x"), expression


LEAVE = [
    "globalThis.left = 1", "Object.prototype.left = 1", "Array.prototype.left = 1", "Function.prototype.left = 1", "String.prototype.left = 1",
    "Promise.prototype.left = 1", "Error.prototype.left = 1", "Object.getPrototypeOf(async () => {}).left = 1", "context.left = 1",
    "BSON.left = 1", "console.left = 1", "JSON.left = 1", "Math.left = 1", "require.left = 1", "context.user.left = 1", "Symbol.left = 1",
    "Object.getPrototypeOf(globalThis).left = 1", "Object.getPrototypeOf([][Symbol.iterator]()).left = 1", "context.values.get('v').left = 1",
    "(() => { Promise.prototype.then = () => { throw 1 } })()", "(() => { JSON.stringify = () => 'stolen' })()",
    "(() => { Object.defineProperty(Object.prototype, 'toJSON', { value: () => 'stolen' }) })()",
    "(() => { setInterval(() => { globalThis.left = 1 }, 0) })()", "(() => { for (let i = 0; i < 5000; i++) Promise.reject(i) })()",
    "(() => { Promise.reject({ get message() { globalThis.left = 1 }, toString() { globalThis.left = 1 } }) })()", "(() => { const h = () => h(); new Promise(h) })()",
    "(() => { context.functions.execute('other'); setTimeout(() => { globalThis.left = 1 }) })()", "(() => { const f = () => Promise.resolve().then(f); f() })()",
    "URL.left = 1", "Buffer.left = 1", "URL.prototype.left = 1", "crypto.left = 1", "require('events').left = 1", "require('process').env.left = 1", "TextEncoder.prototype.left = 1",
    "(() => { globalThis.context = { user: { id: 'somebody' } } })()", "(() => { exports.left = 1; module.left = 1 })()",
]  # fmt: skip
LOOK = """exports = function () {
  const there = [globalThis, {}, [], () => 1, '', Promise.resolve(), new Error(''), async () => 1, context, BSON, console, JSON, Math, require,
    context.user, Symbol, [][Symbol.iterator](), context.values.get('v'), exports, module,
    URL, Buffer, URL.prototype, crypto, require('events'), require('process').env, TextEncoder.prototype].map((value) => value.left);
  return [there.filter((value) => value !== undefined).length, context.user.id, JSON.stringify({ a: 1 })];
}"""


def test_nothing_of_a_call_is_there_in_the_next_one() -> None:
    leave = {f"leave{index}": f"exports = function () {{ {text}; return 'left' }}" for index, text in enumerate(LEAVE)}

    async def work(sandbox: Sandbox) -> None:
        for index, text in enumerate(LEAVE):
            with contextlib.suppress(FunctionFailed):  # some cannot even answer
                await sandbox.run(f"leave{index}", seconds=20)
            assert await sandbox.run("look") == [0, "u1", '{"a":1}'], text

    run({**leave, "look": LOOK}, work, values={"v": {"a": 1}})


@pytest.mark.parametrize(
    "source",
    [
        "exports = () => { let n = 0; const more = () => { n += 1; return context.functions.execute('other', n).then(more) }; for (let i = 0; i < 5000; i++) context.functions.execute('other'); return 1 }",
        "exports = () => Promise.all(Array.from({ length: 5000 }, () => context.functions.execute('other')))",
    ],
)
def test_what_a_function_waits_for_at_once_is_bounded(source: str) -> None:
    server = Recorder(later=None)

    async def work(sandbox: Sandbox) -> str:
        try:
            await sandbox.run("f", server=server, seconds=20)
        except Exception as error:
            return str(error)
        return "answered"

    told = run({"f": source, "other": "exports = () => 1"}, work, apart=("other",))
    assert told == "answered" or "1000 things at once" in told
    assert len(server.requests) <= 1000
