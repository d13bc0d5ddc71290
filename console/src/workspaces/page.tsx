/** One workspace: its quotas, its members, its tokens and keys, and how a program reaches it. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { messageOf } from "../api";
import { go, link } from "../router";
import { useSession } from "../session";
import { Ask, SecretDialog, TypedConfirm } from "../ui/form";
import { Icon } from "../ui/icons";
import { Facts, List } from "../ui/list";
import { Moment } from "../ui/moment";
import { Failure, useLoaded, useTitle } from "../ui/parts";
import { PageHead } from "../ui/page";
import { Snippet } from "../ui/text";
import { tell } from "../ui/toasts";
import { AddMember, ChangeWorkspace, Members } from "./change";
import { SCOPES, scopesOf, type Workspace, type WorkspaceKey, workspacePath } from "./model";

interface Secret {
  readonly title: string;
  readonly text: string;
}

const SCOPES_FIELD = { name: "scopes", label: "Scopes", placeholder: SCOPES.join(", "), value: "mongo:read, mongo:write" };

function curl(workspace: string, secret: string): string {
  const base = new URL("v1/mongo/", document.baseURI).href;
  return `curl '${base}${encodeURIComponent(workspace)}/collections' \\\n  -H 'Authorization: Bearer ${secret}' \\\n  -H 'X-API-Version: 2024-01-01'`;
}

export function WorkspacePage({ id }: { id: string }): JSX.Element {
  useTitle(id);
  const { api } = useSession();
  const [turn, setTurn] = useState(0);
  const [doing, setDoing] = useState<"change" | "member" | "token" | "key" | "end" | "delete" | null>(null);
  const [revoking, setRevoking] = useState<WorkspaceKey | null>(null);
  const [secret, setSecret] = useState<Secret | null>(null);
  const found = useLoaded((signal) => api.json<Workspace>(workspacePath(id), { signal }), [api, id, turn]);
  const keys = useLoaded(
    async (signal) => (await api.json<{ keys: readonly WorkspaceKey[] }>(`${workspacePath(id)}/keys`, { signal })).keys,
    [api, id, turn],
  );
  const shown = (made: Secret): void => {
    setDoing(null);
    setSecret(made);
    setTurn(turn + 1);
  };
  const done = (text: string): void => {
    setDoing(null);
    setRevoking(null);
    tell({ text });
    setTurn(turn + 1);
  };
  const leave = async (user: string): Promise<void> => {
    try {
      await api.json(workspacePath(id), { method: "PATCH", body: JSON.stringify({ members: { [user]: null } }) });
      done(`${user} is no member any more.`);
    } catch (failure) {
      tell({ text: messageOf(failure), bad: true });
    }
  };
  return (
    <>
      <PageHead title={id} icon="stack" tabs={[{ href: link(["workspaces"]), title: "All workspaces", chosen: false }]}>
        {found.value && (
          <>
            <button type="button" class="button" onClick={() => setDoing("change")}>
              <Icon name="edit" /> Change
            </button>
            <button type="button" class="button" onClick={() => setDoing("token")}>
              Make a token
            </button>
            <button type="button" class="button" onClick={() => setDoing("key")}>
              <Icon name="key" /> Make a key
            </button>
            <button type="button" class="button" onClick={() => setDoing("end")}>
              End all tokens
            </button>
            <button type="button" class="button" onClick={() => setDoing("delete")}>
              <Icon name="trash" /> Forget
            </button>
          </>
        )}
      </PageHead>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value && (
        <div class="panel">
          <About of={found.value} />
          <Members one={found.value} add={() => setDoing("member")} remove={(user) => void leave(user)} />
          {keys.error !== undefined && <Failure error={keys.error} retry={keys.again} />}
          {keys.value && <Keys listed={keys.value} revoke={setRevoking} />}
          <section>
            <h2>Ready request</h2>
            <Snippet label="curl" text={curl(id, "$TOKEN")} />
          </section>
        </div>
      )}
      {found.value && doing === "change" && <ChangeWorkspace one={found.value} onClose={() => setDoing(null)} onDone={done} />}
      {found.value && doing === "member" && <AddMember one={found.value} onClose={() => setDoing(null)} onDone={done} />}
      {doing === "token" && (
        <Ask
          title="Make a token"
          verb="Make it"
          onClose={() => setDoing(null)}
          fields={[SCOPES_FIELD, { name: "seconds", label: "Good for so many seconds", value: "3600" }]}
          onAnswer={async ({ scopes = "", seconds = "" }) => {
            const body = JSON.stringify({ scopes: scopesOf(scopes), seconds: Number(seconds) });
            const { token } = await api.json<{ token: string }>(`${workspacePath(id)}/token`, { body });
            shown({ title: "The token", text: token });
          }}
        />
      )}
      {doing === "key" && (
        <Ask
          title="Make a key"
          verb="Make it"
          onClose={() => setDoing(null)}
          fields={[{ name: "name", label: "Name", required: true }, SCOPES_FIELD]}
          onAnswer={async ({ name = "", scopes = "" }) => {
            const body = JSON.stringify({ name, scopes: scopesOf(scopes) });
            const made = await api.json<WorkspaceKey>(`${workspacePath(id)}/keys`, { body });
            shown({ title: `The key ${made.name}`, text: made.key ?? "" });
          }}
        />
      )}
      {doing === "end" && (
        <TypedConfirm
          title="End all tokens"
          name={id}
          verb="End them"
          onClose={() => setDoing(null)}
          onConfirm={async () => {
            await api.send(workspacePath(id), { method: "PATCH", body: '{"end_tokens": true}' });
            done("All tokens that were issued have ended.");
          }}
        >
          <p>Whoever has a token of this workspace is let in no more. Keys stay in force.</p>
        </TypedConfirm>
      )}
      {revoking && (
        <TypedConfirm
          title="Revoke the key"
          name={revoking.name}
          verb="Revoke it"
          onClose={() => setRevoking(null)}
          onConfirm={async () => {
            await api.send(`${workspacePath(id)}/keys/${encodeURIComponent(revoking.id)}/revoke`, { method: "POST" });
            done(`${revoking.name} was revoked.`);
          }}
        >
          <p>Nobody is let in by it any more, and it cannot be brought back.</p>
        </TypedConfirm>
      )}
      {doing === "delete" && (
        <TypedConfirm
          title="Forget the workspace"
          name={id}
          verb="Forget it"
          onClose={() => setDoing(null)}
          onConfirm={async () => {
            await api.send(workspacePath(id), { method: "DELETE" });
            tell({ text: `${id} is forgotten.` });
            go(link(["workspaces"]));
          }}
        >
          <p>Its tokens and keys end. Its documents stay in the database.</p>
        </TypedConfirm>
      )}
      {secret && <SecretDialog title={secret.title} secrets={[["", secret.text]]} code={curl(id, secret.text)} onClose={() => setSecret(null)} />}
    </>
  );
}

function About({ of: one }: { of: Workspace }): JSX.Element {
  return (
    <Facts
      of={[
        [
          "Database",
          <>
            <a href={link(["data", one.data_source, one.database])}>
              <bdi>{one.database}</bdi>
            </a>
            {one.shared && <span class="badge">shared</span>}
          </>,
        ],
        ["Tenant", one.tenant],
        ["Capabilities", one.capabilities.join(", ")],
        ["Quotas", Object.entries(one.quotas).map(([kind, most]) => `${kind} ${most}`).join(", ") || "none"],
        ["Made", <Moment at={one.created} />],
      ]}
    />
  );
}

function Keys({ listed, revoke }: { listed: readonly WorkspaceKey[]; revoke: (key: WorkspaceKey) => void }): JSX.Element {
  return (
    <section>
      <h2>Keys</h2>
      {listed.length === 0 ? (
        <p class="muted">No keys. A key is for a program that goes on; a token is for a while.</p>
      ) : (
        <List label="Keys" heads={["Name", "Scopes", "State", "Made", "-Actions"]}>
          {listed.map((key) => (
            <tr key={key.id}>
              <th scope="row">
                <bdi>{key.name}</bdi>
              </th>
              <td>{key.scopes.join(", ")}</td>
              <td>{key.revoked ? <span class="badge bad">revoked</span> : <span class="badge good">in force</span>}</td>
              <td>
                <Moment at={key.created} />
              </td>
              <td class="number">
                {!key.revoked && (
                  <button type="button" class="button small" aria-label={`Revoke ${key.name}`} onClick={() => revoke(key)}>
                    Revoke
                  </button>
                )}
              </td>
            </tr>
          ))}
        </List>
      )}
    </section>
  );
}
