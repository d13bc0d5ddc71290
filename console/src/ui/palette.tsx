/** The palette: everything that has a name, found by a part of it, and gone to by Enter. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Api } from "../api";
import { collections, databases } from "../data/catalogue";
import { inTurn } from "../data/lazily";
import { sectionsOf } from "../pages";
import { go, here, link } from "../router";
import { addressOf, knownOf, type Saved, savedOf } from "../saved";
import { type Session, useSession } from "../session";
import type { IconName } from "./icons";
import { Icon } from "./icons";
import { Dialog } from "./parts";

export interface Entry {
  readonly title: string;
  readonly note: string;
  readonly icon: IconName;
  readonly run: () => void;
}

const SHOWN = 40;
const VIEWS = ["Documents", "Aggregation", "Schema", "Indexes", "Integration"] as const;

const goTo = (title: string, note: string, icon: IconName, address: string): Entry => ({ title, note, icon, run: () => go(address) });

const toSaved = (one: Saved): Entry => goTo(one.name, `${one.kind === "query" ? "Query" : "Pipeline"} on ${one.place.collection}`, "star", addressOf(one));

/** What there is for everybody, and in the collection that is shown. */
function fixed(session: Session, help: () => void): Entry[] {
  const { caller, signOut } = session;
  const sections = sectionsOf(session);
  const { path } = here();
  const [section, source, database, collection] = path;
  const inside =
    section === "data" && source && database && collection
      ? [
          ...VIEWS.map((view) => goTo(`${collection}: ${view}`, database, "collection", link(["data", source, database, collection, ...(view === "Documents" ? [] : [view.toLowerCase()])]))),
          goTo(`${collection}: Import`, database, "transfer", link(["transfer", "import", source, database, collection])),
          goTo(`${collection}: Export`, database, "transfer", link(["transfer", "export", source, database, collection])),
        ]
      : [];
  return [
    ...inside,
    ...sections.flatMap(({ name, title, icon, parts = [] }) => [
      goTo(title, "Page", icon, link([name])),
      ...parts.map(([part, text]) => goTo(`${title}: ${text}`, "Page", icon, link([name, part]))),
    ]),
    { title: "Keys of the keyboard", note: "Help", icon: "help", run: help },
    ...(caller.provider === "system" ? [] : [{ title: "Sign out", note: "", icon: "out" as const, run: signOut }]),
  ];
}

/** All databases and collections that may be listed, as they come. */
async function places(api: Api, sources: readonly string[], signal: AbortSignal, tell: (entries: readonly Entry[]) => void): Promise<void> {
  const several = sources.length > 1;
  for (const source of sources) {
    const found = await databases(api, source, signal).catch(() => []); // whoever may list none finds none
    tell(found.map(({ name }) => goTo(name, several ? `Database of ${source}` : "Database", "database", link(["data", source, name]))));
    const listed = found.map(({ name }) =>
      inTurn(() => collections(api, source, name, signal))
        .then((own) => tell(own.map((one) => goTo(one.name, several ? `${source} › ${name}` : name, one.type === "view" ? "view" : "collection", link(["data", source, name, one.name])))))
        .catch(() => undefined),
    );
    await Promise.all(listed);
  }
}

/** Those that have all words in them; those that begin with the first come first. */
export function fitting(entries: readonly Entry[], text: string): Entry[] {
  const words = text.toLowerCase().split(/[\s.]+/).filter(Boolean);
  const found = entries.filter(({ title, note }) => words.every((word) => `${note} ${title}`.toLowerCase().includes(word)));
  const first = words[0] ?? "";
  const rank = ({ title }: Entry): number => (title.toLowerCase() === first ? 0 : title.toLowerCase().startsWith(first) ? 1 : 2);
  return first === "" ? found : found.map((entry) => [rank(entry), entry] as const).sort(([one], [other]) => one - other).map(([, entry]) => entry);
}

export function Palette({ onClose, help }: { onClose: () => void; help: () => void }): JSX.Element {
  const session = useSession();
  const { api, caller, sources } = session;
  const own = useMemo(() => fixed(session, help), []);
  const [saved, setSaved] = useState(() => knownOf(caller.id));
  const [found, setFound] = useState<readonly Entry[]>([]);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const gone = useRef(false);
  useEffect(() => {
    const stop = new AbortController();
    const names = sources.map(({ name }) => name);
    void places(api, names, stop.signal, (more) => stop.signal.aborted || setFound((before) => [...before, ...more]));
    void savedOf(api, caller.id).then((all) => stop.signal.aborted || setSaved(all));
    return () => stop.abort();
  }, [api]);
  const all = useMemo(() => fitting([...saved.map(toSaved), ...own, ...found], text), [saved, own, found, text]);
  const typed = /^([^.\s]+)\.(\S+)$/.exec(text.trim());
  const source = (sources.find((one) => one.default) ?? sources[0])?.name;
  const byName = typed && source ? [goTo(`Open ${text.trim()}`, "By its name", "collection", link(["data", source, typed[1] ?? "", typed[2] ?? ""]))] : [];
  const shown = [...all.slice(0, SHOWN), ...(all.length === 0 ? byName : [])];
  useEffect(() => list.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at]);
  const run = (entry: Entry | undefined): void => {
    if (!entry) return;
    const before = window.location.hash;
    onClose();
    entry.run();
    gone.current = window.location.hash !== before;
  };
  const keys = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) setAt((before) => (before + step + shown.length) % Math.max(shown.length, 1));
    else if (event.key === "Enter") run(shown[at]);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Go to" onClose={onClose} then={() => (gone.current ? document.getElementById("content") : null)}>
      <div class="stack palette">
        <input
          type="text"
          role="combobox"
          aria-label="Where to"
          aria-expanded={shown.length > 0}
          aria-controls="palette-list"
          aria-activedescendant={shown[at] ? `palette-${at}` : undefined}
          aria-autocomplete="list"
          autocomplete="off"
          spellcheck={false}
          placeholder="A page, a database, a collection"
          autofocus
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={keys}
        />
        <ul id="palette-list" role="listbox" aria-label="What is found" ref={list}>
          {shown.map((entry, index) => (
            <li key={`${entry.note} ${entry.title}`} id={`palette-${index}`} role="option" aria-selected={index === at} onClick={() => run(entry)}>
              <Icon name={entry.icon} /> <bdi class="clip">{entry.title}</bdi> <span class="muted small clip">{entry.note}</span>
            </li>
          ))}
        </ul>
        <p class="muted small" role="status">
          {shown.length === 0 ? "Nothing is called so." : all.length > SHOWN ? `The first ${SHOWN} of ${all.length}: type more of the name.` : ""}
        </p>
      </div>
    </Dialog>
  );
}
