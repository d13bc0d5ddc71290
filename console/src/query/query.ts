/** A query as the address has it, as text, and as it is asked. */

import type { Entry, ObjectValue } from "../values/model";
import { TextError } from "../values/read";
import { parse } from "./parse";

export interface QueryText {
  readonly filter: string;
  readonly project: string;
  readonly sort: string;
  readonly collation: string;
  readonly limit: string;
}

export interface Query {
  readonly filter: ObjectValue;
  readonly project: ObjectValue;
  readonly sort: ObjectValue;
  readonly collation: ObjectValue;
  /** 0 is no limit. */
  readonly limit: number;
}

export const PARTS = ["filter", "project", "sort", "collation", "limit"] as const;
export type QueryPart = (typeof PARTS)[number];

/** What is wrong with a part of a query. */
export class QueryError extends Error {
  constructor(
    readonly part: QueryPart,
    override readonly cause: TextError,
  ) {
    super(cause.message);
  }
}

export function textsOf(parameters: URLSearchParams): QueryText {
  const of = (name: QueryPart): string => parameters.get(name) ?? "";
  return { filter: of("filter"), project: of("project"), sort: of("sort"), collation: of("collation"), limit: of("limit") };
}

/** Read a query. Throws QueryError. */
export async function readQuery(texts: QueryText): Promise<Query> {
  const part = async (name: Exclude<QueryPart, "limit">): Promise<ObjectValue> => {
    try {
      return await parse(texts[name], name);
    } catch (error) {
      throw error instanceof TextError ? new QueryError(name, error) : error;
    }
  };
  const [filter, project, sort, collation] = [await part("filter"), await part("project"), await part("sort"), await part("collation")];
  if (!/^\d{0,9}$/.test(texts.limit.trim())) throw new QueryError("limit", new TextError("Expected a number of documents", 0, texts.limit.length));
  return { filter, project, sort, collation, limit: Number(texts.limit || 0) };
}

/** The fields of an action that say the same. */
export function fieldsOf(query: Pick<Query, "filter"> & Partial<Query>): Entry[] {
  const fields: Entry[] = [["filter", query.filter]];
  if (query.project && query.project.entries.length > 0) fields.push(["projection", query.project]);
  if (query.sort && query.sort.entries.length > 0) fields.push(["sort", query.sort]);
  if (query.collation && query.collation.entries.length > 0) fields.push(["collation", query.collation]);
  return fields;
}
