/** All rules as a table: role by collection by right. */

import type { JSX } from "preact";
import { go, link } from "../router";
import { useSession } from "../session";
import { List } from "../ui/list";
import { Empty, Failure, useLoaded, useTitle } from "../ui/parts";
import { type Json, listed, placeOf, pretty, type Role, type Rules, right } from "./model";

export function Table({ query }: { query: URLSearchParams }): JSX.Element {
  useTitle("Rules");
  const { api } = useSession();
  const found = useLoaded((signal) => listed(api, signal), [api]);
  const wanted = (query.get("find") ?? "").toLowerCase();
  const fits = (one: Rules): boolean =>
    placeOf(one).toLowerCase().includes(wanted) || (one.rules.roles ?? []).some(({ name }) => name.toLowerCase().includes(wanted));
  const shown = found.value?.filter(fits) ?? [];
  return (
    <>
      {found.error !== undefined && <Failure error={found.error} retry={found.again} />}
      {found.value?.length === 0 && (
        <Empty title="There are no rules" icon="shield">
          <p>
            Without rules, only administrators see data. Write them into the settings file as <code>[rules]</code>, or name the folder of an
            exported app with <code>rules_dir</code>.
          </p>
        </Empty>
      )}
      {found.value !== undefined && found.value.length > 0 && (
        <>
          <div class="bar">
            <label class="field grow">
              <span class="hidden">Find a collection or role</span>
              <input
                type="search"
                placeholder="Find a collection or role"
                value={query.get("find") ?? ""}
                onInput={(event) => go(link(["rules"], { find: event.currentTarget.value }), true)}
              />
            </label>
          </div>
          <List label="Rights" kind="rights" groups heads={["Collection", "Role", "Applies", "Documents", "Read", "Change", "Insert", "Delete", "Fields"]}>
          {shown.map((one) => (
            <Group key={`${one.data_source} ${placeOf(one)}`} of={one} several={new Set(found.value?.map(({ data_source }) => data_source)).size > 1} />
          ))}
          </List>
        </>
      )}
    </>
  );
}

function Group({ of: one, several }: { of: Rules; several: boolean }): JSX.Element {
  const roles = one.rules.roles ?? [];
  const place = placeOf(one);
  return (
    <tbody>
      {(roles.length ? roles : [null]).map((role, index) => (
        <tr key={role?.name ?? ""}>
          {index === 0 && (
            <th scope="rowgroup" rowSpan={Math.max(roles.length, 1)}>
              <bdi class="wrap">{place}</bdi>
              {several && <p class="muted small">{one.data_source}</p>}
              <p class="small">
                <a href={link(["rules", "check"], { at: `${one.data_source} ${place}` })}>JSON</a>
                {one.database !== null && (
                  <>
                    {" · "}
                    <a href={link(["rules", "why"], { source: one.data_source, database: one.database, collection: one.collection ?? "" })}>Why?</a>
                  </>
                )}
              </p>
              {one.rules.filters?.length ? <span class="badge">filters: {one.rules.filters.length}</span> : null}
              {one.json_schema !== null && <span class="badge">schema</span>}
            </th>
          )}
          {role ? <Cells role={role} /> : <td colSpan={8}>No roles: the default ones hold, if there are any</td>}
        </tr>
      ))}
    </tbody>
  );
}

function Cells({ role }: { role: Role }): JSX.Element {
  const fields = Object.keys(role.fields ?? {});
  const byField = fields.length > 0 || role.additional_fields ? "by field" : "no";
  const gate = role.document_filters;
  return (
    <>
      <th scope="row">{role.name}</th>
      <Cell text={right(role.apply_when, "always").replace(/^yes$/, "always")} value={role.apply_when} />
      <Cell text={gate ? right(gate.read, "all") : "all"} value={gate ?? undefined} />
      <Cell text={right(role.read, role.write === true ? "yes" : byField)} value={role.read} />
      <Cell text={right(role.write, byField)} value={role.write} />
      <Cell text={right(role.insert, "yes")} value={role.insert} />
      <Cell text={right(role.delete, "yes")} value={role.delete} />
      <Cell text={fields.length ? fields.join(", ") : "all alike"} value={fields.length ? (role.fields as Json) : undefined} />
    </>
  );
}

/** A right; conditions are cut, and whole where somebody asks. */
function Cell({ text, value }: { text: string; value: Json | undefined }): JSX.Element {
  const kind = text === "all alike" ? "" : text === "yes" || text === "always" || text === "all" ? "good" : text === "no" ? "wrong" : "warned";
  if (typeof value === "object" && value !== null && Object.keys(value).length > 0)
    return (
      <td>
        <details>
          <summary class={kind}>
            <span class="clip mono small">{text}</span>
          </summary>
          <pre class="mono small">{pretty(value)}</pre>
        </details>
      </td>
    );
  return <td class={kind}>{text}</td>;
}
