/** One database that the person owns: its collections, and how programs reach them. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, here, link } from "../router";
import { useSession } from "../session";
import { FormDialog, TypedConfirm } from "../ui/form";
import { count } from "../ui/format";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { PageHead } from "../ui/page";
import { Failure, IconButton, useLoaded, useTitle } from "../ui/parts";
import { tell } from "../ui/toasts";
import { CollectionFields, collectionIn } from "./adding";
import type { CubeCollection } from "./model";

export function CubePage({ id }: { id: string }): JSX.Element {
  const { api } = useSession();
  const name = here().query.get("name") ?? id;
  useTitle(name);
  const [doing, setDoing] = useState<"add" | "drop" | null>(null);
  const [dropping, setDropping] = useState<string | null>(null);
  const found = useLoaded(
    async (signal) => (await api.json<{ collections: readonly CubeCollection[] }>(`api/list_collections?${new URLSearchParams({ database_id: id })}`, { signal })).collections,
    [api, id],
  );
  const done = (text: string): void => {
    setDoing(null);
    setDropping(null);
    tell({ text });
    found.again();
  };
  return (
    <>
      <PageHead title={name} icon="database" tabs={[{ href: link(["datacube"]), title: "All databases", chosen: false }]}>
        <button type="button" class="button" onClick={() => setDoing("add")}>
          <Icon name="plus" /> Add a collection
        </button>
        <button type="button" class="button" onClick={() => setDoing("drop")}>
          <Icon name="trash" /> Drop
        </button>
      </PageHead>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      <div class="panel">
        {found.value && (
          <List label="Collections" heads={["Collection", "#Documents", "#Deleted softly", "-Actions"]}>
            {found.value.map((one) => (
              <tr key={one.name}>
                <th scope="row">
                  <a href={link(["datacube", id, one.name])}>
                    <Icon name="collection" /> <bdi>{one.name}</bdi>
                  </a>
                </th>
                <td class="number">{count(one.num_documents ?? NaN)}</td>
                <td class="number">{count(one.num_deleted ?? NaN)}</td>
                <td class="number">
                  <IconButton icon="trash" label={`Drop ${one.name}`} onClick={() => setDropping(one.name)} />
                </td>
              </tr>
            ))}
          </List>
        )}
        <p class="muted small">A collection's page has its fields, its documents, and ready requests for programs.</p>
      </div>
      {doing === "add" && (
        <FormDialog
          title="Add a collection"
          verb="Add it"
          onClose={() => setDoing(null)}
          onSubmit={async (given) => {
            const added = collectionIn(given);
            await api.json("api/add_collection", { body: JSON.stringify({ database_id: id, collections: [added] }) });
            done(`${added.name} was added.`);
          }}
        >
          <CollectionFields title="Name" />
        </FormDialog>
      )}
      {doing === "drop" && (
        <TypedConfirm
          title="Drop the database"
          name={name}
          verb="Drop it"
          onClose={() => setDoing(null)}
          onConfirm={async () => {
            await api.json("api/drop_database", { method: "DELETE", body: JSON.stringify({ database_id: id, confirmation: name }) });
            tell({ text: `${name} was dropped.` });
            go(link(["datacube"]));
          }}
        >
          <p>All collections and documents in it will be gone. This cannot be undone.</p>
        </TypedConfirm>
      )}
      {dropping !== null && (
        <TypedConfirm
          title="Drop the collection"
          name={dropping}
          verb="Drop it"
          onClose={() => setDropping(null)}
          onConfirm={async () => {
            await api.json("api/drop_collections", { method: "DELETE", body: JSON.stringify({ database_id: id, collection_names: [dropping] }) });
            done(`${dropping} was dropped.`);
          }}
        >
          <p>All documents in it will be gone. This cannot be undone.</p>
        </TypedConfirm>
      )}
    </>
  );
}
