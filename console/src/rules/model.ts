/** Rules as they are written, and what they make of a request. */

import type { Api } from "../api";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface Role {
  readonly name: string;
  readonly apply_when?: Json;
  readonly document_filters?: { readonly read?: Json; readonly write?: Json } | null;
  readonly read?: Json;
  readonly write?: Json;
  readonly insert?: Json;
  readonly delete?: Json;
  readonly search?: Json;
  readonly fields?: Readonly<Record<string, Json>> | null;
  readonly additional_fields?: Json;
}

export interface Rules {
  readonly data_source: string;
  readonly database: string | null;
  readonly collection: string | null;
  readonly rules: { readonly roles?: readonly Role[] | null; readonly filters?: readonly Json[] | null };
  readonly json_schema: Json;
}

export interface Refusal {
  readonly error_code: string;
  readonly error: string;
  readonly rule: Json;
}

export interface Judged {
  readonly name: string;
  readonly applies: Json;
  readonly reads?: Json;
  readonly hidden?: readonly string[];
  readonly writes?: Json;
  readonly unwritable?: readonly string[];
  readonly insert?: Json;
  readonly delete?: Json;
}

export interface Explained {
  readonly operation: string;
  readonly namespace: string;
  readonly caller: { readonly id: string; readonly type: string; readonly admin: boolean; readonly roles: readonly string[] };
  readonly allowed: boolean;
  readonly reason?: string;
  readonly refused?: Refusal;
  readonly checks_documents?: boolean;
  readonly roles?: readonly Judged[];
  readonly role?: string | null;
  readonly filters?: readonly string[];
  readonly filter?: Json;
  readonly hidden?: readonly string[] | null;
  readonly sent?: Readonly<Record<string, Json>>;
  readonly document?: {
    readonly role: string | null;
    readonly visible: boolean;
    readonly seen: Json;
    readonly matches?: boolean;
    readonly refused?: Refusal;
  };
}

export const RULES = "api/admin/v1/rules";

export const listed = async (api: Api, signal: AbortSignal): Promise<readonly Rules[]> =>
  (await api.json<{ rules: readonly Rules[] }>(RULES, { signal })).rules;

/** What rules are for, in words. */
export const placeOf = ({ database, collection }: Rules): string =>
  database === null ? "Collections without rules of their own" : `${database}.${collection}`;

/** What a role says about a right, in a word or two; `absent` is what it means to say nothing. */
export function right(value: Json | undefined, absent: string): string {
  if (value === undefined || value === null) return absent;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object" && Object.keys(value).length === 0) return "yes";
  return `if ${JSON.stringify(value)}`;
}

export const pretty = (value: unknown): string => JSON.stringify(value, null, 2);
