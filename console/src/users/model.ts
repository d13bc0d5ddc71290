/** Users as the administration tells of them. */

import type { Api } from "../api";
import type { Page } from "../ui/paged";

export interface User {
  readonly id: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly identities: readonly { readonly id: string; readonly provider_type: string; readonly data?: Readonly<Record<string, unknown>> }[];
  readonly created: string | null;
  readonly last_authenticated: string | null;
  readonly disabled: boolean;
}

export interface Account {
  readonly email: string;
  readonly user_id: string;
  readonly created: string;
}

export interface UserSession {
  readonly id: string;
  readonly provider: string;
  readonly created: string;
  readonly expires: string;
  readonly device: Readonly<Record<string, string>> | null;
}

export const USERS = "api/admin/v1/users";
export const ACCOUNTS = "api/admin/v1/accounts";
export const userPath = (id: string): string => `${USERS}/${encodeURIComponent(id)}`;

export const PROVIDERS: Readonly<Record<string, string>> = {
  "local-userpass": "Email and password",
  "custom-token": "Token",
  "anon-user": "Anonymous",
};

/** What a user is called. */
export function called(user: User): string {
  const { email, name } = user.data;
  return typeof email === "string" ? email : typeof name === "string" ? name : user.id;
}

/** A page of users that are searched for. */
export async function users(api: Api, asked: { search: string; provider: string; after: string | null }, signal?: AbortSignal): Promise<Page<User>> {
  const query = new URLSearchParams({ limit: "50" });
  for (const [name, value] of Object.entries(asked)) if (value) query.set(name, value);
  const { users: items, next } = await api.json<{ users: readonly User[]; next: string | null }>(`${USERS}?${query}`, { signal });
  return { items, next };
}

/** A page of the accounts whose address nobody has confirmed. */
export async function waiting(api: Api, after: string | null, signal?: AbortSignal): Promise<Page<Account>> {
  const query = new URLSearchParams({ limit: "50" });
  if (after !== null) query.set("after", after);
  const { accounts: items, next } = await api.json<{ accounts: readonly Account[]; next: string | null }>(`${ACCOUNTS}?${query}`, { signal });
  return { items, next };
}
