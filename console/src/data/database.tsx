/** A database: its collections, with how much is in each. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Namespace } from "../api";
import { link, go } from "../router";
import { useSession } from "../session";
import { count, size } from "../ui/format";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Empty, Failure, IconButton, useLoaded, useTitle } from "../ui/parts";
import { useWindow } from "../ui/window";
import { type CollectionInfo, collections, stats } from "./catalogue";
import { CreateCollection, DropCollection, DropDatabase, RenameCollection } from "./changing";
import { inTurn, useSeen } from "./lazily";

interface Props {
  readonly source: string;
  readonly database: string;
  readonly turn: number;
  readonly changed: () => void;
}

export function DatabasePage({ source, database, turn, changed }: Props): JSX.Element {
  useTitle(database);
  const { api } = useSession();
  const found = useLoaded((signal) => collections(api, source, database, signal), [api, source, database, turn]);
  const [creating, setCreating] = useState(false);
  const [renaming, setRenaming] = useState<Namespace | null>(null);
  const [dropping, setDropping] = useState<Namespace | null>(null);
  const [ending, setEnding] = useState(false);
  const names = found.value?.map(({ name }) => name) ?? [];
  return (
    <>
      <header class="page-head">
        <h1>
          <Icon name="database" /> <bdi class="wrap">{database}</bdi>
        </h1>
        <button type="button" class="button" onClick={() => setCreating(true)}>
          <Icon name="plus" /> Create collection
        </button>
        {names.length > 0 && (
          <button type="button" class="button" onClick={() => setEnding(true)}>
            <Icon name="trash" /> Drop database
          </button>
        )}
      </header>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value?.length === 0 && (
        <Empty title="No collections" icon="collection">
          <p>Create one, or write a document to it by the API: it is there then.</p>
        </Empty>
      )}
      {found.value !== undefined && found.value.length > 0 && (
        <Collections all={found.value} {...{ source, database, turn }} drop={setDropping} rename={setRenaming} />
      )}
      {creating && (
        <CreateCollection
          source={source}
          database={database}
          onClose={() => setCreating(false)}
          onDone={(place) => {
            changed();
            go(link(["data", place.source, place.database, place.collection]));
          }}
        />
      )}
      {renaming && (
        <RenameCollection
          place={renaming}
          onClose={() => setRenaming(null)}
          onDone={() => {
            setRenaming(null);
            changed();
          }}
        />
      )}
      {ending && (
        <DropDatabase
          {...{ source, database, changed }}
          collections={names}
          onClose={() => setEnding(false)}
          onDone={() => {
            changed();
            go(link(["data", source]));
          }}
        />
      )}
      {dropping && (
        <DropCollection
          place={dropping}
          onClose={() => setDropping(null)}
          onDone={() => {
            setDropping(null);
            changed();
          }}
        />
      )}
    </>
  );
}

interface Acts {
  readonly turn: number;
  readonly drop: (place: Namespace) => void;
  readonly rename: (place: Namespace) => void;
}

/** How high a row is, with its line; the styles say it too. */
const ROW = 36;
const HEADS = ["Collection", "#Documents", "#Size", "#Average", "#Indexes", "#Size of indexes", "-Actions"];

function Collections(props: { all: readonly CollectionInfo[]; source: string; database: string } & Acts): JSX.Element {
  const { all, source, database, ...acts } = props;
  const { from, to, whole, mark } = useWindow<HTMLTableSectionElement>(all.length, ROW);
  const space = (rows: number): JSX.Element | null => (rows > 0 ? <tr class="space" style={{ height: `${rows * ROW}px` }} aria-hidden="true" /> : null);
  return (
    <List label={`Collections of ${database}`} heads={HEADS} kind="collections" rows={all.length} groups>
      <tbody ref={mark}>
        {space(from)}
        {all.slice(from, to).map((one, index) => (
          <Row key={one.name} one={one} place={{ source, database, collection: one.name }} index={from + index} whole={whole} {...acts} />
        ))}
        {space(all.length - to)}
      </tbody>
    </List>
  );
}

function Row(props: { one: CollectionInfo; place: Namespace; index: number; whole: boolean } & Acts): JSX.Element {
  const { one, place, index, whole, turn, drop, rename } = props;
  const { api } = useSession();
  const { seen, mark } = useSeen<HTMLTableRowElement>();
  const told = useLoaded(
    async (signal) => (seen && one.type !== "view" ? inTurn(() => stats(api, place, signal)) : undefined),
    [api, seen, place.collection, turn],
  );
  const numbers = told.value;
  return (
    <tr ref={mark} aria-rowindex={index + 2}>
      <th scope="row">
        <a href={link(["data", place.source, place.database, place.collection])}>
          <Icon name={one.type === "view" ? "view" : "collection"} /> <bdi class={whole ? "wrap" : "clip"} title={one.name}>{one.name}</bdi>
        </a>
        {one.type !== "collection" && <span class="badge">{one.type}</span>}
      </th>
      <td class="number">{numbers ? count(numbers.count) : ""}</td>
      <td class="number">{numbers ? size(numbers.size) : ""}</td>
      <td class="number">{numbers ? size(numbers.average) : ""}</td>
      <td class="number">{numbers ? count(numbers.indexes) : ""}</td>
      <td class="number">{numbers ? size(numbers.indexSize) : ""}</td>
      <td class="number">
        {one.type === "collection" && <IconButton icon="edit" label={`Rename ${one.name}`} onClick={() => rename(place)} />}
        <IconButton icon="trash" label={`Drop ${one.name}`} onClick={() => drop(place)} />
      </td>
    </tr>
  );
}
