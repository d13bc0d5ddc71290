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

/** The file, and how many documents are in it. `tell` hears how far it is. Throws ApiError. */
export async function exportFile(
  api: Api,
  place: Namespace,
  fields: readonly Entry[],
  kind: FileKind,
  signal: AbortSignal,
  tell: (documents: number, bytes: number) => void,
): Promise<{ blob: Blob; documents: number }> {
  const accept = `application/x-ndjson; mode=${kind === "canonical" ? "canonical" : "relaxed"}`;
  const response = await api.send("action/find", { body: bodyOf(place, fields), accept, signal });
  const parts: string[] = [];
  const blobs: Blob[] = [];
  const rows = kind === "csv" ? new Rows() : null;
  let [documents, bytes] = [0, 0];
  for await (const lines of linesOf(response)) {
    for (const line of lines) {
      if (rows) parts.push(rows.line(line));
      else if (kind === "json") parts.push(documents === 0 ? `[\n${line}` : `,\n${line}`);
      else parts.push(`${line}\n`);
      documents += 1;
    }
    bytes += lines.reduce((sum, line) => sum + line.length + 1, 0);
    blobs.push(new Blob(parts.splice(0)));
    tell(documents, bytes);
  }
  if (kind === "json") blobs.push(new Blob([documents === 0 ? "[]\n" : "\n]\n"]));
  if (rows) blobs.unshift(new Blob([rows.head()]));
  return { blob: new Blob(blobs), documents };
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

  line(text: string): string {
    const document = read(text);
    const cells: string[] = [];
    if (document.kind === "object")
      for (const [name, value] of document.entries) {
        if (!this.columns.has(name)) this.columns.set(name, this.columns.size);
        cells[this.columns.get(name) ?? 0] = plainText(value) ?? write(value);
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
