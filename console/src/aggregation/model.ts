/** A pipeline as it is built: stages as text, of which some may be switched off. */

import { array, type ObjectValue, object, type Value } from "../values/model";
import { TextError } from "../values/read";
import { parseAny } from "../query/parse";

export interface Stage {
  readonly id: number;
  readonly operator: string;
  readonly text: string;
  readonly on: boolean;
}

/** What a stage is wrong in. */
export class StageError extends Error {
  constructor(
    readonly id: number,
    override readonly cause: TextError,
  ) {
    super(cause.message);
  }
}

/** Stages to begin with: what each is for, and what it looks like. */
export const TEMPLATES: readonly (readonly [operator: string, text: string])[] = [
  ["$match", "{ field: 'value' }"],
  ["$group", "{ _id: '$field', count: { $sum: 1 } }"],
  ["$sort", "{ field: -1 }"],
  ["$project", "{ field: 1 }"],
  ["$set", "{ made: { $concat: ['$first', ' ', '$last'] } }"],
  ["$unset", "'field'"],
  ["$unwind", "'$items'"],
  ["$lookup", "{ from: 'collection', localField: 'field', foreignField: '_id', as: 'joined' }"],
  ["$limit", "20"],
  ["$skip", "20"],
  ["$count", "'count'"],
  ["$sortByCount", "'$field'"],
  ["$bucket", "{ groupBy: '$number', boundaries: [0, 10, 100], default: 'more' }"],
  ["$facet", "{ byField: [{ $sortByCount: '$field' }] }"],
  ["$sample", "{ size: 100 }"],
  ["$replaceWith", "'$field'"],
  ["$unionWith", "'collection'"],
];

let last = 0;
export const stage = (operator: string, text: string, on = true): Stage => ({ id: (last += 1), operator, text, on });

/** The stages that an address has. */
export function stagesOf(text: string): Stage[] {
  try {
    const given: unknown = JSON.parse(text);
    if (!Array.isArray(given)) return [];
    return given.flatMap((one: unknown) =>
      Array.isArray(one) && typeof one[0] === "string" && typeof one[1] === "string" ? [stage(one[0], one[1], one[2] !== 0)] : [],
    );
  } catch {
    return [];
  }
}

export const textOf = (stages: readonly Stage[]): string =>
  stages.length === 0 ? "" : JSON.stringify(stages.map(({ operator, text, on }) => (on ? [operator, text] : [operator, text, 0])));

/** The pipeline up to the stage `until`, without those that are off. Throws StageError. */
export async function pipelineOf(stages: readonly Stage[], until = stages.length): Promise<Value> {
  const made: ObjectValue[] = [];
  for (const { id, operator, text, on } of stages.slice(0, until)) {
    if (!on) continue;
    try {
      made.push(object([[operator, await value(text)]]));
    } catch (error) {
      throw error instanceof TextError ? new StageError(id, error) : error;
    }
  }
  return array(made);
}

/** What a stage takes: an object, or for some a text or a number, which the shell's parser reads only inside an object. */
async function value(text: string): Promise<Value> {
  const trimmed = text.trim();
  if (trimmed === "") throw new TextError("This stage is empty", 0, 0);
  if (/^[{[]/.test(trimmed)) return parseAny(text);
  const quoted = /^'([^'\\]*)'$/.exec(trimmed);
  return parseAny(quoted ? JSON.stringify(quoted[1]) : text);
}

/** Whether a stage writes, and is not to be run for a look. */
export const writes = ({ operator }: Stage): boolean => operator === "$out" || operator === "$merge";
