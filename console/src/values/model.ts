/**
 * BSON as the console holds it: every type is kept apart, fields keep their order, and every name is possible. JavaScript's
 * own objects would sort fields that look like numbers, and lose the difference between an int, a long and a double.
 */

export type Entry = readonly [name: string, value: Value];

export type Value =
  | { readonly kind: "object"; readonly entries: readonly Entry[] }
  | { readonly kind: "array"; readonly items: readonly Value[] }
  | { readonly kind: "string"; readonly text: string }
  | { readonly kind: "int"; readonly text: string }
  | { readonly kind: "long"; readonly text: string }
  | { readonly kind: "double"; readonly text: string }
  | { readonly kind: "decimal"; readonly text: string }
  | { readonly kind: "bool"; readonly on: boolean }
  | { readonly kind: "null" }
  | { readonly kind: "undefined" }
  | { readonly kind: "minKey" }
  | { readonly kind: "maxKey" }
  | { readonly kind: "objectId"; readonly hex: string }
  | { readonly kind: "date"; readonly ms: string }
  | { readonly kind: "binary"; readonly base64: string; readonly subType: string }
  | { readonly kind: "regex"; readonly pattern: string; readonly options: string }
  | { readonly kind: "timestamp"; readonly t: string; readonly i: string }
  | { readonly kind: "symbol"; readonly text: string }
  | { readonly kind: "code"; readonly code: string; readonly scope: Value | null }
  | { readonly kind: "dbPointer"; readonly ref: string; readonly id: Value };

export type Kind = Value["kind"];
export type ObjectValue = Extract<Value, { kind: "object" }>;
export type ArrayValue = Extract<Value, { kind: "array" }>;

/** What people call each type: MongoDB's names. */
export const TYPE_NAMES: Record<Kind, string> = {
  object: "Object",
  array: "Array",
  string: "String",
  int: "Int32",
  long: "Int64",
  double: "Double",
  decimal: "Decimal128",
  bool: "Boolean",
  null: "Null",
  undefined: "Undefined",
  minKey: "MinKey",
  maxKey: "MaxKey",
  objectId: "ObjectId",
  date: "Date",
  binary: "Binary",
  regex: "RegExp",
  timestamp: "Timestamp",
  symbol: "Symbol",
  code: "Code",
  dbPointer: "DBPointer",
};

export const object = (entries: readonly Entry[]): ObjectValue => ({ kind: "object", entries });
export const array = (items: readonly Value[]): ArrayValue => ({ kind: "array", items });
export const string = (text: string): Value => ({ kind: "string", text });
export const bool = (on: boolean): Value => ({ kind: "bool", on });
export const int = (number: number): Value => ({ kind: "int", text: String(number) });
export const NULL: Value = { kind: "null" };

/** The value of the field `name`, or undefined. */
export function field(value: Value | undefined, name: string): Value | undefined {
  return value?.kind === "object" ? value.entries.find(([key]) => key === name)?.[1] : undefined;
}

/** The text in the field `name` of an object, or "". */
export function textOf(value: Value | undefined, name: string): string {
  const found = field(value, name);
  return found && "text" in found ? found.text : "";
}

/** The number that a value is; NaN for what is none. */
export function numberOf(value: Value | undefined): number {
  return value && (value.kind === "int" || value.kind === "long" || value.kind === "double" || value.kind === "decimal")
    ? Number(value.text)
    : NaN;
}

/** The documents, databases, collections … in the array `name`. */
export function itemsOf(value: Value | undefined, name: string): readonly Value[] {
  const found = field(value, name);
  return found?.kind === "array" ? found.items : [];
}

/** Whether a value has others in it. */
export const isNested = (value: Value): value is ObjectValue | ArrayValue =>
  value.kind === "object" || value.kind === "array";

/** The values inside, with what each is called there. */
export function children(value: ObjectValue | ArrayValue): readonly Entry[] {
  return value.kind === "object" ? value.entries : value.items.map((item, index) => [String(index), item] as const);
}
