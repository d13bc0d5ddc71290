/** Changing a workspace: its quotas, what it may be used for, and its members. */

import type { JSX } from "preact";
import { useSession } from "../session";
import { Ask, FormDialog, textIn } from "../ui/form";
import { List } from "../ui/list";
import { CAPABILITIES, QUOTAS, SCOPES, scopesOf, type Workspace, workspacePath } from "./model";

interface Props {
  readonly one: Workspace;
  readonly onClose: () => void;
  readonly onDone: (text: string) => void;
}

export function ChangeWorkspace({ one, onClose, onDone }: Props): JSX.Element {
  const { api } = useSession();
  const change = async (given: FormData): Promise<void> => {
    const quotas = Object.fromEntries(QUOTAS.map((kind) => [kind, textIn(given, kind) === "" ? null : Number(textIn(given, kind))] as const));
    const kept = Object.fromEntries(Object.entries(quotas).filter(([kind, most]) => most !== null || one.quotas[kind] !== undefined));
    const capabilities = CAPABILITIES.filter((name) => given.has(name));
    await api.json(workspacePath(one.id), { method: "PATCH", body: JSON.stringify({ quotas: kept, capabilities }) });
    onDone(`${one.id} was changed.`);
  };
  return (
    <FormDialog title={`Change ${one.id}`} verb="Save" onClose={onClose} onSubmit={change}>
      <fieldset>
        <legend>The most that it may have; empty is no limit</legend>
        <div class="pair">
          {QUOTAS.map((kind) => (
            <label key={kind} class="field">
              <span>{`${kind[0]?.toUpperCase()}${kind.slice(1)}`}</span>
              <input name={kind} type="number" min="0" defaultValue={one.quotas[kind] ?? ""} />
            </label>
          ))}
        </div>
      </fieldset>
      <fieldset>
        <legend>What it may be used for</legend>
        <div class="checks">
          {CAPABILITIES.map((name) => (
            <label key={name} class="check">
              <input type="checkbox" name={name} defaultChecked={one.capabilities.includes(name)} /> {name}
            </label>
          ))}
        </div>
      </fieldset>
    </FormDialog>
  );
}

/** Makes a user a member, or gives a member other scopes. */
export function AddMember({ one, onClose, onDone }: Props): JSX.Element {
  const { api } = useSession();
  return (
    <Ask
      title="Add a member"
      verb="Add them"
      fields={[
        { name: "user", label: "The user's id", required: true },
        { name: "scopes", label: "Scopes", placeholder: SCOPES.join(", "), value: "mongo:read" },
      ]}
      onClose={onClose}
      onAnswer={async ({ user = "", scopes = "" }) => {
        await api.json(workspacePath(one.id), { method: "PATCH", body: JSON.stringify({ members: { [user]: scopesOf(scopes) ?? [] } }) });
        onDone(`${user} is a member.`);
      }}
    >
      <p class="muted small">Members reach the workspace by their own sign-in, with these scopes. Their ids are on the page of users.</p>
    </Ask>
  );
}

export function Members({ one, add, remove }: { one: Workspace; add: () => void; remove: (user: string) => void }): JSX.Element {
  const members = Object.entries(one.members);
  return (
    <section>
      <div class="row">
        <h2 class="grow">Members</h2>
        <button type="button" class="button small" onClick={add}>
          Add a member
        </button>
      </div>
      {members.length === 0 ? (
        <p class="muted">No members: tokens and keys alone open it.</p>
      ) : (
        <List label="Members" heads={["User", "Scopes", "-Actions"]}>
          {members.map(([user, scopes]) => (
            <tr key={user}>
              <th scope="row">
                <bdi class="mono wrap">{user}</bdi>
              </th>
              <td>{scopes.join(", ")}</td>
              <td class="number">
                <button type="button" class="button small" aria-label={`Remove ${user}`} onClick={() => remove(user)}>
                  Remove
                </button>
              </td>
            </tr>
          ))}
        </List>
      )}
    </section>
  );
}
