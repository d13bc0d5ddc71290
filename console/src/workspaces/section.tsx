/** Tenants with their workspaces, and one workspace on a page of its own. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, link, type PageProps } from "../router";
import { useSession } from "../session";
import { Ask, TypedConfirm } from "../ui/form";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Moment } from "../ui/moment";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { Page, PageHead } from "../ui/page";
import { tell } from "../ui/toasts";
import { given, type Tenant, TENANTS, type Workspace, WORKSPACES } from "./model";
import { WorkspacePage } from "./page";

export function WorkspacesSection({ path }: PageProps): JSX.Element {
  const [id] = path;
  return (
    <Page>
      {id === undefined ? <Tenants /> : <WorkspacePage key={id} id={id} />}
    </Page>
  );
}

function Tenants(): JSX.Element {
  useTitle("Workspaces");
  const { api } = useSession();
  const [turn, setTurn] = useState(0);
  const [making, setMaking] = useState<"tenant" | "workspace" | null>(null);
  const [deleting, setDeleting] = useState<Tenant | null>(null);
  const found = useLoaded(
    async (signal) => {
      const [{ tenants }, { workspaces }] = await Promise.all([
        api.json<{ tenants: readonly Tenant[] }>(TENANTS, { signal }),
        api.json<{ workspaces: readonly Workspace[] }>(WORKSPACES, { signal }),
      ]);
      return tenants.map((tenant) => ({ tenant, own: workspaces.filter((one) => one.tenant === tenant.id) }));
    },
    [api, turn],
  );
  const done = (text: string): void => {
    setMaking(null);
    setDeleting(null);
    tell({ text });
    setTurn(turn + 1);
  };
  const none = found.value?.length === 0;
  return (
    <>
      <PageHead title="Workspaces" icon="stack">
        <button type="button" class="button" onClick={() => setMaking("tenant")}>
          <Icon name="plus" /> Make a tenant
        </button>
        {!none && (
          <button type="button" class="button primary" disabled={!found.value} onClick={() => setMaking("workspace")}>
            <Icon name="plus" /> Make a workspace
          </button>
        )}
      </PageHead>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {none && (
        <Empty title="There are no tenants" icon="stack">
          <p>A tenant is somebody whom you give databases to. Each workspace of a tenant is one, with tokens and keys that reach nothing else.</p>
        </Empty>
      )}
      <div class="panel whole">
        {found.value?.map(({ tenant, own }) => (
          <section key={tenant.id}>
            <div class="row">
              <h2 class="grow">
                <bdi class="wrap">{tenant.name}</bdi> <code class="muted small">{tenant.id}</code>
              </h2>
              {own.length === 0 && (
                <button type="button" class="button small" onClick={() => setDeleting(tenant)}>
                  Forget {tenant.id}
                </button>
              )}
            </div>
            {own.length === 0 ? <p class="muted">No workspaces</p> : <Table of={tenant} own={own} />}
          </section>
        ))}
      </div>
      {making === "tenant" && (
        <Ask
          title="Make a tenant"
          verb="Make it"
          onClose={() => setMaking(null)}
          fields={[
            { name: "name", label: "Name", required: true, placeholder: "Acme" },
            { name: "id", label: "Id", placeholder: "made up if empty" },
          ]}
          onAnswer={async (fields) => {
            const made = await api.json<Tenant>(TENANTS, { body: JSON.stringify(given(fields)) });
            done(`${made.name} was made.`);
          }}
        />
      )}
      {making === "workspace" && (
        <Ask
          title="Make a workspace"
          verb="Make it"
          onClose={() => setMaking(null)}
          fields={[
            { name: "tenant", label: "Tenant", options: found.value?.map(({ tenant }) => tenant.id) ?? [] },
            { name: "id", label: "Id", placeholder: "made up if empty" },
            { name: "database", label: "Database", placeholder: "named as the id if empty" },
          ]}
          onAnswer={async (fields) => {
            const made = await api.json<Workspace>(WORKSPACES, { body: JSON.stringify(given(fields)) });
            tell({ text: `${made.id} was made.` });
            go(link(["workspaces", made.id]));
          }}
        />
      )}
      {deleting && (
        <TypedConfirm
          title="Forget the tenant"
          name={deleting.id}
          verb="Forget it"
          onClose={() => setDeleting(null)}
          onConfirm={async () => {
            await api.send(`${TENANTS}/${encodeURIComponent(deleting.id)}`, { method: "DELETE" });
            done(`${deleting.name} is forgotten.`);
          }}
        >
          <p>It has no workspaces. Documents are not touched.</p>
        </TypedConfirm>
      )}
    </>
  );
}

function Table({ of: tenant, own }: { of: Tenant; own: readonly Workspace[] }): JSX.Element {
  return (
    <List label={`Workspaces of ${tenant.name}`} heads={["Workspace", "Database", "Capabilities", "Quotas", "Made"]}>
      {own.map((one) => (
        <tr key={one.id}>
          <th scope="row">
            <a href={link(["workspaces", one.id])}>
              <Icon name="stack" /> {one.id}
            </a>
          </th>
          <td>
            <a href={link(["data", one.data_source, one.database])}>{one.database}</a>
            {one.shared && <span class="badge">shared</span>}
          </td>
          <td>{one.capabilities.join(", ")}</td>
          <td>
            {Object.entries(one.quotas)
              .map(([kind, most]) => `${kind} ${most}`)
              .join(", ") || "none"}
          </td>
          <td>
            <Moment at={one.created} />
          </td>
        </tr>
      ))}
    </List>
  );
}
