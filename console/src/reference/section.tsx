/** The API: every action and route, to read about and to try with one's own rights and data. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { PageProps } from "../pages";
import { go, link } from "../router";
import { useSession } from "../session";
import { Empty, Failure, IconButton, useLoaded, useTitle } from "../ui/parts";
import { type Operation, type Reference, reference } from "./model";
import { OperationPage } from "./operation";

export function ReferenceSection({ path, query }: PageProps): JSX.Element {
  useTitle("API");
  const { api } = useSession();
  const [open, setOpen] = useState(false);
  const [id] = path;
  const found = useLoaded((signal) => reference(api, signal), [api]);
  const chosen = found.value?.operations.find(({ operationId }) => operationId === id);
  return (
    <div class={open ? "split open" : "split"}>
      <aside class="side" aria-label="Actions and routes">
        {found.value && <Menu told={found.value} chosen={id ?? ""} query={query} onChoose={() => setOpen(false)} />}
      </aside>
      <main id="content" tabIndex={-1} class="page">
        <div class="side-toggle">
          <IconButton icon="menu" label="Actions and routes" pressed={open} onClick={() => setOpen(!open)} />
        </div>
        {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
        {found.value && chosen && <OperationPage key={chosen.operationId} operation={chosen} />}
        {found.value && !chosen && (
          <>
            <header class="page-head">
              <h1>API</h1>
              <a class="button" href="docs">
                Open /docs
              </a>
              <a class="button" href="openapi.json" download="openapi.json">
                Save the OpenAPI document
              </a>
            </header>
            {id ? (
              <Empty title="There is no such action or route" icon="search" />
            ) : (
              <div class="panel">
                {found.value.tags.map(({ name, description }) => (
                  <section key={name}>
                    <h2>{name}</h2>
                    <p>{description}</p>
                  </section>
                ))}
              </div>
            )}
          </>
        )}
      </main>
    </div>
  );
}

function Menu(props: { told: Reference; chosen: string; query: URLSearchParams; onChoose: () => void }): JSX.Element {
  const { told, chosen, query, onChoose } = props;
  const wanted = query.get("find") ?? "";
  const fits = ({ operationId, summary, path }: Operation): boolean =>
    `${operationId} ${summary} ${path}`.toLowerCase().includes(wanted.toLowerCase());
  const listed = told.operations.filter(fits);
  return (
    <>
      <div class="side-search">
        <input
          type="search"
          class="plain-search"
          aria-label="Find an action or route"
          placeholder="Find an action or route"
          value={wanted}
          onInput={(event) => go(link(chosen ? ["api", chosen] : ["api"], { find: event.currentTarget.value }), true)}
        />
      </div>
      <nav class="side-list" aria-label="All actions and routes">
        {told.tags.map(({ name }) => {
          const own = listed.filter(({ tags }) => tags[0] === name);
          if (own.length === 0) return null;
          return (
            <section key={name}>
              <h2 class="side-source">{name}</h2>
              <ul>
                {own.map(({ operationId, method, path }) => (
                  <li key={operationId}>
                    <a href={link(["api", operationId], { find: wanted })} title={`${method} ${path}`} aria-current={operationId === chosen ? "page" : undefined} onClick={onChoose}>
                      <span class="clip">{operationId}</span>
                    </a>
                  </li>
                ))}
              </ul>
            </section>
          );
        })}
        {listed.length === 0 && <p class="side-note">Nothing is found.</p>}
      </nav>
    </>
  );
}
