/** Times in the person's own zone, with UTC where the pointer rests. */

import type { JSX } from "preact";
import { localTime } from "./format";

/** The time of an answer; the server's plain JSON has none but UTC. */
export const msOf = (text: string): number => Date.parse(/(?:Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`);

/** A time that an answer has; `never` is said where there is none. */
export function Moment({ at, never = "–" }: { at: string | null | undefined; never?: string }): JSX.Element {
  if (!at) return <span class="muted">{never}</span>;
  const ms = msOf(at);
  return (
    <time dateTime={new Date(ms).toISOString()} title={new Date(ms).toISOString()}>
      {localTime(ms)}
    </time>
  );
}
