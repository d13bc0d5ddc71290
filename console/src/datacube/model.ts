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

/** A request to a collection of a database. */
export function curl(database: string, collection: string, key: string): string {
  const query = new URLSearchParams({ database_id: database, collection_name: collection, page_size: "10" });
  return `curl '${new URL("api/crud", document.baseURI).href}?${query}' \\\n  -H 'Authorization: Api-Key ${key}'`;
}
