/** One collection of a database that the person owns: its fields, its first documents, and how programs reach it. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { jsonLines } from "../documents/display";
import { link } from "../router";
import { useSession } from "../session";
import { plural } from "../ui/format";
import { List } from "../ui/list";
import { PageHead } from "../ui/page";
import { Choice, Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { Snippet } from "../ui/text";
import { field, itemsOf, numberOf, type Value } from "../values/model";
import { read } from "../values/read";
import { type CubeDescribed, type Language, LANGUAGES, program } from "./model";

const PAGE = 10;

export function CubeCollectionPage({ id, name }: { id: string; name: string }): JSX.Element {
  const { api } = useSession();
  const asked = new URLSearchParams({ database_id: id, collection_name: name });
  const found = useLoaded(
    async (signal) => (await api.json<{ data: { displayName: string; collections: readonly CubeDescribed[] } }>(`api/get_metadata?${asked}`, { signal })).data,
    [api, id, name],
  );
  const one = found.value?.collections[0];
  const database = found.value?.displayName ?? id;
  useTitle(`${database}.${name}`);
  const fields = one ? [...one.fields, ...(one.other_fields ?? [])] : [];
  return (
    <>
      <PageHead title={`${database}.${name}`} icon="collection" tabs={[{ href: link(["datacube", id], { name: database }), title: `All collections of ${database}`, chosen: false }]} />
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      <div class="panel">
        {one && (
          <section>
            <h2>Fields</h2>
            <p class="muted small">
              {one.fields.length === 0 ? "None is declared." : one.enforce ? "Documents whose fields have other types are refused." : "What is declared is not enforced."}
            </p>
            {fields.length > 0 && (
              <List label="Fields" heads={["Field", "Declared", "Seen in documents"]}>
                {fields.map((one) => (
                  <tr key={one.name}>
                    <th scope="row">
                      <bdi class="wrap">{one.name}</bdi>
                    </th>
                    <td>{one.type ?? "–"}</td>
                    <td>{one.observed_types.join(", ") || "–"}</td>
                  </tr>
                ))}
              </List>
            )}
          </section>
        )}
        <Programs id={id} name={name} />
        <Documents id={id} name={name} />
      </div>
    </>
  );
}

function Documents({ id, name }: { id: string; name: string }): JSX.Element {
  const { api } = useSession();
  const [page, setPage] = useState(1);
  const found = useLoaded(
    async (signal) => {
      const query = new URLSearchParams({ database_id: id, collection_name: name, page: String(page), page_size: String(PAGE) });
      return read(await (await api.send(`api/crud?${query}`, { accept: "application/ejson", signal })).text());
    },
    [api, id, name, page],
  );
  const pagination: Value | undefined = found.value && field(found.value, "pagination");
  const number = (of: string): number => (pagination ? numberOf(field(pagination, of)) : NaN);
  const documents = found.value ? itemsOf(found.value, "data") : [];
  return (
    <section>
      <h2>Documents</h2>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value && documents.length === 0 && (
        <Empty title="No documents" icon="collection">
          <p>Write one by a request as above.</p>
        </Empty>
      )}
      {documents.map((one, index) => (
        <article key={index} class="doc" aria-label={`Document ${(page - 1) * PAGE + index + 1}`}>
          <div class="json">{jsonLines(one).lines}</div>
        </article>
      ))}
      {number("total_pages") > 1 && (
        <div class="more row">
          <button type="button" class="button" disabled={page === 1} onClick={() => setPage(page - 1)}>
            Before
          </button>
          <span>
            Page {page} of {number("total_pages")}, {plural(number("total_items"), "document")}
          </span>
          <button type="button" class="button" disabled={page >= number("total_pages")} onClick={() => setPage(page + 1)}>
            Next
          </button>
        </div>
      )}
    </section>
  );
}

/** Ready requests, with a place for a key. */
function Programs({ id, name }: { id: string; name: string }): JSX.Element {
  const [language, setLanguage] = useState<Language>("curl");
  return (
    <section>
      <h2>Integration</h2>
      <p class="muted small">
        Put a key of yours where the dots are: <a href={link(["datacube", "keys"])}>make one</a>.
      </p>
      <div class="stack">
        <Choice label="Language" value={language} options={LANGUAGES.map((one) => [one, one] as const)} onChange={setLanguage} />
        <Snippet label={`Read with ${language}`} text={program(language, "read", "…", id, name)} />
        <Snippet label={`Write with ${language}`} text={program(language, "write", "…", id, name)} />
      </div>
    </section>
  );
}
