/** The server's own description of its API (OpenAPI), as far as this page shows it. */

import type { Api } from "../api";
import type { Json } from "../rules/model";

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required?: boolean;
  readonly description?: string;
}

interface Content {
  readonly example?: Json;
  readonly examples?: Readonly<Record<string, { readonly summary?: string; readonly value: Json }>>;
}

interface Described {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> };
  readonly responses: Readonly<Record<string, { readonly description?: string }>>;
}

export interface Operation extends Described {
  readonly method: string;
  readonly path: string;
}

export interface Reference {
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly operations: readonly Operation[];
}

interface Document {
  readonly tags: Reference["tags"];
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const METHODS = ["get", "post", "put", "patch", "delete"];

export async function reference(api: Api, signal: AbortSignal): Promise<Reference> {
  const { tags, paths } = await api.json<Document>("openapi.json", { signal });
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => {
      const described = item[method] as Described;
      const shared = (item["parameters"] ?? []) as readonly Parameter[];
      return { ...described, parameters: [...shared, ...(described.parameters ?? [])], method: method.toUpperCase(), path };
    }),
  );
  return { tags, operations };
}

export interface Example {
  readonly title: string;
  readonly body: Json;
}

/** The bodies that the description has for an operation. */
export function examplesOf(operation: Operation): readonly Example[] {
  const content = operation.requestBody?.content["application/json"];
  if (!content) return [];
  if (content.examples) return Object.entries(content.examples).map(([name, { summary, value }]) => ({ title: summary ?? name, body: value }));
  return content.example === undefined ? [] : [{ title: "Example", body: content.example }];
}

/** A body with the person's own place in it, where the example has one. */
export function withPlace(body: Json, place: Readonly<Record<"dataSource" | "database" | "collection", string>>): Json {
  if (body === null || typeof body !== "object" || Array.isArray(body)) return body;
  const own = Object.entries(place).filter(([name, value]) => value && name in body);
  return { ...(body as Readonly<Record<string, Json>>), ...Object.fromEntries(own) };
}
