/** What is different between two documents, and the write that makes one of the other, unless it is another by now. */

import { type Entry, type ObjectValue, type Value, array, field, NULL, object, string } from "../values/model";
import { write } from "../values/write";

export interface Change {
  readonly path: readonly string[];
  /** undefined where the field was not there. */
  readonly before: Value | undefined;
  /** undefined where it is there no more. */
  readonly after: Value | undefined;
}

/** Whether two values are the same, types and order included. */
export const same = (one: Value, other: Value): boolean => one === other || (one.kind === other.kind && write(one) === write(other));

/** Every place where `after` differs from `before`. */
export function changesOf(before: Value, after: Value, path: readonly string[] = []): Change[] {
  if (same(before, after)) return [];
  if (before.kind === "object" && after.kind === "object") {
    const found = objectChanges(before, after, path);
    return found.length > 0 && keepsOrder(before, after) ? found : [{ path, before, after }];
  }
  if (before.kind === "array" && after.kind === "array" && before.items.length === after.items.length)
    return before.items.flatMap((item, index) => changesOf(item, after.items[index] ?? NULL, [...path, String(index)]));
  return [{ path, before, after }];
}

function objectChanges(before: ObjectValue, after: ObjectValue, path: readonly string[]): Change[] {
  const old = new Map(before.entries);
  const now = new Map(after.entries);
  const gone = before.entries.filter(([name]) => !now.has(name)).map(([name, value]) => ({ path: [...path, name], before: value, after: undefined }));
  const rest = after.entries.flatMap(([name, value]): Change[] => {
    const was = old.get(name);
    return was === undefined ? [{ path: [...path, name], before: undefined, after: value }] : changesOf(was, value, [...path, name]);
  });
  return [...gone, ...rest];
}

/** Whether single changes lead from one to the other: fields that stay keep their order, new ones are behind them. */
function keepsOrder(before: ObjectValue, after: ObjectValue): boolean {
  const old = new Set(before.entries.map(([name]) => name));
  const now = new Set(after.entries.map(([name]) => name));
  const kept = before.entries.map(([name]) => name).filter((name) => now.has(name));
  const names = after.entries.map(([name]) => name);
  return names.every((name, index) => (index < kept.length ? name === kept[index] : !old.has(name)));
}

/** `value` with `changes`. */
export function apply(value: Value, changes: readonly Change[]): Value {
  return changes.reduce((made, change) => put(made, change.path, change.after) ?? made, value);
}

function put(value: Value, path: readonly string[], to: Value | undefined): Value | undefined {
  const [name, ...rest] = path;
  if (name === undefined) return to;
  if (value.kind === "array")
    return array(value.items.map((item, index) => (String(index) === name ? (put(item, rest, to) ?? NULL) : item)));
  if (value.kind !== "object") return value;
  const there = field(value, name);
  const made = put(there ?? object([]), rest, to);
  if (there === undefined) return made === undefined ? value : object([...value.entries, [name, made]]);
  return object(value.entries.flatMap((entry): Entry[] => (entry[0] !== name ? [entry] : made === undefined ? [] : [[name, made]])));
}

const ALIASES: Partial<Record<Value["kind"], string>> = { binary: "binData" };

/** The fields of the `updateOne` that makes `after` of `before`, if what it changes is still as it was. */
export function updateOf(before: ObjectValue, after: ObjectValue): readonly Entry[] {
  const changes = changesOf(before, after);
  const id = field(before, "_id") ?? NULL;
  const mine: Entry = ["_id", object([["$eq", id]])];
  if (!changes.every(({ path }) => path.length > 0 && path.every(isPlain))) {
    const still = object([["$eq", array([string("$$ROOT"), object([["$literal", before]])])]]);
    // A replacement may have no name with a dollar at its beginning; a pipeline's literal may have any.
    const become = object([["$replaceWith", object([["$literal", after]])]]);
    return [["filter", object([mine, ["$expr", still]])], ["update", array([become])]];
  }
  const were = changes.map(({ path, before: was }): Entry => [path.join("."), condition(was)]);
  const set = changes.filter(({ after: to }) => to !== undefined).map(({ path, after: to }): Entry => [path.join("."), to ?? NULL]);
  const unset = changes.filter(({ after: to }) => to === undefined).map(({ path }): Entry => [path.join("."), string("")]);
  const update: Entry[] = [];
  if (set.length > 0) update.push(["$set", object(set)]);
  if (unset.length > 0) update.push(["$unset", object(unset)]);
  return [["filter", object([mine, ...were])], ["update", object(update)]];
}

/** Names with dots and dollars mean something else in the paths of an update. */
const isPlain = (name: string): boolean => name !== "" && !name.includes(".") && !name.startsWith("$");

function condition(was: Value | undefined): Value {
  if (was === undefined) return object([["$exists", { kind: "bool", on: false }]]);
  const type = was.kind === "code" ? (was.scope ? "javascriptWithScope" : "javascript") : (ALIASES[was.kind] ?? was.kind);
  return object([["$eq", was], ["$type", string(type)]]);
}

/** How a path is shown. */
export const shownPath = (path: readonly string[]): string => path.join(" › ") || "the whole document";
