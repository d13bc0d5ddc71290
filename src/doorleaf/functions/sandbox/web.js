// What browsers give every program, as far as it stays inside a call: made when it is first named. A part of the prelude.

const web = once(() => {
const parsing = guarded("address");
const { fromCharCode } = String;

function binaryText(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}

function latin(text) {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

const encoded = (text) => Uint8Array.fromBase64(toBase64(String(text)));
const decoded = (bytes) => toText(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).toBase64());

function view(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return fail("expected an ArrayBuffer or a view of one");
}

class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text = "") { return encoded(text); }
  encodeInto(text, target) {
    let read = 0, written = 0;
    for (const one of String(text)) {
      const bytes = encoded(one);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      [read, written] = [read + one.length, written + bytes.length];
    }
    return { read, written };
  }
}

// The names of encodings that WHATWG's standard has for these three, as far as anybody writes them.
const LABELS = { "utf-8": /^(?:unicode-1-1-)?utf-?8$/, "windows-1252": /^(?:us-)?ascii$|^latin1$|^l1$|^iso-?8859-?1$|^(?:windows-|x-cp|cp)1252$/, "utf-16le": /^utf-16(?:le)?$|^ucs-2$|^unicode$/ };
// What windows-1252 has in place of U+0080 to U+009F.
const WESTERN = "\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178";

