/** Building an aggregation stage by stage, with what comes out of each. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isAborted, type Namespace } from "../api";
import { jsonLines, Shown } from "../documents/display";
import { columnsOf } from "../documents/table";
import { Code } from "../edit/code";
import { CopyAs, type Request } from "../query/copy";
import { SavedOnes } from "../query/saving";
import { go, link } from "../router";
import { useSession } from "../session";
import { count, plural } from "../ui/format";
import { Icon } from "../ui/icons";
import { Choice, Empty, Failure, IconButton } from "../ui/parts";
import { tell } from "../ui/toasts";
import { array, field, int, itemsOf, object, type ObjectValue, type Value } from "../values/model";
import { PipelineText } from "./text";
import { pipelineOf, type Stage, stage, StageError, stagesOf, TEMPLATES, textOf, writes } from "./model";

const LOOK = 10;
const SHOWN = 200;
const WAIT_MS = 500;

export function AggregationView({ place, query }: { place: Namespace; query: URLSearchParams }): JSX.Element {
  const { api } = useSession();
  const shown = Math.min(SHOWN, api.most);
  const given = query.get("stages") ?? "";
  const [stages, setStages] = useState<readonly Stage[]>(() => stagesOf(given));
  const [result, setResult] = useState<{ documents: readonly Value[]; ms: number } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const [writing, setWriting] = useState(false);
  const [copied, setCopied] = useState<Request | null>(null);
  const results = useRef<HTMLElement>(null);
  const [as, setAs] = useState<"json" | "table">("json");
  const text = textOf(stages);
  const latest = useRef(text);
  latest.current = text;
  /** Another pipeline is in the address when a saved one is taken, or somebody goes back. */
  useEffect(() => {
    if (given !== latest.current) setStages(stagesOf(given));
  }, [given]);
  useEffect(() => results.current?.scrollIntoView({ block: "start" }), [result]);
  useEffect(() => go(link(["data", place.source, place.database, place.collection, "aggregation"], { stages: text }), true), [text]);
  const change = (id: number, to: Partial<Stage>): void => setStages(stages.map((one) => (one.id === id ? { ...one, ...to } : one)));
  const move = (index: number, by: number): void => {
    const next = [...stages];
    const [moved] = next.splice(index, 1);
    if (moved) next.splice(index + by, 0, moved);
    setStages(next);
  };
  const run = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const pipeline = await pipelineOf(stages);
      const most = stages.some((one) => one.on && writes(one)) || pipeline.kind !== "array" ? [] : [object([["$limit", int(shown)]])];
      const began = performance.now();
      const answer = await api.act("aggregate", place, [["pipeline", array([...(pipeline.kind === "array" ? pipeline.items : []), ...most])]]);
      setResult({ documents: itemsOf(answer, "documents"), ms: performance.now() - began });
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const copy = (): void =>
    void pipelineOf(stages).then(
      (pipeline) => setCopied({ action: "aggregate", place, fields: [["pipeline", pipeline]] }),
      (failure: unknown) => tell({ text: failure instanceof Error ? failure.message : "", bad: true }),
    );
  return (
    <>
      <div class="toolbar">
        <button type="button" class="button primary" disabled={busy} onClick={() => void run()}>
          Run
        </button>
        <AddStage onAdd={(operator, body) => setStages([...stages, stage(operator, body)])} />
        <button type="button" class="button plain" onClick={copy}>
          <Icon name="code" /> Copy as
        </button>
        <button type="button" class="button plain" onClick={() => setWriting(true)}>
          <Icon name="edit" /> As text
        </button>
        <span class="grow" />
        <SavedOnes kind="pipeline" place={place} asked={{ stages: text }} />
        <span class="toolbar-count" role="status">
          {busy ? "Asking …" : result ? `${plural(result.documents.length, "document")}${result.documents.length === shown ? ", perhaps more" : ""} · ${count(Math.round(result.ms))} ms` : ""}
        </span>
      </div>
      <div class="stages" role="region" aria-label="Pipeline" tabIndex={0}>
        {error !== null && <Failure error={error} />}
        {stages.length === 0 && (
          <Empty title="A pipeline without stages" icon="stack">
            <p>Add a stage, or paste a pipeline as text. Each stage takes the documents of the one before, and shows what comes out of it. The first one gets the whole collection.</p>
          </Empty>
        )}
        {stages.map((one, index) => (
          <StageCard key={one.id} {...{ place, stages, index, one, change }} move={(by) => move(index, by)} remove={() => setStages(stages.filter(({ id }) => id !== one.id))} />
        ))}
        {result && (
          <section class="results stack" aria-labelledby="results" ref={results}>
            <div class="row">
              <h2 id="results" class="grow">
                Result
              </h2>
              <Choice label="Result as" value={as} options={[["json", "JSON", "braces"], ["table", "Table", "table"]]} onChange={setAs} />
            </div>
            {result.documents.length === 0 ? (
              <p class="muted">No documents.</p>
            ) : as === "table" ? (
              <ResultTable documents={result.documents} />
            ) : (
              result.documents.map((document, index) => <Card key={index} document={document} />)
            )}
          </section>
        )}
      </div>
      {writing && (
        <PipelineText
          stages={stages}
          onClose={() => setWriting(false)}
          onDone={(next) => {
            setStages(next);
            setWriting(false);
          }}
        />
      )}
      {copied && <CopyAs request={copied} onClose={() => setCopied(null)} />}
    </>
  );
}

