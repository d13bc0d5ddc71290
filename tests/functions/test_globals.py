# ruff: noqa: E501  # an expression is a line
"""What browsers, Node.js and js-bson give every program: the answers here are those of Node.js 20 and js-bson 4."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sandboxed import Recorder, Sandbox, expressions_answer, run

from doorleaf.errors import FunctionFailed

ANSWERS: list[tuple[str, Any]] = [
    ("Buffer.from('héllo').toString('base64')", 'aMOpbGxv'),
    ("Buffer.from('68c3a9zz', 'hex').toString()", 'hé'),
    ("Buffer.from('_-8=', 'base64').toString('hex')", 'ffef'),
    ("Buffer.from('aGk', 'base64url').toString('latin1')", 'hi'),
    ("Buffer.from('hé', 'latin1').toString('hex')", '68e9'),
    ("Buffer.from('hé', 'utf16le').toString('ucs2')", 'hé'),
    ("Buffer.from([1, 2, 300]).toJSON()", {'type': 'Buffer', 'data': [1, 2, 44]}),
    ("Buffer.concat([Buffer.from('a'), Buffer.from('bc')], 2).toString()", 'ab'),
    ("Buffer.byteLength('é')", 2),
    ("[Buffer.isBuffer(Buffer.alloc(1)), Buffer.isBuffer(new Uint8Array(1)), Buffer.isEncoding('hex'), Buffer.isEncoding('x')]", [True, False, True, False]),
    ("[Buffer.from('a').equals(Buffer.from('a')), Buffer.compare(Buffer.from('b'), Buffer.from('a'))]", [True, 1]),
    ("Buffer.alloc(5, 'ab').toString()", 'ababa'),
    ("(() => { const b = Buffer.alloc(8); b.writeUInt16BE(258, 0); b.writeInt32LE(-2, 2); return [b.toString('hex'), b.readUInt16LE(0), b.readInt32LE(2), b.readUInt8(1)] })()", ['0102feffffff0000', 513, -2, 2]),
    ("(() => { const b = Buffer.alloc(4); return [b.write('hé', 1), b.toString(), b.slice(1, 2).toString(), Buffer.isBuffer(b.subarray(1))] })()", [3, '\x00hé', 'h', True]),
    ("[Buffer.from('abcabc').indexOf('ca'), Buffer.from('abc').includes('z'), Buffer.from('abcabc').lastIndexOf('bc')]", [2, False, 4]),
    ("new Buffer('old').toString()", 'old'),
    ("(() => { const a = Buffer.from('abcd'), b = Buffer.alloc(3); return [a.copy(b, 1), b.toString('utf8', 1)] })()", [2, 'ab']),
    ("Buffer.from('\\ufeffa').toString().length", 2),
    ("`${Buffer.from('text')}`", 'text'),
    ("JSON.stringify({ b: Buffer.from('a') })", '{"b":{"type":"Buffer","data":[97]}}'),
    ("Buffer.from('abc').readUIntBE(0, 3)", 6382179),
    ("new URL('https://u:p%40@Example.com:8080/a/../b?x=1&y=%20z#h').href", 'https://u:p%40@example.com:8080/b?x=1&y=%20z#h'),
    ("new URL('../c?d', 'http://a.b/x/y/z').toString()", 'http://a.b/x/c?d'),
    ("(() => { const u = new URL('http://a.b/'); u.searchParams.append('q', 'a b&c'); u.hash = 'top'; u.port = '99'; return [u.href, u.search, u.host, u.origin, JSON.stringify({ u })] })()", ['http://a.b:99/?q=a+b%26c#top', '?q=a+b%26c', 'a.b:99', 'http://a.b:99', '{"u":"http://a.b:99/?q=a+b%26c#top"}']),
    ("(() => { const u = new URL('http://a.b/?a=1'); u.search = '?b=2'; return [u.searchParams.get('a'), u.searchParams.get('b')] })()", [None, '2']),
    ("[URL.canParse('x'), URL.canParse('x:y'), URL.parse('x')]", [False, True, None]),
    ("(() => { try { new URL('nothing') } catch (e) { return [e instanceof TypeError, e.message] } })()", [True, 'Invalid URL']),
    ("new URLSearchParams({ a: '1 2', b: \"ü!'()~*\" }).toString()", 'a=1+2&b=%C3%BC%21%27%28%29%7E*'),
    ("[...new URLSearchParams('?a=1&a=2&b=%C3%BC+x&c&=d&%zz=%e')]", [['a', '1'], ['a', '2'], ['b', 'ü x'], ['c', ''], ['', 'd'], ['%zz', '%e']]),
    ("(() => { const p = new URLSearchParams('b=1&a=2&b=3'); p.set('b', '9'); p.sort(); p.delete('z'); return [p.toString(), p.getAll('b'), p.has('a'), p.get('none'), p.size, [...p.keys()]] })()", ['a=2&b=9', ['9'], True, None, 2, ['a', 'b']]),
    ("new URLSearchParams([['x', 'y']]).toString()", 'x=y'),
    ("[...new TextEncoder().encode('é\\ud800')]", [195, 169, 239, 191, 189]),
    ("new TextEncoder().encodeInto('aé€', new Uint8Array(4))", {'read': 2, 'written': 3}),
    ("new TextDecoder().decode(new Uint8Array([239, 187, 191, 104, 255]))", 'h�'),
    ("(() => { try { new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([255])) } catch (e) { return e instanceof TypeError } })()", True),
    ("new TextDecoder('utf8', { fatal: true, ignoreBOM: true }).decode(new Uint8Array([239, 187, 191, 104])).length", 2),
    ("[atob(' aG k='), btoa('h\\xff')]", ['hi', 'aP8=']),
    ("(() => { const o = { d: new Date(5), m: new Map([[1, { a: [1] }]]), s: new Set([2]), r: /a/gi, u: undefined }; o.self = o; const c = structuredClone(o); return [c.self === c, c.m.get(1).a, c.s.has(2), c.d.getTime(), String(c.r), 'u' in c, c.m !== o.m] })()", [True, [1], True, 5, '/a/gi', True, True]),
    ("[crypto.randomUUID().length, crypto.randomUUID() !== crypto.randomUUID(), crypto.getRandomValues(new Uint8Array(16)).some((n) => n > 0)]", [36, True, True]),
    ("(async () => { const told = []; queueMicrotask(() => told.push(1)); told.push(0); await null; return told })()", [0, 1]),
    ("(() => { const { URL: A, URLSearchParams: B } = require('url'); return [A === URL, B === URLSearchParams, require('node:buffer').Buffer === Buffer] })()", [True, True, True]),
    ("(() => { const q = require('querystring'); return [q.parse('a=1&a=2&b=x%20y').a, q.stringify({ a: [1, 2], b: 'x y' })] })()", [['1', '2'], 'a=1&a=2&b=x%20y']),
    ("(() => { const E = require('events'), told = []; class T extends E {} const t = new T(); t.once('x', (v) => told.push(v)); t.on('x', (v) => told.push(-v)); t.emit('x', 1); t.emit('x', 2); return [told, t.listenerCount('x'), E.EventEmitter === E, t.emit('none')] })()", [[1, -1, -2], 1, True, False]),
    ("(() => { const E = require('events'), told = [], tell = (v) => told.push(v); function F() { E.call(this) } require('util').inherits(F, E); const f = new F(), g = new F(); f.on('x', tell); f.once('x', tell); f.prependListener('y', tell); g.emit('x', 0); f.emit('x', 1); f.emit('x', 2); f.once('x', tell); f.removeListener('x', tell); f.emit('x', 3); f.off('x', tell); return [told, f.listenerCount('x'), f.eventNames(), f.listeners('y')[0] === tell] })()", [[1, 1, 2, 3], 0, ['y'], True]),
    ("(() => { const a = Buffer.from('abc'), b = structuredClone({ a }).a; b[0] = 120; const e = structuredClone(new TypeError('t')); return [a.toString(), b.length, e instanceof TypeError, e.message] })()", ['abc', 3, True, 't']),
    ("(() => { const h = '00112233445566778899aabbccddeeff', part = Buffer.concat([Buffer.from('zz'), Buffer.from(h, 'hex')]).subarray(2); return [part, new BSON.UUID(h), new BSON.Binary(part)].map((one) => new BSON.UUID(one).toString(false) === h) })()", [True, True, True]),
    ("(() => { const u = new URL('http://a.b/?a=1'), p = u.searchParams; u.search = '?b=2'; const b = p.get('b'); p.append('c', '3'); u.href = 'http://c.d/?e=4'; return [b, p === u.searchParams, p.toString()] })()", ['2', True, 'e=4']),
    ("[Buffer.from('abcabc').indexOf('a', -3), Buffer.from('abcabc').indexOf('YQ==', 'base64'), Buffer.from('abcabc').lastIndexOf('a', -4), Buffer.from('abc').lastIndexOf('a', -9), Buffer.from('abc').indexOf(97 + 256)]", [3, 0, 0, -1, 0]),
    ("(async () => { const u = require('util'); function A() {} function B() {} u.inherits(A, B); return [new A() instanceof B, await u.promisify((a, done) => done(null, a + 1))(1), u.format('%s is %d', 'a', 5)] })()", [True, 2, 'a is 5']),
    ("(() => { const S = require('stream'), E = require('events'), told = []; function P() { S.call(this); this.writable = true } require('util').inherits(P, S); P.prototype.write = function (v) { told.push(v); this.emit('data', v) }; P.prototype.end = function () { told.push('end'); this.emit('end') }; const a = new P(), b = new P(), c = new P(); a.pipe(b).pipe(c); a.write(1); a.end(); a.write(2); return [told, a instanceof E, S.Stream === S, require('node:stream') === S, b.listenerCount('data'), typeof S.prototype.pipe] })()", [[1, 1, 1, 'end', 'end', 'end', 2], True, True, True, 0, 'function']),
    ("(() => { const { PassThrough } = require('stream'), a = new PassThrough(), b = new PassThrough(); let n = 0; b.on('unpipe', () => { n += 1 }); a.pipe(b); a.unpipe(b); a.unpipe(b); a.pipe(b); a.unpipe(); return n })()", 2),
    ("(async () => { const { PassThrough, finished } = require('stream'), later = () => new Promise((done) => setTimeout(done, 1)), told = []; for (const why of [undefined, new Error('why')]) { const s = new PassThrough(); s.on('error', () => {}); s.destroy(why); await later(); try { for await (const _ of s); told.push('ended') } catch (error) { told.push(error.message) } await new Promise((done) => finished(s, (error) => { told.push(error.message); done() })) } const s = new PassThrough(); s.write('a'); setTimeout(() => s.destroy(), 1); try { for await (const one of s) told.push(String(one)); told.push('ended') } catch (error) { told.push(error.code) } return told })()", ["Premature close", "Premature close", "why", "why", "a", "ERR_STREAM_PREMATURE_CLOSE"]),
    ("(() => { const { isDeepStrictEqual: same } = require('util'), buffer = (...bytes) => new Uint8Array(bytes).buffer; return [same(buffer(1, 2), buffer(1, 2)), same(buffer(1, 2), buffer(1, 3)), same(new Number(1), new Number(1)), same(new Number(1), new Number(2)), same([buffer(1)], [buffer(2)])] })()", [True, False, True, False, False]),
    ("(() => { const S = require('stream'); class T extends S.Transform {} function W() {} require('util').inherits(W, S.Writable); return [new W() instanceof S, Object.getPrototypeOf(T) === S.Transform, S.Readable.name] })()", [True, True, 'Readable']),
    ("(async () => { const p = require('process'), told = []; p.nextTick((v) => told.push(v), 1); told.push(0); await null; await null; return [told, p.cwd(), p.env, p.version.split('.').length, typeof p.versions.node === 'string', p.hrtime().length, typeof p.hrtime.bigint(), p.on('exit', () => 1) === p] })()", [[0, 1], '/', {}, 3, True, 2, 'bigint', True]),
    ("new Promise((done) => require('timers').setTimeout(done, 1, 'woken'))", 'woken'),
    ("(async () => { const t = require('timers'); const at = t.setInterval(() => 1, 1); t.clearInterval(at); return [await t.promises.setTimeout(1, 'a'), t.setImmediate === setImmediate] })()", ['a', True]),
    ("(() => { const p = require('path'); return ['/a/../b//c/.', '', './', 'a/..', '../x/..', '/..', 'a/b/', './../a'].map((one) => p.normalize(one)) })()", ['/b/c', '.', './', '.', '..', '/', 'a/b/', '../a']),
    ("(() => { const p = require('path'); return [p.resolve('/', 'a', '/b', '../c'), p.resolve('x'), p.resolve('/a', '', './b/'), p.join('a', '..', 'b'), p.join('', ''), p.join('/a', 'b/'), p.join('a', '/b'), p.isAbsolute('/a'), p.isAbsolute('a'), p.posix === p] })()", ['/c', '/x', '/a/b', 'b', '.', '/a/b/', 'a/b', True, False, True]),
    ("(() => { const p = require('path'); return ['a.b', '/x/.a', 'x.', '..', 'a.b.c', '.a.b', 'x/', 'x.js/', '', '/', '...', '..a', 'a..', '..a.b', '/a/b.txt'].map((one) => [p.extname(one), p.basename(one), p.dirname(one)]) })()", [['.b', 'a.b', '.'], ['', '.a', '/x'], ['.', 'x.', '.'], ['', '..', '.'], ['.c', 'a.b.c', '.'], ['.b', '.a.b', '.'], ['', 'x', '.'], ['.js', 'x.js', '.'], ['', '', '.'], ['', '', '/'], ['.', '...', '.'], ['.a', '..a', '.'], ['.', 'a..', '.'], ['.b', '..a.b', '.'], ['.txt', 'b.txt', '/a']]),
    ("(() => { const p = require('path'); return [['//a', 'a//b', '/a', 'a/b/c/', '/a//', '//'].map(p.dirname), p.basename('a.js', '.js'), p.basename('.js', '.js'), p.basename('x/a.js/', '.js'), p.relative('/a/b/c', '/a/d'), p.relative('/a', '/a'), p.relative('/a/b', '/')] })()", [['//', 'a/', '/', 'a/b', '/', '/'], 'a', '', 'a', '../../d', '', '../..']),
    ("(() => { const { StringDecoder: D } = require('string_decoder'); const all = (encoding, ...parts) => { const d = new D(encoding); return [...parts.map((one) => d.write(Buffer.from(one))), d.end()] }; return [all('utf8', [0xe2, 0x82], [0xac, 0x61, 0xf0, 0x9f], [0x98, 0x80], [0xc3]), all('utf16le', [0x61, 0, 0x3d, 0xd8], [0, 0xde], [0x62]), all('base64', [1, 2, 3, 4], [5]), all('hex', [1, 2])] })()", [['', '€a', '😀', '', '�'], ['a', '😀', '', ''], ['AQID', '', 'BAU='], ['0102', '']]),
    ("(() => { const c = require('crypto'), k = c.createSecretKey('a key', 'utf8'); return [k.type, k.symmetricKeySize, k.export().toString(), k.equals(c.createSecretKey(Buffer.from('a key'))), k.equals(c.createSecretKey('other')), k instanceof c.KeyObject, k.asymmetricKeyType === undefined, c.constants.RSA_PKCS1_PSS_PADDING] })()", ['secret', 5, 'a key', True, False, True, True, 6]),
    ("[Object.keys(Buffer).includes('isBuffer'), Object.keys(Buffer).includes('from'), require('buffer').SlowBuffer === Buffer]", [True, True, True]),
    ("(() => { const c = require('crypto'); return [c.randomBytes(5).length, c.timingSafeEqual(Buffer.from('a'), Buffer.from('a')), c.randomInt(3) < 3, c.randomUUID().length] })()", [5, True, True, 36]),
    ("(() => { const L = BSON.Long, a = L.fromInt(-7), b = L.fromString('9007199254740993'); return [a.add(b), b.sub(1), a.mul(b), b.div(a), b.mod(a), a.rem(3), a.neg(), b.not(), a.and(255), a.or(8), a.xor(b), a.shl(3), a.shr(1), a.shru(60), L.MAX_VALUE.add(1), L.MIN_VALUE.negate(), L.fromBits(5, 6), L.fromBits(-1, -1), L.fromNumber(NaN), L.fromNumber(1e300), L.fromNumber(-1e300), L.fromNumber(2.9), L.fromNumber(-2.9), L.fromString('-ff', 16), L.ZERO, L.ONE, L.NEG_ONE, L.fromValue(5), L.fromValue('12'), L.fromValue({ low: 1, high: 2 })].map(String) })()", ['9007199254740986', '9007199254740992', '-63050394783186951', '-1286742750677284', '5', '-1', '7', '-9007199254740994', '249', '-7', '-9007199254741000', '-56', '-4', '15', '-9223372036854775808', '-9223372036854775808', '25769803781', '-1', '0', '9223372036854775807', '-9223372036854775808', '2', '-2', '-255', '0', '1', '-1', '5', '12', '8589934593']),
    ("(() => { const L = BSON.Long, a = L.fromInt(3), b = L.fromInt(4); return [a.gt(b), a.gte(3), a.lt(b), a.lte(b), a.eq(3), a.ne(3), a.neq(4), a.comp(b), b.compare(a), a.greaterThan(b), a.greaterThanOrEqual(b), a.lessThan(b), a.lessThanOrEqual(2), a.equals(b), a.notEquals(b), a.isZero(), L.ZERO.isZero(), L.ZERO.eqz(), a.isNegative(), a.isPositive(), a.isOdd(), b.isEven(), L.isLong(a), L.isLong(3)] })()", [False, True, True, True, True, False, True, -1, 1, False, False, True, False, False, True, False, True, True, False, True, True, True, True, False]),
    ("(() => { const b = BSON.Long.fromString('9007199254740993'), a = BSON.Long.fromInt(-2); return [b.low, b.high, b.getLowBits(), b.getHighBits(), a.low, a.high, b.toInt(), a.toInt(), b.toNumber(), a.toString(16), String(b.shiftLeft(BSON.Long.fromInt(2))), String(a.shiftRightUnsigned(1))] })()", [1, 2097152, 1, 2097152, -2, -1, 1, -2, 9007199254740992, '-2', '36028797018963972', '9223372036854775807']),
    ("(() => { const t = BSON.Timestamp.fromBits(2, 1), o = BSON.ObjectId.createFromTime(1600000000); return [t.getHighBits(), t.getLowBits(), String(o), o.getTimestamp().getTime(), BSON.ObjectId.isValid('x'), String(new BSON.ObjectId(Buffer.from('0123456789abcdef01234567', 'hex'))), BSON.ObjectId.isValid(Buffer.alloc(12)), BSON.ObjectId.isValid(Buffer.alloc(5))] })()", [1, 2, '5f5e10000000000000000000', 1600000000000, False, '0123456789abcdef01234567', True, False]),
    ("(() => { const id = new BSON.ObjectId('0123456789abcdef01234567'), r = new BSON.DBRef('c', id, 'd', { x: 1 }), s = new BSON.DBRef('d.c', id), c = new BSON.Code('f()', { n: id }), k = new BSON.Code('g'); return [r.collection, r.namespace, String(r.oid), r.db, r.fields, s.db, s.collection, c.code, String(c.scope.n), k.code, k.scope === undefined, EJSON.stringify({ r, s, c, k }, { relaxed: true }), JSON.stringify({ r, c, k })] })()", ['c', 'c', '0123456789abcdef01234567', 'd', {'x': 1}, 'd', 'c', 'f()', '0123456789abcdef01234567', 'g', True, '{"r":{"$ref":"c","$id":{"$oid":"0123456789abcdef01234567"},"$db":"d","x":1},"s":{"$ref":"c","$id":{"$oid":"0123456789abcdef01234567"},"$db":"d"},"c":{"$code":"f()","$scope":{"n":{"$oid":"0123456789abcdef01234567"}}},"k":{"$code":"g"}}', '{"r":{"$ref":"c","$id":"0123456789abcdef01234567","$db":"d","x":1},"c":{"code":"f()","scope":{"n":"0123456789abcdef01234567"}},"k":{"code":"g"}}']),
    ("(async () => { const told = [], t = setTimeout((v) => told.push(v), 5, 'a'), i = setInterval(() => told.push('i'), 1), p = setTimeout(() => told.push('p'), 1), n = setTimeout(() => told.push('n'), 1), o = setImmediate(() => told.push('o')); clearTimeout(+p); clearTimeout(String(+n)); clearInterval(i); clearImmediate(o); clearTimeout(undefined); clearTimeout({}); const seen = [typeof t, t.hasRef(), t.unref() === t, t.hasRef(), t.ref().hasRef(), typeof +t, t.refresh() === t]; await new Promise((done) => setTimeout(done, 60).unref && setTimeout(done, 60)); const again = setTimeout(() => told.push('late'), 1); again.close(); await new Promise((done) => setTimeout(done, 20)); return [told, seen] })()", [['a'], ['object', True, True, False, True, 'number', True]]),
    ("(() => ['mailto:a@b.c', 'tel:123', 'javascript:alert(1)', 'http:a/b', 'mongodb://u:p@h:1/d?x=1', 'file:///a/b', 'a:b@c:80/d?e#f'].map((one) => { const { auth, host, port, path, href } = require('url').parse(one); return [auth, host, port, path, href] }))()", [['a', 'b.c', None, None, 'mailto:a@b.c'], [None, '123', None, None, 'tel:123'], [None, None, None, 'alert(1)', 'javascript:alert(1)'], [None, None, None, 'a/b', 'http:a/b'], ['u:p', 'h:1', '1', '/d?x=1', 'mongodb://u:p@h:1/d?x=1'], [None, '', None, '/a/b', 'file:///a/b'], ['b', 'c:80', '80', '/d?e', 'a:b@c:80/d?e#f']]),
    ("(async () => { const c = new AbortController(), s = c.signal, told = []; s.onabort = (e) => told.push(['on', e.type, e.target === s, e instanceof Event]); s.addEventListener('abort', { handleEvent(e) { told.push(['object', this !== undefined, e.isTrusted === undefined]) } }); const gone = () => told.push('gone'); s.addEventListener('abort', gone); s.removeEventListener('abort', gone); told.push([s.aborted, s.reason === undefined, s.throwIfAborted() === undefined]); c.abort(); c.abort('again'); told.push([s.aborted, s.reason.name, s.reason.code, s.reason.message, s.reason instanceof DOMException, s.reason instanceof Error, Object.prototype.toString.call(s)]); try { s.throwIfAborted() } catch (e) { told.push(e === s.reason) } return told })()", [[False, True, True], ['on', 'abort', True, True], ['object', True, False], [True, 'AbortError', 20, 'This operation was aborted', True, True, '[object AbortSignal]'], True]),
    ("(async () => { const a = AbortSignal.abort('why'), t = AbortSignal.timeout(5), c = new AbortController(), any = AbortSignal.any([c.signal, t]), none = AbortSignal.any([]), at = AbortSignal.any([c.signal, a]); await new Promise((done) => any.addEventListener('abort', done)); let illegal; try { new AbortSignal() } catch (e) { illegal = e instanceof TypeError } return [a.aborted, a.reason, any.reason === t.reason, t.reason.name, t.reason.code, t.reason.message, none.aborted, at.reason, illegal, s(c.signal)]; function s(signal) { return signal.constructor.name } })()", [True, 'why', True, 'TimeoutError', 23, 'The operation was aborted due to timeout', False, 'why', True, 'AbortSignal']),
    ("(() => { const t = new EventTarget(), told = [], e = new Event('x', { cancelable: true }); t.addEventListener('x', (e) => told.push(e.currentTarget === t && e.target === t), { once: true }); t.addEventListener('x', (e) => e.preventDefault()); t.addEventListener('x', (e) => { told.push(e.type); e.stopImmediatePropagation() }); t.addEventListener('x', () => told.push('never')); const went = t.dispatchEvent(e); t.dispatchEvent(new Event('x')); const c = new AbortController(); t.addEventListener('y', () => told.push('never'), { signal: c.signal }); c.abort(); t.dispatchEvent(new Event('y')); class Own extends EventTarget {} new Own().addEventListener('z', null); return [told, went, e.defaultPrevented, e.currentTarget === null, e.bubbles, e.cancelable, e.eventPhase] })()", [[True, 'x', 'x'], False, True, True, False, True, 0]),
    ("(() => { const e = new DOMException('m', 'DataCloneError'), f = new DOMException(); return [String(e), e.code, e.stack.includes('m'), f.name, f.code, f.message, Object.keys(e)] })()", ['DataCloneError: m', 25, True, 'Error', 0, '', []]),
    ("(async () => { const { setTimeout: wait, setInterval: every } = require('timers/promises'), told = [], c = new AbortController(), lost = wait(10000, 'x', { signal: c.signal }).catch((e) => [e.name, e.code, e.cause === c.signal.reason]); c.abort(); told.push(await lost, await wait(1, 'v'), await wait(1, 'v', { signal: AbortSignal.abort() }).catch((e) => e.code)); for await (const one of every(1, 'i')) { told.push(one); if (told.length > 4) break } return told })()", [['AbortError', 'ABORT_ERR', True], 'v', 'ABORT_ERR', 'i', 'i']),
    ("(async () => { const { once, EventEmitter } = require('events'), { Readable, PassThrough, addAbortSignal } = require('stream'), { pipeline } = require('stream/promises'), c = new AbortController(), told = [], fails = (work) => work.then(() => 'no', (e) => e.code), waits = () => new Readable({ read() {} }); const all = [once(new EventEmitter(), 'x', { signal: c.signal }), pipeline(waits(), new PassThrough(), { signal: c.signal }), new Promise((done, failed) => addAbortSignal(c.signal, waits()).on('error', failed))].map(fails); c.abort(); return Promise.all(all) })()", ['ABORT_ERR', 'ABORT_ERR', 'ABORT_ERR']),
    ("(() => { const s = require('util').isDeepStrictEqual, a = require('assert'), loose = (x, y) => { try { a.deepEqual(x, y); return true } catch (e) { return e.code === 'ERR_ASSERTION' ? false : String(e) } }; const c = { n: 1 }; c.me = c; const d = { n: 1 }; d.me = { n: 1, me: d }; class P { constructor() { this.x = 1 } } const nul = Object.create(null); nul.x = 1; const sy = Symbol('s'), e1 = new Error('m'), e2 = new Error('m'); return [[new Set([1, 2, 3]), new Set([3, 1, 2])], [new Set([{ a: 1 }, { b: 2 }]), new Set([{ b: 2 }, { a: 1 }])], [new Set([{ a: 1 }, { a: 1 }]), new Set([{ a: 1 }, { a: 2 }])], [new Set([1, 2]), new Set([1, '2'])], [new Set([[1, 2], [1]]), new Set([[1], [1, 2]])], [new Map([[1, 'a'], [2, 'b']]), new Map([[2, 'b'], [1, 'a']])], [new Map([[{ k: 1 }, 1], [{ k: 2 }, 2]]), new Map([[{ k: 2 }, 2], [{ k: 1 }, 1]])], [new Map([[1, 'a']]), new Map([[1, 'b']])], [new Map([[1, 'a']]), new Map([['1', 'a']])], [new Map([[1, undefined]]), new Map([[2, undefined]])], [c, d], [{ a: 1 }, { a: '1' }], [[1, [2, null]], ['1', ['2', undefined]]], [new P(), { x: 1 }], [nul, { x: 1 }], [NaN, NaN], [0, -0], [[0], [-0]], [{ a: undefined }, {}], [{ [sy]: 1 }, {}], [{ [sy]: 1 }, { [sy]: 1 }], [e1, e2], [new Error('m'), new TypeError('m')], [new Error('a'), new Error('b')], [new Date(1), new Date(1)], [new Date(1), new Date(2)], [new Date(NaN), new Date(NaN)], [/a/g, /a/g], [/a/g, /a/i], [Object(1), Object(1)], [Object(1), 1], [Object('a'), Object('b')], [Buffer.from('a'), Buffer.from('a')], [new Uint8Array([1, 2]), new Uint8Array([1, 3])], [new Uint8Array([1]), new Int8Array([1])], [new Uint8Array([1]).buffer, new Uint8Array([1]).buffer], [[1, , 3], [1, undefined, 3]], [[1, 2], { 0: 1, 1: 2, length: 2 }], [null, undefined], [null, {}], [1, {}], ['a', ['a']], [() => 1, () => 1], [Object.assign([1], { x: 1 }), [1]], [new Set(), new Map()], [{ a: { b: [{ c: 1 }] } }, { a: { b: [{ c: true }] } }], [1n, 1], [new Set([null]), new Set([undefined])], [new Set([[]]), new Set([{}])]].map(([x, y]) => [s(x, y), loose(x, y), s(y, x), loose(y, x)].map(Number).join('')) })()", ['1111', '1111', '0000', '0101', '1111', '1111', '1111', '0000', '0101', '0000', '1111', '0101', '0101', '0101', '0101', '1111', '0101', '0101', '0000', '0101', '1111', '1111', '0000', '0000', '1111', '0000', '0000', '1111', '0000', '1111', '0000', '0000', '1111', '0000', '0000', '1111', '0000', '0000', '0101', '0000', '0000', '0000', '0000', '0000', '0000', '0101', '0101', '0101', '0000']),
    ("(() => { const a = require('assert'), t = [], fails = (work) => { try { work(); return 'no' } catch (e) { return [e.code, e.name] } }; const chain = (n) => { let v = {}; for (let i = 0; i < n; i++) v = { v }; return v }; return [fails(() => a.deepEqual({ a: 1 }, { a: 2 })), fails(() => a.deepEqual([1], ['1'])), fails(() => a.deepStrictEqual([1], ['1'])), fails(() => a.notDeepEqual([1], ['1'])), fails(() => a.notDeepStrictEqual([1], ['1'])), fails(() => a.strict.deepEqual([1], ['1'])), fails(() => a.strict.equal(1, '1')), fails(() => require('assert/strict').deepEqual([1], ['1'])), fails(() => require('assert').strict.notEqual(1, '1')), a.strict.strict === a.strict, fails(() => a.deepEqual(chain(300), chain(300)))] })()", [['ERR_ASSERTION', 'AssertionError'], 'no', ['ERR_ASSERTION', 'AssertionError'], ['ERR_ASSERTION', 'AssertionError'], 'no', ['ERR_ASSERTION', 'AssertionError'], ['ERR_ASSERTION', 'AssertionError'], ['ERR_ASSERTION', 'AssertionError'], 'no', True, 'no']),
    ("(() => ['http://a.b/x y', 'http://a.b/x?q=a b', 'http://a.b/#a b', 'http://a.b/{x}|y^`z`', 'http://a.b/<a>\"q\"', \"http://a.b/it's?it's#it's\", 'http://a.b/\\\\x\\\\y?a\\\\b', '\\thttp://a.b/x\\n', 'http://a.b/é?ü', '/x y?z=1', 'http://a b/c', 'http://a.b\\\\c', 'http://ex.com/a\\tb\\nc', 'http://u:p w@a.b/', 'http://u%20x@a.b/', 'x y', '?a b', '#a b', 'http://a.b?x', 'http://a.b#x', 'http://A.B:80/', 'http://müller.de/x', '//a.b/c d', 'mailto:a b@c.d', 'http://a.b/%zz', 'http://a.b/a%20b', 'javascript:alert(\"a b\")', 'http://a.b;c/d', 'http://a@b@c/', 'http://a.b/x@y', 'http:\\\\\\\\a.b\\\\c', 'HTTP://a.b', 'http://a.b:99/x', 'https://a.b/x?y=1&z=2#h', 'coap:u:p@[::1]:61616/x', 'http://[fe80::1]/', '', 'a/b', 'http://x.y.com+a/b/c', 'http://a.b/\\x7f', 'file:///etc/passwd', 'git+ssh://u@h/x', 'http://a.b/x?y?z', 'http://a.b/?x=1 2 3#f g'].map((one) => { let u; try { u = require('url').parse(one) } catch (e) { return e.code || e.message } const { protocol, slashes, auth, host, port, hostname, hash, search, query, pathname, path, href } = u; return [protocol, slashes, auth, host, port, hostname, hash, search, query, pathname, path, href] }))()", [['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/x%20y', '/x%20y', 'http://a.b/x%20y'], ['http:', True, None, 'a.b', None, 'a.b', None, '?q=a%20b', 'q=a%20b', '/x', '/x?q=a%20b', 'http://a.b/x?q=a%20b'], ['http:', True, None, 'a.b', None, 'a.b', '#a%20b', None, None, '/', '/', 'http://a.b/#a%20b'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/%7Bx%7D%7Cy%5E%60z%60', '/%7Bx%7D%7Cy%5E%60z%60', 'http://a.b/%7Bx%7D%7Cy%5E%60z%60'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/%3Ca%3E%22q%22', '/%3Ca%3E%22q%22', 'http://a.b/%3Ca%3E%22q%22'], ['http:', True, None, 'a.b', None, 'a.b', '#it%27s', '?it%27s', 'it%27s', '/it%27s', '/it%27s?it%27s', 'http://a.b/it%27s?it%27s#it%27s'], ['http:', True, None, 'a.b', None, 'a.b', None, '?a%5Cb', 'a%5Cb', '//x/y', '//x/y?a%5Cb', 'http://a.b//x/y?a%5Cb'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/x', '/x', 'http://a.b/x'], ['http:', True, None, 'a.b', None, 'a.b', None, '?ü', 'ü', '/é', '/é?ü', 'http://a.b/é?ü'], [None, None, None, None, None, None, None, '?z=1', 'z=1', '/x%20y', '/x%20y?z=1', '/x%20y?z=1'], ['http:', True, None, 'a', None, 'a', None, None, None, '%20b/c', '%20b/c', 'http://a/%20b/c'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/c', '/c', 'http://a.b/c'], ['http:', True, None, 'ex.com', None, 'ex.com', None, None, None, '/a%09b%0Ac', '/a%09b%0Ac', 'http://ex.com/a%09b%0Ac'], ['http:', True, 'u:p w', 'a.b', None, 'a.b', None, None, None, '/', '/', 'http://u:p%20w@a.b/'], ['http:', True, 'u x', 'a.b', None, 'a.b', None, None, None, '/', '/', 'http://u%20x@a.b/'], [None, None, None, None, None, None, None, None, None, 'x%20y', 'x%20y', 'x%20y'], [None, None, None, None, None, None, None, '?a%20b', 'a%20b', None, '?a%20b', '?a%20b'], [None, None, None, None, None, None, '#a%20b', None, None, None, None, '#a%20b'], ['http:', True, None, 'a.b', None, 'a.b', None, '?x', 'x', '/', '/?x', 'http://a.b/?x'], ['http:', True, None, 'a.b', None, 'a.b', '#x', None, None, '/', '/', 'http://a.b/#x'], ['http:', True, None, 'a.b:80', '80', 'a.b', None, None, None, '/', '/', 'http://a.b:80/'], ['http:', True, None, 'xn--mller-kva.de', None, 'xn--mller-kva.de', None, None, None, '/x', '/x', 'http://xn--mller-kva.de/x'], [None, None, None, None, None, None, None, None, None, '//a.b/c%20d', '//a.b/c%20d', '//a.b/c%20d'], ['mailto:', None, 'a b', 'c.d', None, 'c.d', None, None, None, None, None, 'mailto:a%20b@c.d'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/%zz', '/%zz', 'http://a.b/%zz'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/a%20b', '/a%20b', 'http://a.b/a%20b'], ['javascript:', None, None, None, None, None, None, None, None, 'alert("a b")', 'alert("a b")', 'javascript:alert("a b")'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, ';c/d', ';c/d', 'http://a.b/;c/d'], ['http:', True, 'a@b', 'c', None, 'c', None, None, None, '/', '/', 'http://a%40b@c/'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/x@y', '/x@y', 'http://a.b/x@y'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/c', '/c', 'http://a.b/c'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/', '/', 'http://a.b/'], ['http:', True, None, 'a.b:99', '99', 'a.b', None, None, None, '/x', '/x', 'http://a.b:99/x'], ['https:', True, None, 'a.b', None, 'a.b', '#h', '?y=1&z=2', 'y=1&z=2', '/x', '/x?y=1&z=2', 'https://a.b/x?y=1&z=2#h'], ['coap:', None, 'u:p', '[::1]:61616', '61616', '::1', None, None, None, '/x', '/x', 'coap:u:p@[::1]:61616/x'], ['http:', True, None, '[fe80::1]', None, 'fe80::1', None, None, None, '/', '/', 'http://[fe80::1]/'], [None, None, None, None, None, None, None, None, None, None, None, ''], [None, None, None, None, None, None, None, None, None, 'a/b', 'a/b', 'a/b'], ['http:', True, None, 'x.y.com+a', None, 'x.y.com+a', None, None, None, '/b/c', '/b/c', 'http://x.y.com+a/b/c'], ['http:', True, None, 'a.b', None, 'a.b', None, None, None, '/\x7f', '/\x7f', 'http://a.b/\x7f'], ['file:', True, None, '', None, '', None, None, None, '/etc/passwd', '/etc/passwd', 'file:///etc/passwd'], ['git+ssh:', True, 'u', 'h', None, 'h', None, None, None, '/x', '/x', 'git+ssh://u@h/x'], ['http:', True, None, 'a.b', None, 'a.b', None, '?y?z', 'y?z', '/x', '/x?y?z', 'http://a.b/x?y?z'], ['http:', True, None, 'a.b', None, 'a.b', '#f%20g', '?x=1%202%203', 'x=1%202%203', '/', '/?x=1%202%203', 'http://a.b/?x=1%202%203#f%20g']]),
    ("(() => { const u = require('url'); return [u.format({ protocol: 'http', host: 'a.b', pathname: '/x y?z', search: 'q=a#b', hash: 'h' }), u.format({ hostname: '::1', port: 80, protocol: 'http:', query: { a: [1, 2], b: 'x y' } }), u.format('http://a.b/x y'), u.resolve('/one/two/three', 'four'), u.resolve('http://example.com/', '/one'), u.resolve('http://a.b/c/d?x', '../e f'), u.format(new URL('http://a.b/x?y#z')), u.parse('/a?b=c&b=d', true).query.b, u.parse('//h/p', false, true).host] })()", ['http://a.b/x y%3Fz?q=a%23b#h', 'http://[::1]:80?a=1&a=2&b=x%20y', 'http://a.b/x%20y', '/one/two/four', 'http://example.com/one', 'http://a.b/e%20f', 'http://a.b/x?y#z', ['c', 'd'], 'h']),
]  # fmt: skip


def test_they_answer_as_elsewhere() -> None:
    expressions_answer(ANSWERS)


REFUSED = [
    ("new URL(5, 'x')", "TypeError: Invalid URL"), ("Buffer.from(5)", "Buffer.from takes text, an array, a buffer or a view of one"),
    ("Buffer.from('a', 'utf7')", "Unknown encoding: utf7"), ("btoa('\u20ac')", "btoa takes characters up to U+00FF"),
    ("new TextDecoder('big5')", "the encodings are utf-8, utf-16le and windows-1252, not big5"), ("structuredClone({ f() {} })", "a function cannot be cloned"),
    ("require('crypto').randomBytes(1e9)", "expected 0 to 65536 of them"), ("crypto.getRandomValues(new Uint8Array(65537))", "expected 0 to 65536"),
    ("queueMicrotask('x')", "queueMicrotask takes a function"), ("new BSON.UUID('x')", "a UUID has 32 hexadecimal digits"),
    ("new BSON.UUID(new Uint8Array(2))", "a UUID has 16 bytes"),     ("require('path').join(5)", "path: expected text"),
    ("new (require('string_decoder').StringDecoder)('x')", "Unknown encoding: x"), ("new (require('crypto').KeyObject)()", "keys are made by createSecretKey"),
    ("require('crypto').createPublicKey('a secret')", "crypto: expected a key in PEM"), ("require('crypto').createPrivateKey(5)", "crypto: expected a key in PEM, a KeyObject"),
    ("require('crypto').createPrivateKey({ key: 'x', passphrase: 'y' })", "a key with a passphrase is not available"),
    ("require('crypto').createPublicKey(require('crypto').createSecretKey('x'))", "expected a private key, got a secret one"),
    ("require('crypto').createSign('md5')", "signatures over md5 are not available"), ("require('crypto').createHmac('sha256', 5).update('x').digest()", "Binary takes text or bytes"),
    ("require('zlib').brotliCompressSync('x')", "zlib.brotliCompressSync is not available in a function"),
    ("BSON.serialize({})", "BSON.serialize is not available in a function"), ("BSON.BSONSymbol('x')", "BSON.BSONSymbol is not available in a function"),
    ("BSON.Long.fromInt(1, true)", "BSON.Long: unsigned numbers are not available"), ("BSON.Long.fromString('9', 8)", "BSON.Long: 9 is no digit of 8"),
    ("require('crypto').createSecretKey('x').export({ format: 'jwk' })", "the format jwk is not available"),
]  # fmt: skip


WRITTEN: list[tuple[str, Any]] = [
    ("(() => { const v = { a: { b: 1.5 } }, w = EJSON.serialize(v, { relaxed: true }); w.a.b = 2; return [v.a.b, w.a.b] })()", [1.5, 2]),
    ("[EJSON.serialize(undefined) === undefined, EJSON.serialize({ a: undefined, f() {} })]", [True, {}]),
    ("({ a: 'x', own: { n: 1, toJSON() { return 'never' } }, z: [1, undefined, () => 1, null] })", {"a": "x", "own": {"n": 1}, "z": [1, None, None, None]}),
    ("(() => { const v = Object.create(null); v.a = 1; v.n = -0; return EJSON.stringify([v, [1.5, 'x', -0]], { relaxed: true }) })()", '[{"a":1,"n":{"$numberDouble":"-0.0"}},[1.5,"x",{"$numberDouble":"-0.0"}]]'),
    ("EJSON.stringify({ a: 1, d: new Date(5), b: [1, { c: 2 }] }, (key, value) => (key === 'c' ? 'seen' : value), 0, { relaxed: true })", '{"a":1,"d":{"$date":"1970-01-01T00:00:00.005Z"},"b":[1,{"c":"seen"}]}'),
    ("(() => { const v = { a: { c: 1 } }; EJSON.stringify(v, (key, value) => { if (key === 'a') value.c = 9; return value }, 0, { relaxed: true }); return v.a.c })()", 1),
    ("EJSON.stringify({ a: 1, x: { toBSON() { return { deep: [2n] } } } })", '{"a":{"$numberInt":"1"},"x":{"deep":[{"$numberLong":"2"}]}}'),
    ("(() => { const a = [1, 2]; a.toJSON = () => 'never'; const o = JSON.parse('{\"__proto__\":{\"a\":1},\"d\":1}'); o.d = 2n; return [a, EJSON.stringify(o)] })()", [[1, 2], '{"__proto__":{"a":{"$numberInt":"1"}},"d":{"$numberLong":"2"}}']),
    ("(() => { const v = { a: 1 }; v.me = v; try { EJSON.stringify(v, { relaxed: true }) } catch (e) { return e.message } })()", "a value is nested too deeply, or holds itself"),
    ("EJSON.parse('{\"a\":{\"$numberInt\":\"1\"},\"b\":[{\"$oid\":\"0123456789abcdef01234567\"},{\"$odd\":1,\"x\":2}],\"e\":{}}')", {"a": 1, "b": [{"$oid": "0123456789abcdef01234567"}, {"$odd": 1, "x": 2}], "e": {}}),
    ("(() => { const [c, d, e] = EJSON.parse('[{\"$code\":\"f\",\"$scope\":{\"n\":{\"$numberLong\":\"5\"}}},{\"$code\":\"g\"},{\"$code\":\"h\",\"x\":1}]'); return [c instanceof BSON.Code, c.scope.n, c, d, e.x, new BSON.DBRef('c', new BSON.ObjectId('0123456789abcdef01234567'))] })()", [True, 5, {"$code": "f", "$scope": {"n": 5}}, {"$code": "g"}, 1, {"$ref": "c", "$id": {"$oid": "0123456789abcdef01234567"}}]),
    ("(async () => { const l = await EJSON.parse('{\"$numberLong\":\"9007199254740993\"}'), before = [l, l.nothing === undefined, l instanceof BSON.Long]; return [...before, l.gt(1), l, `${l}`, l + 1n, EJSON.stringify([l])] })()", [{"$numberLong": "9007199254740993"}, True, True, True, {"$numberLong": "9007199254740993"}, "9007199254740993", {"$numberLong": "9007199254740994"}, '[{"$numberLong":"9007199254740993"}]']),
]  # fmt: skip
"""How values are written and read, which are copied only where they have to be."""


def test_values_are_written_as_they_are_and_what_was_given_stays_as_it_was() -> None:
    functions = {f"f{index}": f"exports = async () => {text}" for index, (text, _) in enumerate(WRITTEN)}

    async def work(sandbox: Sandbox) -> list[Any]:
        return [await sandbox.run(name) for name in functions]

    for (text, expected), answer in zip(WRITTEN, run(functions, work), strict=True):
        assert answer == expected, text


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    async def work(sandbox: Sandbox) -> None:
        with pytest.raises(FunctionFailed) as raised:
            await sandbox.run("f")
        assert message in f"{raised.value.thrown}: {raised.value.message}"

    run({"f": f"exports = () => {text}"}, work)


def test_bytes_of_all_kinds_are_binary_and_no_module_of_node_takes_the_place_of_another() -> None:
    source = """exports = () => [Buffer.from('hi'), new TextEncoder().encode('hi'), new BSON.UUID('3b241101-e2bb-4255-8caf-4136c566a962'),
      Buffer.from(new BSON.Binary('hi')).toString(), BSON.UUID().toString().length, typeof process, typeof global]"""
    server = Recorder()
    hi = {"$binary": {"base64": "aGk=", "subType": "00"}}
    uuid = {"$binary": {"base64": "OyQRAeK7QlWMr0E2xWapYg==", "subType": "04"}}
    assert run({"f": source}, lambda sandbox: sandbox.run("f", server=server)) == [
        hi,
        hi,
        uuid,
        "hi",
        36,
        "undefined",
        "undefined",
    ]
    run(
        {"f": "exports = () => { for (const name of ['stream/web', 'buffer/']) try { require(name) } catch {} }"},
        lambda sandbox: sandbox.run("f", server=server),
    )
    assert [asked["id"] for asked in server.asked] == ["stream/web", "buffer/"]  # which the server refuses or finds


def test_all_of_console_is_lines_of_the_log() -> None:
    source = """exports = () => {
      const { log, assert, count, group, time, timeEnd } = console;
      log('a', 1); assert(true, 'never'); assert(false, 'why'); count(); count('x'); count(); console.countReset(); count(); group('g'); group(); console.groupEnd();
      console.dir({ a: 1 }); console.table([1]); console.trace('t'); time('t'); timeEnd('t');
    }"""
    server = Recorder()
    run({"f": source}, lambda sandbox: sandbox.run("f", server=server))
    *lines, last = server.lines
    counted = ["default: 1", "x: 1", "default: 2", "default: 1"]
    assert lines == ["a 1", "Assertion failed why", *counted, "g", '{"a":1}', "[1]", "Trace t"]
    assert last.startswith("t: ")
    assert last.endswith("ms")


def test_the_global_scope_itself_has_what_the_language_has_and_no_more() -> None:
    """What is more is ours, and comes by its prototype: nothing of V8's or Deno's is in front of it."""
    source = "exports = () => Reflect.ownKeys(globalThis).filter((key) => typeof key === 'symbol' || !/^[A-Z]/.test(key)).map(String)"
    language = {
        *("decodeURI", "decodeURIComponent", "encodeURI", "encodeURIComponent", "escape", "eval", "globalThis"),
        *("isFinite", "isNaN", "parseFloat", "parseInt", "undefined", "unescape"),
    }
    assert set(run({"f": source}, lambda sandbox: sandbox.run("f"))) == language


def test_globals_can_be_replaced_by_a_function_for_itself() -> None:
    names = [
        "context",
        "console",
        "utils",
        "EJSON",
        "BSON",
        "Buffer",
        "URL",
        "crypto",
        "fetch",
        "setTimeout",
        "atob",
        "TextEncoder",
        "AbortSignal",
    ]
    source = f"""exports = () => {json.dumps(names)}.map((name) => {{
      const before = typeof globalThis[name];
      globalThis[name] = 5;
      return [before, globalThis[name], (0, eval) === eval, Object.hasOwn(globalThis, name)];
    }})"""

    async def work(sandbox: Sandbox) -> None:
        for _ in range(2):
            found = await sandbox.run("f")
            assert {(type_, *rest) for type_, *rest in found} <= {
                (kind, 5, True, True) for kind in ("object", "function")
            }

    run({"f": source}, work)
