/** One action or route: what it does and takes, filled with the person's own data, to be tried. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { collections, databases } from "../data/catalogue";
import { useSession } from "../session";
import { Facts } from "../ui/list";
import { Failure, useTitle } from "../ui/parts";
import { mistakeIn, Snippet, TextField } from "../ui/text";
import { Reply, type Tried, tryIt } from "../ui/trial";
import { read } from "../values/read";
import { examplesOf, type Operation, withPlace } from "./model";

/** A collection that is there, to put in where an example has another. */
function useOwnPlace(): { dataSource: string; database: string; collection: string } {
  const { api, sources } = useSession();
  const source = sources.find((one) => one.default)?.name ?? sources[0]?.name ?? "";
  const [place, setPlace] = useState({ dataSource: source, database: "", collection: "" });
  useEffect(() => {
    const stop = new AbortController();
    const look = async (): Promise<void> => {
      for (const { name } of await databases(api, source, stop.signal)) {
        const [first] = await collections(api, source, name, stop.signal);
        if (first) return setPlace({ dataSource: source, database: name, collection: first.name });
      }
    };
    look().catch(() => undefined); // whoever may not list has the examples as they are
    return () => stop.abort();
  }, [api, source]);
  return place;
}

/** The text of the request for a shell. */
function curl(method: string, path: string, body: string | null): string {
  const url = new URL(path, document.baseURI).href;
  const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = [`curl ${method === "GET" ? "" : `-X ${method} `}${quoted(url)}`, `-H "apiKey: $KEY"`];
  if (body !== null) parts.push("-H 'Content-Type: application/json'", `-d ${quoted(body)}`);
  return parts.join(" \\\n  ");
}

export function OperationPage({ operation }: { operation: Operation }): JSX.Element {
  useTitle(operation.operationId);
  const { api } = useSession();
  const own = useOwnPlace();
  const examples = useMemo(() => examplesOf(operation), [operation]);
  const [example, setExample] = useState(0);
  const [changed, setChanged] = useState<string | null>(null);
  const [given, setGiven] = useState<Readonly<Record<string, string>>>({});
  const [tried, setTried] = useState<Tried | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const filled = examples[example] ? JSON.stringify(withPlace(examples[example].body, own), null, 2) : "{}";
  const text = changed ?? filled;
  const body = operation.requestBody ? text : null;
  const wrong = body === null || body.trim() === "" ? null : mistakeIn(body, read);
  const path = pathOf(operation, given);
  const goesOn = "text/event-stream" in ((operation.responses["200"] as { content?: object } | undefined)?.content ?? {});
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    setTried(null);
    try {
      setTried(await tryIt(api, operation.method, path, body, { accept: "application/json" }));
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <header class="page-head">
        <h1>{operation.operationId}</h1>
      </header>
      <div class="panel">
        <p>
          <span class="badge">{operation.method}</span> <code class="wrap">{operation.path}</code>
        </p>
        <p>{operation.summary}.</p>
        {operation.description && <p class="muted">{operation.description}</p>}
        <form class="stack" onSubmit={(event) => void send(event)}>
          {(operation.parameters ?? []).length > 0 && (
            <div class="pair">
              {operation.parameters?.map(({ name, required, description, in: where }) => (
                <label key={`${where} ${name}`} class="field">
                  <span>{name}</span>
                  <input
                    type="text"
                    spellcheck={false}
                    autocomplete="off"
                    required={required ?? false}
                    placeholder={description ?? ""}
                    value={given[name] ?? ""}
                    onInput={(event) => setGiven((before) => ({ ...before, [name]: event.currentTarget.value }))}
                  />
                </label>
              ))}
            </div>
          )}
          {examples.length > 1 && (
            <label class="field">
              <span>Example</span>
              <select
                value={example}
                onChange={(event) => {
                  setExample(Number(event.currentTarget.value));
                  setChanged(null);
                }}
              >
                {examples.map(({ title }, index) => (
                  <option key={title} value={index}>
                    {title}
                  </option>
                ))}
              </select>
            </label>
          )}
          {body !== null && <TextField label="Body" value={text} onChange={setChanged} wrong={wrong} rows={Math.min(Math.max(text.split("\n").length + 1, 6), 18)} />}
          <div class="row">
            <button type="submit" class="button primary" disabled={busy || goesOn}>
              Send
            </button>
            <span class="muted small">
              {goesOn ? "Its answer never ends: hear it by the request below." : operation.method === "GET" ? "It is sent as you." : "It is carried out, as you."}
            </span>
          </div>
        </form>
        {error !== null && <Failure error={error} />}
        {tried && <Reply tried={tried} />}
        <Snippet label="curl" text={curl(operation.method, path, body)} />
        <section>
          <h2>Answers</h2>
          <Facts of={Object.entries(operation.responses).map(([status, { description }]) => [status, description ?? "An error, as the document describes it."] as const)} />
        </section>
      </div>
    </>
  );
}

/** The path of an operation, with what was given for its variables and its query. */
function pathOf(operation: Operation, given: Readonly<Record<string, string>>): string {
  const parameters = operation.parameters ?? [];
  const path = operation.path.replace(/\{([^}]+)\}/g, (whole, name: string) => (given[name] ? encodeURIComponent(given[name]) : whole));
  const query = new URLSearchParams(parameters.flatMap(({ name, in: where }) => (where === "query" && given[name] ? [[name, given[name]]] : [])));
  return path.replace(/^\//, "") + (query.size ? `?${query}` : "");
}
