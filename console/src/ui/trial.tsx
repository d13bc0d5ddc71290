/** The answer to a request that was tried, as it came. */

import type { JSX } from "preact";
import type { Api } from "../api";
import { size } from "./format";

export interface Tried {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly bytes: number;
  readonly ms: number;
}

const SHOWN = 200_000;

/** Send a request as the person, and take whatever comes. Throws ApiError where nothing does. */
export async function tryIt(api: Api, method: string, path: string, body: string | null, headers: Record<string, string> = {}): Promise<Tried> {
  const began = performance.now();
  const response = await api.raw(path, { method, ...(body === null ? {} : { body }), headers, accept: headers["accept"] ?? "*/*" });
  const text = await response.text();
  const ms = performance.now() - began;
  return { status: response.status, type: response.headers.get("content-type") ?? "", text: shownOf(text), bytes: text.length, ms };
}

function shownOf(text: string): string {
  const cut = text.length > SHOWN ? `${text.slice(0, SHOWN)}\n…` : text;
  // Numbers are kept as they were written: what is read and written by JavaScript would lose digits.
  return cut.length < SHOWN && /^\s*[{[]/.test(cut) && !/[\r\n]/.test(cut.trim()) ? indented(cut) : cut;
}

/** JSON in one line, on several. */
function indented(text: string): string {
  let [made, depth, quoted] = ["", 0, false];
  const line = (): string => `\n${"  ".repeat(depth)}`;
  for (let at = 0; at < text.length; at += 1) {
    const one = text[at] ?? "";
    if (quoted) {
      made += one;
      if (one === "\\") made += text[(at += 1)] ?? "";
      else if (one === '"') quoted = false;
    } else if (one === '"') {
      quoted = true;
      made += one;
    } else if (one === "{" || one === "[") {
      const close = one === "{" ? "}" : "]";
      if (text[at + 1] === close) made += one + text[(at += 1)];
      else {
        depth += 1;
        made += one + line();
      }
    } else if (one === "}" || one === "]") {
      depth -= 1;
      made += line() + one;
    } else if (one === ",") made += one + line();
    else made += one === ":" ? ": " : one;
  }
  return made;
}

export function Reply({ tried }: { tried: Tried }): JSX.Element {
  return (
    <section aria-label="Answer">
      <p role="status">
        <strong class={tried.status < 400 ? "good" : "wrong"}>{tried.status}</strong> <span class="muted">{tried.type}</span> · {size(tried.bytes)} ·{" "}
        {Math.round(tried.ms)} ms
      </p>
      {tried.text && (
        <pre class="told mono" tabIndex={0} aria-label="The body of the answer">
          {tried.text}
        </pre>
      )}
    </section>
  );
}