function AddStage({ onAdd }: { onAdd: (operator: string, text: string) => void }): JSX.Element {
  return (
    <select
      class="add-stage"
      aria-label="Add a stage"
      value=""
      onChange={(event) => {
        const chosen = TEMPLATES.find(([operator]) => operator === event.currentTarget.value);
        event.currentTarget.value = "";
        if (chosen) onAdd(...chosen);
      }}
    >
      <option value="">Add a stage …</option>
      {TEMPLATES.map(([operator]) => (
        <option key={operator} value={operator}>
          {operator}
        </option>
      ))}
    </select>
  );
}

const COLUMNS = 100;

/** What came out, a row for each document and a column for each field. */
function ResultTable({ documents }: { documents: readonly Value[] }): JSX.Element {
  const rows = documents.filter((one): one is ObjectValue => one.kind === "object");
  const all = columnsOf(rows);
  const columns = all.slice(0, COLUMNS);
  return (
    <div class="result-table" tabIndex={0} role="region" aria-label="Result as a table">
      <table class="list">
        <thead>
          <tr>
            {columns.map((name) => (
              <th key={name} scope="col">
                <bdi>{name === "" ? "(no name)" : name}</bdi>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {columns.map((name) => {
                const value = field(row, name);
                return <td key={name}>{value && <Shown value={value} />}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
      {all.length > COLUMNS && <p class="muted small">{plural(all.length - COLUMNS, "more field")} are in the JSON alone.</p>}
    </div>
  );
}

interface CardProps {
  readonly place: Namespace;
  readonly stages: readonly Stage[];
  readonly index: number;
  readonly one: Stage;
  readonly change: (id: number, to: Partial<Stage>) => void;
  readonly move: (by: number) => void;
  readonly remove: () => void;
}

function StageCard(props: CardProps): JSX.Element {
  const { stages, index, one, change, move, remove } = props;
  const name = `stage ${index + 1}`;
  const look = useLook(props);
  const most = Math.min(LOOK, useSession().api.most);
  const wrong = look.error instanceof StageError && look.error.id === one.id ? look.error : null;
  return (
    <article class={one.on ? "stage" : "stage off"} aria-label={`Stage ${index + 1}`}>
      <div class="stage-edit">
        <header class="stage-head">
          <label class="check">
            <input type="checkbox" aria-label={`Use ${name}`} checked={one.on} onChange={(event) => change(one.id, { on: event.currentTarget.checked })} />
            <span class="muted small">{index + 1}</span>
          </label>
          <input
            type="text"
            class="mono"
            aria-label={`Operator of ${name}`}
            spellcheck={false}
            value={one.operator}
            onChange={(event) => change(one.id, { operator: event.currentTarget.value.trim() })}
          />
          <span class="grow" />
          <IconButton icon="up" label={`Move ${name} up`} disabled={index === 0} onClick={() => move(-1)} />
          <IconButton icon="down" label={`Move ${name} down`} disabled={index === stages.length - 1} onClick={() => move(1)} />
          <IconButton icon="trash" label={`Remove ${name}`} onClick={remove} />
        </header>
        <Code
          label={`Body of ${name}`}
          language="stage"
          value={one.text}
          fields={look.fields}
          onChange={(text) => change(one.id, { text })}
          error={wrong ? { message: wrong.message, from: wrong.cause.from, to: wrong.cause.to } : null}
        />
      </div>
      <div class="stage-look" aria-live="polite">
        {!one.on ? (
          <p class="muted small">Switched off: documents pass unchanged.</p>
        ) : writes(one) ? (
          <p class="muted small">This stage writes. It is carried out by Run alone.</p>
        ) : look.error !== null ? (
          <Failure error={look.error} />
        ) : look.documents === null ? (
          <p class="muted small">Looking …</p>
        ) : look.documents.length === 0 ? (
          <p class="muted small">No documents come out of this stage.</p>
        ) : (
          <>
            <p class="muted small">{look.documents.length === most ? `The first ${look.documents.length} that come out` : `${plural(look.documents.length, "document")} come out`}</p>
            <div class="looks" role="group" tabIndex={0} aria-label={`Documents after ${name}`}>
              {look.documents.map((document, place) => (
                <Card key={place} document={document} />
              ))}
            </div>
          </>
        )}
      </div>
    </article>
  );
}

interface Look {
  readonly documents: readonly Value[] | null;
  readonly error: unknown;
  readonly fields: readonly string[];
}

/** What comes out of a stage, asked a moment after the last change of what leads to it. */
function useLook({ place, stages, index, one }: CardProps): Look {
  const { api } = useSession();
  const [look, setLook] = useState<Look>({ documents: null, error: null, fields: [] });
  const first = useRef(true);
  const before = textOf(stages.slice(0, index + 1));
  useEffect(() => {
    if (!one.on || stages.slice(0, index + 1).some((other) => other.on && writes(other))) return;
    const stop = new AbortController();
    const run = async (): Promise<void> => {
      const pipeline = await pipelineOf(stages, index + 1);
      const items = pipeline.kind === "array" ? pipeline.items : [];
      const answer = await api.act("aggregate", place, [["pipeline", array([...items, object([["$limit", int(Math.min(LOOK, api.most))]])])]], stop.signal);
      const documents = itemsOf(answer, "documents");
      const fields = [...new Set(documents.flatMap((document) => (document.kind === "object" ? document.entries.map(([name]) => name) : [])))];
      setLook({ documents, error: null, fields });
    };
    const timer = window.setTimeout(() => {
      first.current = false;
      run().catch((error: unknown) => isAborted(error) || setLook((was) => ({ ...was, error })));
    }, first.current ? 0 : WAIT_MS);
    return () => {
      window.clearTimeout(timer);
      stop.abort();
    };
  }, [api, place, before]);
  return look;
}

function Card({ document }: { document: Value }): JSX.Element {
  const { lines } = useMemo(() => jsonLines(document, 120), [document]);
  return <div class="json look">{lines}</div>;
}