class TextDecoder {
  #fatal; #keepsMark; #encoding;
  constructor(label = "utf-8", given = {}) {
    this.#encoding = Object.keys(LABELS).find((name) => LABELS[name].test(String(label).trim().toLowerCase()));
    if (this.#encoding === undefined) throw new RangeError(`TextDecoder: the encodings are utf-8, utf-16le and windows-1252, not ${label}`);
    [this.#fatal, this.#keepsMark] = [given?.fatal === true, given?.ignoreBOM === true];
  }
  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#keepsMark; }
  decode(value, given) {
    if (given?.stream) fail("TextDecoder: stream is not available");
    if (value === undefined) return "";
    if (this.#encoding === "windows-1252") return binaryText(view(value)).replace(/[\x80-\x9f]/g, (one) => WESTERN[one.charCodeAt(0) - 128]);
    if (this.#encoding === "utf-16le") {
      const text = buffers().from(view(value)).toString("utf16le").toWellFormed() + (view(value).length % 2 ? "\ufffd" : "");
      if (this.#fatal && text.includes("\ufffd")) fail("the bytes are no UTF-16");
      return this.#keepsMark ? text : text.replace(/^\ufeff/, "");
    }
    const bytes = view(value), text = decoded(bytes);
    const mark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? "\ufeff" : "";
    if (this.#fatal && (text.includes("\ufffd") || mark) && encoded(mark + text).toHex() !== bytes.toHex()) fail("the bytes are no UTF-8");
    return this.#keepsMark ? mark + text : text;
  }
}

function btoa(text) {
  text = String(text);
  if (/[^\0-\xff]/.test(text)) throw new RangeError("btoa takes characters up to U+00FF");
  return latin(text).toBase64();
}
const atob = (text) => binaryText(Uint8Array.fromBase64(String(text).replace(/[\t\n\f\r ]/g, "")));

function queueMicrotask(work) {
  if (typeof work !== "function") fail("queueMicrotask takes a function");
  Promise.resolve().then(() => fallible(work, []));
}

function structuredClone(value, given) {
  if (given?.transfer?.length) fail("structuredClone: transfer is not available");
  return copied(value, new Map(), 0);
}

const sliced = Object.getPrototypeOf(Uint8Array.prototype).slice;
const ERRORS = { __proto__: null, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

function copied(value, seen, deep) {
  if (typeof value === "function" || typeof value === "symbol") fail(`structuredClone: a ${typeof value} cannot be cloned`);
  if (typeof value !== "object" || value === null || value instanceof Value) return value;
  if (seen.has(value)) return seen.get(value);
  if (deep > 1000) throw new RangeError("structuredClone: a value is nested too deeply");
  const keep = (made) => { seen.set(value, made); return made; };
  const inner = (one) => copied(one, seen, deep + 1);
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (value instanceof DataView) return keep(new DataView(value.buffer.slice(0), value.byteOffset, value.byteLength));
  if (ArrayBuffer.isView(value)) return keep(sliced.call(value)); // a Buffer's own slice shares its bytes
  if (value instanceof Map) {
    const made = keep(new Map());
    for (const [key, one] of value) made.set(inner(key), inner(one));
    return made;
  }
  if (value instanceof Set) {
    const made = keep(new Set());
    for (const one of value) made.add(inner(one));
    return made;
  }
  const made = keep(value instanceof Error ? new (ERRORS[value.name] ?? Error)(value.message) : Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) put(made, key, inner(value[key]));
  return made;
}

// --- addresses -------------------------------------------------------------------------------------------------------

const percent = { "%20": "+", "!": "%21", "'": "%27", "(": "%28", ")": "%29", "~": "%7E" };
const formWritten = (text) => encodeURIComponent(text.toWellFormed()).replace(/%20|[!'()~]/g, (found) => percent[found]);

function formRead(text) {
  text = text.replaceAll("+", " ");
  if (!text.includes("%")) return text;
  const bytes = encoded(text), made = [];
  for (let at = 0; at < bytes.length; at++) {
    const code = bytes[at] === 37 ? fromCharCode(bytes[at + 1], bytes[at + 2]) : "";
    if (/^[0-9a-fA-F]{2}$/.test(code)) made.push(parseInt(code, 16)), (at += 2);
    else made.push(bytes[at]);
  }
  return decoded(new Uint8Array(made));
}

let reread;

class URLSearchParams {
  #pairs = []; #changed;
  static {
    reread = (params, text) => { params.#pairs = []; params.#read(text); };
  }
  constructor(given = "", changed) {
    this.#changed = typeof changed === "function" ? changed : () => {};
    if (typeof given === "object" && given !== null) {
      const pairs = typeof given[Symbol.iterator] === "function" ? given : Object.entries(given);
      for (const [name, value] of pairs) this.#pairs.push([String(name), String(value)]);
    } else this.#read(String(given));
  }
  #read(text) {
    if (text.startsWith("?")) text = text.slice(1);
    for (const part of text.split("&")) {
      if (part === "") continue;
      const at = part.indexOf("=");
      this.#pairs.push(at < 0 ? [formRead(part), ""] : [formRead(part.slice(0, at)), formRead(part.slice(at + 1))]);
    }
  }
  #set(pairs) { this.#pairs = pairs; this.#changed(this.toString()); }
  append(name, value) { this.#set([...this.#pairs, [String(name), String(value)]]); }
  delete(name, value) {
    this.#set(this.#pairs.filter(([key, one]) => key !== String(name) || (value !== undefined && one !== String(value))));
  }
  get(name) { return this.#pairs.find(([key]) => key === String(name))?.[1] ?? null; }
  getAll(name) { return this.#pairs.filter(([key]) => key === String(name)).map(([, value]) => value); }
  has(name, value) { return this.#pairs.some(([key, one]) => key === String(name) && (value === undefined || one === String(value))); }
  set(name, value) {
    const at = this.#pairs.findIndex(([key]) => key === String(name));
    if (at < 0) return this.append(name, value);
    this.#set(this.#pairs.flatMap((pair, index) => index === at ? [[pair[0], String(value)]] : pair[0] === String(name) ? [] : [pair]));
  }
  sort() { this.#set(this.#pairs.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))); }
  forEach(visit, self) { for (const [name, value] of this.#pairs) visit.call(self, value, name, this); }
  *entries() { for (const [name, value] of this.#pairs) yield [name, value]; }
  *keys() { for (const [name] of this.#pairs) yield name; }
  *values() { for (const [, value] of this.#pairs) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  get size() { return this.#pairs.length; }
  toString() { return this.#pairs.map((pair) => pair.map(formWritten).join("=")).join("&"); }
}

class URL {
  #parts; #query;
  constructor(text, base) { this.#take(parsing(String(text), base === undefined ? "" : String(base), "", "")); }
  #take(told) {
    if (told === "") throw Object.assign(new TypeError("Invalid URL"), { code: "ERR_INVALID_URL" });
    this.#parts = parse(told);
  }
  #change(name, value) { this.#take(parsing(this.#parts.href, "", name, String(value))); }
  static {
    for (const name of ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"]) {
      const set = function (value) {
        this.#change(name, value);
        if (this.#query !== undefined && (name === "href" || name === "search")) reread(this.#query, this.#parts.search);
      };
      define(URL.prototype, name, { get() { return this.#parts[name]; }, set, enumerable: true, configurable: true });
    }
  }
  get origin() { return this.#parts.origin; }
  get searchParams() { return (this.#query ??= new URLSearchParams(this.#parts.search, (text) => this.#change("search", text))); }
  toString() { return this.#parts.href; }
  toJSON() { return this.#parts.href; }
  static canParse(text, base) { return parsing(String(text), base === undefined ? "" : String(base), "", "") !== ""; }
  static parse(text, base) { return URL.canParse(text, base) ? new URL(text, base) : null; }
}

const crypto = {
  getRandomValues(into) { view(into).set(randomBytes(into.byteLength)); return into; },
  randomUUID() {
    const bytes = randomBytes(16);
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  },
};

return { TextEncoder, TextDecoder, btoa, atob, queueMicrotask, structuredClone, URLSearchParams, URL, crypto, latin, binaryText, encoded, decoded, view };
});

function randomBytes(count) {
  if (!Number.isInteger(count) || count < 0 || count > 65536) throw new RangeError("random bytes: expected 0 to 65536 of them");
  return Uint8Array.fromBase64(guarded("chance")(count));
}
