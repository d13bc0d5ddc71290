/** The documents of a query as far as they were asked for. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { isAborted, type Namespace } from "../api";
import { estimate, matching } from "../data/catalogue";
import { keyOf, page } from "../query/pages";
import { type Query, type QueryText, readQuery } from "../query/query";
import { useSession } from "../session";
import type { ObjectValue } from "../values/model";

const TRIES = 5;

export interface Documents {
  readonly query: Query | null;
  readonly rows: readonly ObjectValue[];
  readonly loading: boolean;
  readonly error: unknown;
  /** Whether there is another page to ask for. */
  readonly hasMore: boolean;
  /** Why there may be documents that cannot be shown. */
  readonly cut: string;
  /** How many match; null while nobody knows. */
  readonly total: number | null;
  readonly ms: number | null;
  /** When it was asked; another answer has another. */
  readonly began: number;
  readonly more: () => void;
  readonly again: () => void;
  /** Put another document, or none, where one was. */
  readonly replace: (before: ObjectValue, after: ObjectValue | null) => void;
}

interface State {
  readonly query: Query | null;
  readonly rows: readonly ObjectValue[];
  readonly next: ObjectValue | null;
  readonly loading: boolean;
  readonly error: unknown;
  readonly cut: string;
  readonly total: number | null;
  readonly ms: number | null;
  readonly began: number;
}

const NOTHING: State = { query: null, rows: [], next: null, loading: true, error: undefined, cut: "", total: null, ms: null, began: 0 };

export function useDocuments(place: Namespace, texts: QueryText): Documents {
  const { api } = useSession();
  const [state, setState] = useState(NOTHING);
  const [turn, setTurn] = useState(0);
  const current = useRef<{ stop: AbortController; keys: Set<string>; state: State; busy: boolean } | null>(null);

  useEffect(() => {
    const mine = { stop: new AbortController(), keys: new Set<string>(), state: NOTHING, busy: false };
    current.current = mine;
    setState((before) => ({ ...before, loading: true, error: undefined }));
    const show = (change: Partial<State>): void => {
      mine.state = { ...mine.state, ...change };
      if (!mine.stop.signal.aborted) setState(mine.state);
    };
    const run = async (): Promise<void> => {
      const query = await readQuery(texts);
      const began = performance.now();
      const first = await page(api, place, query, null, mine.stop.signal);
      first.documents.forEach((one) => mine.keys.add(keyOf(one)));
      const full = query.limit > 0 && first.documents.length >= query.limit;
      show({ query, rows: first.documents, next: full ? null : first.next, cut: first.cut, loading: false, ms: performance.now() - began, began });
      const counting = query.filter.entries.length === 0 ? estimate(api, place, mine.stop.signal) : matching(api, place, query, mine.stop.signal);
      counting.then((total) => show({ total: Number.isFinite(total) ? total : null }), () => undefined);
    };
    run().catch((error: unknown) => isAborted(error) || show({ ...NOTHING, loading: false, error }));
    return () => mine.stop.abort();
  }, [api, place, JSON.stringify(texts), turn]);

  const more = useCallback((): void => {
    const mine = current.current;
    if (!mine || mine.busy || !mine.state.next || !mine.state.query) return;
    mine.busy = true;
    const show = (change: Partial<State>): void => {
      mine.state = { ...mine.state, ...change };
      if (!mine.stop.signal.aborted) setState(mine.state);
    };
    const run = async (query: Query): Promise<void> => {
      show({ loading: true });
      let { next, cut } = mine.state;
      let fresh: ObjectValue[] = [];
      // A document whose sorted field is an array may come again: it is shown once.
      for (let tries = 0; next && fresh.length === 0 && tries < TRIES; tries += 1) {
        const found = await page(api, place, query, next, mine.stop.signal);
        fresh = found.documents.filter((one) => !mine.keys.has(keyOf(one)));
        fresh.forEach((one) => mine.keys.add(keyOf(one)));
        ({ next, cut } = found);
      }
      const rows = [...mine.state.rows, ...fresh];
      const full = query.limit > 0 && rows.length >= query.limit;
      if (next && fresh.length === 0) [next, cut] = [null, "There may be more that are alike in this order, which cannot be shown."];
      show({ rows: full ? rows.slice(0, query.limit) : rows, next: full ? null : next, cut, loading: false });
    };
    run(mine.state.query)
      .catch((error: unknown) => isAborted(error) || show({ error, next: null, loading: false }))
      .finally(() => (mine.busy = false));
  }, [api, place]);

  const replace = useCallback((before: ObjectValue, after: ObjectValue | null): void => {
    const mine = current.current;
    if (!mine) return;
    const rows = mine.state.rows.flatMap((one) => (one !== before && keyOf(one) !== keyOf(before) ? [one] : after ? [after] : []));
    const fewer = after === null && mine.state.total !== null ? { total: mine.state.total - 1 } : {};
    mine.state = { ...mine.state, rows, ...fewer };
    setState(mine.state);
  }, []);
  const again = useCallback(() => setTurn((before) => before + 1), []);
  return { ...state, hasMore: state.next !== null, more, again, replace };
}
