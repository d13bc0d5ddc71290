/** DataCube: the databases that the person owns, and the keys for them. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { link, type PageProps } from "../router";
import { useSession } from "../session";
import { FormDialog, textIn } from "../ui/form";
import { plural } from "../ui/format";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Page, PageHead } from "../ui/page";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { tell } from "../ui/toasts";
import { CollectionFields, collectionIn } from "./adding";
import { CubeCollectionPage } from "./collection";
import { CubePage } from "./database";
import { CubeKeys } from "./keys";
import type { Cube } from "./model";

export function DataCubeSection({ path }: PageProps): JSX.Element {
  const { datacube } = useSession();
  const [first, collection] = path;
  const tabs = [
    { href: link(["datacube"]), title: "Databases", chosen: first !== "keys" },
    { href: link(["datacube", "keys"]), title: "Keys", chosen: first === "keys" },
  ];
  return (
    <Page>
      {!datacube ? (
        <Empty whole title="You own no databases here" icon="database">
          <p>Databases of DataCube belong to who signs in with email and password, where the setting datacube is on.</p>
        </Empty>
      ) : first === undefined ? (
        <Cubes tabs={tabs} />
      ) : first === "keys" ? (
        <CubeKeys tabs={tabs} />
      ) : collection !== undefined ? (
        <CubeCollectionPage key={path.join("/")} id={first} name={collection} />
      ) : (
        <CubePage key={first} id={first} />
      )}
    </Page>
  );
}

const PAGE = 50;

function Cubes({ tabs }: { tabs: Parameters<typeof PageHead>[0]["tabs"] & object }): JSX.Element {
  useTitle("Databases of mine");
  const { api } = useSession();
  const [search, setSearch] = useState("");
  const [page, setPage] = useState(1);
  const [making, setMaking] = useState(false);
  const found = useLoaded(
    (signal) => {
      const query = new URLSearchParams({ search, page: String(page), page_size: String(PAGE) });
      return api.json<{ data: readonly Cube[]; pagination: { total_pages: number; total_items: number } }>(`api/list_databases?${query}`, { signal });
    },
    [api, search, page],
  );
  const pages = found.value?.pagination.total_pages ?? 1;
  return (
    <>
      <PageHead title="DataCube" icon="database" tabs={tabs}>
        <button type="button" class="button primary" onClick={() => setMaking(true)}>
          <Icon name="plus" /> Create a database
        </button>
      </PageHead>
      <div class="bar">
        <label class="field grow">
          <span class="hidden">Find a database</span>
          <input
            type="search"
            placeholder="Find a database"
            value={search}
            onInput={(event) => {
              setSearch(event.currentTarget.value);
              setPage(1);
            }}
          />
        </label>
      </div>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value?.data.length === 0 && (
        <Empty title={search ? "None is called so" : "No databases yet"} icon="database">
          <p>A database that you create is yours: nobody else reaches it, but who has a key of yours.</p>
        </Empty>
      )}
      {found.value !== undefined && found.value.data.length > 0 && (
        <List label="Databases of mine" heads={["Database", "#Collections", "Id"]}>
          {found.value.data.map((one) => (
            <tr key={one.id}>
              <th scope="row">
                <a href={link(["datacube", one.id], { name: one.name })}>
                  <Icon name="database" /> <bdi>{one.name}</bdi>
                </a>
              </th>
              <td class="number">{one.num_collections}</td>
              <td>
                <code>{one.id}</code>
              </td>
            </tr>
          ))}
        </List>
      )}
      {pages > 1 && (
        <div class="more row">
          <button type="button" class="button" disabled={page === 1} onClick={() => setPage(page - 1)}>
            Before
          </button>
          <span>
            Page {page} of {pages}, {plural(found.value?.pagination.total_items ?? 0, "database")}
          </span>
          <button type="button" class="button" disabled={page === pages} onClick={() => setPage(page + 1)}>
            Next
          </button>
        </div>
      )}
      {making && (
        <FormDialog
          title="Create a database"
          verb="Create it"
          onClose={() => setMaking(false)}
          onSubmit={async (given) => {
            const name = textIn(given, "name");
            await api.json("api/create_database", { body: JSON.stringify({ db_name: name, collections: [collectionIn(given)] }) });
            tell({ text: `${name} was created.` });
            setMaking(false);
            found.again();
          }}
        >
          <label class="field">
            <span>Name</span>
            <input name="name" type="text" required autocomplete="off" spellcheck={false} placeholder="my_project" />
          </label>
          <CollectionFields title="Its first collection" />
        </FormDialog>
      )}
    </>
  );
}
