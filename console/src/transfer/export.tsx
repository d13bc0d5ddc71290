/** What a query matches, as a file. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { isAborted, type Namespace } from "../api";
import { useSession } from "../session";
import { plural } from "../ui/format";
import { Failure } from "../ui/parts";
import { mistakeIn, TextField } from "../ui/text";
import type { Entry, Value } from "../values/model";
import { read } from "../values/read";
import { exportOf, type FileKind, FILES } from "./exporting";

const NAMES = { filter: "Filter", projection: "Projection", sort: "Sort", collation: "Collation" } as const;
const HINTS = { filter: "", projection: '{"secret": 0}', sort: '{"_id": 1}', collation: '{"locale": "en", "strength": 2}' } as const;

function objectIn(text: string): Value {
  const value = read(text.trim() || "{}");
  if (value.kind !== "object") throw new Error("Expected an object, { … }");
  return value;
}

export function Export({ place, query }: { place: Namespace; query: URLSearchParams }): JSX.Element {
  const { api } = useSession();
  const [texts, setTexts] = useState({ filter: query.get("filter") ?? "{}", projection: query.get("projection") ?? "", sort: query.get("sort") ?? "", collation: query.get("collation") ?? "" });
  const [limit, setLimit] = useState(query.get("limit") ?? "");
  const [kind, setKind] = useState<FileKind>("canonical");
  const [error, setError] = useState<unknown>(null);
  const [told, setTold] = useState("");
  const stop = useRef<AbortController | null>(null);
  const [running, setRunning] = useState(false);
  useEffect(() => () => stop.current?.abort(), []);
  const wrong = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, mistakeIn(text, objectIn)]));
  const fine = Object.values(wrong).every((one) => one === null) && place.database !== "" && place.collection !== "";
  const begin = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!fine || running) return;
    const fields: Entry[] = Object.entries(texts)
      .filter(([, text]) => text.trim())
      .map(([name, text]) => [name, objectIn(text)] as const);
    if (limit) fields.push(["limit", { kind: "int", text: limit }]);
    stop.current = new AbortController();
    setError(null);
    setTold("It begins …");
    setRunning(true);
    try {
      await exportOf(api, place, fields, kind, stop.current.signal, (documents) => setTold(`Looking for the columns: ${plural(documents, "document")} …`));
      setTold("The browser saves it: its list of downloads shows how far that is.");
    } catch (failure) {
      setTold(isAborted(failure) ? "Stopped." : "");
      if (!isAborted(failure)) setError(failure);
    } finally {
      setRunning(false);
    }
  };
  return (
    <form class="stack" onSubmit={(event) => void begin(event)}>
      {(Object.keys(NAMES) as (keyof typeof NAMES)[]).map((name) => (
        <TextField
          key={name}
          label={NAMES[name]}
          rows={name === "filter" ? 4 : 2}
          value={texts[name]}
          wrong={wrong[name] ?? null}
          placeholder={HINTS[name]}
          onChange={(text) => setTexts((before) => ({ ...before, [name]: text }))}
        />
      ))}
      <div class="pair">
        <label class="field">
          <span>At most</span>
          <input type="number" min="1" placeholder="all" value={limit} onInput={(event) => setLimit(event.currentTarget.value)} />
        </label>
        <label class="field">
          <span>File</span>
          <select value={kind} onChange={(event) => setKind(event.currentTarget.value as FileKind)}>
            {Object.entries(FILES).map(([name, [title]]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
          </select>
        </label>
      </div>
      <div class="row">
        {running ? (
          <button type="button" class="button" onClick={() => stop.current?.abort()}>
            Stop
          </button>
        ) : (
          <button type="submit" class="button primary" disabled={!fine}>
            Export
          </button>
        )}
        <span role="status">{told}</span>
        {!place.collection && <span class="muted small">Name the database and the collection first.</span>}
      </div>
      {error !== null && <Failure error={error} />}
      <p class="muted small">The file has any length and is written as the documents are read. One that breaks off on the way fails in the list of downloads.</p>
    </form>
  );
}
