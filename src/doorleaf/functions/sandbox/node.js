// Buffer, and what of the modules of Node.js needs nothing from outside. A part of the prelude.

const buffers = once(() => {
const { latin, binaryText, encoded, decoded, view } = web();

function bytesOf(text, encoding = "utf8") {
  switch (String(encoding).toLowerCase()) {
    case "utf8": case "utf-8": return encoded(text);
    case "hex": return Uint8Array.fromHex(/^(?:[0-9a-f]{2})*/i.exec(text)[0]);
    case "base64": case "base64url":
      return base64Bytes(text.replace(/=[^]*$/, "").replace(/[^\w+/-]/g, "").replaceAll("-", "+").replaceAll("_", "/"));
    case "ascii": case "latin1": case "binary": return latin(text);
    case "ucs2": case "ucs-2": case "utf16le": case "utf-16le": {
      const bytes = new Uint8Array(text.length * 2);
      for (let at = 0; at < text.length; at++) [bytes[at * 2], bytes[at * 2 + 1]] = [text.charCodeAt(at) & 255, text.charCodeAt(at) >> 8];
      return bytes;
    }
  }
  return fail(`Unknown encoding: ${encoding}`);
}

// A last letter that makes no byte is left out.
const base64Bytes = (text) => Uint8Array.fromBase64(text.length % 4 === 1 ? text.slice(0, -1) : text);

function textOf(bytes, encoding = "utf8") {
  switch (String(encoding).toLowerCase()) {
    case "utf8": case "utf-8": return (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? "\ufeff" : "") + decoded(bytes);
    case "hex": return bytes.toHex();
    case "base64": return bytes.toBase64();
    case "base64url": return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
    case "ascii": return binaryText(Uint8Array.from(bytes, (byte) => byte & 127));
    case "latin1": case "binary": return binaryText(bytes);
    case "ucs2": case "ucs-2": case "utf16le": case "utf-16le": {
      let text = "";
      for (let at = 0; at + 1 < bytes.length; at += 2) text += String.fromCharCode(bytes[at] | (bytes[at + 1] << 8));
      return text;
    }
  }
  return fail(`Unknown encoding: ${encoding}`);
}

const of = (value, encoding) => (typeof value === "string" ? bytesOf(value, encoding) : view(value));
const over = (bytes) => new Buffer(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const order = (a, b) => {
  for (let at = 0; at < a.length && at < b.length; at++) if (a[at] !== b[at]) return a[at] < b[at] ? -1 : 1;
  return Math.sign(a.length - b.length);
};

class Buffer extends Uint8Array {
  constructor(value, at, size) {
    if (typeof value === "string") super(bytesOf(value, at));
    else super(value, at, size);
  }
  static from(value, at, size) {
    if (typeof value === "string") return over(bytesOf(value, at));
    if (value instanceof ArrayBuffer) return new Buffer(value, at, size);
    if (ArrayBuffer.isView(value) || Array.isArray(value)) return over(Uint8Array.from(value));
    if (value instanceof types.Binary) return over(value.buffer.slice());
    if (value?.type === "Buffer" && Array.isArray(value.data)) return over(Uint8Array.from(value.data));
    return fail("Buffer.from takes text, an array, a buffer or a view of one");
  }
  static allocUnsafe(size) { return new Buffer(size); }
  static allocUnsafeSlow(size) { return new Buffer(size); }
  static isBuffer(value) { return value instanceof Buffer; }
  static isEncoding(name) { try { bytesOf("", name); return typeof name === "string"; } catch { return false; } }
  static byteLength(value, encoding) { return of(value, encoding).length; }
  static compare(a, b) { return order(view(a), view(b)); }
  static concat(all, size = all.reduce((sum, one) => sum + one.length, 0)) {
    const made = new Buffer(size);
    let at = 0;
    for (const one of all) {
      made.set(one.subarray(0, Math.max(size - at, 0)), Math.min(at, size));
      at += one.length;
    }
    return made;
  }
  toString(encoding, from = 0, to = this.length) { return textOf(super.subarray(from, to), encoding); }
  toLocaleString(encoding) { return this.toString(encoding); }
  toJSON() { return { type: "Buffer", data: Array.from(this) }; }
  equals(other) { return order(this, view(other)) === 0; }
  compare(other, from = 0, to = other.length, own = 0, end = this.length) { return order(super.subarray(own, end), view(other).subarray(from, to)); }
  slice(from, to) { return this.subarray(from, to); }
  write(text, at = 0, size, encoding) {
    if (typeof at === "string") [encoding, at, size] = [at, 0, undefined];
    else if (typeof size === "string") [encoding, size] = [size, undefined];
    const bytes = bytesOf(text, encoding).subarray(0, Math.min(size ?? Infinity, this.length - at));
    this.set(bytes, at);
    return bytes.length;
  }
  copy(target, at = 0, from = 0, to = this.length) {
    const bytes = super.subarray(from, Math.min(to, from + target.length - at));
    target.set(bytes, at);
    return bytes.length;
  }
  fill(value, from = 0, to = this.length, encoding) {
    if (typeof from === "string") [encoding, from, to] = [from, 0, this.length];
    if (typeof value === "number") return super.fill(value, from, to);
    const bytes = of(value, encoding);
    for (let at = from; at < to; at++) this[at] = bytes.length ? bytes[(at - from) % bytes.length] : 0;
    return this;
  }
  indexOf(value, from = 0, encoding) {
    if (typeof from === "string") [from, encoding] = [0, from];
    if (typeof value === "number") return super.indexOf(value & 255, from);
    return binaryText(this).indexOf(binaryText(of(value, encoding)), from < 0 ? from + this.length : from);
  }
  lastIndexOf(value, from = this.length, encoding) {
    if (typeof from === "string") [from, encoding] = [this.length, from];
    if (typeof value === "number") return super.lastIndexOf(value & 255, from);
    const last = from < 0 ? from + this.length : from;
    return last < 0 ? -1 : binaryText(this).lastIndexOf(binaryText(of(value, encoding)), last);
  }
  includes(value, from, encoding) { return this.indexOf(value, from, encoding) >= 0; }
  readUIntBE(at, size) { let value = 0; while (size-- > 0) value = value * 256 + this[at++]; return value; }
  readUIntLE(at, size) { let value = 0; while (size-- > 0) value = value * 256 + this[at + size]; return value; }
}
for (const [name, kind, size] of [
  ["UInt8", "Uint8", 1], ["Int8", "Int8", 1], ["UInt16", "Uint16", 2], ["Int16", "Int16", 2], ["UInt32", "Uint32", 4], ["Int32", "Int32", 4],
  ["Float", "Float32", 4], ["Double", "Float64", 8], ["BigInt64", "BigInt64", 8], ["BigUInt64", "BigUint64", 8],
]) {
  for (const end of size === 1 ? [""] : ["LE", "BE"]) {
    const read = function (at = 0) { return new DataView(this.buffer, this.byteOffset, this.byteLength)[`get${kind}`](at, end === "LE"); };
    const write = function (value, at = 0) {
      new DataView(this.buffer, this.byteOffset, this.byteLength)[`set${kind}`](at, value, end === "LE");
      return at + size;
    };
    for (const called of new Set([name, name.replace("UInt", "Uint")])) {
      define(Buffer.prototype, `read${called}${end}`, { value: read, writable: true, configurable: true });
      define(Buffer.prototype, `write${called}${end}`, { value: write, writable: true, configurable: true });
    }
  }
}
Buffer.poolSize = 8192;
// A function, because packages write `new Buffer.alloc(…)`.
Buffer.alloc = function (size, fill, encoding) { const made = new Buffer(size); return fill === undefined ? made : made.fill(fill, encoding); };
// As in Node.js, whose packages copy them one by one.
for (const name of Object.getOwnPropertyNames(Buffer)) if (typeof Buffer[name] === "function") define(Buffer, name, { enumerable: true });
return callable(Buffer);
});

// --- modules of Node.js --------------------------------------------------------------------------------------------

const nodeCrypto = once(() => {
  const Buffer = buffers();
  const digesting = (finish, before = []) => {
    const parts = [...before];
    const object = {
      update(given, encoding) { parts.push(typeof given === "string" ? Buffer.from(given, encoding) : Buffer.from(view(given))); return object; },
      digest(encoding) {
        const found = Buffer.from(finish(Buffer.concat(parts)));
        return encoding === undefined ? found : found.toString(encoding);
      },
      copy: () => digesting(finish, parts),
    };
    return object;
  };
  const { crypto, view } = web(), keys = nodeKeys(), refused = {};
  // Which packages name when they are loaded.
  for (const name of [
    "generateKeyPair", "generateKeyPairSync", "generateKey", "generateKeySync", "generatePrime", "hkdf", "createECDH", "createDiffieHellman", "getDiffieHellman", "diffieHellman",
    "createCipher", "createDecipher", "publicEncrypt", "publicDecrypt", "privateEncrypt", "privateDecrypt",
  ]) refused[name] = () => fail(`crypto.${name} is not available in a function`);
  return {
    ...keys, ...nodeCiphers(),
    createHash: (algorithm) => digesting((all) => utils().crypto.hash(algorithm, all)),
    createHmac: (algorithm, key) => digesting((all) => Buffer.from(utils().crypto.hmac(all, key instanceof keys.KeyObject ? key.export() : key, algorithm, "hex"), "hex")),
    randomBytes: (count) => Buffer.from(randomBytes(count)),
    randomUUID: () => crypto.randomUUID(),
    randomInt: (from, to) => {
      if (to === undefined) [from, to] = [0, from];
      return from + Math.floor((to - from) * (parseInt(randomBytes(6).toHex(), 16) / 2 ** 48));
    },
    randomFillSync: (into) => crypto.getRandomValues(into),
    getRandomValues: (into) => crypto.getRandomValues(into),
    timingSafeEqual: (a, b) => {
      if (a.byteLength !== b.byteLength) throw new RangeError("timingSafeEqual takes two of the same length");
      let other = 0;
      for (let at = 0; at < a.byteLength; at++) other |= a[at] ^ b[at];
      return other === 0;
    },
    webcrypto: crypto, ...refused,
  };
});

const BOXES = [Number, String, Boolean, Symbol, BigInt];
const tagOf = (value) => Object.prototype.toString.call(value);
function unordered(a, b, alike) {
  // Whether each of `a` has one of its own in `b`.
  const rest = [...b];
  return a.length === b.length && a.every((one) => {
    const at = rest.findIndex((other) => alike(one, other));
    if (at >= 0) rest.splice(at, 1);
    return at >= 0;
  });
}
function same(a, b, strict = true, seen = new Map()) {
  // Whether two values are alike, however deep; as `==` has it where that is not strict.
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    const plain = (one) => one === null || typeof one !== "object";
    return !strict && plain(a) && plain(b) && (a == b || (a !== a && b !== b));
  }
  if (tagOf(a) !== tagOf(b) || (strict && prototypeOf(a) !== prototypeOf(b)) || Array.isArray(a) !== Array.isArray(b)) return false;
  if (seen.get(a)?.has(b)) return true; // where they hold themselves
  if (!seen.has(a)) seen.set(a, new Set());
  seen.get(a).add(b);
  const alike = insides(a, b, strict, (one, other) => same(one, other, strict, seen));
  seen.get(a).delete(b);
  return alike;
}
function insides(a, b, strict, alike) {
  if (a instanceof Value && b instanceof Value) return prototypeOf(a) === prototypeOf(b) && stringify(a.toExtendedJSON()) === stringify(b.toExtendedJSON());
  if (a instanceof Date && a.getTime() !== b.getTime()) return false;
  if (a instanceof RegExp && (String(a) !== String(b) || a.lastIndex !== b.lastIndex)) return false;
  if (a instanceof Error && (a.message !== b.message || a.name !== b.name)) return false;
  if (BOXES.some((Type) => a instanceof Type) && !Object.is(a.valueOf(), b.valueOf())) return false;
  if (a instanceof ArrayBuffer || a instanceof DataView) [a, b] = [web().view(a), web().view(b)];
  if (Array.isArray(a) && a.length !== b.length) return false;
  if (a instanceof Set) {
    if (!unordered([...a].filter((one) => !b.has(one)), [...b].filter((one) => !a.has(one)), alike)) return false;
  } else if (a instanceof Map) {
    const other = (map) => ([key, value]) => !map.has(key) || !alike(map.get(key), value);
    if (!unordered([...a].filter(other(b)), [...b].filter(other(a)), ([key, value], [its, one]) => alike(key, its) && alike(value, one))) return false;
  }
  const names = (of) => [...Object.keys(of), ...(strict ? Object.getOwnPropertySymbols(of).filter((name) => Object.prototype.propertyIsEnumerable.call(of, name)) : [])];
  const all = names(a);
  return all.length === names(b).length && all.every((name) => Object.prototype.propertyIsEnumerable.call(b, name) && alike(a[name], b[name]));
}

