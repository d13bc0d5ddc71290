/** Values as people see them: short and coloured by type, always as text. */

import type { JSX } from "preact";
import { children, isNested, TYPE_NAMES, type Value } from "../values/model";
import { isoOf, plainText, scalar } from "../values/write";
import { localTime, plural } from "../ui/format";

const SHOWN = 300;
const CLASSES: Record<Value["kind"], string> = {
  string: "v-string", symbol: "v-string", int: "v-number", long: "v-number", double: "v-number", decimal: "v-number", bool: "v-bool",
  null: "v-null", undefined: "v-null", objectId: "v-id", date: "v-date", timestamp: "v-date", binary: "v-other", regex: "v-other",
  code: "v-other", minKey: "v-other", maxKey: "v-other", dbPointer: "v-other", object: "v-nested", array: "v-nested",
};

const clipped = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);

/** A value in a few words. */
export function brief(value: Value): string {
  switch (value.kind) {
    case "object":
      return value.entries.length === 0 ? "{}" : `{ ${clipped(value.entries.slice(0, 6).map(([name, one]) => `${name}: ${isNested(one) ? (one.kind === "array" ? "[…]" : "{…}") : clipped(brief(one)).slice(0, 40)}`).join(", "))}${value.entries.length > 6 ? ", …" : ""} }`;
    case "array":
      return value.items.length === 0 ? "[]" : `[ ${plural(value.items.length, "item")} ]`;
    case "date":
      return isoOf(value.ms) === null ? `${value.ms} ms` : localTime(Number(value.ms));
    case "regex":
      return `/${clipped(value.pattern)}/${value.options}`;
    case "binary":
      return uuidOf(value) ?? `Binary(${value.subType}) ${clipped(value.base64)}`;
    case "timestamp":
      return `Timestamp(${value.t}, ${value.i})`;
    case "code":
      return clipped(value.code);
    case "minKey":
    case "maxKey":
      return TYPE_NAMES[value.kind];
    case "null":
    case "undefined":
      return value.kind;
    default:
      return clipped(plainText(value) ?? scalar(value));
  }
}

function uuidOf(value: Extract<Value, { kind: "binary" }>): string | null {
  if (value.subType !== "04" || value.base64.length !== 24) return null;
  const hex = [...atob(value.base64)].map((one) => one.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return hex.length === 32 ? hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5") : null;
}

/** What is told of a value when the pointer rests on it. */
function hint(value: Value): string {
  const type = TYPE_NAMES[value.kind];
  if (value.kind === "date") return `${type} ${isoOf(value.ms) ?? value.ms} (UTC)`;
  if (value.kind === "string" && value.text.length > SHOWN) return `${type} of ${plural(value.text.length, "character")}`;
  return type;
}

export function Shown({ value }: { value: Value }): JSX.Element {
  return (
    <bdi class={CLASSES[value.kind]} title={hint(value)}>
      {brief(value)}
    </bdi>
  );
}

const LINES = 400;

/** A document as coloured JSON, line by line; a long one is cut until somebody wants all of it. */
export function jsonLines(value: Value, most = LINES): { lines: JSX.Element[]; cut: boolean } {
  const lines: JSX.Element[] = [];
  const walk = (one: Value, depth: number, before: JSX.Element | string, comma: string): void => {
    if (lines.length >= most) return;
    const pad = "  ".repeat(depth);
    if (!isNested(one) || children(one).length === 0) {
      const text = isNested(one) ? (one.kind === "array" ? "[]" : "{}") : clippedScalar(one, most);
      lines.push(<div>{pad}{before}<span class={CLASSES[one.kind]}>{text}</span>{comma}</div>);
      return;
    }
    const inside = children(one);
    lines.push(<div>{pad}{before}{one.kind === "array" ? "[" : "{"}</div>);
    inside.forEach(([name, child], index) => {
      const key = one.kind === "array" ? "" : <><span class="v-key">{JSON.stringify(name)}</span>: </>;
      walk(child, depth + 1, key, index < inside.length - 1 ? "," : "");
    });
    if (lines.length < most) lines.push(<div>{pad}{one.kind === "array" ? "]" : "}"}{comma}</div>);
  };
  walk(value, 0, "", "");
  return { lines, cut: lines.length >= most };
}

function clippedScalar(value: Value, most: number): string {
  const text = scalar(value);
  return most === LINES && text.length > 2000 ? `${text.slice(0, 2000)}… (${plural(text.length, "character")})` : text;
}
