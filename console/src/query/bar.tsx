/** The bar in which a query is written: the filter, and the rest of it when somebody wants more. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Code } from "../edit/code";
import { Icon } from "../ui/icons";
import { PARTS, QueryError, type QueryPart, type QueryText } from "./query";

interface Props {
  readonly texts: QueryText;
  /** The parts that can be written; all of them without this. */
  readonly parts?: readonly QueryPart[];
  readonly fields: readonly string[];
  readonly error: unknown;
  readonly past: readonly QueryText[];
  readonly onRun: (texts: QueryText) => void;
}

const HINTS: Record<QueryPart, readonly [label: string, placeholder: string]> = {
  filter: ["Filter", "{ status: 'open', placed: { $gt: ISODate('2026-01-01') } }"],
  project: ["Projection", "{ name: 1 }"],
  sort: ["Sort", "{ placed: -1 }"],
  collation: ["Collation", "{ locale: 'en' }"],
  limit: ["Limit", "no limit"],
};
const EMPTY: QueryText = { filter: "", project: "", sort: "", collation: "", limit: "" };

export function QueryBar({ texts, parts = PARTS, fields, error, past, onRun }: Props): JSX.Element {
  const [draft, setDraft] = useState(texts);
  const [more, setMore] = useState(PARTS.some((part) => part !== "filter" && texts[part] !== ""));
  const latest = useRef(draft);
  /** The newest text at once: the key that asks may be the one that ends what is typed. */
  const change = (texts: QueryText): void => {
    latest.current = texts;
    setDraft(texts);
  };
  const changed = JSON.stringify(texts);
  useEffect(() => {
    change(texts);
    if (PARTS.some((part) => part !== "filter" && texts[part] !== "")) setMore(true);
  }, [changed]);
  const wrong = error instanceof QueryError ? error : null;
  const run = (): void => onRun(latest.current);
  const field = (part: QueryPart): JSX.Element => (
    <div class={wrong?.part === part ? "query-field wrong" : "query-field"} key={part}>
      <span class="query-label" aria-hidden="true">
        {HINTS[part][0]}
      </span>
      <Code
        single
        label={HINTS[part][0]}
        placeholder={HINTS[part][1]}
        value={draft[part]}
        fields={fields}
        error={wrong?.part === part ? { message: wrong.message, from: wrong.cause.from, to: wrong.cause.to } : null}
        onChange={(text) => change({ ...latest.current, [part]: text })}
        onSubmit={run}
      />
    </div>
  );
  return (
    <form
      class="query"
      role="search"
      aria-label="Query"
      onSubmit={(event) => {
        event.preventDefault();
        run();
      }}
    >
      <div class="query-main">
        {field("filter")}
        <button type="submit" class="button primary">
          Find
        </button>
        <button type="button" class="button" disabled={PARTS.every((part) => draft[part] === "")} onClick={() => onRun(EMPTY)}>
          Reset
        </button>
        {parts.length > 1 && (
          <button type="button" class="button" aria-expanded={more} onClick={() => setMore(!more)}>
            Options <Icon name={more ? "minus" : "down"} size={12} />
          </button>
        )}
      </div>
      {more && parts.length > 1 && <div class="query-more">{parts.filter((part) => part !== "filter").map(field)}</div>}
      {more && past.length > 0 && <Past past={past} onRun={onRun} />}
      {wrong && (
        <p class="query-wrong" role="alert">
          <Icon name="warn" size={14} /> {HINTS[wrong.part][0]}: {wrong.message}
        </p>
      )}
    </form>
  );
}

function Past({ past, onRun }: Pick<Props, "past" | "onRun">): JSX.Element {
  return (
    <div class="query-past">
      <span class="muted small">Asked before</span>
      {past.map((texts) => (
        <button key={JSON.stringify(texts)} type="button" class="button small mono clip" onClick={() => onRun(texts)}>
          {[texts.filter || "{}", texts.sort && `sort ${texts.sort}`].filter(Boolean).join(" ")}
        </button>
      ))}
    </div>
  );
}
