/** One user: what is known of them, their custom data, their sessions. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, link } from "../router";
import { useSession } from "../session";
import { FormDialog, TypedConfirm } from "../ui/form";
import { Icon } from "../ui/icons";
import { Facts } from "../ui/list";
import { Moment } from "../ui/moment";
import { Failure, useLoaded, useTitle } from "../ui/parts";
import { PageHead } from "../ui/page";
import { tell } from "../ui/toasts";
import { called, PROVIDERS, type User, userPath } from "./model";
import { SessionList } from "./sessions";

export function UserPage({ id }: { id: string }): JSX.Element {
  const { api } = useSession();
  const [doing, setDoing] = useState<"password" | "delete" | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [turn, setTurn] = useState(0);
  const found = useLoaded((signal) => api.json<User>(userPath(id), { signal }), [api, id, turn]);
  const user = found.value;
  const name = user ? called(user) : id;
  useTitle(name);
  const disable = async (): Promise<void> => {
    try {
      await api.json(`${userPath(id)}/${user?.disabled ? "enable" : "disable"}`, { method: "POST" });
      tell({ text: user?.disabled ? `${name} may call again.` : `${name} may call no more, and is signed out everywhere.` });
      setTurn(turn + 1);
    } catch (failure) {
      setError(failure);
    }
  };
  const hasPassword = user?.identities.some(({ provider_type: type }) => type === "local-userpass") ?? false;
  return (
    <>
      <PageHead title={name} icon="person" tabs={[{ href: link(["users"]), title: "All users", chosen: false }]}>
        {user && (
          <>
            <button type="button" class="button" onClick={() => void disable()}>
              {user.disabled ? "Enable" : "Disable"}
            </button>
            {hasPassword && (
              <button type="button" class="button" onClick={() => setDoing("password")}>
                Set the password
              </button>
            )}
            <a class="button" href={link(["rules", "why"], { as: id })}>
              Why?
            </a>
            <button type="button" class="button" onClick={() => setDoing("delete")}>
              <Icon name="trash" /> Delete
            </button>
          </>
        )}
      </PageHead>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {error !== null && <Failure error={error} />}
      {user && (
        <div class="panel">
          <About user={user} />
          <CustomData id={id} />
          <SessionList key={turn} of={id} />
        </div>
      )}
      {doing === "password" && <SetPassword id={id} name={name} onClose={() => setDoing(null)} onDone={() => { setDoing(null); setTurn(turn + 1); }} />}
      {doing === "delete" && (
        <TypedConfirm
          title="Delete the user"
          name={name}
          verb="Delete"
          onClose={() => setDoing(null)}
          onConfirm={async () => {
            await api.send(userPath(id), { method: "DELETE" });
            tell({ text: `${name} was deleted.` });
            go(link(["users"]));
          }}
        >
          <p>The user, the account, all keys and sessions of theirs will be gone. What they wrote stays.</p>
        </TypedConfirm>
      )}
    </>
  );
}

function About({ user }: { user: User }): JSX.Element {
  return (
    <>
      <Facts
        of={[
          ["State", user.disabled ? <span class="badge warn">disabled</span> : <span class="badge good">may call</span>],
          ["Id", <code>{user.id}</code>],
          ["Came", <Moment at={user.created} />],
          ["Last seen", <Moment at={user.last_authenticated} never="never" />],
          ...user.identities.map(
            ({ provider_type: type, data, id }) => [PROVIDERS[type] ?? type, <bdi>{String(data?.["email"] ?? id)}</bdi>] as const,
          ),
        ]}
      />
      {Object.keys(user.data).length > 0 && (
        <section>
          <h2>What the provider says</h2>
          <pre class="told mono" tabIndex={0} aria-label="What the provider says">{JSON.stringify(user.data, null, 2)}</pre>
        </section>
      )}
    </>
  );
}

interface Custom {
  readonly custom_data: Readonly<Record<string, unknown>>;
  readonly place: { readonly data_source: string | null; readonly database: string; readonly collection: string; readonly field: string } | null;
}

function CustomData({ id }: { id: string }): JSX.Element {
  const { api, sources } = useSession();
  const found = useLoaded((signal) => api.json<Custom>(`${userPath(id)}/custom-data`, { signal }), [api, id]);
  const place = found.value?.place;
  const source = place?.data_source ?? sources.find((one) => one.default)?.name ?? sources[0]?.name ?? "";
  return (
    <section>
      <h2>Custom data</h2>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value && !place && <p class="muted">The setting custom_user_data names a collection with a document for each user. It is not set.</p>}
      {place && (
        <>
          <pre class="told mono" tabIndex={0} aria-label="Custom data">{JSON.stringify(found.value?.custom_data, null, 2)}</pre>
          <p class="small">
            It is in{" "}
            <a href={link(["data", source, place.database, place.collection], { filter: JSON.stringify({ [place.field]: id }) })}>
              {place.database}.{place.collection}
            </a>
            , where <code>{place.field}</code> is the user's id. Change it there.
          </p>
        </>
      )}
    </section>
  );
}

function SetPassword(props: { id: string; name: string; onClose: () => void; onDone: () => void }): JSX.Element {
  const { api } = useSession();
  const set = async (given: FormData): Promise<void> => {
    await api.send(`${userPath(props.id)}/reset-password`, { body: JSON.stringify({ password: given.get("password") }) });
    tell({ text: `${props.name} has another password, and is signed out everywhere.` });
    props.onDone();
  };
  return (
    <FormDialog title="Set the password" verb="Set it" onClose={props.onClose} onSubmit={set}>
      <label class="field">
        <span>New password</span>
        <input name="password" type="password" required autocomplete="new-password" />
      </label>
    </FormDialog>
  );
}
