/** The API: every action and route, to read about and to try with one's own rights and data. */

import type { JSX } from "preact";
import { go, link, type PageProps } from "../router";
import { useSession } from "../session";
import { Beside } from "../ui/page";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { type Operation, type Reference, reference } from "./model";
import { OperationPage } from "./operation";

export function ReferenceSection({ path, query }: PageProps): JSX.Element {
  useTitle("API");
  const { api } = useSession();
  const [id] = path;
  const found = useLoaded((signal) => reference(api, signal), [api]);
  const chosen = found.value?.operations.find(({ operationId }) => operationId === id);
  return (
    <Beside
      label="Actions and routes"
      list={found.value && <Menu told={found.value} chosen={id ?? ""} query={query} />}
      at={id ?? ""}
    >
      {!found.value && found.error === undefined && (
        <header class="page-head">
          <h1>API</h1>
          <span class="muted" role="status">
            Reading what the server offers …
          </span>
        </header>
      )}
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
    </Beside>
  );
}

function Menu(props: { told: Reference; chosen: string; query: URLSearchParams }): JSX.Element {
  const { told, chosen, query } = props;
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
                    <a href={link(["api", operationId], { find: wanted })} title={`${method} ${path}`} aria-current={operationId === chosen ? "page" : undefined}>
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
