/** The section where people look at their data: what there is at the left, and what is chosen beside it. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { PageProps } from "../router";
import { useSession } from "../session";
import { Beside } from "../ui/page";
import { CollectionPage } from "./collection";
import { DatabasePage } from "./database";
import { Sidebar } from "./sidebar";
import { SourcePage } from "./source";

export function DataSection({ path, query }: PageProps): JSX.Element {
  const { sources } = useSession();
  const [turn, setTurn] = useState(0);
  const usual = sources.find((source) => source.default) ?? sources[0];
  const [source = usual?.name ?? "", database, collection, view = "documents"] = path;
  const changed = (): void => setTurn((before) => before + 1);
  return (
    <Beside
      label="Databases and collections"
      list={<Sidebar chosen={{ source, database: database ?? "", collection: collection ?? "" }} turn={turn} changed={changed} />}
      at={path.join("/")}
    >
      {database === undefined ? (
        <SourcePage key={source} source={source} changed={changed} turn={turn} />
      ) : collection === undefined ? (
        <DatabasePage key={`${source}/${database}`} source={source} database={database} changed={changed} turn={turn} />
      ) : (
        <CollectionPage
          key={JSON.stringify([source, database, collection])}
          place={{ source, database, collection }}
          view={view}
          query={query}
          changed={changed}
        />
      )}
    </Beside>
  );
}
