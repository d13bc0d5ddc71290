/** Reads Extended JSON, canonical or relaxed, as the server does: by the same rule for numbers, and refusing the same. */

import { type Entry, type Value, array, bool, NULL, object, string } from "./model";

/** What is wrong with a text, and where: offsets of its characters. */
export class TextError extends Error {
  constructor(
    message: string,
    readonly from: number,
    readonly to: number = from + 1,
  ) {
    super(message);
  }
}

const INT32 = 2n ** 31n;
const INT64 = 2n ** 63n;
const DEEPEST = 200;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\r\n]*/y;
const ESCAPES: Record<string, string> = {
  '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t",
};

class Reader {
  at = 0;

  constructor(readonly text: string) {}

  space(): void {
    SPACE.lastIndex = this.at;
    SPACE.exec(this.text);
    this.at = SPACE.lastIndex;
  }

  fail(message: string): never {
    throw new TextError(message, Math.min(this.at, Math.max(this.text.length - 1, 0)));
  }

  value(depth: number): Value {
    if (depth > DEEPEST) this.fail(`nested deeper than ${DEEPEST}`);
    this.space();
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    if (first === '"') return string(this.string());
    if (first === undefined) this.fail("the text ends where a value is expected");
    for (const [word, value] of [["true", bool(true)], ["false", bool(false)], ["null", NULL]] as const)
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    return this.number();
  }

  private number(): Value {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text);
    if (!found) this.fail("expected a value");
    const start = this.at;
    this.at = NUMBER.lastIndex;
    if (found[1] !== undefined || found[2] !== undefined) return { kind: "double", text: double(Number(found[0])) };
    const whole = BigInt(found[0]);
    if (whole >= -INT32 && whole < INT32) return { kind: "int", text: String(whole) };
    if (whole < -INT64 || whole >= INT64)
      throw new TextError("no integer of 64 bits is so large; write it with a point", start, this.at);
    return { kind: "long", text: String(whole) };
  }

  private string(): string {
    const start = this.at++;
    let made = "";
    for (;;) {
      PLAIN.lastIndex = this.at;
      made += PLAIN.exec(this.text)?.[0] ?? "";
      this.at = PLAIN.lastIndex;
      const next = this.text[this.at++];
      if (next === '"') return made;
      if (next !== "\\") throw new TextError("this string does not end on its line", start, this.at - 1);
      made += this.escape();
    }
  }

  private escape(): string {
    const letter = this.text[this.at++] ?? "";
    if (letter === "u") {
      const digits = this.text.slice(this.at, this.at + 4);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail("expected four hexadecimal digits");
      this.at += 4;
      return String.fromCharCode(parseInt(digits, 16));
    }
    const meant = ESCAPES[letter];
    if (meant === undefined) {
      this.at -= 1;
      this.fail("there is no such escape");
    }
    return meant;
  }

  private object(depth: number): Value {
    const start = this.at++;
    const entries: Entry[] = [];
    const names = new Set<string>();
    for (;;) {
      this.space();
      if (this.text[this.at] === "}" && entries.length === 0) break;
      if (this.text[this.at] !== '"') this.fail("expected a field's name in double quotes");
      const from = this.at;
      const name = this.string();
      if (names.has(name)) throw new TextError("this field is there twice", from, this.at);
      names.add(name);
      this.space();
      if (this.text[this.at] !== ":") this.fail("expected a colon");
      this.at += 1;
      entries.push([name, this.value(depth + 1)]);
      if (!this.goesOn("}")) break;
    }
    this.at += 1;
    return typed(entries, start, this.at);
  }

  private array(depth: number): Value {
    this.at += 1;
    const items: Value[] = [];
    this.space();
    if (this.text[this.at] !== "]") {
      do items.push(this.value(depth + 1));
      while (this.goesOn("]"));
    }
    this.at += 1;
    return array(items);
  }

  private goesOn(end: string): boolean {
    this.space();
    const next = this.text[this.at];
    if (next === end) return false;
    if (next !== ",") this.fail(`expected a comma or ${end}`);
    this.at += 1;
    return true;
  }
}

/** Read a text that is one value. Throws TextError. */
export function read(text: string): Value {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.space();
  if (reader.at < text.length) reader.fail("expected nothing more");
  return value;
}

