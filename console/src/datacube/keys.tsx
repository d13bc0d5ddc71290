/** The keys that the person made for databases of theirs. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useSession } from "../session";
import { FormDialog, SecretDialog, textIn, TypedConfirm } from "../ui/form";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Moment } from "../ui/moment";
import { PageHead } from "../ui/page";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { tell } from "../ui/toasts";
import { type CubeKey, KEYS, PERMISSIONS, program } from "./model";

export function CubeKeys({ tabs }: { tabs: Parameters<typeof PageHead>[0]["tabs"] & object }): JSX.Element {
  useTitle("Keys of mine");
  const { api } = useSession();
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<CubeKey | null>(null);
  const [ending, setEnding] = useState<CubeKey | null>(null);
  const found = useLoaded((signal) => api.json<readonly CubeKey[]>(KEYS, { signal }), [api, made]);
  return (
    <>
      <PageHead title="DataCube" icon="database" tabs={tabs}>
        <button type="button" class="button primary" onClick={() => setMaking(true)}>
          <Icon name="plus" /> Make a key
        </button>
      </PageHead>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value?.length === 0 && (
        <Empty title="No keys yet" icon="key">
          <p>A key lets a program into your databases, in your name, with the rights that you give it.</p>
        </Empty>
      )}
      {found.value !== undefined && found.value.length > 0 && (
        <List label="Keys of mine" heads={["Name", "Key", "May", "Databases", "Last used", "Ends", "-Actions"]}>
          {found.value.map((one) => (
            <tr key={one.id}>
              <th scope="row">
                <bdi>{one.name}</bdi>
              </th>
              <td>
                <code>{one.key_display}</code>
              </td>
              <td>{one.permissions.join(", ")}</td>
              <td class="wrap">{one.database_ids?.join(", ") ?? "all of yours"}</td>
              <td>
                <Moment at={one.last_used_at} never="never" />
              </td>
              <td>
                <Moment at={one.expires_at} never="never" />
              </td>
              <td class="number">
                <button type="button" class="button small" aria-label={`Delete ${one.name}`} onClick={() => setEnding(one)}>
                  Delete
                </button>
              </td>
            </tr>
          ))}
        </List>
      )}
      {making && (
        <Make
          onClose={() => setMaking(false)}
          onDone={(key) => {
            setMaking(false);
            setMade(key);
          }}
        />
      )}
      {made && <SecretDialog title={`The key ${made.name}`} secrets={[["", made.key ?? ""]]} code={program("curl", "read", made.key ?? "", made.database_ids?.[0] ?? "$DATABASE", "$COLLECTION")} onClose={() => setMade(null)} />}
      {ending && (
        <TypedConfirm
          title="Delete the key"
          name={ending.name}
          verb="Delete it"
          onClose={() => setEnding(null)}
          onConfirm={async () => {
            await api.send(`${KEYS}/${encodeURIComponent(ending.id)}`, { method: "DELETE" });
            tell({ text: `${ending.name} was deleted.` });
            setEnding(null);
            found.again();
          }}
        >
          <p>Whoever has it is let in no more.</p>
        </TypedConfirm>
      )}
    </>
  );
}

function Make({ onClose, onDone }: { onClose: () => void; onDone: (made: CubeKey) => void }): JSX.Element {
  const { api } = useSession();
  const make = async (given: FormData): Promise<void> => {
    const permissions = PERMISSIONS.filter((name) => given.has(name));
    const ids = textIn(given, "databases").split(",").map((one) => one.trim()).filter(Boolean);
    const expires = textIn(given, "expires");
    const body = {
      name: textIn(given, "name"),
      ...(permissions.length > 0 ? { permissions } : {}),
      ...(ids.length > 0 ? { database_ids: ids } : {}),
      ...(expires ? { expires_at: new Date(expires).toISOString() } : {}),
    };
    onDone(await api.json<CubeKey>(KEYS, { body: JSON.stringify(body) }));
  };
  return (
    <FormDialog title="Make a key" verb="Make it" onClose={onClose} onSubmit={make}>
      <label class="field">
        <span>Name</span>
        <input name="name" type="text" required autocomplete="off" spellcheck={false} />
      </label>
      <fieldset>
        <legend>What it may; everything if none is chosen</legend>
        <div class="checks">
          {PERMISSIONS.map((name) => (
            <label key={name} class="check">
              <input type="checkbox" name={name} /> {name}
            </label>
          ))}
        </div>
      </fieldset>
      <label class="field">
        <span>Ids of the only databases</span>
        <input name="databases" type="text" autocomplete="off" spellcheck={false} placeholder="all of yours if empty" />
      </label>
      <label class="field">
        <span>Ends</span>
        <input name="expires" type="datetime-local" />
      </label>
    </FormDialog>
  );
}
