/** All databases and their collections, as a list of links that opens level by level. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Namespace } from "../api";
import { link, go } from "../router";
import { useSession } from "../session";
import { Icon } from "../ui/icons";
import { messageOf } from "../api";
import { count as shown } from "../ui/format";
import { useLoaded } from "../ui/parts";
import { useWindow } from "../ui/window";
import { type CollectionInfo, collections, databases, estimate } from "./catalogue";
import { inTurn, useSeen } from "./lazily";

interface Props {
  readonly chosen: Namespace;
  /** Another number is another state of what there is. */
  readonly turn: number;
  readonly changed: () => void;
}

export function Sidebar({ chosen, turn, changed }: Props): JSX.Element {
  const { sources } = useSession();
  const [wanted, setWanted] = useState("");
  return (
    <>
      <div class="side-search">
        <Icon name="search" />
        <input
          type="search"
          aria-label="Find a database or collection"
          placeholder="Find a collection"
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
        <button type="button" class="icon-button" aria-label="Look again" title="Look again" onClick={changed}>
          <Icon name="refresh" />
        </button>
      </div>
      <nav class="side-list" aria-label="Collections">
        {sources.map((source) => (
          <SourceList key={source.name} name={source.name} alone={sources.length === 1} {...{ chosen, turn, wanted }} />
        ))}
      </nav>
      <ByName chosen={chosen} />
    </>
  );
}

function SourceList(props: { name: string; alone: boolean; chosen: Namespace; turn: number; wanted: string }): JSX.Element {
  const { api } = useSession();
  const { name, chosen, turn, wanted } = props;
  const found = useLoaded((signal) => databases(api, name, signal), [api, name, turn]);
  return (
    <section>
      <h2 class="side-source">
        <a href={link(["data", name])} aria-current={chosen.source === name && !chosen.database ? "page" : undefined}>
          <Icon name="server" />
          <span class="clip">{name}</span>
        </a>
      </h2>
      {found.error !== undefined && (
        <p class="side-note" role="note">
          {messageOf(found.error)}
        </p>
      )}
      {found.value?.length === 0 && <p class="side-note">No databases yet</p>}
      <ul>
        {found.value?.map((database) => (
          <DatabaseList key={database.name} source={name} name={database.name} only={found.value?.length === 1} {...{ chosen, turn, wanted }} />
        ))}
      </ul>
    </section>
  );
}

function DatabaseList(props: {
  source: string;
  name: string;
  only: boolean;
  chosen: Namespace;
  turn: number;
  wanted: string;
}): JSX.Element | null {
  const { source, name, chosen, wanted, turn } = props;
  const { api } = useSession();
  const inside = chosen.source === source && chosen.database === name;
  const [opened, setOpened] = useState(inside || props.only);
  useEffect(() => {
    if (inside) setOpened(true);
  }, [inside]);
  const open = opened || wanted !== "";
  const found = useLoaded(async (signal) => (open ? collections(api, source, name, signal) : undefined), [api, source, name, open, turn]);
  const fits = (text: string): boolean => text.toLowerCase().includes(wanted.toLowerCase());
  const listed = found.value?.filter((one) => fits(one.name) || fits(name)) ?? [];
  if (wanted && !fits(name) && listed.length === 0) return null;
  return (
    <li>
      <div class="side-row">
        <button
          type="button"
          class={open ? "twist open" : "twist"}
          aria-expanded={open}
          aria-label={`Collections of ${name}`}
          onClick={() => setOpened(!opened)}
        >
          <Icon name="chevron" size={12} />
        </button>
        <a href={link(["data", source, name])} aria-current={inside && !chosen.collection ? "page" : undefined}>
          <Icon name="database" />
          <bdi class="clip">{name}</bdi>
        </a>
      </div>
      {open && found.error !== undefined && <p class="side-note">{messageOf(found.error)}</p>}
      {open && found.value?.length === 0 && <p class="side-note">No collections</p>}
      {open && listed.length > 0 && <Collections {...{ source, listed, chosen, turn }} database={name} />}
    </li>
  );
}

/** How high a collection's row is, which the styles say too. */
const ROW = 27;

function Collections(props: { source: string; database: string; listed: readonly CollectionInfo[]; chosen: Namespace; turn: number }): JSX.Element {
  const { source, database, listed, chosen, turn } = props;
  const { from, to, mark } = useWindow<HTMLUListElement>(listed.length, ROW);
  return (
    <ul ref={mark} style={{ paddingTop: `${from * ROW}px`, paddingBottom: `${(listed.length - to) * ROW}px` }}>
      {listed.slice(from, to).map((one) => (
        <CollectionRow key={one.name} place={{ source, database, collection: one.name }} {...{ one, chosen, turn }} />
      ))}
    </ul>
  );
}

function CollectionRow(props: { place: Namespace; one: CollectionInfo; chosen: Namespace; turn: number }): JSX.Element {
  const { place, one, chosen, turn } = props;
  const { api } = useSession();
  const { seen, mark } = useSeen<HTMLLIElement>();
  const counted = useLoaded(
    async (signal) => (seen && one.type !== "view" ? inTurn(() => estimate(api, place, signal)) : NaN),
    [api, seen, place.database, place.collection, turn],
  );
  const { source, database, collection } = place;
  const here = chosen.source === source && chosen.database === database && chosen.collection === collection;
  return (
    <li ref={mark}>
      <a class="side-collection" href={link(["data", source, database, collection])} aria-current={here ? "page" : undefined}>
        <Icon name={one.type === "view" ? "view" : "collection"} />
        <bdi class="clip">{collection}</bdi>
        <span class="side-count">{Number.isFinite(counted.value) ? shown(counted.value ?? NaN) : ""}</span>
      </a>
    </li>
  );
}

/** Goes to a collection that is in no list: rules may let somebody read what they cannot list. */
function ByName({ chosen }: { chosen: Namespace }): JSX.Element {
  const [text, setText] = useState("");
  const [database, collection] = parts(text);
  const submit = (event: Event): void => {
    event.preventDefault();
    if (database && collection) go(link(["data", chosen.source, database, collection]));
  };
  return (
    <form class="side-by-name" onSubmit={submit}>
      <input
        type="text"
        aria-label="Open a collection by its name"
        placeholder="Open database.collection"
        spellcheck={false}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </form>
  );
}

/** A database's name has no dot, a collection's may. */
function parts(text: string): [string, string] {
  const at = text.indexOf(".");
  return at < 0 ? [text, ""] : [text.slice(0, at).trim(), text.slice(at + 1).trim()];
}
