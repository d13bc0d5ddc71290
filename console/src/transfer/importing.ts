/** Reads a file and writes its documents, a few hundred at a time; what is refused is kept to be looked at. */

import Papa from "papaparse";
import { type Api, ApiError, type Namespace } from "../api";
import { itemsOf, numberOf, field, textOf } from "../values/model";
import { read } from "../values/read";
import { write } from "../values/write";
import { type Column, documentOf } from "./cells";
import { Splitter } from "./split";

export type Format = "JSON" | "CSV" | "TSV";

export interface Rejected {
  readonly line: number;
  readonly error: string;
  readonly text: string;
}

export interface Progress {
  /** Bytes of the file that were read. */
  readonly read: number;
  readonly inserted: number;
  readonly rejected: number;
}

export const MOST_REJECTED = 10_000;
const BATCH = 500;
const BATCH_CHARACTERS = 4 * 1024 * 1024;

interface Row {
  readonly line: number;
  readonly text: string;
  readonly wrong: string;
}

/** The format that a file's name and its beginning speak for. */
export function formatOf(name: string, beginning: string): Format {
  if (/\.tsv$/i.test(name)) return "TSV";
  if (/\.csv$/i.test(name)) return "CSV";
  if (/\.(json|ndjson|jsonl)$/i.test(name) || /^\s*[[{]/.test(beginning)) return "JSON";
  return beginning.split("\n")[0]?.includes("\t") ? "TSV" : "CSV";
}

/** The first rows of a CSV file, its head among them, and what is between its cells. */
export function rowsOf(text: string, format: Format): { rows: string[][]; delimiter: string } {
  const { data, meta } = Papa.parse<string[]>(text, { delimiter: format === "TSV" ? "\t" : "", skipEmptyLines: true, preview: 201 });
  return { rows: data, delimiter: meta.delimiter };
}

/** The rows of a file as documents in Extended JSON, with how far the file has been read. */
async function* rows(file: File, { format, columns, delimiter }: Asked): AsyncGenerator<[row: Row, read: number]> {
  const reader = file.stream().pipeThrough(new TextDecoderStream("utf-8", { fatal: true })).getReader();
  let at = 0;
  const splitter = new Splitter();
  const csv = new Lines(delimiter, columns);
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      at += value.length;
      for (const row of format === "JSON" ? splitter.feed(value) : csv.feed(value)) yield [checked(row), Math.min(at, file.size)];
    }
    for (const row of format === "JSON" ? splitter.end() : csv.end()) yield [checked(row), file.size];
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** A row whose text is a document, or one that says why not. */
function checked(row: Row): Row {
  if (row.wrong) return row;
  try {
    return read(row.text).kind === "object" ? row : { ...row, wrong: "expected a document" };
  } catch (error) {
    return { ...row, wrong: error instanceof Error ? error.message : String(error) };
  }
}

/** Takes CSV apart as it is read: whole lines, where a line break in quotes is none. */
class Lines {
  private kept = "";
  private line = 1;
  private head = true;

  constructor(
    private readonly delimiter: string,
    private readonly columns: readonly Column[],
  ) {}

  *feed(text: string): Generator<Row> {
    this.kept += text;
    const end = lastBreak(this.kept);
    if (end < 0) return;
    const whole = this.kept.slice(0, end + 1);
    this.kept = this.kept.slice(end + 1);
    yield* this.parsed(whole);
  }

  *end(): Generator<Row> {
    if (this.kept) yield* this.parsed(this.kept);
  }

  private *parsed(text: string): Generator<Row> {
    for (const cells of Papa.parse<string[]>(text, { delimiter: this.delimiter }).data) {
      const line = this.line;
      this.line += 1 + cells.join("").split("\n").length - 1;
      if (cells.length === 1 && cells[0] === "") continue;
      if (this.head) {
        this.head = false;
        continue;
      }
      try {
        yield { line, text: write(documentOf(cells, this.columns)), wrong: "" };
      } catch (error) {
        yield { line, text: Papa.unparse([cells]), wrong: error instanceof Error ? error.message : String(error) };
      }
    }
  }
}

/** Where the last line break is that is not in quotes. */
function lastBreak(text: string): number {
  let [quoted, last] = [false, -1];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 34) quoted = !quoted;
    else if (code === 10 && !quoted) last = at;
  }
  return last;
}

export interface Asked {
  readonly place: Namespace;
  readonly format: Format;
  readonly columns: readonly Column[];
  /** What is between the cells of a CSV file. */
  readonly delimiter: string;
  /** Whether the first mistake ends it. */
  readonly strict: boolean;
}

/** Write what is in `file`; `tell` hears how far it is. Throws ApiError for what is no row's fault. */
export async function importFile(
  api: Api,
  file: File,
  asked: Asked,
  signal: AbortSignal,
  tell: (progress: Progress) => void,
): Promise<readonly Rejected[]> {
  const rejected: Rejected[] = [];
  const progress = { read: 0, inserted: 0, rejected: 0 };
  const refuse = (row: Row, error: string): void => {
    progress.rejected += 1;
    if (rejected.length < MOST_REJECTED) rejected.push({ line: row.line, error, text: row.text });
  };
  let batch: Row[] = [];
  let characters = 0;
  const send = async (): Promise<void> => {
    if (batch.length === 0) return;
    progress.inserted += await insert(api, batch, asked, signal, refuse);
    [batch, characters] = [[], 0];
    tell({ ...progress });
  };
  for await (const [row, at] of rows(file, asked)) {
    signal.throwIfAborted();
    progress.read = at;
    if (row.wrong) {
      if (asked.strict) await send();
      if (!asked.strict || progress.rejected === 0) refuse(row, row.wrong);
    } else {
      batch.push(row);
      characters += row.text.length;
    }
    if (batch.length >= BATCH || characters >= BATCH_CHARACTERS) await send();
    if (asked.strict && progress.rejected > 0) break;
  }
  if (!(asked.strict && progress.rejected > 0)) await send();
  tell({ ...progress });
  return rejected;
}

/** Insert a batch; how many were. */
async function insert(api: Api, batch: readonly Row[], asked: Asked, signal: AbortSignal, refuse: (row: Row, error: string) => void): Promise<number> {
  const { source, database, collection } = asked.place;
  const place = JSON.stringify({ dataSource: source, database, collection, ordered: asked.strict }).slice(0, -1);
  try {
    await api.send("action/insertMany", { body: `${place},"documents":[${batch.map(({ text }) => text).join(",")}]}`, signal });
    return batch.length;
  } catch (error) {
    const failures = error instanceof ApiError ? itemsOf(error.body, "writeErrors") : [];
    if (failures.length === 0) throw error;
    for (const failure of failures) {
      const row = batch[numberOf(field(failure, "index"))];
      if (row) refuse(row, textOf(failure, "message") || textOf(failure, "errmsg") || "the database refuses it");
    }
    const first = numberOf(field(failures[0], "index"));
    return asked.strict ? first : batch.length - failures.length;
  }
}
