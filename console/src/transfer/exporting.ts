/** What a query matches, read as it comes, and saved as a file. */

import { type Api, bodyOf, type Namespace } from "../api";
import { documentsOf } from "../query/lines";
import { array, type Entry, string, textOf } from "../values/model";
import { read } from "../values/read";

export const FILES = {
  canonical: ["NDJSON that keeps every type (canonical)", "ndjson"],
  relaxed: ["NDJSON, relaxed", "ndjson"],
  json: ["JSON: one array, relaxed", "json"],
  csv: ["CSV, for spreadsheets; types are lost", "csv"],
} as const;
export type FileKind = keyof typeof FILES;

/** Where the server has files that browsers save by themselves, for a ticket each. */
const DOWNLOADS = "api/console/v1/downloads";

/**
 * Have the browser save what a query matches, as it comes. The columns of a table are those of all documents, so that
 * these are read for it before; `tell` hears how many were. Throws ApiError for what the query is refused with.
 */
export async function exportOf(api: Api, place: Namespace, query: readonly Entry[], kind: FileKind, signal: AbortSignal, tell: (documents: number) => void): Promise<void> {
  const fields: Entry[] = [...query, ["format", string(FILES[kind][1])], ["mode", string(kind === "canonical" ? "canonical" : "relaxed")]];
  if (kind === "csv") fields.push(["columns", array((await columnsOf(api, place, query, signal, tell)).map(string))]);
  const made = read(await (await api.send(DOWNLOADS, { body: bodyOf(place, fields), signal })).text());
  save(`${DOWNLOADS}/${textOf(made, "ticket")}`, `${place.collection}.${FILES[kind][1]}`);
}

/** The fields of all documents that a query matches, in the order in which they come. */
async function columnsOf(api: Api, place: Namespace, query: readonly Entry[], signal: AbortSignal, tell: (documents: number) => void): Promise<string[]> {
  const names = new Set<string>();
  let documents = 0;
  for await (const found of documentsOf(api, place, query, signal)) {
    for (const document of found) for (const [name] of document.entries) names.add(name);
    tell((documents += found.length));
  }
  return [...names];
}

/** Have the browser keep a file that is in the memory of the page. */
export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  save(url, name);
  window.setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function save(url: string, name: string): void {
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
}
