/** Tenants and workspaces as the administration tells of them. */

export interface Tenant {
  readonly id: string;
  readonly name: string;
  readonly created: string;
}

export interface Workspace {
  readonly id: string;
  readonly tenant: string;
  readonly data_source: string;
  readonly database: string;
  readonly shared: boolean;
  readonly capabilities: readonly string[];
  readonly quotas: Readonly<Record<string, number>>;
  readonly members: Readonly<Record<string, readonly string[]>>;
  readonly created: string;
}

export interface WorkspaceKey {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly created: string;
  readonly expires: string | null;
  readonly revoked: string | null;
  readonly key?: string;
}

export const TENANTS = "api/admin/v1/tenants";
export const WORKSPACES = "api/admin/v1/workspaces";
export const workspacePath = (id: string): string => `${WORKSPACES}/${encodeURIComponent(id)}`;
export const SCOPES = ["mongo:read", "mongo:write", "mongo:admin", "realtime:read"] as const;

export const QUOTAS = ["collections", "documents", "bytes", "credentials", "subscriptions"] as const;
export const CAPABILITIES = ["mongo", "realtime", "credentials"] as const;

/** What somebody typed, where something was. */
export const given = (fields: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ""));

export const scopesOf = (text: string): string[] | undefined => {
  const named = text.split(",").map((part) => part.trim()).filter(Boolean);
  return named.length ? named : undefined;
};
