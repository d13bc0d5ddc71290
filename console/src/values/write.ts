/** Writes values as Extended JSON that keeps every type and is as short as it can be: what is read again is the same. */

import { type Value, isNested } from "./model";

const INT32 = 2n ** 31n;
const LAST_YEAR_10000 = 253402300800000n;

/** `value` as Extended JSON; with `indent`, a line for each field. */
export function write(value: Value, indent = 0): string {
  const parts: string[] = [];
  put(value, indent, "\n", parts);
  return parts.join("");
}

function put(value: Value, indent: number, line: string, parts: string[]): void {
  if (!isNested(value)) {
    parts.push(scalar(value));
    return;
  }
  const [open, close] = value.kind === "object" ? ["{", "}"] : ["[", "]"];
  const count = value.kind === "object" ? value.entries.length : value.items.length;
  if (count === 0) {
    parts.push(open + close);
    return;
  }
  const inner = line + " ".repeat(indent);
  const between = indent ? `,${inner}` : ", ";
  parts.push(open, indent ? inner : "");
  for (let index = 0; index < count; index += 1) {
    if (index > 0) parts.push(between);
    if (value.kind === "object") {
      const [name, one] = value.entries[index]!;
      parts.push(JSON.stringify(name), ": ");
      put(one, indent, inner, parts);
    } else put(value.items[index]!, indent, inner, parts);
  }
  parts.push(indent ? line : "", close);
}

/** A value without others in it, as Extended JSON. */
export function scalar(value: Value): string {
  switch (value.kind) {
    case "string":
      return JSON.stringify(value.text);
    case "int":
      return value.text;
    case "long":
      return BigInt(value.text) >= -INT32 && BigInt(value.text) < INT32 ? wrapped("$numberLong", value.text) : value.text;
    case "double":
      return /^(NaN|-?Infinity)$/.test(value.text) ? wrapped("$numberDouble", value.text) : value.text;
    case "decimal":
      return wrapped("$numberDecimal", value.text);
    case "bool":
      return String(value.on);
    case "null":
      return "null";
    case "undefined":
      return '{"$undefined": true}';
    case "minKey":
      return '{"$minKey": 1}';
    case "maxKey":
      return '{"$maxKey": 1}';
    case "objectId":
      return wrapped("$oid", value.hex);
    case "date":
      return `{"$date": ${isoOf(value.ms) ? JSON.stringify(isoOf(value.ms)) : wrapped("$numberLong", value.ms)}}`;
    case "binary":
      return `{"$binary": {"base64": ${JSON.stringify(value.base64)}, "subType": "${value.subType}"}}`;
    case "regex":
      return `{"$regularExpression": {"pattern": ${JSON.stringify(value.pattern)}, "options": ${JSON.stringify(value.options)}}}`;
    case "timestamp":
      return `{"$timestamp": {"t": ${value.t}, "i": ${value.i}}}`;
    case "symbol":
      return wrapped("$symbol", value.text);
    case "code":
      return `{"$code": ${JSON.stringify(value.code)}${value.scope ? `, "$scope": ${write(value.scope)}` : ""}}`;
    case "dbPointer":
      return `{"$dbPointer": {"$ref": ${JSON.stringify(value.ref)}, "$id": ${write(value.id)}}}`;
    default:
      return write(value);
  }
}

/** A value as people read and type it, without a sign of its type; null where only Extended JSON can say it. */
export function plainText(value: Value): string | null {
  switch (value.kind) {
    case "string":
    case "symbol":
    case "int":
    case "long":
    case "double":
    case "decimal":
      return value.text;
    case "bool":
      return String(value.on);
    case "objectId":
      return value.hex;
    case "date":
      return withYear(value.ms) ?? value.ms;
    case "null":
    case "undefined":
      return "";
    default:
      return null;
  }
}

/** A date as ISO 8601 where its year has four digits, also before 1970. */
function withYear(ms: string): string | null {
  const time = new Date(Number(ms));
  const text = Number.isNaN(time.getTime()) ? "" : time.toISOString();
  return /^\d/.test(text) ? text : null;
}

const wrapped = (name: string, text: string): string => `{"${name}": ${JSON.stringify(text)}}`;

/** A date as ISO 8601 in UTC where its year has four digits; null otherwise. */
export function isoOf(ms: string): string | null {
  const moment = BigInt(ms);
  return moment >= 0n && moment < LAST_YEAR_10000 ? new Date(Number(moment)).toISOString() : null;
}
