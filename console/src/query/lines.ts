/** Reads what a query matches as it comes, a document on each line. */

import { type Api, ApiError, bodyOf, isAborted, type Namespace } from "../api";
import type { Entry, ObjectValue } from "../values/model";
import { read } from "../values/read";

/** The documents that a query matches, as many at once as come at once; no limit of an answer holds for them. Throws ApiError. */
export async function* documentsOf(api: Api, place: Namespace, query: readonly Entry[], signal?: AbortSignal): AsyncGenerator<readonly ObjectValue[]> {
  const answer = await api.send("action/find", { body: bodyOf(place, query), accept: "application/x-ndjson; mode=canonical", signal });
  for await (const lines of linesOf(answer)) yield lines.map(read).filter((one): one is ObjectValue => one.kind === "object");
}

/** The lines of an answer, as many as come at once. An answer that was cut has the reason in its last line. */
async function* linesOf(response: Response): AsyncGenerator<string[]> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let [left, last] = ["", ""];
  try {
    while (reader) {
      const part = await reader.read().catch((error: unknown) => {
        throw isAborted(error) ? error : new ApiError(reasonIn(left.trim() || last), 0, "Cut");
      });
      if (part.done) break;
      const lines = (left + part.value).split("\n");
      left = lines.pop() ?? "";
      last = lines.at(-1) ?? last;
      if (lines.length) yield lines;
    }
  } finally {
    reader?.cancel().catch(() => undefined); // of an answer that nobody reads on the server hears
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
