/** Queries and pipelines that a person saved in this browser, each with the collection that it is for. */

import type { Namespace } from "./api";
import { keep, kept } from "./kept";
import { link } from "./router";
import { read } from "./values/read";
import { itemsOf, textOf } from "./values/model";

export interface Saved {
  readonly kind: "query" | "pipeline";
  readonly name: string;
  readonly place: Namespace;
  /** What the address has behind the question mark. */
  readonly asked: string;
}

const nameFor = (who: string): string => `saved of ${who}`;

/** All that `who` saved, by name; what cannot be read is nothing. */
export function savedOf(who: string): Saved[] {
  try {
    const items = itemsOf(read(`{"saved": ${kept(nameFor(who)) ?? "[]"}}`), "saved");
    return items.map((one): Saved => ({
      kind: textOf(one, "kind") === "pipeline" ? "pipeline" : "query",
      name: textOf(one, "name"),
      place: { source: textOf(one, "source"), database: textOf(one, "database"), collection: textOf(one, "collection") },
      asked: textOf(one, "asked"),
    }));
  } catch {
    return [];
  }
}

const isSame = (one: Saved, other: Saved): boolean =>
  one.kind === other.kind && one.name === other.name && JSON.stringify(one.place) === JSON.stringify(other.place);

function put(who: string, all: readonly Saved[]): void {
  const plain = all.map(({ kind, name, place: { source, database, collection }, asked }) => ({ kind, name, source, database, collection, asked }));
  keep(nameFor(who), all.length > 0 ? JSON.stringify(plain) : null);
}

/** Save `one`, in place of one of the same name. Throws Error where the browser keeps nothing. */
export function save(who: string, one: Saved): void {
  const others = savedOf(who).filter((other) => !isSame(one, other));
  put(who, [...others, one].sort((a, b) => (a.name < b.name ? -1 : 1)));
}

export function forget(who: string, one: Saved): void {
  put(who, savedOf(who).filter((other) => !isSame(one, other)));
}

/** The address that shows it. */
export function addressOf({ kind, place, asked }: Saved): string {
  const path = link(["data", place.source, place.database, place.collection, ...(kind === "pipeline" ? ["aggregation"] : [])]);
  return asked ? `${path}?${asked}` : path;
}
