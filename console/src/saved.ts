/**
 * Queries and pipelines that a person saved, each with the collection that it is for. The server keeps them, for whatever
 * browser the person signs in with; for those whom it refuses, this browser does.
 */

import { type Api, ApiError, type Namespace } from "./api";
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
  /** What the server calls it; this browser keeps those without. */
  readonly id?: string;
}

const PATH = "api/console/v1/saved";
const FORBIDDEN = 403;
const known = new Map<string, readonly Saved[]>();

/** What the page knows of what `who` saved, without asking. */
export const knownOf = (who: string): readonly Saved[] => known.get(who) ?? inBrowser(who);

/** All that `who` saved, by name; of a server that does not answer there is nothing. */
export async function savedOf(api: Api, who: string): Promise<readonly Saved[]> {
  const text = await api.send(PATH).then((response) => response.text(), () => '{"saved": []}');
  const there = listIn(text);
  const here = inBrowser(who).filter((one) => !there.some((other) => isSame(one, other)));
  const all = [...there, ...here].sort((a, b) => (a.name < b.name ? -1 : 1));
  known.set(who, all);
  return all;
}

/** Save `one`, in place of one of the same name; whether the server has it. Throws ApiError, or Error where nobody keeps it. */
export async function save(api: Api, who: string, one: Saved): Promise<boolean> {
  const { kind, name, place, asked } = one;
  const body = { kind, name, dataSource: place.source, database: place.database, collection: place.collection, asked };
  const there = await api.send(PATH, { method: "PUT", body: JSON.stringify(body) }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof ApiError && error.status === FORBIDDEN) return false;
      throw error;
    },
  );
  const others = inBrowser(who).filter((other) => !isSame(one, other));
  put(who, there ? others : [...others, one]);
  await savedOf(api, who);
  return there;
}

export async function forget(api: Api, who: string, one: Saved): Promise<void> {
  if (one.id !== undefined) await api.send(`${PATH}/${one.id}`, { method: "DELETE" });
  put(who, inBrowser(who).filter((other) => !isSame(one, other)));
  await savedOf(api, who);
}

const nameFor = (who: string): string => `saved of ${who}`;

function inBrowser(who: string): Saved[] {
  return listIn(`{"saved": ${kept(nameFor(who)) ?? "[]"}}`);
}

/** What a text lists; what cannot be read is nothing. */
function listIn(text: string): Saved[] {
  try {
    return itemsOf(read(text), "saved").map((one): Saved => {
      const [id, source] = [textOf(one, "id"), textOf(one, "dataSource")];
      const place = { source, database: textOf(one, "database"), collection: textOf(one, "collection") };
      const kind = textOf(one, "kind") === "pipeline" ? "pipeline" : "query";
      return { kind, name: textOf(one, "name"), place, asked: textOf(one, "asked"), ...(id ? { id } : {}) };
    });
  } catch {
    return [];
  }
}

const isSame = (one: Saved, other: Saved): boolean =>
  one.kind === other.kind && one.name === other.name && JSON.stringify(one.place) === JSON.stringify(other.place);

function put(who: string, all: readonly Saved[]): void {
  const plain = all.map(({ kind, name, place, asked }) => ({ kind, name, dataSource: place.source, database: place.database, collection: place.collection, asked }));
  keep(nameFor(who), all.length > 0 ? JSON.stringify(plain) : null);
}

/** The address that shows it. */
export function addressOf({ kind, place, asked }: Saved): string {
  const path = link(["data", place.source, place.database, place.collection, ...(kind === "pipeline" ? ["aggregation"] : [])]);
  return asked ? `${path}?${asked}` : path;
}
