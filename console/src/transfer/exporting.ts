/** Reads what a query matches as it comes, and makes a file of it. */

import Papa from "papaparse";
import { type Api, ApiError, bodyOf, type Namespace } from "../api";
import type { Entry } from "../values/model";
import { read } from "../values/read";
import { plainText, write } from "../values/write";

export const FILES = {
  canonical: ["NDJSON that keeps every type (canonical)", "ndjson"],
  relaxed: ["NDJSON, relaxed", "ndjson"],
  json: ["JSON: one array, relaxed", "json"],
  csv: ["CSV, for spreadsheets; types are lost", "csv"],
} as const;
export type FileKind = keyof typeof FILES;

/** Where the pieces of a file go, one after the other. */
export interface Sink {
  readonly write: (text: string) => Promise<void> | void;
}

/** The pieces of a file in the memory of the page. */
export class Memory implements Sink {
  private readonly parts: Blob[] = [];

  write(text: string): void {
    this.parts.push(new Blob([text]));
  }

  blob(): Blob {
    return new Blob(this.parts);
  }
}

/** What the page asks the browser for, where it has it: a file that is written as it comes. */
interface Saving {
  readonly showSaveFilePicker?: (options: { suggestedName: string }) => Promise<{ createWritable: () => Promise<FileSystemWritableFileStream> }>;
}

/** Whether this browser writes files to disk as they come. */
export const writesFiles = (): boolean => (window as Saving).showSaveFilePicker !== undefined;

/** Ask the person for a file; it is there once it was closed. Throws an AbortError where they do not want one. */
export async function fileFor(name: string): Promise<FileSystemWritableFileStream> {
  const handle = await (window as Saving).showSaveFilePicker?.({ suggestedName: name });
  if (!handle) throw new Error("This browser writes no files as they come.");
  return handle.createWritable();
}

/**
 * Write what a query matches into `sink`, piece by piece; the answer is how many documents there are. `tell` hears how far it
 * is. A table is asked for twice, since its first line has the columns of all. Throws ApiError.
 */
export async function exportInto(
  sink: Sink,
  api: Api,
  place: Namespace,
  fields: readonly Entry[],
  kind: FileKind,
  signal: AbortSignal,
  tell: (documents: number, bytes: number) => void,
): Promise<number> {
  const accept = `application/x-ndjson; mode=${kind === "canonical" ? "canonical" : "relaxed"}`;
  const ask = (): Promise<Response> => api.send("action/find", { body: bodyOf(place, fields), accept, signal });
  const rows = kind === "csv" ? new Rows() : null;
  if (rows) {
    for await (const lines of linesOf(await ask())) lines.forEach((line) => rows.see(line));
    await sink.write(rows.head());
  }
  let [documents, bytes] = [0, 0];
  for await (const lines of linesOf(await ask())) {
    let piece = "";
    for (const line of lines) {
      if (rows) piece += rows.line(line);
      else if (kind === "json") piece += documents === 0 ? `[\n${line}` : `,\n${line}`;
      else piece += `${line}\n`;
      documents += 1;
    }
    bytes += piece.length;
    await sink.write(piece);
    tell(documents, bytes);
  }
  if (kind === "json") await sink.write(documents === 0 ? "[]\n" : "\n]\n");
  return documents;
}

/** The lines of an answer, as many as come at once. An answer that was cut has the reason in its last line. */
async function* linesOf(response: Response): AsyncGenerator<string[]> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let [left, last] = ["", ""];
  while (reader) {
    let part: ReadableStreamReadResult<string>;
    try {
      part = await reader.read();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(reasonIn(left.trim() || last), 0, "Cut");
    }
    if (part.done) break;
    const lines = (left + part.value).split("\n");
    left = lines.pop() ?? "";
    last = lines.at(-1) ?? last;
    if (lines.length) yield lines;
  }
}

function reasonIn(line: string): string {
  try {
    const told = JSON.parse(line) as { error?: unknown };
    if (typeof told.error === "string") return told.error;
  } catch {
    // The line is the beginning of a document.
  }
  return "The answer was cut before its end.";
}

/** Documents as rows; fields that come later are columns further right. */
class Rows {
  private readonly columns = new Map<string, number>();

  see(text: string): void {
    const document = read(text);
    if (document.kind !== "object") return;
    for (const [name] of document.entries) if (!this.columns.has(name)) this.columns.set(name, this.columns.size);
  }

  line(text: string): string {
    const document = read(text);
    const cells: string[] = [];
    if (document.kind === "object")
      for (const [name, value] of document.entries) {
        const at = this.columns.get(name);
        if (at === undefined) throw new Error(`Somebody wrote the new field ${name} while the table was made: export again.`);
        cells[at] = plainText(value) ?? write(value);
      }
    return `${Papa.unparse([Array.from(cells, (one) => one ?? "")], { newline: "\r\n" })}\r\n`;
  }

  head(): string {
    return `${Papa.unparse([[...this.columns.keys()]], { newline: "\r\n" })}\r\n`;
  }
}

/** Have the browser keep a file. */
export function download(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
  window.setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
