// BSON values and Extended JSON, as a function of an App Services app knows them. A part of the prelude.

const fail = (message) => { throw new TypeError(message); };
const define = Object.defineProperty;
const { parse, stringify } = JSON;
const { keys, getPrototypeOf: prototypeOf, prototype: OBJECT } = Object;
const once = (make) => { let made; return () => (made ??= make()); };

function callable(Type) {
  // BSON's constructors may be called without `new`.
  return new Proxy(Type, { apply: (target, self, given) => new target(...given) });
}

class Value {
  toJSON() { return this.toExtendedJSON(); }
}

let counter = -1, machine;
const hexadecimal = (number, digits) => number.toString(16).padStart(digits, "0");

function counted() {
  // What comes behind the time in a new ObjectId.
  if (machine === undefined) {
    machine = Array.from({ length: 5 }, () => hexadecimal(Math.floor(Math.random() * 256), 2)).join("");
    counter = Math.floor(Math.random() * 0xffffff);
  }
  return machine + hexadecimal((counter = (counter + 1) % 0x1000000), 6);
}

function kept(holder, name, value) {
  // Put a value in place of the getter that made it.
  define(holder, name, { value, enumerable: true, configurable: true, writable: true });
  return value;
}

const NOT_OURS = ["then", "toBSON"]; // what the language and others look for in every object

const wide = once(() => {
  // Long with what few functions name of it: to make all of that takes a third of the time of a small call.
  const { Long } = types;
  class Wide extends Value {
    get low() { return Number(BigInt.asIntN(32, this.value)); }
    get high() { return Number(this.value >> 32n); }
    toInt() { return this.low; }
    getLowBits() { return this.low; }
    getHighBits() { return this.high; }
    notEquals(other) { return this.compare(other) !== 0; }
    lessThan(other) { return this.compare(other) < 0; }
    lessThanOrEqual(other) { return this.compare(other) <= 0; }
    greaterThan(other) { return this.compare(other) > 0; }
    greaterThanOrEqual(other) { return this.compare(other) >= 0; }
    isZero() { return this.value === 0n; }
    isNegative() { return this.value < 0n; }
    isPositive() { return this.value >= 0n; }
    isOdd() { return (this.value & 1n) === 1n; }
    isEven() { return !this.isOdd(); }
    negate() { return new Long(-this.value); }
    not() { return new Long(~this.value); }
    modulo(other) { return new Long(this.value % Long.of(other).value); }
    and(other) { return new Long(this.value & Long.of(other).value); }
    or(other) { return new Long(this.value | Long.of(other).value); }
    xor(other) { return new Long(this.value ^ Long.of(other).value); }
    shiftLeft(bits) { return new Long(this.value << BigInt(Number(bits) & 63)); }
    shiftRight(bits) { return new Long(this.value >> BigInt(Number(bits) & 63)); }
    shiftRightUnsigned(bits) { return new Long(BigInt.asUintN(64, this.value) >> BigInt(Number(bits) & 63)); }
    static isLong(value) { return value instanceof Long; }
    static fromBits(low, high, unsigned) { signed(unsigned); return new Long((BigInt(high | 0) << 32n) | BigInt(low >>> 0)); }
    static fromInt(value, unsigned) { signed(unsigned); return new Long(value | 0); }
    static fromValue(value, unsigned) { signed(unsigned); return typeof value?.low === "number" ? Long.fromBits(value.low, value.high) : Long.of(value); }
    static ZERO = new Long(0);
    static ONE = new Long(1);
    static NEG_ONE = new Long(-1);
    static MAX_VALUE = new Long(2n ** 63n - 1n);
    static MIN_VALUE = new Long(-(2n ** 63n));
  }
  Object.setPrototypeOf(Long.prototype, Wide.prototype);
  Object.setPrototypeOf(Long, Wide);
  const short = {
    comp: "compare", eq: "equals", ne: "notEquals", neq: "notEquals", lt: "lessThan", lte: "lessThanOrEqual", gt: "greaterThan", gte: "greaterThanOrEqual",
    eqz: "isZero", neg: "negate", sub: "subtract", mul: "multiply", div: "divide", mod: "modulo", rem: "modulo", shl: "shiftLeft", shr: "shiftRight", shru: "shiftRightUnsigned",
  };
  for (const name of keys(short)) define(Wide.prototype, name, { value: Long.prototype[short[name]], writable: true, configurable: true });
  return Long;
});
const signed = (unsigned) => { if (unsigned === true) fail("BSON.Long: unsigned numbers are not available, BSON has none"); };
function digits(text, unsigned, radix = typeof unsigned === "number" ? unsigned : 10) {
  // The number that is written in `radix`.
  signed(unsigned);
  let value = 0n;
  const [, minus, all] = /^(-?)([0-9a-z]+)$/i.exec(text) ?? fail("BSON.Long: expected digits");
  for (const digit of all) {
    const one = parseInt(digit, radix);
    value = value * BigInt(radix) + (Number.isNaN(one) ? fail(`BSON.Long: ${digit} is no digit of ${radix}`) : BigInt(one));
  }
  return minus ? -value : value;
}

