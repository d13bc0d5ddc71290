/**
 * Reads the documents of a query page by page, each from where the one before ended: by the values of the sort's fields
 * there, never by counting documents over. The order is that of BSON, type after type.
 */

import type { Api, Namespace } from "../api";
import { type Entry, type ObjectValue, type Value, array, field, int, itemsOf, NULL, object, string } from "../values/model";
import { write } from "../values/write";
import { fieldsOf, type Query } from "./query";

const PAGE = 100;

/** The types in the order of BSON; those of a row compare with each other. */
const ORDER: readonly (readonly string[])[] = [
  ["minKey"], ["null", "undefined"], ["number"], ["string", "symbol"], ["object"], ["array"], ["binData"], ["objectId"],
  ["bool"], ["date"], ["timestamp"], ["regex"], ["dbPointer"], ["javascript"], ["javascriptWithScope"], ["maxKey"],
];
const NULLS = 1;
const NUMBERS = 2;
const ROWS: Record<Value["kind"], number> = {
  minKey: 0, null: 1, undefined: 1, int: 2, long: 2, double: 2, decimal: 2, string: 3, symbol: 3, object: 4, array: 5, binary: 6,
  objectId: 7, bool: 8, date: 9, timestamp: 10, regex: 11, dbPointer: 12, code: 13, maxKey: 15,
};

export interface Page {
  readonly documents: readonly ObjectValue[];
  /** Where the next page begins; null where there is none, or none that can be found. */
  readonly next: ObjectValue | null;
  /** Why there may be more that cannot be shown. */
  readonly cut: string;
}

/** The sort that is asked for: a query's own, made whole by `_id`, so that every document has one place. */
export function orderOf(sort: ObjectValue): ObjectValue {
  return sort.entries.some(([name]) => name === "_id") ? sort : object([...sort.entries, ["_id", int(1)]]);
}

/** The page of `query` that begins at `from`, the next of another page. */
export async function page(api: Api, place: Namespace, query: Query, from: ObjectValue | null, signal?: AbortSignal): Promise<Page> {
  const sort = orderOf(query.sort);
  const filter = from ? object([["$and", array([query.filter, from])]]) : query.filter;
  const size = Math.min(query.limit || PAGE, PAGE, api.most);
  const fields: Entry[] = [...fieldsOf({ ...query, filter, sort }), ["limit", int(size)]];
  const answer = await api.act("find", place, fields, signal);
  const documents = itemsOf(answer, "documents").filter((one): one is ObjectValue => one.kind === "object");
  const last = documents.at(-1);
  if (!last || documents.length < size) return { documents, next: null, cut: "" };
  return { documents, ...(await after(api, place, query, sort, last, signal)) };
}

async function after(api: Api, place: Namespace, query: Query, sort: ObjectValue, last: ObjectValue, signal?: AbortSignal): Promise<Omit<Page, "documents">> {
  if (sort.entries.some(([, direction]) => !("text" in direction) || Math.abs(Number(direction.text)) !== 1))
    return { next: null, cut: "Only the first page can be shown in this order." };
  const id = field(last, "_id");
  if (!id) return { next: null, cut: "Only the first page can be shown when the projection leaves out _id." };
  let whole: Value = last;
  if (query.project.entries.length > 0) {
    const names = object(sort.entries.map(([name]) => [name, int(1)]));
    whole = field(await api.act("findOne", place, [["filter", object([["_id", object([["$eq", id]])]])], ["projection", names]], signal), "document") ?? NULL;
  }
  const values = sort.entries.map(([name]) => at(whole, name.split(".")));
  if (values.includes(null)) return { next: null, cut: "Only the first page can be shown in an order by values inside arrays." };
  return { next: beyond(sort.entries, values as Value[], query.collation.entries.length > 0), cut: "" };
}

/** The value at a path; a missing one is null, and null stands for one that is or goes through an array. */
function at(value: Value, path: readonly string[]): Value | null {
  if (value.kind === "array") return null;
  const [name, ...rest] = path;
  if (name === undefined) return value;
  return at(field(value, name) ?? NULL, value.kind === "object" ? rest : []);
}

/** The filter of what comes behind `values` in the order of `sort`; `collated` are texts of which several are the same. */
function beyond(sort: readonly Entry[], values: readonly Value[], collated: boolean): ObjectValue {
  const ways = sort.flatMap(([name, direction], index) => {
    const same = sort.slice(0, index).map(([before], place) => equal(before, values[place] ?? NULL));
    const ascending = "text" in direction && Number(direction.text) > 0;
    const again = collated && index === sort.length - 1;
    return further(name, values[index] ?? NULL, ascending, again).map((one) => object([["$and", array([...same, one])]]));
  });
  return object([["$or", array(ways)]]);
}

const equal = (name: string, value: Value): Value => object([[name, ROWS[value.kind] === NULLS ? NULL : object([["$eq", value]])]]);

function further(name: string, value: Value, ascending: boolean, again: boolean): Value[] {
  const row = ROWS[value.kind];
  const ways: Value[] = [];
  const isNan = value.kind === "double" && value.text === "NaN";
  if (row !== NULLS && value.kind !== "minKey" && value.kind !== "maxKey") {
    const [operator, than] = isNan ? ["$gte", { kind: "double", text: "-Infinity" } as const] : [`${ascending ? "$gt" : "$lt"}${again ? "e" : ""}`, value];
    if (ascending || !isNan) ways.push(object([[name, object([[operator, than]])]]));
  }
  // NaN comes before all other numbers, and is not less than any.
  if (!ascending && row === NUMBERS && !isNan) ways.push(equal(name, { kind: "double", text: "NaN" }));
  const rows = ascending ? ORDER.slice(row + 1) : ORDER.slice(0, row);
  if (!ascending && row > NULLS) ways.push(object([[name, NULL]]));
  const types = rows.flat().filter((type) => type !== "null" && type !== "undefined");
  if (ascending && row < NULLS) ways.push(object([[name, NULL]]));
  if (types.length > 0) ways.push(object([[name, object([["$type", array(types.map(string))]])]]));
  return ways.length > 0 ? ways : [object([["$expr", { kind: "bool", on: false }]])];
}

/** What tells documents apart: the text of their `_id`, or of all that they have. */
export function keyOf(document: ObjectValue): string {
  let key = keys.get(document);
  if (key === undefined) keys.set(document, (key = write(field(document, "_id") ?? document)));
  return key;
}

const keys = new WeakMap<ObjectValue, string>();
