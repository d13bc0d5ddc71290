/** Lists that come in pages: what has come, and a button for more. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Failure, useLoaded } from "./parts";

export interface Page<T> {
  readonly items: readonly T[];
  /** What the page after this one begins behind; null after the last. */
  readonly next: string | null;
}

interface Paged<T> {
  /** The items of all pages so far; undefined before the first has come. */
  readonly items: readonly T[] | undefined;
  readonly error: unknown;
  readonly again: () => void;
  /** What stands below the list: a button, and what went wrong when it was pressed. */
  readonly end: JSX.Element;
}

/** The pages that `load` answers, from the first again when `when` changes. */
export function usePaged<T>(load: (after: string | null, signal?: AbortSignal) => Promise<Page<T>>, when: readonly unknown[]): Paged<T> {
  const first = useLoaded((signal) => load(null, signal), when);
  const [more, setMore] = useState<{ items: readonly T[]; next: string | null; error?: unknown } | null>(null);
  const now = useRef(first.value);
  now.current = first.value;
  useEffect(() => setMore(null), [first.value]);
  const next = more ? more.next : (first.value?.next ?? null);
  const goOn = async (): Promise<void> => {
    const behind = first.value;
    const came = await load(next).catch((error: unknown) => ({ items: [], next, error }));
    // Another list may be there by now, or this page already: who waits presses twice.
    setMore((before) =>
      now.current === behind && (before ?? behind)?.next === next ? { ...came, items: [...(before?.items ?? []), ...came.items] } : before,
    );
  };
  const end = (
    <>
      {more?.error !== undefined && <Failure error={more.error} />}
      {next !== null && (
        <div class="more">
          <button type="button" class="button" onClick={() => void goOn()}>
            Show more
          </button>
        </div>
      )}
    </>
  );
  return { items: first.value && [...first.value.items, ...(more?.items ?? [])], error: first.error, again: first.again, end };
}
