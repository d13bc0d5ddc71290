/** Lists as tables, and facts about one thing. */

import type { ComponentChildren, JSX } from "preact";

/** A column: its title, at the right where it has numbers (`#Size`), or for those alone who hear the page (`-Actions`). */
type Head = string;

/** A table with a row for each thing (of `rows`, where not all of them are made), which scrolls to the side by itself where it is wider than the page. */
export function List(props: { label: string; heads: readonly Head[]; kind?: string; place?: string; children: ComponentChildren; groups?: boolean; rows?: number }): JSX.Element {
  return (
    <div class={`scroll ${props.place ?? ""}`} tabIndex={0} role="region" aria-label={props.label}>
      <table class={`list ${props.kind ?? ""}`} aria-rowcount={props.rows === undefined ? undefined : props.rows + 1}>
        <thead>
          <tr>
            {props.heads.map((head) => (
              <th key={head} scope="col" class={head.startsWith("#") ? "number" : undefined}>
                {head.startsWith("-") ? <span class="hidden">{head.slice(1)}</span> : head.replace(/^#/, "")}
              </th>
            ))}
          </tr>
        </thead>
        {props.groups ? props.children : <tbody>{props.children}</tbody>}
      </table>
    </div>
  );
}

/** What is known of one thing, name by name; what is undefined, null or false is left out. */
export function Facts({ of }: { of: readonly (readonly [title: string, value: ComponentChildren])[] }): JSX.Element {
  return (
    <dl class="facts">
      {of.map(([title, value], index) =>
        value === undefined || value === null || value === false ? null : (
          <>
            <dt key={`${index} name`}>{title}</dt>
            <dd key={index}>{value}</dd>
          </>
        ),
      )}
    </dl>
  );
}
