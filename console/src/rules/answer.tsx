/** What rules make of a request, told from the verdict to the details. */

import type { JSX } from "preact";
import { Icon } from "../ui/icons";
import { type Explained, type Json, pretty, type Refusal } from "./model";
import { Facts, List } from "../ui/list";

export function Answer({ told }: { told: Explained }): JSX.Element {
  const { document } = told;
  return (
    <div class="stack" role="region" aria-label="Answer" tabIndex={-1}>
      <Verdict told={told} />
      {told.roles && told.roles.length > 0 && <Roles told={told} />}
      {told.filter !== undefined && told.filter !== null && (
        <section>
          <h2>Added to the query</h2>
          {told.filters && told.filters.length > 0 && <p class="small">Filters that apply: {told.filters.map((name) => name || "one without a name").join(", ")}</p>}
          <Code label="Added to the query" value={told.filter} />
        </section>
      )}
      {told.hidden && told.hidden.length > 0 && (
        <section>
          <h2>Hidden fields</h2>
          <p>
            {told.hidden.map((name) => (
              <code key={name} class="badge warn">
                {name}
              </code>
            ))}
          </p>
        </section>
      )}
      {told.sent && Object.keys(told.sent).length > 0 && (
        <section>
          <h2>Sent to the database</h2>
          <Code label="Sent to the database" value={told.sent as Json} />
        </section>
      )}
      {document && (
        <section>
          <h2>The document</h2>
          <Facts
            of={[
              ["Role", document.role ?? "none applies"],
              ["Visible", <YesNo is={document.visible} />],
              ["Matches what is sent", document.matches !== undefined && <YesNo is={document.matches} />],
            ]}
          />
          {document.refused && <Refused refusal={document.refused} />}
          {document.visible && <Code label="The document as it is seen" value={document.seen} />}
        </section>
      )}
    </div>
  );
}

const YesNo = ({ is }: { is: boolean }): JSX.Element => <span class={is ? "good" : "wrong"}>{is ? "yes" : "no"}</span>;

function Verdict({ told }: { told: Explained }): JSX.Element {
  const who = told.caller.admin ? "an administrator" : told.caller.id;
  return (
    <div class="stack">
      <p class={told.allowed ? "verdict good" : "verdict wrong"}>
        <Icon name={told.allowed ? "check" : "warn"} />{" "}
        <strong>
          {told.allowed ? "Allowed" : "Refused"}: {told.operation} on {told.namespace} by {who}
        </strong>
      </p>
      {told.reason && <p>{told.reason[0]?.toUpperCase() + told.reason.slice(1)}.</p>}
      {told.checks_documents && <p>Every document that is written is looked at first.</p>}
      {told.refused && <Refused refusal={told.refused} />}
    </div>
  );
}

function Refused({ refusal }: { refusal: Refusal }): JSX.Element {
  return (
    <div class="failure">
      <Icon name="warn" />
      <div>
        <p>{refusal.error}</p>
        <p class="small">{refusal.error_code}</p>
        {refusal.rule !== null && refusal.rule !== undefined && <pre class="mono small">{pretty(refusal.rule)}</pre>}
      </div>
    </div>
  );
}

const word = (value: Json | undefined): string => {
  if (value === undefined) return "";
  if (value === null) return "not asked";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "string" ? value : `if ${JSON.stringify(value)}`;
};

function Roles({ told }: { told: Explained }): JSX.Element {
  return (
    <section>
      <h2>{told.role ? `The role ${told.role}` : "The role depends on the document"}</h2>
      <List label="Roles" heads={["Role", "Applies", "Reads", "Changes", "Inserts", "Deletes", "Hidden"]}>
        {told.roles?.map((role) => (
          <tr key={role.name}>
            <th scope="row">
              {role.name}
              {role.name === told.role && <span class="badge good">chosen</span>}
            </th>
            {[role.applies, role.reads, role.writes, role.insert, role.delete].map((value, index) => (
              <td key={index} class="wrap">
                {word(value)}
              </td>
            ))}
            <td>{role.hidden?.join(", ")}</td>
          </tr>
        ))}
      </List>
    </section>
  );
}

function Code({ label, value }: { label: string; value: Json }): JSX.Element {
  return (
    <pre class="told mono" tabIndex={0} aria-label={label}>
      {pretty(value)}
    </pre>
  );
}
