/** Why a request would be allowed or refused: somebody, an operation, and perhaps a document. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, link } from "../router";
import { useSession } from "../session";
import { Failure, useLoaded, useTitle } from "../ui/parts";
import { type Mistake, mistakeIn, TextField } from "../ui/text";
import { field, object, type Value } from "../values/model";
import { read } from "../values/read";
import { write } from "../values/write";
import type { Explained } from "./model";
import { Answer } from "./answer";

const ACTIONS: Readonly<Record<string, string>> = {
  find: '{"filter": {}}',
  findOne: '{"filter": {}}',
  aggregate: '{"pipeline": [{"$match": {}}]}',
  countDocuments: '{"filter": {}}',
  estimatedDocumentCount: "{}",
  distinct: '{"key": "status"}',
  insertOne: '{"document": {}}',
  insertMany: '{"documents": [{}]}',
  updateOne: '{"filter": {}, "update": {"$set": {"status": "open"}}}',
  updateMany: '{"filter": {}, "update": {"$set": {"status": "open"}}}',
  replaceOne: '{"filter": {}, "replacement": {}}',
  deleteOne: '{"filter": {}}',
  deleteMany: '{"filter": {}}',
  findOneAndUpdate: '{"filter": {}, "update": {"$set": {"status": "open"}}}',
  findOneAndReplace: '{"filter": {}, "replacement": {}}',
  findOneAndDelete: '{"filter": {}}',
  bulkWrite: '{"operations": [{"deleteOne": {"filter": {}}}]}',
  createCollection: "{}",
  renameCollection: '{"to": "another"}',
  dropCollection: "{}",
  createIndex: '{"keys": {"status": 1}}',
  dropIndex: '{"name": "status_1"}',
  listIndexes: "{}",
  listCollections: "{}",
  runCommand: '{"command": {"ping": 1}}',
};

export function Why({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Why?");
  const { api, sources } = useSession();
  const asked = (name: string, usual = ""): string => query.get(name) ?? usual;
  const usual = sources.find((one) => one.default)?.name ?? sources[0]?.name ?? "";
  const [form, setForm] = useState({
    as: asked("as"),
    action: asked("action", "find"),
    source: asked("source", usual),
    database: asked("database"),
    collection: asked("collection"),
    body: asked("body", ACTIONS[asked("action", "find")] ?? "{}"),
    document: asked("document"),
  });
  const set = (change: Partial<typeof form>): void => setForm((before) => ({ ...before, ...change }));
  const wrongBody = mistakeIn(form.body, objectIn);
  const wrongDocument = form.document.trim() === "" ? null : mistakeIn(form.document, objectIn);
  const wrongWho = form.as.trim().startsWith("{") ? mistakeIn(form.as, objectIn) : null;
  const sent = query.get("asked") === "1" ? bodyOf(query) : null;
  const told = useLoaded(
    async (signal) => (sent === null ? undefined : api.json<Explained>("api/admin/v1/explain", { body: sent, signal })),
    [api, sent],
  );
  const submit = (event: Event): void => {
    event.preventDefault();
    if (wrongBody !== null || wrongDocument !== null || wrongWho !== null) return;
    const address = link(["rules", "why"], { ...form, asked: "1" });
    if (address === window.location.hash) told.again();
    else go(address);
  };
  return (
    <div class="panel">
      <form class="stack" onSubmit={submit}>
        <div class="pair">
          <label class="field">
            <span>Who asks</span>
            <input type="text" required spellcheck={false} autocomplete="off" list="callers" placeholder="An address, an id, or a key's name" value={form.as} aria-invalid={wrongWho ? true : undefined} onInput={(event) => set({ as: event.currentTarget.value })} />
            {wrongWho && <span class="wrong small">{wrongWho.message}</span>}
          </label>
          <Callers />
          <label class="field">
            <span>Action</span>
            <select value={form.action} onChange={(event) => set({ action: event.currentTarget.value, body: ACTIONS[event.currentTarget.value] ?? "{}" })}>
              {Object.keys(ACTIONS).map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          {sources.length > 1 && (
            <label class="field">
              <span>Data source</span>
              <select value={form.source} onChange={(event) => set({ source: event.currentTarget.value })}>
                {sources.map(({ name }) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </label>
          )}
          <label class="field">
            <span>Database</span>
            <input type="text" required spellcheck={false} autocomplete="off" value={form.database} onInput={(event) => set({ database: event.currentTarget.value })} />
          </label>
          <label class="field">
            <span>Collection</span>
            <input type="text" required spellcheck={false} autocomplete="off" value={form.collection} onInput={(event) => set({ collection: event.currentTarget.value })} />
          </label>
        </div>
        <TextField label="What would be sent" value={form.body} onChange={(body) => set({ body })} wrong={wrongBody} rows={4} />
        <Stored form={form} wrong={wrongDocument} onChange={(document) => set({ document })} />
        <div class="row">
          <button type="submit" class="button primary">
            Ask why
          </button>
          <span class="muted small">Nothing is read or changed for it.</span>
        </div>
      </form>
      {told.error !== undefined && <Failure error={told.error} />}
      {told.value && <Answer told={told.value} />}
    </div>
  );
}

/** A text that must be an object. */
function objectIn(text: string): Value {
  const value = read(text);
  if (value.kind !== "object") throw new Error("Expected an object, { … }");
  return value;
}

