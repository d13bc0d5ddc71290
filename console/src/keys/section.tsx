/** API keys: all of them in a list, and one on a page of its own. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, link, type PageProps } from "../router";
import { useSession } from "../session";
import { Icon } from "../ui/icons";
import { List } from "../ui/list";
import { Moment } from "../ui/moment";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { Page, PageHead } from "../ui/page";
import { KeyForm } from "./form";
import { type Key, listed, type NewKey, rightsOf } from "./model";
import { KeyPage } from "./page";
import { NewKeyDialog, State } from "./parts";

export function KeysSection({ path }: PageProps): JSX.Element {
  const [name] = path;
  return (
    <Page>
      {name === undefined ? <KeyList /> : <KeyPage key={name} name={name} />}
    </Page>
  );
}

function KeyList(): JSX.Element {
  useTitle("Keys");
  const { api } = useSession();
  const [wanted, setWanted] = useState("");
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<NewKey | null>(null);
  const found = useLoaded((signal) => listed(api, signal), [api, made]);
  const shown = found.value?.filter(({ name }) => name.toLowerCase().includes(wanted.toLowerCase())) ?? [];
  return (
    <>
      <PageHead title="Keys" icon="key">
        <button type="button" class="button primary" onClick={() => setMaking(true)}>
          <Icon name="plus" /> Make a key
        </button>
      </PageHead>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value?.length === 0 && (
        <Empty title="No keys are stored" icon="key">
          <p>You signed in with a key of the settings. Make one for each program that calls, so that each can be ended alone.</p>
        </Empty>
      )}
      {found.value !== undefined && found.value.length > 0 && (
        <>
          <div class="bar">
            <label class="field grow">
              <span class="hidden">Find a key</span>
              <input type="search" placeholder="Find a key" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
            </label>
          </div>
          <KeyTable keys={shown} />
        </>
      )}
      {making && (
        <KeyForm
          onClose={() => setMaking(false)}
          onDone={(key) => {
            setMaking(false);
            setMade(key as NewKey);
          }}
        />
      )}
      {made && <NewKeyDialog made={made} onClose={() => go(link(["keys", made.name]))} />}
    </>
  );
}

function KeyTable({ keys }: { keys: readonly Key[] }): JSX.Element {
  return (
    <List label="All keys" heads={["Name", "Rights", "State", "Last used", "Ends", "Made"]}>
      {keys.map((key) => (
        <tr key={key.name}>
          <th scope="row">
            <a href={link(["keys", key.name])}>
              <Icon name="key" /> {key.name}
            </a>
          </th>
          <td>{rightsOf(key)}</td>
          <td>
            <State of={key} />
          </td>
          <td>
            <Moment at={key.last_used} never="never" />
          </td>
          <td>
            <Moment at={key.expires} never="never" />
          </td>
          <td>
            <Moment at={key.created} />
          </td>
        </tr>
      ))}
    </List>
  );
}
