/** The indexes of a collection: what there is, how much it takes and is used, and which one a query would use. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Api, Namespace } from "../api";
import { Code } from "../edit/code";
import { parse } from "../query/parse";
import { type Explained, explain, Picture } from "../query/explain";
import { useSession } from "../session";
import { count, localTime, size } from "../ui/format";
import { FormDialog, textIn, TypedConfirm } from "../ui/form";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Failure, IconButton, useLoaded } from "../ui/parts";
import { tell } from "../ui/toasts";
import { bool, type Entry, field, int, isNested, itemsOf, numberOf, type ObjectValue, object, string, textOf, type Value } from "../values/model";
import { scalar, write } from "../values/write";

interface Index {
  readonly name: string;
  readonly keys: readonly Entry[];
  readonly properties: readonly string[];
  readonly size: number;
  readonly uses: number;
  readonly since: number;
}

/** What there is to tell about an index beside its keys. */
function propertiesOf(index: Value): string[] {
  const told: string[] = [];
  for (const name of ["unique", "sparse", "hidden"]) {
    const given = field(index, name);
    if (given?.kind === "bool" && given.on) told.push(name);
  }
  const seconds = numberOf(field(index, "expireAfterSeconds"));
  if (Number.isFinite(seconds)) told.push(`expires after ${count(seconds)} s`);
  const partial = field(index, "partialFilterExpression");
  if (partial) told.push(`partial ${write(partial)}`);
  const collation = field(index, "collation");
  if (collation) told.push(`collation ${textOf(collation, "locale")}`);
  return told;
}

async function indexes(api: Api, place: Namespace, signal: AbortSignal): Promise<Index[]> {
  const listed = itemsOf(await api.act("listIndexes", place, [], signal), "indexes");
  const command = object([["collStats", string(place.collection)]]);
  const { source, database } = place;
  // What takes rights of its own is left out for those who lack them.
  const none = (error: unknown): undefined => {
    if (signal.aborted) throw error;
  };
  const stats = await api.act("runCommand", { source, database }, [["command", command]], signal).catch(none);
  const sizes = field(field(stats, "result"), "indexSizes");
  const pipeline: Value = { kind: "array", items: [object([["$indexStats", object([])]])] };
  const used = itemsOf(await api.act("aggregate", place, [["pipeline", pipeline]], signal).catch(none), "documents");
  return listed.map((one): Index => {
    const name = textOf(one, "name");
    const keys = field(one, "key");
    const accesses = field(used.find((stat) => textOf(stat, "name") === name), "accesses");
    const since = field(accesses, "since");
    return {
      name,
      keys: keys?.kind === "object" ? keys.entries : [],
      properties: propertiesOf(one),
      size: numberOf(field(sizes, name)),
      uses: numberOf(field(accesses, "ops")),
      since: since?.kind === "date" ? Number(since.ms) : NaN,
    };
  });
}

export function IndexesView({ place }: { place: Namespace }): JSX.Element {
  const { api } = useSession();
  const found = useLoaded((signal) => indexes(api, place, signal), [api, place]);
  const [creating, setCreating] = useState(false);
  const [dropping, setDropping] = useState<string | null>(null);
  const known = found.value?.some(({ uses }) => Number.isFinite(uses)) ?? false;
  return (
    <>
      <div class="toolbar">
        <button type="button" class="button" onClick={() => setCreating(true)}>
          <Icon name="plus" /> Create index
        </button>
        <span class="grow" />
        <IconButton icon="refresh" label="Look again" onClick={found.again} />
      </div>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value && (
        <List label="Indexes" heads={["Name", "Keys", "Properties", "#Size", ...(known ? ["#Used"] : []), "-Actions"]} place="fixed">
          {found.value.map((one) => (
            <tr key={one.name}>
              <th scope="row"><bdi class="mono wrap">{one.name}</bdi></th>
              <td><Keys keys={one.keys} /></td>
              <td class="wrap small">{one.properties.join(", ")}</td>
              <td class="number">{size(one.size)}</td>
              {known && <td class="number" title={Number.isNaN(one.since) ? "" : `since ${localTime(one.since)}`}>{count(one.uses)}</td>}
              <td class="number">
                {one.name !== "_id_" && <IconButton icon="trash" label={`Drop ${one.name}`} onClick={() => setDropping(one.name)} />}
              </td>
            </tr>
          ))}
        </List>
      )}
      <Which place={place} />
      {creating && (
        <CreateIndex
          place={place}
          onClose={() => setCreating(false)}
          onDone={() => {
            setCreating(false);
            found.again();
          }}
        />
      )}
      {dropping !== null && (
        <TypedConfirm
          title="Drop index"
          name={dropping}
          verb="Drop it"
          onClose={() => setDropping(null)}
          onConfirm={async () => {
            await api.act("dropIndex", place, [["name", string(dropping)]]);
            tell({ text: `The index ${dropping} was dropped.` });
            setDropping(null);
            found.again();
          }}
        >
          <p>Queries that it serves will read the whole collection until there is another.</p>
        </TypedConfirm>
      )}
    </>
  );
}

