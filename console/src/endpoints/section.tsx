/** The app's endpoints and functions: what is in service, the last calls and lines of the log, and a try. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "../api";
import { link, type PageProps } from "../router";
import { useSession } from "../session";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { useLive } from "../ui/live";
import { Moment } from "../ui/moment";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { Page, PageHead } from "../ui/page";
import { TryEndpoint } from "./try";

interface Served {
  readonly name: string;
  readonly file: string;
  readonly runs_as: string;
  readonly private: boolean;
  readonly endpoints: readonly string[];
}

interface Listed {
  readonly functions: readonly Served[];
  readonly problems: readonly string[];
}

interface Told {
  readonly kind: string;
  readonly number: number;
  readonly time: string;
  readonly function: string;
  readonly request: string;
  readonly outcome?: string;
  readonly seconds?: number;
  readonly caller?: string;
  readonly level?: string;
  readonly text?: string;
}

const KEPT = 300;

export function EndpointsSection({ path, query }: PageProps): JSX.Element {
  return (
    <Page>
      {path[0] === "try" ? <TryEndpoint key={query.toString()} query={query} /> : <Endpoints only={query.get("function") ?? ""} />}
    </Page>
  );
}

function Endpoints({ only }: { only: string }): JSX.Element {
  useTitle("Endpoints");
  const { api } = useSession();
  const found = useLoaded((signal) => api.json<Listed>("api/admin/v1/functions", { signal }), [api]);
  if (found.error instanceof ApiError && found.error.status === 404)
    return (
      <>
        <PageHead title="Endpoints" icon="bolt" />
        <Empty title="No app is served" icon="bolt">
          <p>
            The setting <code>app</code> names the folder of an app with functions, in JavaScript or Python, and endpoints that answer by
            them.
          </p>
        </Empty>
      </>
    );
  const shown = found.value?.functions.filter(({ name }) => !only || name === only) ?? [];
  return (
    <>
      <PageHead title={only || "Endpoints"} icon="bolt" {...(only ? { tabs: [{ href: link(["endpoints"]), title: "All", chosen: false }] } : {})} />
      <div class="panel whole">
        {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
        {found.value?.problems.map((problem) => (
          <div key={problem} class="failure">
            <Icon name="warn" /> <div>{problem}</div>
          </div>
        ))}
        {found.value && <Functions listed={shown} />}
        {found.value && <Calls only={only} />}
      </div>
    </>
  );
}

function Functions({ listed }: { listed: readonly Served[] }): JSX.Element {
  if (listed.length === 0) return <p class="muted">There is no such function in service.</p>;
  return (
    <List label="Functions" heads={["Function", "Endpoints", "Runs as", "File"]}>
      {listed.map((one) => (
        <tr key={one.name}>
          <th scope="row">
            <a href={link(["endpoints"], { function: one.name })}>{one.name}</a>
            {one.private && <span class="badge warn">private</span>}
          </th>
          <td>
            <div class="row">
              {one.endpoints.map((endpoint) => {
                const [method = "GET", ...route] = endpoint.split(" ");
                return (
                  <a key={endpoint} href={link(["endpoints", "try"], { method: method === "*" ? "GET" : method, route: route.join(" ") })}>
                    <span class="badge">{method}</span> <code>{route.join(" ")}</code>
                  </a>
                );
              })}
            </div>
          </td>
          <td>{one.runs_as}</td>
          <td>
            <code>{one.file}</code>
          </td>
        </tr>
      ))}
    </List>
  );
}

/** The last calls and lines, newest first, as they come. */
function Calls({ only }: { only: string }): JSX.Element {
  const { api } = useSession();
  const [on, setOn] = useState(true);
  const [failed, setFailed] = useState(false);
  const [told, setTold] = useState<readonly Told[]>([]);
  const { error } = useLive(api, "api/admin/v1/functions/live", on, ({ kind, data }) => {
    const line = { kind, ...(JSON.parse(data) as object) } as Told;
    setTold((before) => [line, ...before.filter(({ number, time }) => number !== line.number || time !== line.time)].slice(0, KEPT));
  });
  const bad = (line: Told): boolean => (line.kind === "call" ? line.outcome !== "ok" : line.level === "warning" || line.level === "error");
  const shown = told.filter((line) => (!only || line.function === only) && (!failed || bad(line)));
  return (
    <section>
      <div class="row">
        <h2 class="grow">Last calls and lines of the log</h2>
        <label class="check">
          <input type="checkbox" checked={failed} onChange={(event) => setFailed(event.currentTarget.checked)} />
          <span>Only mistakes</span>
        </label>
        <button type="button" class="button small" aria-pressed={!on} onClick={() => setOn(!on)}>
          {on ? "Pause" : "Go on"}
        </button>
      </div>
      {error !== null && <Failure error={error} />}
      {shown.length === 0 ? (
        <p class="muted">Nothing yet. Calls appear as they happen; of several workers, those of the one that answers.</p>
      ) : (
        <List label="Last calls and lines of the log" heads={["When", "Function", "What", "Request"]}>
          {shown.map((line) => (
            <tr key={`${line.number} ${line.time}`}>
              <td>
                <Moment at={line.time} />
              </td>
              <td>{line.function}</td>
              <td class={bad(line) ? "wrong wrap" : "wrap"}>
                {line.kind === "call" ? (
                  <>
                    {line.outcome === "ok" ? "answered" : line.outcome} in {Math.round((line.seconds ?? 0) * 1000)} ms
                  </>
                ) : (
                  <code>{line.text}</code>
                )}
              </td>
              <td class="small muted">
                <code>{line.request}</code>
              </td>
            </tr>
          ))}
        </List>
      )}
    </section>
  );
}
