/** The documents of a collection: what is asked for, and everything that can be done with what came. */

import type { JSX } from "preact";
import { useCallback, useMemo, useState } from "preact/hooks";
import type { Namespace } from "../api";
import { EditDialog } from "../edit/dialog";
import { apply, changesOf, updateOf } from "../edit/changes";
import { QueryBar } from "../query/bar";
import { CopyAs } from "../query/copy";
import { ExplainDialog } from "../query/explain";
import { SavedOnes } from "../query/saving";
import { keyOf } from "../query/pages";
import { fieldsOf, PARTS, type Query, QueryError, type QueryText, textsOf } from "../query/query";
import { go, link } from "../router";
import { useSession } from "../session";
import { count } from "../ui/format";
import { Icon } from "../ui/icons";
import { Choice, Empty, Failure, IconButton, IconLink } from "../ui/parts";
import { copyText } from "../ui/text";
import { tell } from "../ui/toasts";
import { field, int, numberOf, type ObjectValue, object, string, type Value } from "../values/model";
import { write } from "../values/write";
import { Cards } from "./cards";
import { ColumnChoice } from "./columns";
import { type Documents, useDocuments } from "./loading";
import { DeleteMatching, DeleteSome, UpdateMatching } from "./removing";
import { columnsOf, Table } from "./table";
import { byIds } from "./undoing";

const NAMELESS = "Without _id nobody knows which document is meant: let the projection keep it.";

type View = "table" | "json" | "tree";
type Open =
  | { readonly what: "insert" | "copy" | "explain" | "delete-all" | "update-all" | "delete" | "update" }
  | { readonly what: "clone"; readonly document: ObjectValue }
  | { readonly what: "edit"; readonly document: ObjectValue; readonly wanted?: ObjectValue };

const KEPT = 8;
/** What was asked before, by collection, for as long as the page is open. */
const asked = new Map<string, QueryText[]>();

export function DocumentsView({ place, query }: { place: Namespace; query: URLSearchParams }): JSX.Element {
  const { api } = useSession();
  const texts = textsOf(query);
  const view: View = query.get("view") === "json" ? "json" : query.get("view") === "tree" ? "tree" : "table";
  const documents = useDocuments(place, texts);
  const { rows } = documents;
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [open, setOpen] = useState<Open | null>(null);
  const hide = query.get("hide") ?? "";
  const hidden = useMemo(() => namesIn(hide), [hide]);
  const [sizes, setSizes] = useState<ReadonlyMap<string, number>>(new Map());
  const all = useMemo(() => columnsOf(rows), [rows]);
  const columns = useMemo(() => all.filter((name) => !hidden.has(name)), [all, hidden]);
  const fields = useMemo(() => pathsOf(rows.slice(0, 50)), [rows.length > 0, rows[0]]);
  const chosen = rows.filter((row) => selected.has(keyOf(row)));
  const name = JSON.stringify(place);

  const show = useCallback((next: Partial<QueryText> & { view?: View; hide?: string }): void => {
    const now = { ...texts, hide, view: view === "table" ? "" : view, ...next };
    go(link(["data", place.source, place.database, place.collection], { ...now, view: now.view === "table" ? "" : now.view }));
  }, [JSON.stringify(texts), view, hide, place]);
  const run = (next: QueryText): void => {
    if (PARTS.some((part) => next[part] !== ""))
      asked.set(name, [next, ...(asked.get(name) ?? []).filter((one) => JSON.stringify(one) !== JSON.stringify(next))].slice(0, KEPT));
    setSelected(new Set());
    if (JSON.stringify(next) === JSON.stringify(texts)) documents.again();
    else show(next);
  };
  const select = (document: ObjectValue, on: boolean): void => {
    const next = new Set(selected);
    if (on) next.add(keyOf(document));
    else next.delete(keyOf(document));
    setSelected(next);
  };
  /** What is stored is edited whole, also where the projection shows a part of it. */
  const edit = async (document: ObjectValue, wanted?: (whole: ObjectValue) => ObjectValue): Promise<void> => {
    let whole: Value | undefined = document;
    if (documents.query && documents.query.project.entries.length > 0) {
      const id = field(document, "_id");
      if (!id) return tell({ text: NAMELESS, bad: true });
      whole = field(await api.act("findOne", place, [["filter", object([["_id", object([["$eq", id]])]])]]), "document");
    }
    if (whole?.kind !== "object") return tell({ text: "Somebody deleted this document meanwhile.", bad: true });
    setOpen({ what: "edit", document: whole, ...(wanted ? { wanted: wanted(whole) } : {}) });
  };
  const undo = async (before: ObjectValue, after: ObjectValue): Promise<void> => {
    const answer = await api.act("updateOne", place, updateOf(after, before));
    if (numberOf(field(answer, "matchedCount")) !== 1) throw new Error("changed");
    documents.again();
  };
  const saved = (before: ObjectValue | null, after: ObjectValue | null): void => {
    setOpen(null);
    if (!before) {
      tell({ text: "Inserted." });
      documents.again();
    } else if (after) {
      if (documents.query && documents.query.project.entries.length > 0) documents.again();
      else documents.replace(before, after);
      tell({ text: "Saved.", action: { label: "Undo", run: () => void undo(before, after).catch(() => tell({ text: "It is another by now and was left so.", bad: true })) } });
    }
  };
  const sortBy = (column: string): void => {
    const direction = documents.query && field(documents.query.sort, column);
    const number = direction && "text" in direction ? Number(direction.text) : 0;
    show({ sort: number > 0 ? write(object([[column, int(-1)]])) : number < 0 ? "" : write(object([[column, int(1)]])) });
  };
  const close = (): void => setOpen(null);
  const error = documents.error;
  return (
    <>
      <QueryBar texts={texts} fields={fields} error={error} past={asked.get(name) ?? []} onRun={run} />
      <Toolbar {...{ place, documents, view, show, setOpen, chosen }} saved={<SavedOnes kind="query" place={place} asked={{ ...texts, hide, view: view === "table" ? "" : view }} />} columns={<ColumnChoice all={all} hidden={hidden} onChange={(next) => show({ hide: next.size > 0 ? JSON.stringify([...next]) : "" })} />} />
      {error !== undefined && !(error instanceof QueryError) && <Failure error={error} retry={documents.again} />}
      {rows.length === 0 && !documents.loading && error === undefined && <Nothing place={place} query={texts} insert={() => setOpen({ what: "insert" })} />}
      {rows.length > 0 && view === "table" && (
        <Table
          key={documents.began}
          rows={rows}
          columns={columns}
          sort={documents.query?.sort ?? null}
          sizes={sizes}
          onSize={(column, width) => setSizes((before) => new Map(before).set(column, width))}
          selected={selected}
          label={place.collection}
          onSort={sortBy}
          onSelect={select}
          onSelectAll={(on) => setSelected(new Set(on ? rows.map(keyOf) : []))}
          onOpen={(document) => void edit(document)}
          onChange={(document, column, value) => void edit(document, (whole) => apply(whole, [{ path: [column], before: undefined, after: value }]) as ObjectValue)}
          onEnd={documents.more}
        />
      )}
      {rows.length > 0 && view !== "table" && (
        <Cards
          key={`${documents.began} ${view}`}
          rows={rows}
          as={view}
          selected={selected}
          onSelect={select}
          onOpen={(document) => void edit(document)}
          onClone={(document) => setOpen({ what: "clone", document })}
          onCopy={(document) => void copyText(write(document, 2), "The document")}
          onDelete={(document) => {
            if (!field(document, "_id")) return tell({ text: NAMELESS, bad: true });
            setSelected(new Set([keyOf(document)]));
            setOpen({ what: "delete" });
          }}
          onWanted={(document, wanted) => void edit(document, (whole) => apply(whole, changesOf(document, wanted)) as ObjectValue)}
          onEnd={documents.more}
        />
      )}
      {documents.cut && <p class="note">{documents.cut}</p>}
      {open && <Opened {...{ open, place, documents, chosen, close, saved }} clear={() => setSelected(new Set())} />}
    </>
  );
}

