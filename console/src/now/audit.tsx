/** The audit that is kept in the database, newest first, with filters that are in the address. */

import type { JSX } from "preact";
import { ApiError } from "../api";
import { go, link } from "../router";
import { useSession } from "../session";
import { List } from "../ui/list";
import { Moment } from "../ui/moment";
import { usePaged } from "../ui/paged";
import { Empty, Failure, useTitle } from "../ui/parts";

interface Event {
  readonly id: string;
  readonly time: string;
  readonly action: string;
  readonly outcome: "allowed" | "denied" | "failed";
  readonly error_code?: string;
  readonly namespace?: string;
  readonly target?: string;
  readonly caller?: string;
  readonly key?: string;
  readonly provider?: string;
  readonly runs_as?: string;
  readonly address?: string;
  readonly request?: string;
  readonly counts?: Readonly<Record<string, number>>;
}

const TEXTS = { action: "Action", caller: "Caller", key: "Key", address: "Address", namespace: "Collection", target: "About" } as const;
const TIMES = { since: "From", until: "Until" } as const;

function pathOf(query: URLSearchParams, after: string | null): string {
  const asked = new URLSearchParams({ limit: "100" });
  for (const name of [...Object.keys(TEXTS), "outcome"]) if (query.get(name)) asked.set(name, query.get(name) ?? "");
  for (const name of Object.keys(TIMES)) {
    const at = new Date(query.get(name) ?? "");
    if (!Number.isNaN(at.getTime())) asked.set(name, at.toISOString());
  }
  if (after) asked.set("after", after);
  return `api/admin/v1/audit?${asked}`;
}

export function Audit({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Audit");
  const { api } = useSession();
  const asked = query.toString();
  const found = usePaged(async (after, signal) => {
    const { events, next } = await api.json<{ events: readonly Event[]; next: string | null }>(pathOf(query, after), { signal });
    return { items: events, next };
  }, [api, asked]);
  if (found.error instanceof ApiError && found.error.code === "AuditNotKept")
    return (
      <Empty title="The audit is not kept in the database" icon="clock">
        <p>
          With the setting <code>audit_collection_days</code> it is kept for so many days, and read here. With <code>audit_file</code> it is in
          a file.
        </p>
      </Empty>
    );
  return (
    <>
      <Filters query={query} />
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.items?.length === 0 && (
        <Empty title="Nothing matches" icon="search">
          <p>Take a filter away, or wait: events are written about every second.</p>
        </Empty>
      )}
      {found.items !== undefined && found.items.length > 0 && <Events listed={found.items} />}
      {found.end}
    </>
  );
}

function Filters({ query }: { query: URLSearchParams }): JSX.Element {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    go(link(["now", "audit"], Object.fromEntries([...given].map(([name, value]) => [name, String(value).trim()]))));
  };
  return (
    <form class="bar" key={query.toString()} onSubmit={submit}>
      {Object.entries(TEXTS).map(([name, title]) => (
        <label key={name} class="field">
          <span>{title}</span>
          <input name={name} type="text" spellcheck={false} autocomplete="off" defaultValue={query.get(name) ?? ""} />
        </label>
      ))}
      <label class="field">
        <span>Outcome</span>
        <select name="outcome" defaultValue={query.get("outcome") ?? ""}>
          <option value="">any</option>
          {["allowed", "denied", "failed"].map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      {Object.entries(TIMES).map(([name, title]) => (
        <label key={name} class="field">
          <span>{title}</span>
          <input name={name} type="datetime-local" defaultValue={query.get(name) ?? ""} />
        </label>
      ))}
      <button type="submit" class="button primary">
        Filter
      </button>
      <a class="button plain" href={link(["now", "audit"])}>
        Show all
      </a>
    </form>
  );
}

function Events({ listed }: { listed: readonly Event[] }): JSX.Element {
  return (
    <List label="Events" heads={["When", "Action", "Outcome", "About", "Who", "From", "Documents"]}>
      {listed.map((event) => (
        <tr key={event.id}>
          <td>
            <Moment at={event.time} />
          </td>
          <th scope="row">{event.action}</th>
          <td>
            <span class={event.outcome === "allowed" ? "badge good" : "badge bad"}>{event.outcome}</span>{" "}
            <span class="small">{event.error_code}</span>
          </td>
          <td>
            <bdi class="wrap">{[event.namespace, event.target].filter(Boolean).join(" ")}</bdi>
          </td>
          <td>
            {event.key ? <a href={link(["keys", event.key])}>{event.key}</a> : <bdi>{event.caller ?? event.provider}</bdi>}
            {event.runs_as && <span class="muted small"> as {event.runs_as}</span>}
          </td>
          <td>{event.address}</td>
          <td>
            {Object.entries(event.counts ?? {})
              .map(([what, number]) => `${number} ${what}`)
              .join(", ")}
          </td>
        </tr>
      ))}
    </List>
  );
}
