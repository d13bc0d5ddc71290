/** Credentials of collections as the administration tells of them, and programs that use them. */

import type { Api, Namespace } from "../api";

export interface Credential {
  readonly id: string;
  readonly collection_id: string;
  readonly data_source: string;
  readonly database: string;
  readonly collection: string;
  readonly kind: "read" | "write";
  readonly created: string;
  readonly expires: string | null;
  readonly last_used: string | null;
  readonly state: "active" | "expired" | "revoked";
  readonly previous?: { readonly until: string };
}

export interface NewCredentials {
  readonly collection_id: string;
  readonly read_credential: string | null;
  readonly write_credential: string | null;
}

export const CREDENTIALS = "api/admin/v1/connectome";
export const credentialPath = (id: string): string => `${CREDENTIALS}/${encodeURIComponent(id)}`;

/** The credentials, of one collection where `place` is given. */
export async function credentials(api: Api, place: Namespace | null, signal: AbortSignal): Promise<readonly Credential[]> {
  const { credentials: all } = await api.json<{ credentials: readonly Credential[] }>(CREDENTIALS, { signal });
  const { source, database, collection } = place ?? {};
  return all.filter((one) => place === null || (one.data_source === source && one.database === database && one.collection === collection));
}

export const LANGUAGES = ["curl", "Python", "JavaScript"] as const;
export type Language = (typeof LANGUAGES)[number];

/** A program that reads or writes by the URL of a credential. */
export function program(language: Language, kind: "read" | "write", credential: string, id: string): string {
  const operation = kind === "read" ? "readwithquery" : "write";
  const url = new URL(`collection/${operation}/${credential}/${id}`, document.baseURI).href;
  const body = kind === "read" ? '{"query": {}, "limit": 10}' : '{"title": "written by a URL"}';
  switch (language) {
    case "curl":
      return `curl '${url}' \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
    case "Python":
      return `import json, urllib.request\n\nrequest = urllib.request.Request(\n    "${url}",\n    json.dumps(${body}).encode(),\n    {"Content-Type": "application/json"},\n)\nprint(json.load(urllib.request.urlopen(request)))`;
    case "JavaScript":
      return `const answer = await fetch("${url}", {\n  method: "POST",\n  headers: { "Content-Type": "application/json" },\n  body: JSON.stringify(${body}),\n});\nconsole.log(await answer.json());`;
  }
}
