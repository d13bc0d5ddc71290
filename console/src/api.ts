/** The public HTTP API, asked under the person's own access token, which is in memory alone. */

import { type Value, NULL, object, string, type Entry, textOf } from "./values/model";
import { read } from "./values/read";
import { write } from "./values/write";

/** What the server asks of requests that come with the cookie of a session. */
export const CONSOLE_HEADERS = { "x-doorleaf-console": "1" };

/** An answer that is an error, or none at all. `code` is what programs branch on. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly body: Value = NULL,
  ) {
    super(message);
  }
}

/** A collection, as requests name it. */
export interface Namespace {
  readonly source: string;
  readonly database: string;
  readonly collection: string;
}

export interface Asked {
  readonly method?: string;
  readonly body?: string;
  readonly accept?: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

const CANONICAL = "application/ejson; mode=canonical";

export class Api {
  /** Called when the server no longer takes the credentials. */
  onSignedOut: (() => void) | null = null;

  /** How many documents one answer may have. */
  most = Infinity;

  private refreshing: Promise<boolean> | null = null;

  /** With `token`, an access token, or for requests of nobody. */
  constructor(private token: string | null) {}

  /** One request to `path`, relative to where the server's pages are; throws ApiError. */
  async send(path: string, asked: Asked = {}): Promise<Response> {
    const response = await this.raw(path, asked);
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.status === 401) this.onSignedOut?.();
    throw error;
  }

  /** One request, and its answer whatever it is; throws ApiError where there is none. */
  async raw(path: string, asked: Asked = {}): Promise<Response> {
    const response = await this.once(path, asked);
    return response.status === 401 && this.token !== null && (await this.refreshed()) ? this.once(path, asked) : response;
  }

  /** One request whose answer is plain JSON. */
  async json<T>(path: string, asked: Asked = {}): Promise<T> {
    const response = await this.send(path, asked);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  /** An action on a place; the answer keeps every type. */
  async act(action: string, place: Partial<Namespace>, fields: readonly Entry[] = [], signal?: AbortSignal): Promise<Value> {
    const response = await this.send(`action/${action}`, { body: bodyOf(place, fields), accept: CANONICAL, signal });
    return read(await response.text());
  }

  private async once(path: string, asked: Asked): Promise<Response> {
    const headers: Record<string, string> = { accept: asked.accept ?? "application/json", ...asked.headers };
    if (asked.body !== undefined) headers["content-type"] = asked.type ?? "application/json";
    if (this.token !== null) headers["authorization"] = `Bearer ${this.token}`;
    const method = asked.method ?? (asked.body === undefined ? "GET" : "POST");
    try {
      return await fetch(path, { method, headers, body: asked.body ?? null, signal: asked.signal ?? null, cache: "no-store" });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError("The server does not answer. Is it running, and can this machine reach it?", 0, "Unreachable");
    }
  }

  /** Whether another access token could be had; the requests that come meanwhile wait for the same one. */
  private refreshed(): Promise<boolean> {
    this.refreshing ??= this.refresh().finally(() => (this.refreshing = null));
    return this.refreshing;
  }

  private async refresh(): Promise<boolean> {
    const renewed = await renew();
    if (renewed !== null) this.token = renewed;
    return renewed !== null;
  }
}

/** A new access token of the session that the browser keeps; null where there is none any more. */
export async function renew(): Promise<string | null> {
  const response = await fetch("api/console/v1/session/refresh", { method: "POST", headers: CONSOLE_HEADERS, cache: "no-store" });
  return response.ok ? ((await response.json()) as { access_token: string }).access_token : null;
}

/** The body of an action on a place. */
export function bodyOf(place: Partial<Namespace>, fields: readonly Entry[], indent = 0): string {
  const named: Entry[] = [];
  if (place.source !== undefined) named.push(["dataSource", string(place.source)]);
  if (place.database !== undefined) named.push(["database", string(place.database)]);
  if (place.collection !== undefined) named.push(["collection", string(place.collection)]);
  return write(object([...named, ...fields]), indent);
}

async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text();
  try {
    const body = read(text);
    const message = textOf(body, "error");
    if (message) return new ApiError(message, response.status, textOf(body, "error_code"), body);
  } catch {
    // Something between here and the server has answered.
  }
  return new ApiError(`Something between this page and the server answered ${response.status}.`, response.status, "");
}

/** What went wrong, in words for people. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export const isAborted = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";
