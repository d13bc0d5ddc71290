/** Users: found by a part of their address, made, and one on a page of its own. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { go, link, type PageProps } from "../router";
import { useSession } from "../session";
import { FormDialog } from "../ui/form";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Moment } from "../ui/moment";
import { Page, PageHead } from "../ui/page";
import { usePaged } from "../ui/paged";
import { Empty, Failure, useTitle } from "../ui/parts";
import { tell } from "../ui/toasts";
import { ACCOUNTS, called, PROVIDERS, type User, USERS, users, waiting } from "./model";
import { UserPage } from "./page";

export function UsersSection({ path, query }: PageProps): JSX.Element {
  const [first] = path;
  return (
    <Page>
      {first === undefined ? <UserList query={query} /> : first === "waiting" ? <Waiting /> : <UserPage key={first} id={first} />}
    </Page>
  );
}

const tabs = (toConfirm: boolean): { href: string; title: string; chosen: boolean }[] => [
  { href: link(["users"]), title: "All users", chosen: !toConfirm },
  { href: link(["users", "waiting"]), title: "To be confirmed", chosen: toConfirm },
];

const WAIT_MS = 250;

function UserList({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Users");
  const { api } = useSession();
  const [search, provider] = [query.get("search") ?? "", query.get("provider") ?? ""];
  const [typed, setTyped] = useState(search);
  const [making, setMaking] = useState(false);
  const found = usePaged((after, signal) => users(api, { search, provider, after }, signal), [api, search, provider]);
  useEffect(() => {
    const timer = window.setTimeout(() => go(link(["users"], { search: typed.trim(), provider }), true), WAIT_MS);
    return () => window.clearTimeout(timer);
  }, [typed]);
  return (
    <>
      <PageHead title="Users" icon="person" tabs={tabs(false)}>
        <button type="button" class="button primary" onClick={() => setMaking(true)}>
          <Icon name="plus" /> Create a user
        </button>
      </PageHead>
      <div class="bar">
        <label class="field grow">
          <span>Find</span>
          <input type="search" placeholder="A part of an address or name, or an id" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
        <label class="field">
          <span>Signs in by</span>
          <select value={provider} onChange={(event) => go(link(["users"], { search, provider: event.currentTarget.value }), true)}>
            <option value="">Anything</option>
            {Object.entries(PROVIDERS).map(([name, text]) => (
              <option key={name} value={name}>
                {text}
              </option>
            ))}
          </select>
        </label>
      </div>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.items?.length === 0 && (
        <Empty title={search || provider ? "Nobody is found" : "No users yet"} icon="person">
          <p>
            {search || provider
              ? "Nobody has this in the address or the name, or this id."
              : "Users come into being when they sign in for the first time, by the providers of the settings. Or create one here."}
          </p>
        </Empty>
      )}
      {found.items !== undefined && found.items.length > 0 && <UserTable listed={found.items} />}
      {found.end}
      {making && (
        <CreateUser
          onClose={() => setMaking(false)}
          onDone={(user) => {
            tell({ text: `${called(user)} was created.` });
            go(link(["users", user.id]));
          }}
        />
      )}
    </>
  );
}

function UserTable({ listed }: { listed: readonly User[] }): JSX.Element {
  return (
    <List label="Users" heads={["User", "Signs in by", "State", "Last seen", "Came"]}>
      {listed.map((user) => (
        <tr key={user.id}>
          <th scope="row">
            <a href={link(["users", user.id])}>
              <Icon name="person" /> <bdi class="wrap">{called(user)}</bdi>
            </a>
          </th>
          <td>{user.identities.map(({ provider_type: type }) => PROVIDERS[type] ?? type).join(", ")}</td>
          <td>{user.disabled ? <span class="badge warn">disabled</span> : <span class="badge good">may call</span>}</td>
          <td>
            <Moment at={user.last_authenticated} never="never" />
          </td>
          <td>
            <Moment at={user.created} />
          </td>
        </tr>
      ))}
    </List>
  );
}

function CreateUser({ onClose, onDone }: { onClose: () => void; onDone: (user: User) => void }): JSX.Element {
  const { api } = useSession();
  const create = async (given: FormData): Promise<void> =>
    onDone(await api.json<User>(USERS, { body: JSON.stringify({ email: given.get("email"), password: given.get("password") }) }));
  return (
    <FormDialog title="Create a user" verb="Create" onClose={onClose} onSubmit={create}>
      <label class="field">
        <span>Email</span>
        <input name="email" type="email" required autocomplete="off" />
      </label>
      <label class="field">
        <span>Password</span>
        <input name="password" type="password" required autocomplete="new-password" />
      </label>
      <p class="muted small">The address counts as confirmed. Tell the person the password by a way that you trust.</p>
    </FormDialog>
  );
}

/** Accounts whose address nobody has confirmed. */
function Waiting(): JSX.Element {
  useTitle("Users to be confirmed");
  const { api } = useSession();
  const [error, setError] = useState<unknown>(null);
  const found = usePaged((after, signal) => waiting(api, after, signal), [api]);
  const confirm = async (email: string): Promise<void> => {
    try {
      await api.json(`${ACCOUNTS}/confirm`, { body: JSON.stringify({ email }) });
      tell({ text: `${email} was confirmed.` });
      found.again();
    } catch (failure) {
      setError(failure);
    }
  };
  return (
    <>
      <PageHead title="Users" icon="person" tabs={tabs(true)} />
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {error !== null && <Failure error={error} />}
      {found.items?.length === 0 && (
        <Empty title="Nobody waits" icon="check">
          <p>Who registers with an address that has to be confirmed is listed here until then.</p>
        </Empty>
      )}
      {found.items !== undefined && found.items.length > 0 && (
        <List label="Accounts to be confirmed" heads={["Address", "Registered", "-Actions"]}>
          {found.items.map(({ email, created }) => (
            <tr key={email}>
              <th scope="row">
                <bdi class="wrap">{email}</bdi>
              </th>
              <td>
                <Moment at={created} />
              </td>
              <td class="number">
                <button type="button" class="button small" aria-label={`Confirm ${email}`} onClick={() => void confirm(email)}>
                  Confirm
                </button>
              </td>
            </tr>
          ))}
        </List>
      )}
      {found.end}
    </>
  );
}
