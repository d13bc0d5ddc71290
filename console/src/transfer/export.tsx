/** What a query matches, as a file. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { isAborted, type Namespace } from "../api";
import { parse } from "../query/parse";
import { useSession } from "../session";
import { plural } from "../ui/format";
import { Failure } from "../ui/parts";
import { type Mistake, mistakeOf, TextField } from "../ui/text";
import type { Entry } from "../values/model";
import { exportOf, type FileKind, FILES } from "./exporting";

const NAMES = { filter: "Filter", projection: "Projection", sort: "Sort", collation: "Collation" } as const;
const HINTS = { filter: "", projection: "{ secret: 0 }", sort: "{ _id: 1 }", collation: "{ locale: 'en' }" } as const;
const PARTS = { filter: "filter", projection: "project", sort: "sort", collation: "collation" } as const;
type Name = keyof typeof NAMES;
type Texts = Readonly<Record<Name, string>>;

/** What texts say: the fields of a query, or what is wrong with some. */
interface Meant {
  readonly texts: Texts;
  readonly fields: readonly Entry[];
  readonly wrong: Partial<Record<Name, Mistake>>;
}

async function meant(texts: Texts): Promise<Meant> {
  const fields: Entry[] = [];
  const wrong: Partial<Record<Name, Mistake>> = {};
  for (const name of Object.keys(NAMES) as Name[])
    try {
      if (texts[name].trim()) fields.push([name, await parse(texts[name], PARTS[name])]);
    } catch (error) {
      wrong[name] = mistakeOf(texts[name], error);
    }
  return { texts, fields, wrong };
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
  const [read, setRead] = useState<Meant | null>(null);
  useEffect(() => {
    let gone = false;
    void meant(texts).then((found) => gone || setRead(found));
    return () => {
      gone = true;
    };
  }, [texts]);
  const fine = read?.texts === texts && Object.keys(read.wrong).length === 0 && place.database !== "" && place.collection !== "";
  const begin = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!fine || running) return;
    const fields = [...read.fields];
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
      {(Object.keys(NAMES) as Name[]).map((name) => (
        <TextField
          key={name}
          label={NAMES[name]}
          rows={name === "filter" ? 4 : 2}
          value={texts[name]}
          wrong={read?.wrong[name] ?? null}
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
