/** The settings in effect, with where each came from. */

import type { JSX } from "preact";
import { go, link } from "../router";
import { useSession } from "../session";
import { List } from "../ui/list";
import { Failure, useLoaded, useTitle } from "../ui/parts";

interface Setting {
  readonly name: string;
  readonly value: string;
  readonly origin: string;
  readonly meaning: string;
}

export function Settings({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Settings");
  const { api } = useSession();
  const found = useLoaded(async (signal) => (await api.json<{ settings: readonly Setting[] }>("api/admin/v1/settings", { signal })).settings, [api]);
  const [wanted, changed] = [query.get("find") ?? "", query.get("changed") === "1"];
  const see = (find: string, only: boolean): void => go(link(["now", "settings"], { find, changed: only ? "1" : undefined }), true);
  const fits = ({ name, meaning, origin }: Setting): boolean =>
    (!changed || origin !== "default") && `${name} ${meaning}`.toLowerCase().includes(wanted.toLowerCase());
  return (
    <>
      <div class="bar">
        <label class="field grow">
          <span>Find</span>
          <input type="search" value={wanted} placeholder="A name or a word" onInput={(event) => see(event.currentTarget.value, changed)} />
        </label>
        <label class="check">
          <input type="checkbox" checked={changed} onChange={(event) => see(wanted, event.currentTarget.checked)} />
          <span>Only those that are set</span>
        </label>
      </div>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value && (
        <List label="Settings" heads={["Setting", "Value", "From", "Meaning"]}>
          {found.value.filter(fits).map(({ name, value, origin, meaning }) => (
            <tr key={name}>
              <th scope="row">
                <code>{name}</code>
              </th>
              <td class="wrap">
                <bdi>{value}</bdi>
              </td>
              <td>{origin === "default" ? <span class="muted">default</span> : origin}</td>
              <td class="small">{meaning.replaceAll("`", "")}</td>
            </tr>
          ))}
        </List>
      )}
    </>
  );
}