function Opened(props: {
  open: Open;
  place: Namespace;
  documents: Documents;
  chosen: readonly ObjectValue[];
  close: () => void;
  saved: (before: ObjectValue | null, after: ObjectValue | null) => void;
  clear: () => void;
}): JSX.Element | null {
  const { open, place, documents, close, saved } = props;
  const { query } = documents;
  const done = (): void => {
    props.clear();
    close();
    documents.again();
  };
  switch (open.what) {
    case "insert":
      return <EditDialog place={place} base={null} onClose={close} onSaved={saved} />;
    case "clone":
      return <EditDialog place={place} base={null} begin={object(open.document.entries.filter(([name]) => name !== "_id"))} onClose={close} onSaved={saved} />;
    case "edit":
      return <EditDialog place={place} base={open.document} {...(open.wanted ? { wanted: open.wanted } : {})} onClose={close} onSaved={saved} />;
    case "delete":
      return <DeleteSome place={place} documents={props.chosen} onClose={close} onDone={done} changed={documents.again} />;
    default:
      break;
  }
  if (!query) return null;
  const limit = query.limit ? ([["limit", int(query.limit)]] as const) : [];
  if (open.what === "copy") return <CopyAs request={{ action: "find", place, fields: [...fieldsOf(query), ...limit] }} onClose={close} />;
  if (open.what === "explain") {
    const { filter, ...rest } = Object.fromEntries(fieldsOf(query)) as Record<string, Value>;
    const command = object([["find", string(place.collection)], ["filter", filter ?? object([])], ...Object.entries(rest), ...limit]);
    return <ExplainDialog place={place} command={command} onClose={close} />;
  }
  if (open.what === "update") return <UpdateMatching place={place} which={{ filter: byIds(props.chosen), collation: object([]) }} chosen={props.chosen.length} onClose={close} onDone={done} />;
  const Matching = open.what === "delete-all" ? DeleteMatching : UpdateMatching;
  return <Matching place={place} which={query} onClose={close} onDone={done} />;
}

