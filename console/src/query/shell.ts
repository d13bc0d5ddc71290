/** Reads what people type in MongoDB's shell, `{_id: ObjectId("…")}`; in a chunk of its own, with MongoDB's parser. */

import { EJSON } from "bson";
import { parseCollation, parseFilter, parseProject, parseSort } from "mongodb-query-parser";
import { type Value, isNested } from "../values/model";
import { read, TextError } from "../values/read";

export type Part = "filter" | "project" | "sort" | "collation" | "any";

const PARSERS = { filter: parseFilter, project: parseProject, sort: parseSort, collation: parseCollation, any: parseFilter };
const SKIPPED = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\/\/.*|\/\*[^]*?\*\/|([\w.$]*\d[\w.]*)/g;

/** The value that `text` is in the shell's syntax. Throws TextError where it is none, or would lose something. */
export function readShell(text: string, part: Part): Value {
  refuseInexact(text);
  let parsed: unknown;
  try {
    parsed = PARSERS[part](text);
  } catch (error) {
    throw placed(error, text);
  }
  if (typeof parsed !== "object" || parsed === null) throw new TextError("This cannot be read: only values and the shell's types may be here", 0, text.length);
  const value = read(EJSON.stringify(parsed, { relaxed: false }));
  if (part === "sort" && isNested(value)) refuseUnordered(value, text);
  return value;
}

/** Integers above 2^53 would become others in JavaScript. */
function refuseInexact(text: string): void {
  for (const found of text.matchAll(SKIPPED)) {
    const number = found[1];
    if (number && /^\d{16,}$/.test(number) && !Number.isSafeInteger(Number(number)))
      throw new TextError(`Write NumberLong("${number}"): a plain number of so many digits loses some`, found.index, found.index + number.length);
  }
}

/** JavaScript puts names that are numbers first, whatever was written. */
function refuseUnordered(value: Value, text: string): void {
  if (value.kind === "object" && value.entries.length > 1 && value.entries.some(([name]) => /^\d+$/.test(name)))
    throw new TextError("Write the names in double quotes: names that are numbers lose their place otherwise", 0, text.length);
}

function placed(error: unknown, text: string): TextError {
  const { message, loc } = error as { message?: string; loc?: { line: number; column: number } };
  const told = (message ?? "").split(/ \(\d+:\d+\)/)[0] || "This cannot be read";
  if (!loc) return new TextError(told, 0, text.length);
  // The parser puts a line with a parenthesis around what it reads.
  const lines = text.split("\n").slice(0, Math.max(loc.line - 2, 0));
  const at = lines.reduce((sum, line) => sum + line.length + 1, 0) + loc.column;
  const early = at >= text.trimEnd().length;
  const more = told !== "Unexpected token" ? told : early ? "It ends too early: a bracket or a quote is missing" : `${told} ${text[at] ?? ""}`;
  return new TextError(more, Math.min(at, text.length), Math.min(at + 1, text.length));
}
