/** Files in and out of a collection. */

import type { JSX } from "preact";
import type { Namespace } from "../api";
import { go, link, type PageProps } from "../router";
import { useSession } from "../session";
import { Page, PageHead } from "../ui/page";
import { Export } from "./export";
import { Import } from "./import";

export function TransferSection({ path, query }: PageProps): JSX.Element {
  const { sources } = useSession();
  const usual = sources.find((one) => one.default)?.name ?? sources[0]?.name ?? "";
  const [part = "import", source = usual, database = "", collection = ""] = path;
  const place = { source, database, collection };
  const tabs = (["import", "export"] as const).map((name) => ({
    href: link(["transfer", name, source, ...(database ? [database, collection].filter(Boolean) : [])]),
    title: name === "import" ? "Import" : "Export",
    chosen: part === name,
  }));
  return (
    <Page>
      <PageHead title={part === "export" ? "Export" : "Import"} icon="transfer" tabs={tabs} />
      <div class="panel">
        <Place key={part} place={place} part={part} />
        {part === "export" ? <Export place={place} query={query} /> : <Import place={place} />}
      </div>
    </Page>
  );
}

/** The collection that it is about; the address has it. */
function Place({ place, part }: { place: Namespace; part: string }): JSX.Element {
  const { sources } = useSession();
  const to = (change: Partial<Namespace>): void => {
    const { source, database, collection } = { ...place, ...change };
    // A place without a database has no collection in its address.
    go(link(["transfer", part, source, ...(database ? [database, ...(collection ? [collection] : [])] : [])]), true);
  };
  return (
    <div class="pair">
      {sources.length > 1 && (
        <label class="field">
          <span>Data source</span>
          <select value={place.source} onChange={(event) => to({ source: event.currentTarget.value })}>
            {sources.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
      <label class="field">
        <span>Database</span>
        <input type="text" spellcheck={false} autocomplete="off" value={place.database} onInput={(event) => to({ database: event.currentTarget.value })} />
      </label>
      <label class="field">
        <span>Collection</span>
        <input
          type="text"
          spellcheck={false}
          autocomplete="off"
          disabled={!place.database}
          value={place.collection}
          onInput={(event) => to({ collection: event.currentTarget.value })}
        />
      </label>
    </div>
  );
}