/** The question that an address asks. */
function bodyOf(query: URLSearchParams): string | null {
  const text = (name: string): string => query.get(name) ?? "";
  try {
    const given = objectIn(text("body"));
    const place = Object.entries({ dataSource: text("source"), database: text("database"), collection: text("collection") });
    const named = place.filter(([, value]) => value).map(([name, value]) => [name, { kind: "string", text: value }] as const);
    const body = write(object([...named, ...(given.kind === "object" ? given.entries : [])]));
    const who = text("as").trim().startsWith("{") ? write(objectIn(text("as"))) : JSON.stringify(text("as").trim());
    const document = text("document").trim() ? write(objectIn(text("document"))) : "null";
    return `{"action": ${JSON.stringify(text("action"))}, "as": ${who}, "body": ${body}, "document": ${document}}`;
  } catch {
    return null;
  }
}

/** The names of keys, and the addresses of some users, to choose from. */
function Callers(): JSX.Element {
  const { api } = useSession();
  const found = useLoaded(
    async (signal) => {
      const [keys, users] = await Promise.all([
        api.json<{ keys: readonly { name: string }[] }>("api/admin/v1/keys", { signal }),
        api.json<{ users: readonly { id: string; data: { email?: string } }[] }>("api/admin/v1/users?limit=200", { signal }),
      ]);
      return [...keys.keys.map(({ name }) => name), ...users.users.map(({ id, data }) => data.email ?? id)];
    },
    [api],
  );
  return (
    <datalist id="callers">
      {found.value?.map((name) => (
        <option key={name} value={name} />
      ))}
    </datalist>
  );
}

/** The document to judge: typed, or fetched by its id. */
function Stored(props: {
  form: { source: string; database: string; collection: string; document: string };
  wrong: Mistake | null;
  onChange: (text: string) => void;
}): JSX.Element {
  const { api } = useSession();
  const { source, database, collection, document } = props.form;
  const [id, setId] = useState("");
  const [error, setError] = useState<unknown>(null);
  const fetchIt = async (): Promise<void> => {
    setError(null);
    try {
      const answer = await api.act("findOne", { source, database, collection }, [["filter", object([["_id", idOf(id)]])]]);
      const found = field(answer, "document");
      if (!found || found.kind === "null") throw new Error("No document has this _id.");
      props.onChange(write(found, 2));
    } catch (failure) {
      setError(failure);
    }
  };
  return (
    <>
      <TextField label="A stored document to judge too (may be empty)" value={document} onChange={props.onChange} wrong={props.wrong} rows={4} />
      <div class="row">
        <label class="row">
          <span class="small">Or fetch the one with the _id</span>
          <input type="text" class="mono id" spellcheck={false} autocomplete="off" value={id} onInput={(event) => setId(event.currentTarget.value)} />
        </label>
        <button type="button" class="button" disabled={!id.trim() || !database || !collection} onClick={() => void fetchIt()}>
          Fetch
        </button>
      </div>
      {error !== null && <Failure error={error} />}
    </>
  );
}

/** An id as people type it: 24 hexadecimal digits are an ObjectId, other texts are what they are as JSON, or text. */
function idOf(text: string): Value {
  const typed = text.trim();
  if (/^[0-9a-f]{24}$/i.test(typed)) return { kind: "objectId", hex: typed.toLowerCase() };
  try {
    return read(typed);
  } catch {
    return { kind: "string", text: typed };
  }
}