function Toolbar(props: {
  place: Namespace;
  documents: Documents;
  view: View;
  show: (next: { view: View }) => void;
  setOpen: (open: Open) => void;
  chosen: readonly ObjectValue[];
  saved: JSX.Element;
  columns: JSX.Element;
}): JSX.Element {
  const { documents, view, show, setOpen, chosen } = props;
  const names = [props.place.source, props.place.database, props.place.collection];
  const ready = documents.query !== null;
  const known = chosen.every((one) => field(one, "_id"));
  const unknown = { disabled: !known, title: known ? undefined : NAMELESS };
  return (
    <div class="toolbar">
      <button type="button" class="button" onClick={() => setOpen({ what: "insert" })}>
        <Icon name="plus" /> Insert
      </button>
      {chosen.length > 0 ? (
        <>
          <button type="button" class="button" {...unknown} onClick={() => setOpen({ what: "delete" })}>
            <Icon name="trash" /> Delete {count(chosen.length)}
          </button>
          <button type="button" class="button" {...unknown} onClick={() => setOpen({ what: "update" })}>
            <Icon name="edit" /> Update {count(chosen.length)}
          </button>
          {chosen.length === 1 && chosen[0] && (
            <button type="button" class="button" onClick={() => setOpen({ what: "clone", document: chosen[0] as ObjectValue })}>
              Clone
            </button>
          )}
        </>
      ) : (
        <>
          <button type="button" class="button plain" disabled={!ready} onClick={() => setOpen({ what: "update-all" })}>
            Update all
          </button>
          <button type="button" class="button plain" disabled={!ready} onClick={() => setOpen({ what: "delete-all" })}>
            Delete all
          </button>
        </>
      )}
      <button type="button" class="button plain" disabled={!ready} onClick={() => setOpen({ what: "explain" })}>
        <Icon name="bolt" /> Explain
      </button>
      <button type="button" class="button plain" disabled={!ready} onClick={() => setOpen({ what: "copy" })}>
        <Icon name="code" /> Copy as
      </button>
      <span class="grow toolbar-count" role="status">
        {told(documents)}
      </span>
      {props.saved}
      {view === "table" && props.columns}
      <IconLink icon="import" label="Import a file" href={link(["transfer", "import", ...names])} />
      <IconLink icon="export" label="Export what matches" href={link(["transfer", "export", ...names], documents.query ? exported(documents.query) : {})} />
      <IconButton icon="refresh" label="Ask again" onClick={documents.again} />
      <Choice label="Shown as" value={view} options={[["table", "Table", "table"], ["json", "JSON", "braces"], ["tree", "Tree", "tree"]]} onChange={(next) => show({ view: next })} />
    </div>
  );
}

/** A query as the page for exports has it in its address. */
function exported(query: Query): Record<string, string> {
  const fields = fieldsOf(query).map(([name, value]) => [name, write(value)] as const);
  return { ...Object.fromEntries(fields), limit: query.limit ? String(query.limit) : "" };
}

function told({ rows, total, loading, hasMore, ms }: Documents): string {
  if (loading && rows.length === 0) return "Asking …";
  if (rows.length === 0) return "";
  const of = total !== null && total > rows.length ? `${count(rows.length)} of ${count(total)}` : count(rows.length);
  const took = ms === null ? "" : ` · ${count(Math.round(ms))} ms`;
  return `${of} ${rows.length === 1 && of === "1" ? "document" : "documents"}${hasMore && total === null ? ", and more" : ""}${took}`;
}

function Nothing({ place, query, insert }: { place: Namespace; query: QueryText; insert: () => void }): JSX.Element {
  const all = query.filter.trim() === "" || query.filter.trim() === "{}";
  return (
    <Empty title={all ? "No documents" : "Nothing matches"} icon={all ? "collection" : "search"}>
      {all ? (
        <p>
          <button type="button" class="button" onClick={insert}>
            Insert the first one
          </button>{" "}
          <a class="button" href={link(["transfer", "import", place.source, place.database, place.collection])}>
            Import a file
          </a>
        </p>
      ) : (
        <p>A filter compares types too: the text "5" is not the number 5, and an ObjectId is not the text of its digits.</p>
      )}
    </Empty>
  );
}

/** The names of the columns that an address hides; what cannot be read hides none. */
function namesIn(text: string): ReadonlySet<string> {
  try {
    const names: unknown = JSON.parse(text || "[]");
    return new Set(Array.isArray(names) ? names.filter((one) => typeof one === "string") : []);
  } catch {
    return new Set();
  }
}

/** The paths of fields in documents, for the completion. */
function pathsOf(rows: readonly ObjectValue[]): string[] {
  const found = new Set<string>();
  const walk = (value: Value, path: string, depth: number): void => {
    if (value.kind === "array") value.items.slice(0, 3).forEach((item) => walk(item, path, depth));
    if (value.kind !== "object" || depth > 4) return;
    for (const [name, inner] of value.entries) {
      if (found.size > 500) return;
      const at = path ? `${path}.${name}` : name;
      found.add(at);
      walk(inner, at, depth + 1);
    }
  };
  rows.forEach((row) => walk(row, "", 0));
  return [...found];
}

