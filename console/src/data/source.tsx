/** A data source: its databases. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { link, go } from "../router";
import { useSession } from "../session";
import { size } from "../ui/format";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { databases } from "./catalogue";
import { CreateCollection } from "./changing";

export function SourcePage({ source, turn, changed }: { source: string; turn: number; changed: () => void }): JSX.Element {
  useTitle(source);
  const { api, sources } = useSession();
  const found = useLoaded((signal) => databases(api, source, signal), [api, source, turn]);
  const [creating, setCreating] = useState(false);
  return (
    <>
      <header class="page-head">
        <h1>
          <Icon name="server" /> {source}
        </h1>
        <button type="button" class="button" onClick={() => setCreating(true)}>
          <Icon name="plus" /> Create database
        </button>
      </header>
      {found.error !== undefined && <Listless error={found.error} database={sources.find(({ name }) => name === source)?.database} source={source} retry={found.again} />}
      {found.value?.length === 0 && (
        <Empty title="No databases yet" icon="database">
          <p>A database is there as soon as it has a collection. Create one here, or write a document to it by the API.</p>
        </Empty>
      )}
      {found.value !== undefined && found.value.length > 0 && (
        <List label="Databases" heads={["Database", "#Size"]}>
          {found.value.map((one) => (
            <tr key={one.name}>
              <th scope="row">
                <a href={link(["data", source, one.name])}>
                  <Icon name="database" /> <bdi>{one.name}</bdi>
                </a>
              </th>
              <td class="number">{size(one.size)}</td>
            </tr>
          ))}
        </List>
      )}
      {creating && (
        <CreateCollection
          source={source}
          onClose={() => setCreating(false)}
          onDone={(place) => {
            changed();
            go(link(["data", place.source, place.database, place.collection]));
          }}
        />
      )}
    </>
  );
}

/** What somebody sees who may not list the databases, but perhaps read in some of them. */
function Listless(props: { error: unknown; source: string; database: string | undefined; retry: () => void }): JSX.Element {
  return (
    <>
      <Failure error={props.error} retry={props.retry} />
      <Empty title="You may still read what rules give you" icon="eye">
        <p>
          Type <code>database.collection</code> at the bottom of the list
          {props.database !== undefined && (
            <>
              {" "}
              or look at <a href={link(["data", props.source, props.database])}>{props.database}</a>
            </>
          )}
          .
        </p>
      </Empty>
    </>
  );
}
