// More modules of Node.js: those that need nothing from outside, and those that can be loaded but not used. A part of the prelude.

const nodeUrl = once(() => {
  const { URL, URLSearchParams } = web();
  const SLASHED = ["http:", "https:", "ftp:", "file:", "ws:", "wss:"];
  const query = (text) => node().querystring().parse(text);
  function parse(text, withQuery, slashes) {
    // As Node.js had it before there were URLs: nothing is resolved, and hardly anything is wrong.
    if (typeof text !== "string") fail("url.parse takes text");
    const found = { protocol: null, slashes: null, auth: null, host: null, port: null, hostname: null, hash: null, search: null, query: null, pathname: null, path: null, href: "" };
    let [, rest, hash = ""] = /^([^#]*)(#[^]*)?$/.exec(text.trim().replace(/^[^?#]*/, (before) => before.replaceAll("\\", "/"))), [, protocol] = /^([a-z][a-z0-9.+-]*:)/i.exec(rest) ?? [];
    if (protocol !== undefined) {
      found.protocol = protocol.toLowerCase();
      rest = rest.slice(protocol.length);
    }
    const slashed = rest.startsWith("//") && (protocol !== undefined || slashes);
    if (found.protocol !== "javascript:" && (slashed || (protocol !== undefined && !SLASHED.includes(found.protocol)))) {
      // Also without slashes, as in mailto:a@b.c
      if (slashed) found.slashes = true;
      const [, authority, after] = /^(?:\/\/)?([^/?]*)([^]*)$/.exec(rest), at = authority.lastIndexOf("@");
      if (at >= 0) found.auth = decodeURIComponent(authority.slice(0, at));
      const [, host, left] = /^([^\s"%';<>^`{|}]*)([^]*)$/.exec(authority.slice(at + 1)); // what no host has is of the path
      let [, hostname, port] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(host) ?? [, host];
      if (/[^\0-\x7f]/.test(hostname)) hostname = ascii(hostname);
      found.hostname = hostname.toLowerCase().replace(/^\[|\]$/g, "");
      if (port) found.port = port;
      found.host = hostname.toLowerCase() + (port ? `:${port}` : "");
      rest = left + after;
    }
    if (found.protocol !== "javascript:") [rest, hash] = [rest, hash].map((part) => part.replace(/[\t\n\r "'<>\\^`{|}]/g, (one) => (one === "'" ? "%27" : encodeURIComponent(one))));
    const mark = rest.indexOf("?");
    if (mark >= 0) [found.search, found.query, rest] = [rest.slice(mark), rest.slice(mark + 1), rest.slice(0, mark)];
    found.pathname = rest || (found.host !== null && SLASHED.includes(found.protocol) ? "/" : null);
    if (withQuery) { found.query = query(found.query ?? ""); found.search ??= ""; }
    if (found.pathname !== null || found.search) found.path = (found.pathname ?? "") + (found.search ?? "");
    found.hash = hash || null;
    found.href = format(found);
    return found;
  }
  function format(given) {
    if (typeof given === "string") return parse(given).href;
    if (given instanceof URL) return given.href;
    const { auth, hostname, port, hash, slashes } = given;
    let { protocol = "", host, search, pathname } = given;
    if (protocol && !protocol.endsWith(":")) protocol += ":";
    host ??= hostname ? (hostname.includes(":") ? `[${hostname}]` : hostname) + (port ? `:${port}` : "") : undefined;
    search ??= given.query && typeof given.query === "object" && Object.keys(given.query).length ? `?${node().querystring().stringify(given.query)}` : "";
    if (search && !search.startsWith("?")) search = `?${search}`;
    pathname ??= "";
    const place = host ? `${auth ? `${encodeURIComponent(auth).replace(/%3A/i, ":")}@` : ""}${host}` : "";
    const lead = place ? (slashes || !protocol || SLASHED.includes(protocol) ? "//" : "") : slashes && host === "" ? "//" : "";
    if (lead && pathname && !pathname.startsWith("/")) pathname = `/${pathname}`;
    return `${protocol ?? ""}${lead}${place}${pathname.replace(/[?#]/g, encodeURIComponent)}${search.replace("#", "%23")}${hash ? (hash.startsWith("#") ? hash : `#${hash}`) : ""}`;
  }
  function resolve(from, to) {
    const made = new URL(to, new URL(from, "resolve://"));
    return made.protocol === "resolve:" ? made.pathname + made.search + made.hash : made.href;
  }
  const ascii = (name) => { try { return new URL(`http://${name}`).hostname; } catch { return ""; } };
  const refused = (name) => () => fail(`url.${name} is not available in a function`);
  return {
    URL, URLSearchParams, parse, format, resolve, resolveObject: (from, to) => parse(resolve(from, to)), domainToASCII: ascii, domainToUnicode: (name) => name,
    fileURLToPath: refused("fileURLToPath"), pathToFileURL: refused("pathToFileURL"), Url: class Url {},
    urlToHttpOptions: ({ protocol, hostname, port, pathname, search, hash, href }) => ({ protocol, hostname, port, pathname, search, hash, href, path: pathname + search }),
  };
});

const nodeAssert = once(() => {
  class AssertionError extends Error {
    constructor({ message, actual, expected, operator } = {}) {
      super(message ?? `${shown(actual)} ${operator} ${shown(expected)}`);
      define(this, "name", { value: "AssertionError" });
      Object.assign(this, { actual, expected, operator, code: "ERR_ASSERTION", generatedMessage: message === undefined });
    }
  }
  const check = (good, message, actual, expected, operator) => {
    if (good) return;
    throw message instanceof Error ? message : new AssertionError({ message, actual, expected, operator });
  };
  const assert = (value, message) => check(value, message, value, true, "==");
  const matches = (error, wanted) => wanted === undefined || typeof wanted === "string" || (wanted instanceof RegExp ? wanted.test(String(error))
    : typeof wanted !== "function" ? Object.entries(wanted).every(([name, one]) => same(error?.[name], one)) : error instanceof wanted || (!(wanted.prototype instanceof Error) && wanted !== Error && wanted(error) === true));
  Object.assign(assert, {
    AssertionError, ok: assert,
    equal: (a, b, message) => check(a == b || (a !== a && b !== b), message, a, b, "=="), notEqual: (a, b, message) => check(a != b, message, a, b, "!="),
    strictEqual: (a, b, message) => check(Object.is(a, b), message, a, b, "strictEqual"), notStrictEqual: (a, b, message) => check(!Object.is(a, b), message, a, b, "notStrictEqual"),
    deepEqual: (a, b, message) => check(same(a, b, false), message, a, b, "deepEqual"), deepStrictEqual: (a, b, message) => check(same(a, b), message, a, b, "deepStrictEqual"),
    notDeepEqual: (a, b, message) => check(!same(a, b, false), message, a, b, "notDeepEqual"), notDeepStrictEqual: (a, b, message) => check(!same(a, b), message, a, b, "notDeepStrictEqual"),
    match: (text, pattern, message) => check(pattern.test(text), message, text, pattern, "match"), doesNotMatch: (text, pattern, message) => check(!pattern.test(text), message, text, pattern, "doesNotMatch"),
    fail: (message = "Failed") => check(false, message), ifError: (error) => { if (error !== null && error !== undefined) throw error; },
    throws(work, wanted, message) {
      try { work(); } catch (error) { if (!matches(error, wanted)) throw error; return; }
      check(false, typeof wanted === "string" ? wanted : (message ?? "Missing expected exception."), undefined, wanted, "throws");
    },
    doesNotThrow(work) { work(); },
    async rejects(work, wanted, message) {
      try { await (typeof work === "function" ? work() : work); } catch (error) { if (!matches(error, wanted)) throw error; return; }
      check(false, typeof wanted === "string" ? wanted : (message ?? "Missing expected rejection."), undefined, wanted, "rejects");
    },
  });
  const { strictEqual: equal, notStrictEqual: notEqual, deepStrictEqual: deepEqual, notDeepStrictEqual: notDeepEqual } = assert;
  assert.strict = Object.assign((value, message) => assert(value, message), assert, { equal, notEqual, deepEqual, notDeepEqual });
  assert.strict.strict = assert.strict;
  return assert;
});

const nodePunycode = once(() => {
  const points = (text) => Array.from(text, (one) => one.codePointAt(0)), text = (list) => String.fromCodePoint(...list);
  function decode(given) {
    // RFC 3492, section 6.2.
    const last = given.lastIndexOf("-"), found = points(given.slice(0, Math.max(last, 0)));
    let code = 128, bias = 72, at = 0;
    for (let from = last < 0 ? 0 : last + 1; from < given.length; ) {
      const before = at;
      for (let weight = 1, step = 36; ; step += 36) {
        const digit = parseInt(given[from++], 36), value = Number.isNaN(digit) ? fail("punycode: invalid input") : digit < 10 ? digit + 26 : digit - 10;
        at += value * weight;
        const least = step <= bias ? 1 : Math.min(step - bias, 26);
        if (value < least) break;
        weight *= 36 - least;
      }
      let delta = before === 0 ? Math.floor(at / 700) : (at - before) >> 1, steps = 0;
      for (delta += Math.floor(delta / (found.length + 1)); delta > 455; steps += 36) delta = Math.floor(delta / 35);
      bias = steps + Math.floor((36 * delta) / (delta + 38));
      code += Math.floor(at / (found.length + 1));
      at %= found.length + 1;
      found.splice(at++, 0, code);
    }
    return text(found);
  }
  const encode = (given) => { const made = nodeUrl().domainToASCII(given); return made.startsWith("xn--") ? made.slice(4) : `${given}-`; };
  return {
    ucs2: { decode: points, encode: text }, decode, encode, toASCII: (name) => (/[^\0-\x7f]/.test(name) ? nodeUrl().domainToASCII(name) : name),
    toUnicode: (name) => name.split(".").map((part) => (/^xn--/i.test(part) ? decode(part.slice(4).toLowerCase()) : part)).join("."), version: "2.1.0",
  };
});

const nodeZlib = once(() => {
  const Buffer = buffers(), { Transform } = nodeStream();
  const ask = (does, given) => Buffer.from(asked({ to: "zlib", does, input: bytes(typeof given === "string" ? Buffer.from(given) : web().view(given)) }).buffer);
  const found = { constants: { Z_NO_FLUSH: 0, Z_PARTIAL_FLUSH: 1, Z_SYNC_FLUSH: 2, Z_FULL_FLUSH: 3, Z_FINISH: 4, Z_BEST_SPEED: 1, Z_BEST_COMPRESSION: 9, Z_DEFAULT_COMPRESSION: -1 } };
  Object.assign(found, found.constants);
  for (const does of ["gzip", "gunzip", "deflate", "inflate", "deflateRaw", "inflateRaw", "unzip"]) {
    found[`${does}Sync`] = (given) => ask(does, given);
    found[does] = (given, options, told) => {
      nodeProcess().nextTick(() => {
        let made;
        try { made = ask(does, given); } catch (error) { return (told ?? options)(error); }
        (told ?? options)(null, made);
      });
    };
    const name = does[0].toUpperCase() + does.slice(1);
    const Type = found[name] = class extends Transform {
      #pieces = [];
      _transform(piece, encoding, done) { this.#pieces.push(piece); done(); }
      _flush(done) {
        let made;
        try { made = this.#pieces.length === 0 ? undefined : ask(does, Buffer.concat(this.#pieces)); } catch (error) { return done(error); }
        done(null, made);
      }
    };
    found[`create${name}`] = (given) => new Type(given);
  }
  // No createBrotliDecompress: by its being there packages decide whether they ask servers for brotli.
  for (const name of ["brotliCompress", "brotliCompressSync", "brotliDecompress", "brotliDecompressSync"]) found[name] = () => fail(`zlib.${name} is not available in a function`);
  return found;
});

// What packages load and hardly use: what is named of these is there, and refused when it is called.
function absent(name) {
  const of = {}, later = /promises$/.test(name);
  return () => new Proxy(of, {
    get(target, key) {
      if (typeof key !== "string" || ["then", "default", "__esModule", "toJSON"].includes(key)) return target[key];
      return (target[key] ??= key === "promises" || key === "constants" ? absent(`${name}.${key}`)() : function refused() {
        if (later && new.target === undefined) return Promise.reject(new TypeError(`${name}.${key} is not available in a function`));
        return fail(`${name}.${key} is not available in a function`);
      });
    },
  });
}
const more = once(() => {
  const began = Date.now();
  const found = {
    url: nodeUrl, assert: nodeAssert, "assert/strict": () => nodeAssert().strict, punycode: nodePunycode, zlib: nodeZlib,
    http: once(() => nodeHttp()("http:")), https: once(() => nodeHttp()("https:")),
    os: once(() => ({
      EOL: "\n", arch: () => "", platform: () => "linux", type: () => "Linux", release: () => "", hostname: () => "localhost", tmpdir: () => "/tmp", homedir: () => "/",
      cpus: () => [], totalmem: () => 0, freemem: () => 0, loadavg: () => [0, 0, 0], uptime: () => 0, networkInterfaces: () => ({}), endianness: () => "LE", constants: { signals: {} },
    })),
    diagnostics_channel: once(() => {
      const channel = (name) => ({ name, hasSubscribers: false, publish() {}, subscribe() {}, unsubscribe: () => false }); // of which nobody hears
      return { channel, hasSubscribers: () => false, subscribe() {}, unsubscribe: () => false };
    }),
    tty: once(() => ({ isatty: () => false })), console: () => globalThis.console, constants: () => ({}),
    perf_hooks: once(() => ({ performance: { now: () => Date.now() - began, timeOrigin: began } })),
    "timers/promises": () => nodeTimers().promises, "stream/promises": () => nodeStream().promises, "util/types": () => nodeUtil().types, "path/posix": nodePath,
  };
  for (const name of [
    "fs", "fs/promises", "net", "tls", "dns", "dns/promises", "dgram", "child_process", "cluster", "http2", "inspector", "module", "readline", "repl", "v8", "vm",
    "worker_threads", "async_hooks", "trace_events", "wasi", "domain",
  ]) found[name] = once(absent(name));
  return found;
});
