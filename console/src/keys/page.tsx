/** One API key: what it may do, its sessions, and how it ends. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, link } from "../router";
import { useSession } from "../session";
import { Icon } from "../ui/icons";
import { Moment } from "../ui/moment";
import { Dialog, Failure, TypedConfirm, useLoaded, useTitle } from "../ui/parts";
import { PageHead } from "../ui/tabs";
import { tell } from "../ui/toasts";
import { SessionList } from "../users/sessions";
import { KeyForm } from "./form";
import { type Key, LIMITS, LISTS, type NewKey, pathOf, stateOf } from "./model";
import { NewKeyDialog, State } from "./section";
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
      <dl class="facts">
        <Fact title="State">
          <State of={key} />
        </Fact>
        <Fact title="Judged by">{key.admin ? "nothing: it is an administrator's" : "the rules"}</Fact>
        <Fact title="User id">
          <code>{key.id}</code>
        </Fact>
        <Fact title="Made">
          <Moment at={key.created} />
        </Fact>
        <Fact title="Last used">
          <Moment at={key.last_used} never="never" />
        </Fact>
        <Fact title="Ends">
          <Moment at={key.expires} never="never" />
        </Fact>
        {key.rotated && (
          <Fact title="Rotated">
            <Moment at={key.rotated} />
          </Fact>
        )}
        {key.previous && (
          <Fact title="Text before ends">
            <Moment at={key.previous.until} />
          </Fact>
        )}
        {key.revoked && (
          <Fact title="Revoked">
            <Moment at={key.revoked} />
          </Fact>
        )}
        {LISTS.filter((name) => key[name]).map((name) => (
          <Fact key={name} title={LIMITS[name][0]}>
            {key[name]?.join(", ")}
          </Fact>
        ))}
        {key.rate && <Fact title="Rate">{key.rate}</Fact>}
        {Object.entries(key.quotas ?? {}).map(([name, most]) => (
          <Fact key={name} title={name.replaceAll("_", " ")}>
            {most}
          </Fact>
        ))}
      </dl>
      <section>
        <h2>Ready requests</h2>
        <Snippets database={key.databases?.[0]} />
      </section>
      {stateOf(key) !== "revoked" && <SessionList of={key.id} />}
    </div>
  );
}

function Fact({ title, children }: { title: string; children: preact.ComponentChildren }): JSX.Element {
  return (
    <>
      <dt>{title}</dt>
      <dd>{children}</dd>
    </>
  );
}

const OVERLAPS = [
  [0, "Not at all: whoever has it is out at once"],
  [3600, "An hour"],
  [86_400, "A day"],
  [604_800, "A week"],
] as const;

function Rotate({ name, onClose, onDone }: { name: string; onClose: () => void; onDone: (made: NewKey) => void }): JSX.Element {
  const { api } = useSession();
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const overlap = Number(new FormData(event.currentTarget as HTMLFormElement).get("overlap"));
    setBusy(true);
    try {
      onDone(await api.json<NewKey>(`${pathOf(name)}/rotate`, { body: JSON.stringify({ overlap_seconds: overlap }) }));
    } catch (failure) {
      setError(failure);
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Rotate ${name}`} onClose={onClose}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        <label class="field">
          <span>How long the text before stays valid</span>
          <select name="overlap" defaultValue="3600">
            {OVERLAPS.map(([seconds, text]) => (
              <option key={seconds} value={seconds}>
                {text}
              </option>
            ))}
          </select>
        </label>
        {error !== null && <Failure error={error} />}
        <footer class="dialog-foot">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={busy}>
            Rotate it
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