const nodeTypes = once(() => {
  const is = (Type) => (value) => value instanceof Type, tagged = (tag) => (value) => Object.prototype.toString.call(value) === `[object ${tag}]`;
  return {
    isDate: is(Date), isRegExp: is(RegExp), isMap: is(Map), isSet: is(Set), isPromise: is(Promise), isNativeError: is(Error), isArrayBuffer: is(ArrayBuffer), isAnyArrayBuffer: is(ArrayBuffer),
    isTypedArray: (value) => ArrayBuffer.isView(value) && !(value instanceof DataView), isUint8Array: is(Uint8Array), isArrayBufferView: (value) => ArrayBuffer.isView(value), isDataView: is(DataView),
    isAsyncFunction: tagged("AsyncFunction"), isGeneratorFunction: tagged("GeneratorFunction"), isSymbolObject: is(Symbol), isProxy: () => false, isWeakMap: is(WeakMap), isWeakSet: is(WeakSet),
    isBoxedPrimitive: (value) => [Number, String, Boolean, Symbol, BigInt].some((Type) => value instanceof Type),
  };
});
const nodeUtil = once(() => {
const promised = Symbol("nodejs.util.promisify.custom"), { setTimeout, setImmediate, promises } = nodeTimers();
const waits = (work) => (work === setTimeout ? promises.setTimeout : work === setImmediate ? promises.setImmediate : undefined);
return {
  TextEncoder: web().TextEncoder, TextDecoder: web().TextDecoder, types: nodeTypes(), isDeepStrictEqual: (a, b) => same(a, b),
  inherits: (Type, Parent) => { Type.super_ = Parent; Object.setPrototypeOf(Type.prototype, Parent.prototype); },
  promisify: Object.assign((work) => work[promised] ?? waits(work) ?? function (...given) {
    return new Promise((done, failed) => work.call(this, ...given, (error, value) => (error ? failed(error) : done(value))));
  }, { custom: promised }),
  callbackify: (work) => (...given) => {
    const told = given.pop(), later = (...all) => nodeProcess().nextTick(told, ...all);
    work(...given).then((value) => later(null, value), (error) => later(error ?? new Error("rejected with nothing")));
  },
  deprecate: (work) => work, debuglog: () => Object.assign(() => {}, { enabled: false }), toUSVString: (text) => String(text).toWellFormed(),
  inspect: Object.assign((value) => shown(value), { custom: Symbol("nodejs.util.inspect.custom"), defaultOptions: {} }),
  format: (text, ...given) => [String(text).replace(/%[sdifjoO]/g, (found) => (given.length ? shown(given.shift()) : found)), ...given.map(shown)].join(" "),
  isArray: Array.isArray,
};
});

