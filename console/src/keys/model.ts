/** API keys as the administration tells of them. */

import type { Api } from "../api";

export interface Key {
  readonly name: string;
  readonly id: string;
  readonly admin: boolean;
  readonly created: string;
  readonly expires: string | null;
  readonly expired: boolean;
  readonly last_used: string | null;
  readonly disabled: boolean;
  readonly revoked?: string;
  readonly rotated?: string;
  readonly previous?: { readonly until: string };
  readonly roles?: readonly string[];
  readonly data_sources?: readonly string[];
  readonly databases?: readonly string[];
  readonly collections?: readonly string[];
  readonly actions?: readonly string[];
  readonly addresses?: readonly string[];
  readonly rate?: string;
  readonly quotas?: Readonly<Record<string, number>>;
}

export interface NewKey extends Key {
  readonly key: string;
}

export const KEYS = "api/admin/v1/keys";
export const LISTS = ["roles", "data_sources", "databases", "collections", "actions", "addresses"] as const;

export const LIMITS: Readonly<Record<(typeof LISTS)[number] | "rate", readonly [title: string, note: string]>> = {
  roles: ["Roles", "Names of roles of the rules that judge it"],
  data_sources: ["Data sources", "Separated by commas; empty is any"],
  databases: ["Databases", "Such as shop, staging"],
  collections: ["Collections", "Such as shop.orders"],
  actions: ["Actions", "Such as read, insertOne"],
  addresses: ["Addresses", "Such as 192.0.2.7, 10.0.0.0/8"],
  rate: ["Rate", "Such as 20/second;5000/hour"],
};

export const pathOf = (name: string): string => `${KEYS}/${encodeURIComponent(name)}`;

export const listed = async (api: Api, signal: AbortSignal): Promise<readonly Key[]> =>
  (await api.json<{ keys: readonly Key[] }>(KEYS, { signal })).keys;

/** Whether a key lets anybody in, and why not. */
export function stateOf(key: Key): "in force" | "revoked" | "disabled" | "expired" {
  if (key.revoked) return "revoked";
  if (key.disabled) return "disabled";
  return key.expired ? "expired" : "in force";
}

/** What a key may do, in a few words. */
export function rightsOf(key: Key): string {
  const limits = LISTS.filter((name) => name !== "roles" && key[name]).map((name) => `${LIMITS[name][0].toLowerCase()} ${key[name]?.join(", ")}`);
  if (key.rate) limits.push(`rate ${key.rate}`);
  if (key.quotas) limits.push("quotas");
  const who = key.admin ? "Administrator" : key.roles ? `Roles ${key.roles.join(", ")}` : "By the rules";
  return limits.length ? `${who}; ${limits.join("; ")}` : who;
}
