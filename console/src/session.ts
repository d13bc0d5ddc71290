/**
 * Who is signed in. The access token is in memory alone; the refresh token is in a cookie that no script can read, so that
 * a reload asks nobody again.
 */

import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { Api, CONSOLE_HEADERS } from "./api";

export interface Caller {
  readonly id: string;
  readonly type: "normal" | "server" | "system";
  readonly provider: string;
  readonly key?: string;
  readonly data: Record<string, unknown>;
  readonly administrator: boolean;
  readonly manages: boolean;
}

export interface DataSource {
  readonly name: string;
  readonly default: boolean;
  readonly database?: string;
}

export interface Session {
  readonly api: Api;
  readonly caller: Caller;
  readonly sources: readonly DataSource[];
  readonly version: string;
  /** Whether the person may own databases of DataCube. */
  readonly datacube: boolean;
  readonly signOut: () => void;
}

const SessionContext = createContext<Session | null>(null);
export const SessionProvider = SessionContext.Provider;

/** The session that every page but the one for signing in has. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error("a page is shown to nobody");
  return session;
}

interface Who {
  readonly caller: Caller;
  readonly dataSources: readonly DataSource[];
  readonly version: string;
  readonly datacube: boolean;
  readonly maxDocuments: number;
}

export type Provider = "api-key" | "local-userpass" | "custom-token" | "anon-user";

/** How this server lets people in, and whether somebody is signed in already. */
export interface Ways {
  readonly providers: readonly Provider[];
  readonly open: boolean;
  readonly begun: boolean;
}

const SESSION = "api/console/v1/session";

/** Ask how to sign in. Throws ApiError. */
export const ways = (): Promise<Ways> => new Api(null).json<Ways>(SESSION);

/** Begin a session with the access token, or without one where the server asks nobody. Throws ApiError. */
export async function begin(token: string | null): Promise<Omit<Session, "signOut">> {
  const api = new Api(token);
  const who = await api.json<Who>("whoami");
  api.most = who.maxDocuments;
  return { api, caller: who.caller, sources: who.dataSources, version: who.version, datacube: who.datacube };
}

/** Sign in by what `shown` has; the answer is an access token. Throws ApiError. */
export async function logIn(shown: Record<string, string | boolean>): Promise<string> {
  const headers = CONSOLE_HEADERS;
  const made = await new Api(null).json<{ access_token: string }>(SESSION, { body: JSON.stringify(shown), headers });
  return made.access_token;
}

/** End the session at the server. */
export async function end(): Promise<void> {
  await new Api(null).send(SESSION, { method: "DELETE", headers: CONSOLE_HEADERS }).catch(() => undefined);
}

/** What a caller is called. */
export function nameOf(caller: Caller): string {
  const email = caller.data["email"];
  if (caller.key) return caller.key;
  return typeof email === "string" ? email : caller.type === "system" ? "everybody" : caller.id;
}
