/** The databases and keys that a user owns, as the DataCube API tells of them. */

export interface Cube {
  readonly id: string;
  readonly name: string;
  readonly num_collections: number;
}

export interface CubeCollection {
  readonly name: string;
  readonly num_documents?: number;
  readonly num_deleted?: number;
}

export interface CubeKey {
  readonly id: string;
  readonly name: string;
  readonly key_display: string;
  readonly permissions: readonly string[];
  readonly database_ids: readonly string[] | null;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly last_used_at: string | null;
  readonly key?: string;
}

export const KEYS = "core/api/v1/keys";
export const PERMISSIONS = ["read", "write", "admin"] as const;

export const TYPES = [
  "string", "integer", "number", "float", "double", "boolean", "date", "datetime", "object", "array", "null", "objectid", "binary",
  "decimal128", "timestamp", "regex",
] as const;

/** A field: `type` is what is declared, where something is. */
export interface CubeField {
  readonly name: string;
  readonly type?: string;
  readonly observed_types: readonly string[];
}

export interface CubeDescribed {
  readonly name: string;
  readonly fields: readonly CubeField[];
  readonly enforce: boolean;
  readonly other_fields: readonly CubeField[] | null;
}

export const LANGUAGES = ["curl", "Python", "JavaScript"] as const;
export type Language = (typeof LANGUAGES)[number];

/** A program that reads from or writes to a collection of a database with `key`. */
export function program(language: Language, does: "read" | "write", key: string, database: string, collection: string): string {
  const query = new URLSearchParams({ database_id: database, collection_name: collection, page_size: "10" });
  const base = new URL("api/crud", document.baseURI).href;
  const url = does === "read" ? `${base}?${query}` : base;
  const body = does === "read" ? "" : JSON.stringify({ database_id: database, collection_name: collection, data: [{ title: "written by a program" }] });
  switch (language) {
    case "curl":
      return `curl '${url}' \\\n  -H 'Authorization: Api-Key ${key}'${body && ` \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`}`;
    case "Python":
      return `import json, urllib.request\n\nrequest = urllib.request.Request(\n    "${url}",\n${body && `    json.dumps(${body}).encode(),\n`}    headers={"Authorization": "Api-Key ${key}"${body && ', "Content-Type": "application/json"'}},\n)\nprint(json.load(urllib.request.urlopen(request)))`;
    case "JavaScript":
      return `const answer = await fetch("${url}", {\n${body && '  method: "POST",\n'}  headers: { Authorization: "Api-Key ${key}"${body && ', "Content-Type": "application/json"'} },\n${body && `  body: JSON.stringify(${body}),\n`}});\nconsole.log(await answer.json());`;
  }
}