/** The text of a double: with a point or an exponent, so that it is not read as an integer. */
export function double(number: number): string {
  const text = Object.is(number, -0) ? "-0" : String(number);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

type Make = (given: Value, entries: readonly Entry[]) => Value | null;

/** How each wrapper of Extended JSON is read; null is what is none after all. */
const WRAPPERS: Record<string, Make> = {
  $oid: (given) => (given.kind === "string" && /^[0-9a-fA-F]{24}$/.test(given.text) ? { kind: "objectId", hex: given.text.toLowerCase() } : null),
  $numberInt: (given) => whole(given, INT32, "int"),
  $numberLong: (given) => whole(given, INT64, "long"),
  $numberDouble: (given) => readDouble(given),
  $numberDecimal: (given) => (given.kind === "string" ? { kind: "decimal", text: given.text } : null),
  $date: (given) => readDate(given),
  $binary: (given) => readBinary(given),
  $uuid: (given) => readUuid(given),
  $regularExpression: (given) => {
    const [pattern, options] = strings(given, "pattern", "options");
    return pattern === undefined || options === undefined ? null : { kind: "regex", pattern, options };
  },
  $timestamp: (given) => readTimestamp(given),
  $symbol: (given) => (given.kind === "string" ? { kind: "symbol", text: given.text } : null),
  $code: (given, entries) => {
    const scope = entries.find(([name]) => name === "$scope")?.[1] ?? null;
    return given.kind === "string" ? { kind: "code", code: given.text, scope } : null;
  },
  $minKey: () => ({ kind: "minKey" }),
  $maxKey: () => ({ kind: "maxKey" }),
  $undefined: (given) => (given.kind === "bool" && given.on ? { kind: "undefined" } : null),
  $dbPointer: (given) => {
    const entries = given.kind === "object" ? given.entries : [];
    const ref = entries.find(([name]) => name === "$ref")?.[1];
    const id = entries.find(([name]) => name === "$id")?.[1];
    return ref?.kind === "string" && id ? { kind: "dbPointer", ref: ref.text, id } : null;
  },
};

function typed(entries: readonly Entry[], from: number, to: number): Value {
  const first = entries[0];
  const make = first && Object.hasOwn(WRAPPERS, first[0]) ? WRAPPERS[first[0]] : undefined;
  if (!first || !make || entries.length > (first[0] === "$code" ? 2 : 1)) return object(entries);
  const made = make(first[1], entries);
  if (!made) throw new TextError(`this is no ${first[0]}`, from, to);
  return made;
}

function whole(given: Value, bound: bigint, kind: "int" | "long"): Value | null {
  if (given.kind !== "string" || !/^-?\d+$/.test(given.text)) return null;
  const number = BigInt(given.text);
  return number >= -bound && number < bound ? { kind, text: String(number) } : null;
}

function readDouble(given: Value): Value | null {
  if (given.kind !== "string") return null;
  if (/^(NaN|-?Infinity)$/.test(given.text)) return { kind: "double", text: given.text };
  const number = Number(given.text);
  return given.text.trim() === "" || Number.isNaN(number) ? null : { kind: "double", text: double(number) };
}

function readDate(given: Value): Value | null {
  if (given.kind === "long" || given.kind === "int") return { kind: "date", ms: given.text };
  if (given.kind !== "string" || !/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d))?$/.test(given.text)) return null;
  const ms = Date.parse(given.text);
  return Number.isNaN(ms) ? null : { kind: "date", ms: String(ms) };
}

function readBinary(given: Value): Value | null {
  const [base64, subType] = strings(given, "base64", "subType");
  const fits = base64 !== undefined && subType !== undefined && /^[0-9a-fA-F]{1,2}$/.test(subType);
  return fits && /^[A-Za-z0-9+/]*={0,2}$/.test(base64) ? { kind: "binary", base64, subType: subType.toLowerCase().padStart(2, "0") } : null;
}

function readUuid(given: Value): Value | null {
  if (given.kind !== "string" || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(given.text)) return null;
  const bytes = given.text.replaceAll("-", "").match(/../g) ?? [];
  return { kind: "binary", base64: btoa(String.fromCharCode(...bytes.map((byte) => parseInt(byte, 16)))), subType: "04" };
}

function readTimestamp(given: Value): Value | null {
  if (given.kind !== "object" || given.entries.length !== 2) return null;
  const [t, i] = ["t", "i"].map((name) => given.entries.find(([key]) => key === name)?.[1]);
  const fits = (part: Value | undefined): part is Extract<Value, { kind: "int" | "long" }> =>
    (part?.kind === "int" || part?.kind === "long") && BigInt(part.text) >= 0n && BigInt(part.text) < 2n ** 32n;
  return fits(t) && fits(i) ? { kind: "timestamp", t: t.text, i: i.text } : null;
}

function strings(given: Value, ...names: string[]): (string | undefined)[] {
  if (given.kind !== "object" || given.entries.length !== names.length) return [];
  return names.map((name) => {
    const found = given.entries.find(([key]) => key === name)?.[1];
    return found?.kind === "string" ? found.text : undefined;
  });
}
