/** What there is: databases, collections, and how much is in them. */

import type { Api, Namespace } from "../api";
import { fieldsOf, type Query } from "../query/query";
import { type Value, field, itemsOf, numberOf, object, string, textOf } from "../values/model";

export interface DatabaseInfo {
  readonly name: string;
  readonly size: number;
}

export interface CollectionInfo {
  readonly name: string;
  readonly type: string;
}

export interface Stats {
  readonly count: number;
  readonly size: number;
  readonly average: number;
  readonly indexes: number;
  readonly indexSize: number;
}

const byName = <T extends { name: string }>(one: T, other: T): number => (one.name < other.name ? -1 : 1);

/** The databases of a data source. */
export async function databases(api: Api, source: string, signal?: AbortSignal): Promise<DatabaseInfo[]> {
  const answer = await api.act("listDatabases", { source }, [], signal);
  return itemsOf(answer, "databases").map((one) => ({ name: textOf(one, "name"), size: numberOf(field(one, "sizeOnDisk")) })).sort(byName);
}

/** The collections and views of a database, the database's own apart. */
export async function collections(api: Api, source: string, database: string, signal?: AbortSignal): Promise<CollectionInfo[]> {
  const answer = await api.act("listCollections", { source, database }, [], signal);
  const listed = itemsOf(answer, "collections").map((one) => ({ name: textOf(one, "name"), type: textOf(one, "type") || "collection" }));
  return listed.filter(({ name }) => !name.startsWith("system.")).sort(byName);
}

/** How much is in a collection. */
export async function stats(api: Api, place: Namespace, signal?: AbortSignal): Promise<Stats> {
  const { source, database, collection } = place;
  const command = object([["collStats", string(collection)]]);
  const result = field(await api.act("runCommand", { source, database }, [["command", command]], signal), "result");
  return {
    count: at(result, "count"),
    size: at(result, "size"),
    average: at(result, "avgObjSize"),
    indexes: at(result, "nindexes"),
    indexSize: at(result, "totalIndexSize"),
  };
}

/** About how many documents a collection has, from what the database keeps about it. */
export async function estimate(api: Api, place: Namespace, signal?: AbortSignal): Promise<number> {
  return numberOf(field(await api.act("estimatedDocumentCount", place, [], signal), "count"));
}

/** How many documents match. */
export async function matching(api: Api, place: Namespace, { filter, collation }: Pick<Query, "filter" | "collation">, signal?: AbortSignal): Promise<number> {
  return numberOf(field(await api.act("countDocuments", place, fieldsOf({ filter, collation }), signal), "count"));
}

const at = (result: Value | undefined, name: string): number => numberOf(field(result, name));