function Keys({ keys }: { keys: readonly Entry[] }): JSX.Element {
  return (
    <span class="keys">
      {keys.map(([name, direction]) => (
        <span key={name} class="key mono">
          <bdi>{name}</bdi> <span class="muted">{isNested(direction) ? write(direction) : scalar(direction).replaceAll('"', "")}</span>
        </span>
      ))}
    </span>
  );
}

function CreateIndex(props: { place: Namespace; onClose: () => void; onDone: () => void }): JSX.Element {
  const { api } = useSession();
  const [keys, setKeys] = useState("{ : 1 }");
  const [partial, setPartial] = useState("");
  const [more, setMore] = useState("");
  const create = async (given: FormData): Promise<void> => {
    const [name, seconds] = [textIn(given, "name"), textIn(given, "seconds")];
    const options: Entry[] = [];
    if (name) options.push(["name", string(name)]);
    for (const property of ["unique", "sparse", "hidden"]) if (given.has(property)) options.push([property, bool(true)]);
    if (seconds) options.push(["expireAfterSeconds", int(Number(seconds))]);
    const filter = await parse(partial, "filter");
    if (filter.entries.length > 0) options.push(["partialFilterExpression", filter]);
    options.push(...(await parse(more, "any")).entries);
    await api.act("createIndex", props.place, [["keys", await parse(keys, "sort")], ["options", object(options)]]);
    tell({ text: "The index is there." });
    props.onDone();
  };
  return (
    <FormDialog title="Create index" verb="Create" onClose={props.onClose} onSubmit={create}>
      <div class="field">
        <span>Keys: 1, -1, "text", "2dsphere", "hashed"</span>
        <Code label="Keys" single value={keys} onChange={setKeys} />
      </div>
      <label class="field">
        <span>Name</span>
        <input name="name" type="text" autocomplete="off" placeholder="made of the keys" spellcheck={false} />
      </label>
      <div class="row">
        {[["unique", "Unique"], ["sparse", "Sparse"], ["hidden", "Hidden"]].map(([name, title]) => (
          <label key={name} class="check">
            <input name={name} type="checkbox" /> {title}
          </label>
        ))}
      </div>
      <label class="field">
        <span>Documents expire after this many seconds</span>
        <input name="seconds" type="number" min="0" max="2147483647" placeholder="never" />
      </label>
      <div class="field">
        <span>Only documents that match</span>
        <Code label="Partial filter" single value={partial} onChange={setPartial} placeholder="{ status: 'open' }" />
      </div>
      <div class="field">
        <span>Further options</span>
        <Code label="Further options" single value={more} onChange={setMore} placeholder="{ collation: { locale: 'en' } }" />
      </div>
    </FormDialog>
  );
}

/** Asks which index a query would use. */
function Which({ place }: { place: Namespace }): JSX.Element {
  const { api } = useSession();
  const [filter, setFilter] = useState("");
  const [sort, setSort] = useState("");
  const [told, setTold] = useState<Explained | null>(null);
  const [error, setError] = useState<unknown>(null);
  const ask = async (): Promise<void> => {
    try {
      const parts: Entry[] = [["find", string(place.collection)], ["filter", await parse(filter, "filter")]];
      const order: ObjectValue = await parse(sort, "sort");
      if (order.entries.length > 0) parts.push(["sort", order]);
      setTold(await explain(api, place, object(parts)));
      setError(null);
    } catch (failure) {
      setError(failure);
    }
  };
  return (
    <section class="which stack" aria-labelledby="which">
      <h2 id="which">Which index would this query use?</h2>
      <form
        class="query-main"
        onSubmit={(event) => {
          event.preventDefault();
          void ask();
        }}
      >
        <div class="query-field">
          <span class="query-label" aria-hidden="true">Filter</span>
          <Code label="Filter" single value={filter} onChange={setFilter} onSubmit={() => void ask()} placeholder="{ status: 'open' }" />
        </div>
        <div class="query-field">
          <span class="query-label" aria-hidden="true">Sort</span>
          <Code label="Sort" single value={sort} onChange={setSort} onSubmit={() => void ask()} placeholder="{ placed: -1 }" />
        </div>
        <button type="submit" class="button">Ask</button>
      </form>
      {error !== null && <Failure error={error} />}
      {told && <Picture told={told} />}
    </section>
  );
}