// Every call has classes of its own, and needs few of them: each is made when it is first named.
const made = { __proto__: null };
const types = class {
  static get ObjectId() {
    return (made.ObjectId ??= class ObjectId extends Value {
      constructor(id) {
        super();
        if (id === undefined || id === null) id = hexadecimal(Math.floor(Date.now() / 1000), 8) + counted();
        else if (typeof id === "number") id = hexadecimal(Math.floor(id), 8) + counted();
        else if (id instanceof ObjectId) id = id.id;
        else if (ArrayBuffer.isView(id)) id = new Uint8Array(id.buffer, id.byteOffset, id.byteLength).toHex();
        if (typeof id !== "string" || !/^[0-9a-fA-F]{24}$/.test(id)) fail("an ObjectId has 24 hexadecimal digits");
        define(this, "id", { value: id.toLowerCase() });
      }
      toHexString() { return this.id; }
      toString() { return this.id; }
      equals(other) { return other !== null && other !== undefined && String(other).toLowerCase() === this.id; }
      getTimestamp() { return new Date(parseInt(this.id.slice(0, 8), 16) * 1000); }
      toExtendedJSON() { return { $oid: this.id }; }
      toJSON() { return this.id; }
      static isValid(id) {
        return id instanceof ObjectId || (ArrayBuffer.isView(id) ? id.byteLength === 12 : typeof id === "string" && /^[0-9a-fA-F]{24}$/.test(id));
      }
      static createFromHexString(id) { return new ObjectId(id); }
      static createFromTime(seconds) { return new ObjectId(hexadecimal(seconds >>> 0, 8) + "0".repeat(16)); }
    });
  }
  static get Binary() {
    return (made.Binary ??= class Binary extends Value {
      #bytes; #known;
      constructor(data, subtype = 0) {
        super();
        if (typeof data === "string") this.#known = data;
        else if (data instanceof ArrayBuffer) this.#bytes = new Uint8Array(data);
        else if (ArrayBuffer.isView(data)) this.#bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        else fail("Binary takes text or bytes");
        if (subtype !== 0) define(this, "sub_type", { value: subtype });
      }
      get buffer() { return (this.#bytes ??= Uint8Array.fromBase64(toBase64(this.#known))); }
      get sub_type() { return 0; }
      text() { return this.#known ?? toText(this.buffer.toBase64()); }
      toString() { return this.text(); }
      length() { return this.buffer.length; }
      value() { return this.buffer; }
      toBase64() { return this.buffer.toBase64(); }
      toHexString() { return this.buffer.toHex(); }
      toExtendedJSON() { return { $binary: { base64: this.toBase64(), subType: hexadecimal(this.sub_type, 2) } }; }
      static fromBase64(text, subtype) { return new Binary(Uint8Array.fromBase64(text), subtype); }
      static fromHex(text, subtype) { return new Binary(Uint8Array.fromHex(text), subtype); }
      static fromText(text, subtype) { return new Binary(String(text), subtype); }
    });
  }
  static get Long() {
    if (made.Long !== undefined) return made.Long;
    function Some() {}
    Some.prototype = new Proxy(Object.create(Value.prototype), {
      get: (target, name, self) => Reflect.get(typeof name !== "string" || name in target || NOT_OURS.includes(name) ? target : wide().prototype, name, self),
    });
    return (made.Long = class Long extends Some {
      constructor(low = 0, high) {
        super();
        const value = typeof high === "number" ? (BigInt(high) << 32n) | BigInt(low >>> 0) : BigInt(low);
        define(this, "value", { value: BigInt.asIntN(64, value) });
      }
      toString(radix) { return this.value.toString(radix); }
      toNumber() { return Number(this.value); }
      toBigInt() { return this.value; }
      valueOf() { return this.value; }
      equals(other) { return this.compare(other) === 0; }
      compare(other) { const right = Long.of(other).value; return this.value < right ? -1 : this.value > right ? 1 : 0; }
      add(other) { return new Long(this.value + Long.of(other).value); }
      subtract(other) { return new Long(this.value - Long.of(other).value); }
      multiply(other) { return new Long(this.value * Long.of(other).value); }
      divide(other) { return new Long(this.value / Long.of(other).value); }
      toExtendedJSON() { return { $numberLong: this.value.toString() }; }
      static of(value) { return value instanceof Long ? value : typeof value === "number" ? Long.fromNumber(value) : new Long(value); }
      static fromNumber(number, unsigned) {
        // As in js-bson: what is no number is 0, and what is too large is the largest there is.
        signed(unsigned);
        if (Number.isNaN(Number(number))) return new Long(0);
        return new Long(number >= 2 ** 63 ? 2n ** 63n - 1n : number <= -(2 ** 63) ? -(2n ** 63n) : Math.trunc(Number(number)));
      }
      static fromString(text, unsigned, radix) { return new Long(unsigned === undefined && radix === undefined ? String(text) : digits(text, unsigned, radix)); }
      static fromBigInt(value, unsigned) { signed(unsigned); return new Long(value); }
    });
  }
  static get Numeric() {
    return (made.Numeric ??= class Numeric extends Value {
      constructor(value) { super(); define(this, "value", { value: Number(value), enumerable: true }); }
      valueOf() { return this.value; }
      toString(radix) { return this.value.toString(radix); }
    });
  }
  static get Int32() {
    return (made.Int32 ??= class Int32 extends types.Numeric {
      constructor(value) { super(value | 0); }
      toExtendedJSON() { return { $numberInt: String(this.value) }; }
    });
  }
  static get Double() {
    return (made.Double ??= class Double extends types.Numeric {
      toExtendedJSON() { return { $numberDouble: real(this.value) }; }
    });
  }
  static get Decimal128() {
    return (made.Decimal128 ??= class Decimal128 extends Value {
      constructor(text) { super(); define(this, "text", { value: String(text) }); }
      toString() { return this.text; }
      toExtendedJSON() { return { $numberDecimal: this.text }; }
      static fromString(text) { return new Decimal128(text); }
    });
  }
  static get Timestamp() {
    return (made.Timestamp ??= class Timestamp extends Value {
      constructor(time, increment) {
        super();
        if (time !== null && typeof time === "object") ({ t: time, i: increment } = time);
        define(this, "t", { value: Number(time ?? 0), enumerable: true });
        define(this, "i", { value: Number(increment ?? 0), enumerable: true });
      }
      getHighBits() { return this.t; }
      getLowBits() { return this.i; }
      equals(other) { return other instanceof Timestamp && this.t === other.t && this.i === other.i; }
      toExtendedJSON() { return { $timestamp: { t: this.t, i: this.i } }; }
      static fromBits(increment, time) { return new Timestamp(time >>> 0, increment >>> 0); }
    });
  }
  static get MinKey() {
    return (made.MinKey ??= class MinKey extends Value { toExtendedJSON() { return { $minKey: 1 }; } });
  }
  static get MaxKey() {
    return (made.MaxKey ??= class MaxKey extends Value { toExtendedJSON() { return { $maxKey: 1 }; } });
  }
  static get BSONRegExp() {
    return (made.BSONRegExp ??= class BSONRegExp extends Value {
      constructor(pattern, options = "") {
        super();
        define(this, "pattern", { value: String(pattern), enumerable: true });
        define(this, "options", { value: [...String(options)].sort().join(""), enumerable: true });
      }
      toExtendedJSON() { return { $regularExpression: { pattern: this.pattern, options: this.options } }; }
    });
  }
  static get Code() {
    return (made.Code ??= class Code {
      constructor(code, scope) {
        define(this, "code", { value: String(code), enumerable: true });
        if (scope !== undefined && scope !== null) define(this, "scope", { value: scope, enumerable: true });
      }
      toString() { return this.code; }
      toJSON() { return { ...this }; }
      toBSON() { return this.scope === undefined ? { $code: this.code } : { $code: this.code, $scope: this.scope }; }
    });
  }
  static get DBRef() {
    return (made.DBRef ??= class DBRef {
      constructor(collection, oid, database, fields = {}) {
        const parts = String(collection).split(".");
        if (database === undefined && parts.length === 2) [database, collection] = parts;
        Object.assign(this, { collection: String(collection), oid, db: database, fields });
      }
      get namespace() { return this.collection; }
      toJSON() { return this.toBSON(); }
      toBSON() { return { $ref: this.collection, $id: this.oid, ...(this.db ? { $db: this.db } : {}), ...this.fields }; }
    });
  }
  static get Other() {
    return (made.Other ??= class Other extends Value {
      // A value that only travels through a function: a DBPointer, a symbol.
      constructor(written) { super(); define(this, "written", { value: written }); }
      toExtendedJSON() { return this.written; }
    });
  }
};

const TYPES = [
  "ObjectId", "Binary", "Long", "Int32", "Double", "Decimal128", "Timestamp", "MinKey", "MaxKey", "BSONRegExp",
  "Code", "DBRef",
];

const bson = once(() => {
  // The global BSON: constructors that may be called without `new`, each made when it is first named.
  const found = {};
  for (const name of TYPES) {
    define(found, name, {
      get: () => kept(found, name, name === "Long" ? long() : callable(types[name])), set: (value) => { kept(found, name, value); },
      enumerable: true, configurable: true,
    });
  }
  define(found, "ObjectID", { get: () => found.ObjectId, enumerable: true, configurable: true });
  found.UUID = uuid;
  for (const name of ["BSONSymbol", "serialize", "deserialize", "calculateObjectSize"]) found[name] = function refused() { return fail(`BSON.${name} is not available in a function`); };
  return found;
});
const long = () => new Proxy(types.Long, { apply: (Long, self, given) => new Long(...given), get: (Long, name) => (name in Long ? Long : wide())[name] });
const dashed = (hex) => hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
function uuid(given) {
  // A Binary of subtype 4 that shows itself as a UUID; a new one without an argument.
  const made = given instanceof types.Binary ? given.buffer : typeof given === "object" && given !== null ? given : undefined;
  const hex = String(given ?? web().crypto.randomUUID()).replaceAll("-", "");
  if (made === undefined && !/^[0-9a-fA-F]{32}$/.test(hex)) fail("a UUID has 32 hexadecimal digits");
  const value = new types.Binary(made ?? Uint8Array.fromHex(hex), 4);
  if (value.length() !== 16) fail("a UUID has 16 bytes");
  const text = dashed(value.toHexString());
  for (const name of ["toString", "toHexString", "toJSON"]) define(value, name, { value: (dashes) => (dashes === false ? text.replaceAll("-", "") : text) });
  define(value, "equals", { value: (other) => String(other).toLowerCase() === text });
  return value;
}

// --- writing ---------------------------------------------------------------------------------------------------------

function real(number) {
  if (Number.isNaN(number)) return "NaN";
  if (!Number.isFinite(number)) return number > 0 ? "Infinity" : "-Infinity";
  if (Object.is(number, -0)) return "-0.0";
  const text = String(number);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function written(number, canonical) {
  // Whole numbers are int32 or int64 by their size, others doubles.
  if (Number.isSafeInteger(number) && !Object.is(number, -0)) {
    if (!canonical) return number;
    return number >= -2147483648 && number <= 2147483647 ? { $numberInt: `${number}` } : { $numberLong: `${number}` };
  }
  return !canonical && Number.isFinite(number) && !Number.isInteger(number) ? number : { $numberDouble: real(number) };
}

const MIN_DATE = 0, MAX_DATE = 253402300799999;

function date(value, relaxed) {
  const time = value.getTime();
  if (Number.isNaN(time)) fail("an invalid date cannot be stored");
  if (!relaxed || time < MIN_DATE || time > MAX_DATE) return { $date: { $numberLong: String(time) } };
  const text = value.toISOString();
  return { $date: text.endsWith(".000Z") ? `${text.slice(0, -5)}Z` : text };
}

function regular(value) {
  const options = [...value.flags].filter((flag) => "imsux".includes(flag) && flag !== "u").sort().join("");
  return { $regularExpression: { pattern: value.source, options } };
}

function outward(value, canonical, relaxed, depth) {
  // What JSON.stringify is given for `value`, at once: it may be that itself.
  switch (typeof value) {
    case "string": case "boolean": return value;
    case "number": return written(value, canonical);
    case "bigint": return new types.Long(value).toExtendedJSON();
    case "undefined": return undefined;
    case "function": case "symbol": return undefined;
  }
  if (value === null) return null;
  if (depth > 200) fail("a value is nested too deeply, or holds itself");
  if (Array.isArray(value)) {
    let all = typeof value.toJSON === "function" ? new Array(value.length) : undefined;
    for (let index = 0; index < value.length; index++) {
      const one = value[index], item = outward(one, canonical, relaxed, depth + 1) ?? null;
      if (all === undefined && item !== one) {
        all = new Array(value.length);
        for (let before = 0; before < index; before++) all[before] = value[before];
      }
      if (all !== undefined) all[index] = item;
    }
    return all ?? value;
  }
  const of = prototypeOf(value);
  if ((of === OBJECT || of === null) && typeof value.toBSON !== "function" && typeof value.toJSON !== "function") {
    return members(value, canonical, relaxed, depth, undefined);
  }
  if (value instanceof Value) {
    if (relaxed && value instanceof types.Int32) return value.value;
    if (relaxed && value instanceof types.Double && Number.isFinite(value.value)) return value.value;
    return value.toExtendedJSON();
  }
  if (value instanceof Date) return date(value, relaxed);
  if (value instanceof RegExp) return regular(value);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return new types.Binary(value).toExtendedJSON();
  if (value instanceof Map) value = Object.fromEntries(value);
  else if (value instanceof Error) value = { name: value.name, message: value.message };
  else if (typeof value.toBSON === "function") return outward(value.toBSON(), canonical, relaxed, depth + 1);
  return members(value, canonical, relaxed, depth, {});
}

function members(value, canonical, relaxed, depth, all) {
  // With `all`, a copy in that; without, one only from the first member on that is written as something else: in a new
  // global scope each member of a new object costs a microsecond.
  const names = keys(value);
  for (let index = 0; index < names.length; index++) {
    const key = names[index], one = value[key], item = outward(one, canonical, relaxed, depth + 1);
    if (all === undefined && item !== one) {
      all = {};
      for (let before = 0; before < index; before++) put(all, names[before], value[names[before]]);
    }
    if (all !== undefined && item !== undefined) put(all, key, item);
  }
  return all ?? value;
}

function put(target, key, value) {
  if (key === "__proto__") define(target, key, { value, enumerable: true, configurable: true, writable: true });
  else target[key] = value;
}

// --- reading ---------------------------------------------------------------------------------------------------------

const OTHER = Object.freeze({}); // an object that only looks like a wrapper

function unwrapped(key, given, whole) {
  switch (key) {
    case "$oid": return new types.ObjectId(given);
    case "$numberInt": case "$numberDouble": return Number(given);
    case "$numberLong": {
      const number = Number(given);
      return Number.isSafeInteger(number) ? number : new types.Long(given);
    }
    case "$numberDecimal": return new types.Decimal128(given);
    case "$date": return new Date(typeof given === "object" && given !== null ? Number(given.$numberLong ?? NaN) : given);
    case "$binary":
      return typeof given === "object" && given !== null
        ? new types.Binary(Uint8Array.fromBase64(given.base64), parseInt(given.subType, 16))
        : new types.Binary(Uint8Array.fromBase64(given), parseInt(whole.$type ?? "0", 16));
    case "$uuid": return uuid(given);
    case "$timestamp": return new types.Timestamp(given);
    case "$minKey": return new types.MinKey();
    case "$maxKey": return new types.MaxKey();
    case "$undefined": return undefined;
    case "$regularExpression":
      try {
        if (/^[ims]*$/.test(given.options)) return new RegExp(given.pattern, given.options);
      } catch { /* a pattern of PCRE that JavaScript does not have */ }
      return new types.BSONRegExp(given.pattern, given.options);
    case "$code": return "$scope" in whole || keys(whole).length === 1 ? new types.Code(given, inward(whole.$scope)) : OTHER;
    case "$symbol": case "$dbPointer": return new types.Other(whole);
  }
  return OTHER;
}

function inward(value) {
  // What a function sees of parsed Extended JSON; the objects themselves are changed.
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const item = value[index];
      if (typeof item === "object") value[index] = inward(item);
    }
    return value;
  }
  const names = keys(value), count = names.length;
  if (count > 0 && names[0].charCodeAt(0) === 36) {
    const key = names[0];
    if (count === 1 || (count === 2 && (key === "$binary" || key === "$code"))) {
      const found = unwrapped(key, value[key], value);
      if (found !== OTHER) return found;
    }
  }
  for (let index = 0; index < count; index++) {
    const key = names[index], item = value[key];
    if (typeof item !== "object" || item === null) continue;
    const found = inward(item);
    if (found !== item) put(value, key, found);
  }
  return value;
}

const EJSON = once(() => ({
  parse: (text) => inward(parse(text)),
  stringify: (value, replacer, space, options) => {
    if (typeof replacer === "object" && replacer !== null && !Array.isArray(replacer)) [options, replacer] = [replacer, undefined];
    if (typeof space === "object" && space !== null) [options, space] = [space, undefined];
    const relaxed = options?.relaxed === true;
    const written = outward(value, !relaxed, relaxed, 0);
    return typeof replacer === "function" ? stringify(copy(written), replacer, space) : stringify(written, replacer ?? undefined, space);
  },
  serialize: (value, options) => copy(outward(value, options?.relaxed !== true, options?.relaxed === true, 0)),
  deserialize: (value) => inward(structured(value)),
}));
const structured = (value) => parse(stringify(value));
const copy = (value) => (value === undefined ? value : structured(value));
