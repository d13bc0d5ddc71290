/** Cells of a CSV file as values: the type of each column is guessed, and can be chosen. */

import { type Entry, object, type Value } from "../values/model";

export const TYPES = ["String", "Int", "Double", "Decimal128", "Boolean", "Date", "ObjectId", "Left out"] as const;
export type Type = (typeof TYPES)[number];

const INTEGER = /^-?(0|[1-9]\d{0,17})$/;
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const DATE = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:?\d\d)?)?$/;

const FITS: Readonly<Record<Exclude<Type, "Left out">, (text: string) => boolean>> = {
  Boolean: (text) => /^(true|false)$/i.test(text),
  Int: (text) => INTEGER.test(text),
  Double: (text) => NUMBER.test(text),
  Decimal128: (text) => NUMBER.test(text),
  Date: (text) => DATE.test(text) && !Number.isNaN(Date.parse(text)),
  ObjectId: (text) => /^[0-9a-f]{24}$/i.test(text),
  String: () => true,
};
const GUESSED = ["Boolean", "ObjectId", "Int", "Double", "Date"] as const;

/** The narrowest type that every cell fits which is not empty; text where all are. */
export function guess(cells: readonly string[]): Type {
  const filled = cells.filter((text) => text !== "");
  if (filled.length === 0) return "String";
  return GUESSED.find((type) => filled.every(FITS[type])) ?? "String";
}

/** A cell as a value. Throws an Error that says why it is none of the type. */
function valueOf(text: string, type: Exclude<Type, "Left out">): Value {
  if (!FITS[type](text)) throw new Error(`“${text.slice(0, 100)}” is no ${type}`);
  switch (type) {
    case "String":
      return { kind: "string", text };
    case "Int": {
      const small = Math.abs(Number(text)) < 2 ** 31;
      return small ? { kind: "int", text: String(Number(text)) } : { kind: "long", text };
    }
    case "Double": {
      const shown = String(Number(text));
      return { kind: "double", text: /^-?\d+$/.test(shown) ? `${shown}.0` : shown };
    }
    case "Decimal128":
      return { kind: "decimal", text };
    case "Boolean":
      return { kind: "bool", on: text.toLowerCase() === "true" };
    case "Date":
      return { kind: "date", ms: String(Date.parse(/\d:\d\d/.test(text) && !/(Z|[+-]\d\d:?\d\d)$/.test(text) ? `${text.replace(" ", "T")}Z` : text)) };
    case "ObjectId":
      return { kind: "objectId", hex: text.toLowerCase() };
  }
}

export interface Column {
  readonly name: string;
  readonly type: Type;
}

/** A row as a document; empty cells are left out. Names with dots are fields inside fields. Throws an Error. */
export function documentOf(cells: readonly string[], columns: readonly Column[]): Value {
  if (cells.length > columns.length) throw new Error(`the row has ${cells.length} cells, and there are ${columns.length} columns`);
  let made: Value = object([]);
  columns.forEach(({ name, type }, index) => {
    const text = cells[index] ?? "";
    if (type === "Left out" || text === "") return;
    try {
      made = put(made, name.split("."), valueOf(text, type));
    } catch (error) {
      throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
  return made;
}

function put(into: Value, path: readonly string[], value: Value): Value {
  const [first = "", ...rest] = path;
  const entries: readonly Entry[] = into.kind === "object" ? into.entries : [];
  const before = entries.find(([name]) => name === first)?.[1];
  if (before && (rest.length === 0 || before.kind !== "object")) throw new Error("another column has this field already");
  const inner = rest.length === 0 ? value : put(before ?? object([]), rest, value);
  return object(before ? entries.map(([name, old]) => [name, name === first ? inner : old] as const) : [...entries, [first, inner]]);
}
