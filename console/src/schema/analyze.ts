/** What a sample says of a collection: its fields, their types, and the values in them; with MongoDB's own analysis. */

import { EJSON } from "bson";
import { analyzeDocuments, type SchemaField } from "mongodb-schema";
import type { Api, Namespace } from "../api";
import { array, int, itemsOf, type ObjectValue, object } from "../values/model";
import { write } from "../values/write";

const SAMPLE = 1000;

/** How many documents a sample has. */
export const sampleSize = (api: Api): number => Math.min(SAMPLE, api.most);
const FREQUENT = 6;
/** How many characters of a value count. */
const LONGEST = 200;

export interface TypeTold {
  readonly name: string;
  readonly share: number;
  /** From the least to the greatest value, where they have an order. */
  readonly range: string;
  /** The most frequent values, with their shares. */
  readonly frequent: readonly (readonly [text: string, share: number])[];
  readonly distinct: number;
  /** Values far from all others, the farthest first. */
  readonly outliers: readonly string[];
}

export interface FieldTold {
  readonly path: string;
  readonly depth: number;
  /** The share of documents, or of objects around it, that have it. */
  readonly present: number;
  readonly types: readonly TypeTold[];
}

export interface SchemaTold {
  readonly sampled: number;
  readonly fields: readonly FieldTold[];
  readonly jsonSchema: string;
}

interface AnyType {
  readonly name: string;
  readonly bsonType: string;
  readonly probability: number;
  readonly values?: readonly unknown[];
  readonly fields?: SchemaField[];
  readonly types?: AnyType[];
  readonly lengths?: number[];
}

/** Look at a sample of the documents that match. Throws ApiError, or Error for documents too different to be told of. */
export async function analyze(api: Api, place: Namespace, filter: ObjectValue, signal: AbortSignal): Promise<SchemaTold> {
  const match = filter.entries.length > 0 ? [object([["$match", filter]])] : [];
  const pipeline = array([...match, object([["$sample", object([["size", int(sampleSize(api))]])]])]);
  const answer = await api.act("aggregate", place, [["pipeline", pipeline]], signal);
  const documents = itemsOf(answer, "documents").map((one) => EJSON.parse(write(one), { relaxed: false }) as Record<string, unknown>);
  const accessor = await analyzeDocuments(documents, { storedValuesLengthLimit: LONGEST, signal });
  const schema = await accessor.getInternalSchema();
  const fields: FieldTold[] = [];
  collect(schema.fields, 0, fields, textsIn(documents));
  const jsonSchema = JSON.stringify(await accessor.getMongoDBJsonSchema(), null, 2);
  return { sampled: documents.length, fields, jsonSchema };
}

/** The texts, code and bytes in documents by path and type: of these the analysis keeps a hundred alone, whatever their number. */
function textsIn(documents: readonly object[]): ReadonlyMap<string, unknown[]> {
  const found = new Map<string, unknown[]>();
  const visit = (value: object, path: readonly string[]): void => {
    if (Array.isArray(value)) return value.forEach((one: unknown) => isNested(one) && visit(one, path));
    for (const [name, inner] of Object.entries(value)) {
      const at = [...path, name];
      const kind = typeof inner === "string" ? "String" : (inner as { _bsontype?: string } | null)?._bsontype;
      if (kind === "String" || kind === "Binary" || kind === "Code") {
        const key = keyOf(at, kind);
        const values = found.get(key) ?? [];
        values.push(typeof inner === "string" ? inner.slice(0, LONGEST) : inner);
        found.set(key, values);
      } else if (isNested(inner)) visit(inner, at);
    }
  };
  documents.forEach((one) => visit(one, []));
  return found;
}

const isNested = (value: unknown): value is object => typeof value === "object" && value !== null && !("_bsontype" in value) && !(value instanceof Date);
const keyOf = (path: readonly string[], type: string): string => JSON.stringify([type, ...path]);

function collect(given: readonly SchemaField[], depth: number, fields: FieldTold[], texts: ReadonlyMap<string, unknown[]>): void {
  for (const one of given) {
    const types = (one.types as AnyType[]).filter(({ name }) => name !== "Undefined");
    fields.push({ path: one.path.join("."), depth, present: one.probability, types: types.map((type) => told(type, texts.get(keyOf(one.path, type.bsonType)) ?? type.values ?? [])) });
    for (const type of types) {
      if (type.fields) collect(type.fields, depth + 1, fields, texts);
      for (const item of type.types ?? []) if (item.fields) collect(item.fields, depth + 1, fields, texts);
    }
  }
}

function told(type: AnyType, all: readonly unknown[]): TypeTold {
  const values = all.map(plain);
  const times = new Map<string, number>();
  for (const { text } of values) times.set(text, (times.get(text) ?? 0) + 1);
  const frequent = [...times].sort(([, one], [, other]) => other - one);
  const lengths = type.lengths ?? [];
  return {
    name: type.bsonType === "Document" ? "Object" : type.bsonType,
    share: type.probability,
    range: lengths.length > 0 ? `${Math.min(...lengths)} to ${Math.max(...lengths)} items` : rangeOf(values),
    frequent: frequent.filter(([, number]) => number >= 2 && number > values.length / 50).slice(0, FREQUENT).map(([text, number]) => [text, number / values.length]),
    distinct: times.size,
    outliers: outliersOf(values),
  };
}

interface Plain {
  readonly text: string;
  readonly order: number | string | null;
}

function plain(value: unknown): Plain {
  if (value instanceof Date) return { text: value.toISOString(), order: value.getTime() };
  if (typeof value === "string") return { text: value, order: value };
  const text = String(value);
  const number = typeof value === "boolean" ? NaN : Number(text);
  return { text, order: Number.isNaN(number) || /^[0-9a-f]{24}$/.test(text) ? null : number };
}

const FEWEST = 20;
const FAR = 3;
const TOLD = 4;

/** Numbers and dates more than three times the middle half's width away from it (Tukey's outer fences). */
function outliersOf(values: readonly Plain[]): string[] {
  const sorted = values.filter((one): one is Plain & { order: number } => typeof one.order === "number" && Number.isFinite(one.order)).sort((one, other) => one.order - other.order);
  if (sorted.length < FEWEST) return [];
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))]!.order;
  const [low, high] = [at(0.25), at(0.75)];
  const far = (order: number): number => (order < low ? low - order : order - high);
  const beyond = sorted.filter(({ order }) => high > low && far(order) > FAR * (high - low));
  const texts = beyond.sort((one, other) => far(other.order) - far(one.order)).map(({ text }) => text);
  return [...new Set(texts)].slice(0, TOLD);
}

function rangeOf(values: readonly Plain[]): string {
  const ordered = values.filter(({ order }) => order !== null);
  if (ordered.length < 2) return "";
  const sorted = [...ordered].sort((one, other) => (one.order! < other.order! ? -1 : one.order! > other.order! ? 1 : 0));
  const [least, most] = [sorted[0]!.text, sorted.at(-1)!.text];
  return least === most ? "" : `${least.slice(0, 40)} … ${most.slice(0, 40)}`;
}