const nodeEvents = once(() => {
  const known = new WeakMap();
  const all = (of) => {
    if (!known.has(of)) known.set(of, new Map());
    return known.get(of);
  };
  // A function, because packages from before there were classes call it on an object of theirs.
  function EventEmitter() {}
  const methods = {
    on(name, work) { all(this).set(name, [...this.rawListeners(name), work]); return this; },
    prependListener(name, work) { all(this).set(name, [work, ...this.rawListeners(name)]); return this; },
    once(name, work) {
      const first = (...given) => { this.off(name, first); work.apply(this, given); };
      first.listener = work;
      return this.on(name, first);
    },
    off(name, work) {
      const left = this.rawListeners(name), at = left.findLastIndex((one) => one === work || one.listener === work);
      if (at >= 0) left.splice(at, 1);
      if (left.length > 0) all(this).set(name, left); else all(this).delete(name);
      return this;
    },
    removeAllListeners(name) { if (name === undefined) all(this).clear(); else all(this).delete(name); return this; },
    rawListeners(name) { return [...(all(this).get(name) ?? [])]; },
    listeners(name) { return this.rawListeners(name).map((one) => one.listener ?? one); },
    listenerCount(name) { return this.rawListeners(name).length; },
    eventNames() { return [...all(this).keys()]; },
    setMaxListeners() { return this; }, getMaxListeners() { return 10; },
    prependOnceListener(name, work) {
      const first = (...given) => { this.off(name, first); work.apply(this, given); };
      first.listener = work;
      return this.prependListener(name, first);
    },
    emit(name, ...given) {
      const listening = this.rawListeners(name);
      if (name === "error" && listening.length === 0) throw given[0] instanceof Error ? given[0] : new Error("an error that nobody listens for");
      for (const one of listening) one.apply(this, given);
      return listening.length > 0;
    },
  };
  for (const name in methods) define(EventEmitter.prototype, name, { value: methods[name], writable: true, configurable: true });
  for (const [name, same] of [["addListener", "on"], ["removeListener", "off"]]) define(EventEmitter.prototype, name, { value: methods[same], writable: true, configurable: true });
  EventEmitter.EventEmitter = EventEmitter;
  EventEmitter.defaultMaxListeners = 10;
  EventEmitter.setMaxListeners = () => {};
  EventEmitter.listenerCount = (of, name) => of.listenerCount(name);
  EventEmitter.once = (of, name, given) => new Promise((done, failed) => {
    let heeds;
    const leave = () => { of.off(name, tell); of.off("error", lose); heeds?.(); };
    const tell = (...given) => { leave(); done(given); }, lose = (error) => { leave(); failed(error); };
    of.on(name, tell);
    if (name !== "error") of.on("error", lose);
    heeds = heeding(given?.signal, (reason) => lose(abortion(reason)));
  });
  return EventEmitter;
});

// The modules, of this and later parts: nothing of them is made before one is required.
const node = once(() => ({
  buffer: once(() => ({ Buffer: buffers(), SlowBuffer: buffers(), atob: web().atob, btoa: web().btoa, kMaxLength: 2 ** 31 - 1 })),
  querystring: once(() => ({
    parse: (text) => {
      const found = Object.create(null);
      for (const [name, value] of new (web().URLSearchParams)(text)) found[name] = name in found ? [].concat(found[name], value) : value;
      return found;
    },
    stringify: (given) => Object.entries(given ?? {}).flatMap(([name, value]) => [].concat(value).map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one ?? "")}`)).join("&"),
    escape: encodeURIComponent, unescape: decodeURIComponent,
  })),
  crypto: nodeCrypto, util: nodeUtil, events: nodeEvents, stream: nodeStream, process: nodeProcess,
  timers: nodeTimers, path: nodePath, string_decoder: nodeDecoder, ...more(),
}));
