/** A file into a collection: what would be written is shown first, what was refused can be had again. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { isAborted, type Namespace } from "../api";
import { link } from "../router";
import { useSession } from "../session";
import { count, plural, size } from "../ui/format";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Choice, Failure } from "../ui/parts";
import { read } from "../values/read";
import { write } from "../values/write";
import { type Column, documentOf, guess, type Type, TYPES } from "./cells";
import { download } from "./exporting";
import { type Format, formatOf, importFile, MOST_REJECTED, type Progress, type Rejected, rowsOf } from "./importing";
import { Splitter } from "./split";

const LOOKED_AT = 256 * 1024;
const SHOWN = 5;

interface Chosen {
  readonly file: File;
  readonly beginning: string;
  readonly format: Format;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
  readonly delimiter: string;
}

/** What is known of a file before it is read. */
async function looked(file: File, as?: Format): Promise<Chosen> {
  const beginning = await file.slice(0, LOOKED_AT).text();
  const format = as ?? formatOf(file.name, beginning);
  if (format === "JSON") return { file, beginning, format, columns: [], rows: [], delimiter: "" };
  // The last line may be the beginning of one.
  const whole = file.size > LOOKED_AT ? beginning.slice(0, beginning.lastIndexOf("\n") + 1) : beginning;
  const { rows: [head = [], ...rows], delimiter } = rowsOf(whole, format);
  const columns = head.map((name, index) => ({ name: name.trim() || `column${index + 1}`, type: guess(rows.map((cells) => cells[index] ?? "")) }));
  return { file, beginning, format, columns, rows, delimiter };
}

/** The first documents as they would be written, or why they would not. */
function preview({ beginning, format, columns, rows }: Chosen): string[] {
  const told = (make: () => string): string => {
    try {
      return make();
    } catch (error) {
      return `refused: ${error instanceof Error ? error.message : String(error)}`;
    }
  };
  if (format !== "JSON") return rows.slice(0, SHOWN).map((cells) => told(() => write(documentOf(cells, columns))));
  const found: string[] = [];
  for (const { text, wrong, line } of new Splitter().feed(beginning)) {
    found.push(wrong ? `refused: line ${line}: ${wrong}` : told(() => write(read(text))).slice(0, 1000));
    if (found.length === SHOWN) break;
  }
  return found;
}

type State =
  | { readonly kind: "ready" }
  | { readonly kind: "running"; readonly progress: Progress }
  | { readonly kind: "done"; readonly progress: Progress; readonly rejected: readonly Rejected[]; readonly error: unknown; readonly stopped: boolean };

const NOTHING: Progress = { read: 0, inserted: 0, rejected: 0 };

export function Import({ place }: { place: Namespace }): JSX.Element {
  const { api } = useSession();
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [strict, setStrict] = useState(false);
  const [state, setState] = useState<State>({ kind: "ready" });
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const choose = (file: File, as?: Format): void => {
    setError(null);
    setState({ kind: "ready" });
    looked(file, as).then(setChosen, setError);
  };
  const begin = async (): Promise<void> => {
    if (!chosen) return;
    stop.current = new AbortController();
    let progress = NOTHING;
    let rejected: readonly Rejected[] = [];
    let failure: unknown = null;
    setState({ kind: "running", progress });
    try {
      const asked = { place, format: chosen.format, columns: chosen.columns, delimiter: chosen.delimiter, strict };
      rejected = await importFile(api, chosen.file, asked, stop.current.signal, (next) => {
        progress = next;
        setState({ kind: "running", progress });
      });
    } catch (thrown) {
      failure = thrown instanceof TypeError ? new Error("The file cannot be read, or is not in UTF-8.") : thrown;
    }
    const stopped = isAborted(failure);
    setState({ kind: "done", progress, rejected, error: stopped ? null : failure, stopped });
  };
  const running = state.kind === "running";
  return (
    <>
      <label class="field">
        <span>File</span>
        <input
          type="file"
          accept=".json,.ndjson,.jsonl,.csv,.tsv,.txt"
          disabled={running}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) choose(file);
          }}
        />
        <span class="muted small">JSON (an array, or a document on each line), CSV or TSV with names in the first row; in UTF-8, of any length</span>
      </label>
      {error !== null && <Failure error={error} />}
      {chosen && (
        <>
          <Choice label="Format" value={chosen.format} options={[["JSON", "JSON"], ["CSV", "CSV"], ["TSV", "TSV"]]} onChange={(as) => choose(chosen.file, as)} />
          {chosen.columns.length > 0 && <Columns chosen={chosen} onChange={(columns) => setChosen({ ...chosen, columns })} />}
          <section>
            <h2>What would be written</h2>
            <pre class="told mono" tabIndex={0} aria-label="What would be written">
              {preview(chosen).join("\n") || "Nothing: there is no document in the file."}
            </pre>
          </section>
          <label class="check">
            <input type="checkbox" checked={strict} disabled={running} onChange={(event) => setStrict(event.currentTarget.checked)} />
            <span>Stop at the first row that is refused</span>
          </label>
          <div class="row">
            {running ? (
              <button type="button" class="button" onClick={() => stop.current?.abort()}>
                Stop
              </button>
            ) : (
              <button type="button" class="button primary" disabled={!place.database || !place.collection} onClick={() => void begin()}>
                Import {size(chosen.file.size)}
              </button>
            )}
            {!place.collection && <span class="muted small">Name the database and the collection first.</span>}
          </div>
        </>
      )}
      {state.kind !== "ready" && chosen && <Told state={state} file={chosen.file} place={place} />}
    </>
  );
}

