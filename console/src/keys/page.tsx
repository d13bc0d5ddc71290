/** One API key: what it may do, its sessions, and how it ends. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, link } from "../router";
import { useSession } from "../session";
import { FormDialog, Overlap, TypedConfirm } from "../ui/form";
import { Icon } from "../ui/icons";
import { Facts } from "../ui/list";
import { Moment } from "../ui/moment";
import { Failure, useLoaded, useTitle } from "../ui/parts";
import { PageHead } from "../ui/page";
import { tell } from "../ui/toasts";
import { SessionList } from "../users/sessions";
import { KeyForm } from "./form";
import { type Key, LIMITS, LISTS, type NewKey, pathOf, stateOf } from "./model";
import { NewKeyDialog, State } from "./parts";
import { Snippets } from "./snippets";

type Doing = "change" | "rotate" | "revoke" | "delete" | null;

export function KeyPage({ name }: { name: string }): JSX.Element {
  useTitle(name);
  const { api } = useSession();
  const [doing, setDoing] = useState<Doing>(null);
  const [made, setMade] = useState<NewKey | null>(null);
  const [error, setError] = useState<unknown>(null);
  const found = useLoaded((signal) => api.json<Key>(pathOf(name), { signal }), [api, name]);
  const key = found.value;
  const done = (text: string): void => {
    setDoing(null);
    tell({ text });
    found.again();
  };
  const disable = async (disabled: boolean): Promise<void> => {
    try {
      await api.json(pathOf(name), { method: "PATCH", body: JSON.stringify({ disabled }) });
      done(disabled ? `${name} lets nobody in now.` : `${name} lets its holders in again.`);
    } catch (failure) {
      setError(failure);
    }
  };
  return (
    <>
      <PageHead title={name} icon="key" tabs={[{ href: link(["keys"]), title: "All keys", chosen: false }]}>
        {key && !key.revoked && (
          <>
            <button type="button" class="button" onClick={() => setDoing("change")}>
              <Icon name="edit" /> Change
            </button>
            <button type="button" class="button" onClick={() => void disable(!key.disabled)}>
              {key.disabled ? "Enable" : "Disable"}
            </button>
            <button type="button" class="button" disabled={key.disabled} onClick={() => setDoing("rotate")}>
              <Icon name="refresh" /> Rotate
            </button>
            <button type="button" class="button" onClick={() => setDoing("revoke")}>
              Revoke
            </button>
          </>
        )}
        {key && (
          <button type="button" class="button" onClick={() => setDoing("delete")}>
            <Icon name="trash" /> Delete
          </button>
        )}
      </PageHead>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {error !== null && <Failure error={error} />}
      {key && <Details of={key} />}
      {key && doing === "change" && <KeyForm known={key} onClose={() => setDoing(null)} onDone={() => done(`${name} was changed.`)} />}
      {doing === "rotate" && (
        <Rotate
          name={name}
          onClose={() => setDoing(null)}
          onDone={(rotated) => {
            done(`${name} has a new text.`);
            setMade(rotated);
          }}
        />
      )}
      {doing === "revoke" && (
        <TypedConfirm
          title="Revoke the key"
          name={name}
          verb="Revoke it"
          onClose={() => setDoing(null)}
          onConfirm={async () => {
            await api.json(`${pathOf(name)}/revoke`, { method: "POST" });
            done(`${name} was revoked.`);
          }}
        >
          <p>Nobody is let in by it any more, and it cannot be brought back. It stays in the list.</p>
        </TypedConfirm>
      )}
      {doing === "delete" && (
        <TypedConfirm
          title="Delete the key"
          name={name}
          verb="Delete it"
          onClose={() => setDoing(null)}
          onConfirm={async () => {
            await api.send(pathOf(name), { method: "DELETE" });
            tell({ text: `${name} was deleted.` });
            go(link(["keys"]));
          }}
        >
          <p>The key ends, and the list forgets it. To keep it listed, revoke it instead.</p>
        </TypedConfirm>
      )}
      {made && <NewKeyDialog made={made} onClose={() => setMade(null)} />}
    </>
  );
}

function Details({ of: key }: { of: Key }): JSX.Element {
  return (
    <div class="panel">
      <Facts
        of={[
          ["State", <State of={key} />],
          ["Judged by", key.admin ? "nothing: it is an administrator's" : "the rules"],
          ["User id", <code>{key.id}</code>],
          ["Made", <Moment at={key.created} />],
          ["Last used", <Moment at={key.last_used} never="never" />],
          ["Ends", <Moment at={key.expires} never="never" />],
          ["Rotated", key.rotated && <Moment at={key.rotated} />],
          ["Text before ends", key.previous && <Moment at={key.previous.until} />],
          ["Revoked", key.revoked && <Moment at={key.revoked} />],
          ...LISTS.map((name) => [LIMITS[name][0], key[name]?.join(", ")] as const),
          ["Rate", key.rate],
          ...Object.entries(key.quotas ?? {}).map(([name, most]) => [name.replaceAll("_", " "), most] as const),
        ]}
      />
      <section>
        <h2>Ready requests</h2>
        <Snippets database={key.databases?.[0]} />
      </section>
      {stateOf(key) !== "revoked" && <SessionList of={key.id} />}
    </div>
  );
}


function Rotate({ name, onClose, onDone }: { name: string; onClose: () => void; onDone: (made: NewKey) => void }): JSX.Element {
  const { api } = useSession();
  const rotate = async (given: FormData): Promise<void> => {
    const body = JSON.stringify({ overlap_seconds: Number(given.get("overlap")) });
    onDone(await api.json<NewKey>(`${pathOf(name)}/rotate`, { body }));
  };
  return (
    <FormDialog title={`Rotate ${name}`} verb="Rotate it" onClose={onClose} onSubmit={rotate}>
      <Overlap />
    </FormDialog>
  );
}