function Columns({ chosen, onChange }: { chosen: Chosen; onChange: (columns: readonly Column[]) => void }): JSX.Element {
  const set = (index: number, change: Partial<Column>): void =>
    onChange(chosen.columns.map((column, at) => (at === index ? { ...column, ...change } : column)));
  return (
    <fieldset>
      <legend>Columns, with types guessed from the first {count(chosen.rows.length)} rows; empty cells are left out</legend>
      <List label="Columns" heads={["Field", "Type", "For instance"]}>
        {chosen.columns.map((column, index) => (
          <tr key={index}>
            <td>
              <input type="text" spellcheck={false} aria-label={`Field of column ${index + 1}`} value={column.name} onInput={(event) => set(index, { name: event.currentTarget.value })} />
            </td>
            <td>
              <select aria-label={`Type of ${column.name}`} value={column.type} onChange={(event) => set(index, { type: event.currentTarget.value as Type })}>
                {TYPES.map((type) => (
                  <option key={type}>{type}</option>
                ))}
              </select>
            </td>
            <td class="wrap">
              <bdi>{chosen.rows.slice(0, 3).map((cells) => cells[index] ?? "").filter(Boolean).join(" · ").slice(0, 120)}</bdi>
            </td>
          </tr>
        ))}
      </List>
    </fieldset>
  );
}

function Told({ state, file, place }: { state: Exclude<State, { kind: "ready" }>; file: File; place: Namespace }): JSX.Element {
  const { progress } = state;
  const rejected = state.kind === "done" ? state.rejected : [];
  const save = (): void => {
    const lines = rejected.map((row) => JSON.stringify(row));
    download(new Blob(lines.map((line) => `${line}\n`)), `${file.name}.rejected.ndjson`);
  };
  return (
    <section>
      <progress max={Math.max(file.size, 1)} value={state.kind === "done" && !state.error && !state.stopped ? Math.max(file.size, 1) : progress.read} aria-label="Progress" />
      <p role="status">
        {state.kind === "done" ? (state.stopped ? "Stopped. " : state.error ? "It failed. " : "Done. ") : ""}
        {plural(progress.inserted, "document was", "documents were")} written, {plural(progress.rejected, "row was", "rows were")} refused.
      </p>
      {state.kind === "done" && state.error !== null && <Failure error={state.error} />}
      {state.kind === "done" && progress.inserted > 0 && (
        <p>
          <a href={link(["data", place.source, place.database, place.collection])}>Look at the collection</a>
        </p>
      )}
      {rejected.length > 0 && (
        <>
          <div class="row">
            <h2 class="grow">Refused rows</h2>
            <button type="button" class="button small" onClick={save}>
              <Icon name="down" /> Save {rejected.length === MOST_REJECTED ? `the first ${count(MOST_REJECTED)}` : "them"}
            </button>
          </div>
          <List label="Refused rows" heads={["Line", "Why", "Row"]}>
            {rejected.slice(0, 50).map((row, index) => (
              <tr key={index}>
                <td>{count(row.line)}</td>
                <td class="wrong">{row.error}</td>
                <td class="mono small wrap">
                  <bdi>{row.text.slice(0, 300)}</bdi>
                </td>
              </tr>
            ))}
          </List>
        </>
      )}
    </section>
  );
}
